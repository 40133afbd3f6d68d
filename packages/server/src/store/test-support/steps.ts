/** Anything that can be asked of a store, in any order, about few enough users, devices and ids that they meet. */
import type { Millis, WakeClass } from "@beckon/protocol";
import * as fc from "fast-check";

import type { SqliteCall, SqliteOperation } from "../sqlite-database.ts";
import type { RowRef, StorePosition, WakeOutcome } from "../store.ts";
import { DAY, HOUR, MINUTE, SECOND, START, arrival, registration, request } from "./requests.ts";

/** What rows and positions are called in one backend; steps name them by the number in which they came up. */
export interface Names {
  now(): Millis;
  row(number: number): RowRef | undefined;
  position(number: number): StorePosition;
}

export interface Step {
  readonly operation: SqliteOperation;
  /** For the report of a failure. */
  readonly given: unknown;
  call(names: Names): SqliteCall;
}

export interface Batch {
  /** How much later it is than the batch before. */
  readonly wait: Millis;
  /** Either all read or all write. */
  readonly steps: readonly Step[];
}

export const USERS: readonly string[] = ["ann", "bob", "carol"];
export const DEVICES: readonly string[] = ["d1", "d2", "d3", "d4"];

/** As many as there can be. */
const ALL = 10_000;

function step(
  operation: SqliteOperation,
  given: unknown,
  args: (names: Names) => readonly unknown[],
): Step {
  return {
    operation,
    given,
    call: (names) => ({ id: 0, operation, now: names.now(), args: args(names) }) as SqliteCall,
  };
}

export const pending = (user: string, device: string): Step =>
  step("pending", { user, device }, () => [user, device, ALL]);

export const devicesOf = (user: string): Step => step("devices", { user }, () => [user]);

export const tail = (position: number): Step =>
  step("tail", { position }, (names) => [names.position(position), ALL]);

export const mutesOf = (user: string): Step => step("mutes", { user }, () => [user]);

/** With the weights of that time. */
export const circleOf = (user: string): Step =>
  step("circle", { user }, (names) => [user, 10, names.now()]);

export const nextDue: Step = step("nextDue", {}, () => []);

export const claim = (owner: string, leaseMs: Millis): Step =>
  step("claim", { owner, leaseMs }, () => [owner, leaseMs, ALL]);

const user = fc.constantFrom(...USERS);
const device = fc.constantFrom(...DEVICES);
const owner = fc.constantFrom("s1", "s2");
const token = fc.constantFrom("t1", "t2");
const someDevices = fc.subarray([...DEVICES]);
const rows = fc.array(fc.nat(60), { maxLength: 4 });

/** A message is what its number says; what happens to it is not. */
const holdRequest = fc
  .record({
    number: fc.nat(30),
    user,
    conversation: fc.constantFrom("ann", "eve"),
    rings: fc.constantFrom(30 * SECOND, 30 * SECOND, 10 * SECOND, 0),
    ends: fc.oneof({ weight: 8, arbitrary: fc.constant(new Uint8Array()) }, fc.nat(30).map(idOf)),
    delay: fc.constantFrom(0, 10 * SECOND),
    exclude: someDevices,
    sent: someDevices,
    orUser: fc.boolean(),
    digest: fc.constantFrom("same", "same", "same", "other"),
  })
  .map(({ number, ...wanted }) =>
    request({
      id: idOf(number),
      from: number % 2 === 0 ? "ann" : "eve",
      to: USERS[number % 3]!,
      outbox: number % 4,
      n: isCall(number) && number !== 7 ? 0 : number % 5,
      wake: CLASSES[number % CLASSES.length]!,
      ...wanted,
    }),
  );

const CLASSES: readonly WakeClass[] = ["message", "call", "message", "message", "silent", "none"];

function isCall(number: number): boolean {
  return CLASSES[number % CLASSES.length] === "call";
}

/** The same number is the same id; a greater one is older. */
function idOf(number: number): Uint8Array {
  const id = new Uint8Array(16);
  const view = new DataView(id.buffer);
  const time = START - number * HOUR;
  view.setUint32(0, Math.floor(time / 65_536));
  view.setUint16(4, time % 65_536);
  view.setUint32(12, number);
  return id;
}

const hold = fc
  .array(holdRequest, { minLength: 1, maxLength: 3 })
  .map((requests) => step("hold", requests, () => [requests]));

const arrive = fc
  .record({
    user,
    device,
    durable: fc.constantFrom(true, true, true, false),
    protocols: fc.constantFrom(["ws"], ["ws", "tcp"]),
    token: fc.option(token, { nil: undefined }),
    lastEpoch: fc.nat(20),
    more: fc.integer({ min: 1, max: 20 }),
  })
  .map(({ user, device, token, more, ...rest }) => {
    const epoch = rest.lastEpoch + more;
    const { push: _, ...silent } = arrival(user, device, { ...rest, epoch });
    const wanted = token === undefined ? silent : { ...silent, push: registration(token) };
    return step("arrive", wanted, () => [wanted]);
  });

