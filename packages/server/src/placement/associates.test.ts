import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { Associates, type AssociatesOptions } from "./associates.ts";
import { longDecay, MESSAGE_WEIGHT, shortDecay, weigh } from "../store/weight.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function make(options: Omit<AssociatesOptions, "now"> = {}): {
  associates: Associates;
  pass: (ms: number) => void;
} {
  let now = 1_700_000_000_000;
  const associates = new Associates({ now: () => now, ...options });
  return { associates, pass: (ms) => void (now += ms) };
}

const peersOf = (associates: Associates, user: string): string[] =>
  associates.top(user, 1000).map(({ peer }) => peer);

test("who has exchanged a message is an associate of the other, whoever wrote", () => {
  const { associates } = make();
  associates.exchanged("ann", "bob");
  expect(associates.top("ann", 9)).toEqual([{ peer: "bob", weight: MESSAGE_WEIGHT }]);
  expect(associates.top("bob", 9)).toEqual([{ peer: "ann", weight: MESSAGE_WEIGHT }]);
  expect(associates.top("cat", 9)).toEqual([]);
});

test("a message of now weighs much for hours, and a little for weeks", () => {
  const { associates, pass } = make();
  const weight = (): number => associates.top("ann", 1)[0]!.weight;
  associates.exchanged("ann", "bob");
  pass(6 * HOUR);
  expect(weight()).toBeGreaterThan(MESSAGE_WEIGHT / 2 - 1);
  expect(weight()).toBeLessThan(MESSAGE_WEIGHT / 2 + 1);
  pass(30 * DAY);
  expect(weight()).toBeCloseTo(0.5, 1);
});

test("the strongest come first, and the present conversation before an old one of many messages", () => {
  const { associates, pass } = make();
  for (let i = 0; i < 10; i++) associates.exchanged("ann", "old");
  pass(7 * DAY);
  associates.exchanged("ann", "now");
  expect(peersOf(associates, "ann")).toEqual(["now", "old"]);
  pass(7 * DAY);
  expect(peersOf(associates, "ann")).toEqual(["old", "now"]);
  expect(associates.top("ann", 1)).toHaveLength(1);
});

test("a message to a group of n counts 1 / (n - 1) for each pair", () => {
  const { associates } = make();
  for (const member of ["bob", "cat", "dan"]) associates.exchanged("ann", member, 1 / 3);
  associates.exchanged("ann", "eve");
  expect(associates.top("cat", 1)[0]!.weight).toBeCloseTo(MESSAGE_WEIGHT / 3, 4);
  expect(peersOf(associates, "ann")[0]).toBe("eve");
});

test("L10: of more associates than a user may have the weakest is forgotten", () => {
  const { associates, pass } = make({ perUser: 3 });
  for (const peer of ["a", "a", "b", "c", "c"]) {
    pass(1000);
    associates.exchanged("hub", peer);
  }
  associates.exchanged("hub", "d");
  expect(peersOf(associates, "hub").toSorted()).toEqual(["a", "c", "d"]);
  expect(peersOf(associates, "b")).toEqual(["hub"]);
});

test("L10: of more users than are kept the one who was touched longest ago is forgotten", () => {
  const { associates } = make({ users: 3 });
  associates.exchanged("ann", "bob");
  associates.exchanged("ann", "cat");
  associates.exchanged("ann", "dan");
  expect(associates.users).toBe(3);
  expect(peersOf(associates, "bob")).toEqual([]);
  expect(peersOf(associates, "ann")).toHaveLength(3);
});

test("L10: of more changes than may wait the rest are counted, and weigh here all the same", () => {
  const { associates } = make({ changes: 1 });
  associates.exchanged("ann", "bob");
  associates.exchanged("ann", "cat");
  associates.exchanged("bob", "ann");
  expect([associates.waiting, associates.unstored]).toEqual([1, 1]);
  expect(associates.takeChanges(10)).toMatchObject([{ a: "ann", b: "bob", long: 2 }]);
  expect(peersOf(associates, "cat")).toEqual(["ann"]);
});

test("changes are taken once, a pair at a time, the oldest first", () => {
  const { associates } = make();
  associates.exchanged("bob", "ann");
  associates.exchanged("cat", "bob");
  associates.exchanged("ann", "bob");
  expect(associates.takeChanges(1)).toMatchObject([{ a: "ann", b: "bob", long: 2, short: 2 }]);
  expect(associates.takeChanges(9)).toMatchObject([{ a: "bob", b: "cat", long: 1, short: 1 }]);
  expect(associates.takeChanges(9)).toEqual([]);
});

