import { expect, test } from "bun:test";
import * as fc from "fast-check";

import type { SessionRecord } from "../cluster/session-messages.ts";
import type { NameHash } from "./name-hash.ts";
import { SessionIndex, type SessionIndexOptions } from "./session-index.ts";
import { PlainIndex } from "./test-support/plain-index.ts";

const SERVERS = ["own", "b", "c"];
/** Short and long, in one byte a unit and in two, alike in their beginnings; half a character, too. */
const USERS = ["ann", "anna", "zoë", "Зоя", "\ud83d", "x".repeat(255), "x".repeat(256), ""];
const DEVICES = ["phone", "phone 2", "tab", "планшет", "d".repeat(300)];
/** Those that fit into a record, and those that do not. */
const EPOCHS = [1, 2, 3, 1_750_000_000_000, 2 ** 48 - 1, 2 ** 48, Number.MAX_SAFE_INTEGER];
/** How large a set is hangs on its version alone. From some to the next nothing but additions happened. */
const SETS = [
  [0, 0],
  [1, 1],
  [2, 2],
  [3, 2],
  [40_000, 300],
  [65_535, 7],
  [65_536, 8],
  [Number.MAX_SAFE_INTEGER, 594],
] as const;
const HIDE_MS = 5;

type Index = Pick<
  SessionIndex,
  | "put"
  | "remove"
  | "drop"
  | "takeSet"
  | "expireHidden"
  | "doubt"
  | "sweep"
  | "lookup"
  | "entriesOf"
  | "usersOf"
  | "sizeOf"
  | "highestEpoch"
>;

interface Step {
  readonly name: string;
  /** Milliseconds that pass before it. */
  readonly wait: number;
  readonly run: (index: Index) => unknown;
}

const server = fc.constantFrom(...SERVERS);
const user = fc.constantFrom(...USERS);
const device = fc.constantFrom(...DEVICES);
const set = fc.constantFrom(...SETS).map(([setVersion, setSize]) => ({ setVersion, setSize }));
const record: fc.Arbitrary<SessionRecord> = fc
  .record({
    user,
    device,
    epoch: fc.constantFrom(...EPOCHS),
    durable: fc.boolean(),
    background: fc.boolean(),
    member: fc.boolean(),
    set,
  })
  .map(({ set: fact, ...rest }) => ({ ...rest, ...fact }));

const action: fc.Arbitrary<Omit<Step, "wait">> = fc.oneof(
  some(12, "put", fc.tuple(record, server), (index, [next, at]) => index.put(next, at)),
  some(6, "remove", fc.tuple(server, user, device, fc.boolean()), (index, args) =>
    index.remove(...args),
  ),
  some(1, "drop", server, (index, at) => index.drop(at)),
  some(2, "takeSet", fc.tuple(user, set), (index, [of, fact]) => index.takeSet(of, fact)),
  some(2, "expireHidden", fc.constant(0), (index) => index.expireHidden()),
  some(2, "doubt", server, (index, at) => index.doubt(at)),
  some(2, "sweep", server, (index, at) => index.sweep(at)),
);
const step: fc.Arbitrary<Step> = fc
  .tuple(action, fc.constantFrom(0, 0, 1, HIDE_MS))
  .map(([{ name, run }, wait]) => ({ name: `${name} after ${wait}`, wait, run }));

/** As it comes, all users alike, and so few hashes that most collide. */
const hashes: readonly (NameHash | undefined)[] = [
  undefined,
  () => 2 ** 31 - 2,
  (name) => name.length % 3,
];

test("whatever happens, the compact table shows and tells what plain maps do (M2, M3, L7)", () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 100, size: "max" }),
      fc.constantFrom(...hashes),
      (steps, hash) => {
        const clock = { now: 0 };
        const plain = observed(clock, (options) => new PlainIndex(options));
        const compact = observed(
          clock,
          (options) => new SessionIndex({ ...options, ...(hash === undefined ? {} : { hash }) }),
        );
        for (const { wait, run } of steps) {
          clock.now += wait;
          expect(run(compact.index)).toEqual(run(plain.index));
          expect(compact.heard()).toEqual(plain.heard());
          expect(shown(compact.index)).toEqual(shown(plain.index));
        }
      },
    ),
    // More: BECKON_RUNS=100000 bun test compact
    { numRuns: Number(process.env["BECKON_RUNS"] ?? 200) },
  );
}, 600_000);

test("what was handed out stays as it was, whatever happens next", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60, size: "max" }),
      fc.array(step, { maxLength: 60, size: "max" }),
      (one, two) => {
        const { index } = observed({ now: 0 }, (options) => new SessionIndex(options));
        for (const { run } of one) run(index);
        const before = USERS.map((name) => index.lookup(name));
        const copies = structuredClone(before);
        for (const { run } of two) run(index);
        expect(before).toEqual(copies);
      },
    ),
  );
});

function observed<I extends Index>(
  clock: { readonly now: number },
  make: (options: SessionIndexOptions) => I,
): { index: I; heard: () => string[] } {
  const heard: string[] = [];
  const index = make({
    own: "own",
    now: () => clock.now,
    hideMs: HIDE_MS,
    horizonMs: 10,
    onLifted: (entry) => void heard.push(JSON.stringify(["lifted", entry])),
    onChange: (change) => void heard.push(JSON.stringify(change)),
    onForgotten: () => void heard.push("forgotten"),
  });
  return {
    index,
    // Of one call in any order: of a server that is dropped no entry is before another.
    heard: () => heard.splice(0).toSorted(),
  };
}

function shown(index: Index): unknown {
  return [
    USERS.map((name) => index.lookup(name)),
    SERVERS.map((name) => [
      index.sizeOf(name),
      [...index.usersOf(name)].toSorted(),
      USERS.map((of) => index.entriesOf(name, of)),
    ]),
    USERS.map((name) => DEVICES.map((of) => index.highestEpoch(name, of))),
  ];
}

function some<T>(
  weight: number,
  name: string,
  values: fc.Arbitrary<T>,
  run: (index: Index, values: T) => unknown,
): { weight: number; arbitrary: fc.Arbitrary<Omit<Step, "wait">> } {
  const arbitrary = values.map((chosen) => ({
    name: `${name} ${JSON.stringify(chosen)}`,
    run: (index: Index) => run(index, chosen),
  }));
  return { weight, arbitrary };
}