const outcome: fc.Arbitrary<WakeOutcome> = fc.oneof(
  fc.constantFrom<WakeOutcome>({ kind: "sent" }, { kind: "sent", named: "s1" }),
  fc.constant<WakeOutcome>({ kind: "sent", named: "s2" }),
  fc.constantFrom<WakeOutcome>({ kind: "later", delay: 0 }, { kind: "later", delay: 5 * SECOND }),
  token.map((token): WakeOutcome => ({ kind: "gone", token })),
);

/** What is claimed is of messages, or of a call. */
const call = fc.oneof(
  fc.constant(""),
  fc
    .nat(30)
    .filter(isCall)
    .map((number) => idOf(number).toHex()),
);

const ofRows = (operation: "settle" | "markSent"): fc.Arbitrary<Step> =>
  rows.map((numbers) =>
    step(operation, numbers, (names) => [
      numbers.map((number) => names.row(number)).filter((row) => row !== undefined),
    ]),
  );

/** Another server's clock may be behind by a little, or by much. */
const strengthen = fc
  .array(
    fc.record({
      pair: fc.constantFrom(["ann", "bob"], ["ann", "carol"], ["bob", "carol"], ["bob", "bob"]),
      messages: fc.constantFrom(1, 2, 0.01),
      behind: fc.constantFrom(0, 0, SECOND, 40 * DAY),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((given) =>
    step("strengthen", given, (names) => [
      given.map(({ pair, messages, behind }) => ({
        a: pair[0],
        b: pair[1],
        long: messages,
        short: messages,
        at: names.now() - behind,
      })),
    ]),
  );

const ofTies: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: strengthen },
  {
    weight: 2,
    arbitrary: fc.constant(step("fade", {}, (names) => ["", names.now() + 200 * DAY])),
  },
  { weight: 1, arbitrary: user.map((user) => step("erase", { user }, () => [user])) },
);

const write: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: hold },
  { weight: 4, arbitrary: arrive },
  { weight: 3, arbitrary: ofRows("settle") },
  { weight: 1, arbitrary: ofRows("markSent") },
  {
    weight: 1,
    arbitrary: fc
      .tuple(user, device, token)
      .map(([user, device, token]) =>
        step("register", { user, device, token }, () => [user, device, [], registration(token)]),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(user, device)
      .map(([user, device]) => step("forget", { user, device }, () => [user, device])),
  },
  { weight: 1, arbitrary: fc.constant(step("retire", {}, (names) => [names.now(), ""])) },
  {
    weight: 1,
    arbitrary: fc
      .nat(30)
      .map((number) => step("expire", { number }, () => [START - number * HOUR])),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(owner, fc.constantFrom(SECOND, MINUTE))
      .map(([owner, leaseMs]) => claim(owner, leaseMs)),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(owner, user, device, call, outcome)
      .map(([owner, user, device, call, outcome]) =>
        step("done", { owner, user, device, call, outcome }, () => [
          owner,
          [{ user, device, call, outcome }],
        ]),
      ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(user, device, fc.nat(6))
      .map(([user, device, generation]) =>
        step("clear", { user, device, generation }, () => [user, device, generation]),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(user, device)
      .map(([user, device]) => step("unregister", { user, device }, () => [user, device])),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        user,
        device,
        fc.constantFrom("", "c1", "c2"),
        fc.constantFrom(0, SECOND, MINUTE, HOUR, 40 * DAY),
      )
      .map(([user, device, conversation, wait]) =>
        step("quiet", { user, device, conversation, wait }, (names) => [
          user,
          device,
          conversation,
          wait === 0 ? 0 : names.now() + wait,
        ]),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(user, device)
      .map(([user, device]) => step("leave", { user, device }, () => [user, device])),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(30), user, fc.constantFrom("ann", "eve"))
      .map(([number, user, other]) =>
        step("end", { number, user, other }, () => [
          [{ call: idOf(number), between: [user, other] }],
        ]),
      ),
  },
  { weight: 4, arbitrary: ofTies },
);

const read: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(user, device).map(([user, device]) => pending(user, device)),
  fc.nat(5).map(tail),
  user.map(devicesOf),
  user.map(mutesOf),
  user.map(circleOf),
  fc.constant(nextDue),
);

export const batch: fc.Arbitrary<Batch> = fc.record({
  wait: fc.constantFrom(0, 0, 1, SECOND, 8 * SECOND, 10 * SECOND, MINUTE, HOUR, 8 * DAY, 31 * DAY),
  steps: fc.oneof(
    { weight: 3, arbitrary: fc.array(write, { minLength: 1, maxLength: 8 }) },
    { weight: 1, arbitrary: fc.array(read, { minLength: 1, maxLength: 3 }) },
  ),
});