test("what the store says takes the place of what was known, and what is not stored yet comes on top", () => {
  const { associates, pass } = make();
  associates.exchanged("ann", "bob");
  associates.takeChanges(9);
  associates.exchanged("ann", "bob");
  pass(6 * HOUR);
  const at = 1_700_000_000_000;
  associates.learn("ann", "bob", { long: 5, short: 3, at });
  const decayed = weigh(6 * longDecay(6 * HOUR), 4 * shortDecay(6 * HOUR));
  expect(associates.top("ann", 1)[0]!.weight).toBeCloseTo(decayed, 3);
});

test("an erased user is with nobody any more, and in no change", () => {
  const { associates } = make();
  associates.exchanged("ann", "bob");
  associates.exchanged("cat", "bob");
  associates.erase("bob");
  expect(["ann", "bob", "cat"].flatMap((user) => peersOf(associates, user))).toEqual([]);
  expect(associates.takeChanges(9)).toEqual([]);
  associates.exchanged("ann", "bob");
  expect(associates.top("ann", 9)).toEqual([{ peer: "bob", weight: MESSAGE_WEIGHT }]);
});

test("a clock that goes back makes nothing heavier", () => {
  const { associates, pass } = make();
  associates.exchanged("ann", "bob");
  pass(-30 * DAY);
  expect(associates.top("ann", 1)[0]!.weight).toBe(MESSAGE_WEIGHT);
});

/** The law in plain code: every message is kept. */
class Ledger {
  readonly messages: { readonly at: number; readonly pair: readonly string[]; share: number }[] =
    [];

  weight(a: string, b: string, now: number): number {
    let [long, short] = [0, 0];
    for (const { at, pair, share } of this.messages) {
      if (!pair.includes(a) || !pair.includes(b)) continue;
      long += share * longDecay(now - at);
      short += share * shortDecay(now - at);
    }
    return weigh(long, short);
  }
}

test("weights are the sums over all messages, whatever came in between", () => {
  const user = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h", "i", "j");
  const step = fc.record({
    from: user,
    to: user,
    share: fc.constantFrom(1, 0.5, 0.1),
    wait: fc.nat({ max: 5 * DAY }),
    forget: fc.option(user, { freq: 20 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let now = 1_700_000_000_000;
      const ledger = new Ledger();
      const associates = new Associates({ now: () => now });
      for (const { from, to, share, wait, forget } of steps) {
        now += wait;
        if (forget !== null) {
          associates.erase(forget);
          const left = ledger.messages.filter(({ pair }) => !pair.includes(forget));
          ledger.messages.splice(0, ledger.messages.length, ...left);
        }
        if (from === to) continue;
        associates.exchanged(from, to, share);
        ledger.messages.push({ at: now, pair: [from, to], share });
        for (const self of [from, to]) {
          for (const { peer, weight } of associates.top(self, 64)) {
            const exact = ledger.weight(self, peer, now);
            expect(Math.abs(weight - exact)).toBeLessThan(1e-4 * (1 + exact));
          }
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("a tie takes 12 bytes, and what is forgotten makes place for what comes", () => {
  const { associates } = make();
  for (let round = 0; round < 5; round++) {
    for (let user = 0; user < 500; user++) {
      for (let peer = 0; peer < 8; peer++)
        associates.exchanged(`u${user}`, `u${(user + peer + 1) % 500}`);
    }
    // 500 users with 16 ties each.
    expect(associates.bytes).toBeLessThan(500 * 16 * 12 * 3);
    expect(associates.names).toBe(500);
    for (let user = 0; user < 500; user++) associates.forget(`u${user}`);
  }
  expect([associates.users, associates.names]).toEqual([0, 0]);
});

test("L10: who is nobody's associate any more leaves no name", () => {
  const { associates } = make({ perUser: 2, users: 3 });
  for (let i = 0; i < 100; i++) associates.exchanged("hub", `u${i}`);
  expect(associates.users).toBe(3);
  expect(associates.names).toBeLessThanOrEqual(5);
});

test("what another server has accepted strengthens the circle of who is here, and is for that server to store", () => {
  const { associates } = make();
  associates.heard("ann", "bob");
  expect(associates.top("ann", 9)).toEqual([{ peer: "bob", weight: MESSAGE_WEIGHT }]);
  expect(associates.top("bob", 9)).toEqual([]);
  expect(associates.takeChanges(9)).toEqual([]);
});

test("a circle reaches what its ties weigh together, and less as they age", () => {
  const { associates, pass } = make();
  expect(associates.reach("ann", 1)).toBe(false);
  for (const peer of ["bob", "cat"]) associates.heard("ann", peer);
  expect(associates.reach("ann", 2 * MESSAGE_WEIGHT - 0.01)).toBe(true);
  expect(associates.reach("ann", 2 * MESSAGE_WEIGHT + 0.01)).toBe(false);
  pass(6 * HOUR);
  expect(associates.reach("ann", 2 * MESSAGE_WEIGHT - 0.01)).toBe(false);
  expect(associates.reach("ann", MESSAGE_WEIGHT)).toBe(true);
});
