import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { planExodus } from "./exodus.ts";
import { type Place, sharesOf } from "./places.ts";
import { NOWHERE } from "./policy.ts";
import { ruleOf } from "./rule.ts";

const rule = ruleOf("locality");

interface World {
  /** Pairs and what binds them. */
  readonly ties: readonly (readonly [a: string, b: string, weight: number])[];
  /** Of those who do not leave. */
  readonly at: Readonly<Record<string, number>>;
  readonly loads: readonly number[];
}

/** The first server goes away, with all who are not elsewhere. */
function plan({ ties, at, loads }: World): { departures: Map<string, number>; places: Place[] } {
  const places = loads.map((load, i): Place => ({
    name: `s${i}`,
    state: i === 0 ? "draining" : "up",
    load,
    capacity: 0,
    weight: 1,
    busy: 0,
  }));
  const everybody = new Set(ties.flatMap(([a, b]) => [a, b]));
  let draws = 0;
  const departures = planExodus(
    [...everybody].filter((user) => at[user] === undefined),
    {
      places,
      here: 0,
      rule,
      random: () => (draws++ * 0.37) % 1,
      each: (user, visit) => {
        for (const [a, b, weight] of ties) {
          if (a === user) visit(b, weight);
          if (b === user) visit(a, weight);
        }
      },
      placeOf: (user) => at[user] ?? (user === "away" ? NOWHERE : 0),
    },
  );
  return { departures: new Map(departures.map(({ user, to }) => [user, to])), places };
}

test("each goes where its associates are", () => {
  const { departures } = plan({
    ties: [
      ["ann", "eve", 40],
      ["bob", "fay", 40],
      ["bob", "eve", 3],
    ],
    at: { eve: 1, fay: 2 },
    loads: [2, 100, 100, 100],
  });
  expect(departures).toEqual(
    new Map([
      ["ann", 1],
      ["bob", 2],
    ]),
  );
});

test("friends of one who is drawn somewhere follow, and friends whom nothing draws stay together", () => {
  const { departures } = plan({
    ties: [
      ["ann", "eve", 40],
      ["ann", "bob", 30],
      ["bob", "cat", 20],
      ["cat", "dan", 20],
      ["cat", "dot", 20],
      ["x", "y", 20],
      ["y", "z", 20],
    ],
    at: { eve: 3 },
    loads: [8, 100, 100, 100],
  });
  expect(["ann", "bob", "cat", "dan", "dot"].map((user) => departures.get(user))).toEqual([
    3, 3, 3, 3, 3,
  ]);
  expect(new Set(["x", "y", "z"].map((user) => departures.get(user))).size).toBe(1);
});

test("everybody leaves, once, and no server is filled beyond its cap", () => {
  const user = fc.integer({ min: 0, max: 60 }).map((n) => `u${n}`);
  const tie = fc.tuple(user, user, fc.double({ min: 0.01, max: 100, noNaN: true }));
  fc.assert(
    fc.property(fc.array(tie, { minLength: 1, maxLength: 150 }), (ties) => {
      const pairs = ties.filter(([a, b]) => a !== b);
      const leaving = new Set(pairs.flatMap(([a, b]) => [a, b]));
      const { departures, places } = plan({
        ties: pairs,
        at: {},
        loads: [leaving.size, 20, 22, 18],
      });
      expect([...departures.keys()].toSorted()).toEqual([...leaving].toSorted());
      const now = places.map((place) => ({ ...place }));
      for (const to of departures.values()) {
        now[0]!.load--;
        expect(now[to]!.load).toBeLessThan(sharesOf(now, leaving.size + 60, rule).cap[to]!);
        now[to]!.load++;
      }
    }),
    { numRuns: 60 },
  );
});
