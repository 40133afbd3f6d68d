import { expect } from "bun:test";

import type { Millis } from "@beckon/protocol";

import type { Store, StoredTie, TieChange, TieSums } from "./store.ts";
import type { Law } from "./store.suite.ts";
import {
  DAY,
  HOUR,
  SECOND,
  START,
  arrival,
  held,
  newId,
  request,
} from "./test-support/requests.ts";
import { FADE_SLICE, weightAt } from "./ties.ts";

/** One message of that time, or so many. */
const change = (a: string, b: string, at: Millis = START, messages = 1): TieChange => ({
  a,
  b,
  long: messages,
  short: messages,
  at,
});

const circle = (store: Store, user: string, now: Millis = START, k = 64) =>
  store.associates.circle(user, k, now);

const peers = async (store: Store, user: string, now: Millis = START, k = 64) =>
  (await circle(store, user, now, k)).map(({ peer }) => peer);

const weights = (ties: readonly StoredTie[], now: Millis): number[] =>
  ties.map((tie) => weightAt(tie, now));

const named = async (store: Store): Promise<(string | undefined)[]> =>
  (await circle(store, "ann")).map((tie) => tie.named);

/** Sums after so many half-lives of a tie that began with one message. */
const close = (actual: TieSums, expected: TieSums): void => {
  expect(actual.long).toBeCloseTo(expected.long, 9);
  expect(actual.short).toBeCloseTo(expected.short, 9);
  expect(actual.at).toBe(expected.at);
};

/** Bob's phone is pushed to for a message of Ann's, in the name of a server. */
async function push(store: Store, device: string, server: string): Promise<void> {
  for (const { user, device: due, call } of await store.wakes.claim("a", SECOND, 100)) {
    const outcome =
      due === device
        ? ({ kind: "sent", named: server } as const)
        : ({ kind: "later", delay: 0 } as const);
    await store.wakes.done("a", [{ user, device: due, call, outcome }]);
  }
}

const members = (count: number, name = "u"): string[] =>
  Array.from({ length: count }, (_, at) => `${name}${String(at).padStart(5, "0")}`);

export function associateStoreLaws(law: Law): void {
  law("what one handle adds to a pair both users have, at the other handle", async ({ a, b }) => {
    await a.associates.strengthen([{ ...change("ann", "bob"), long: 1.5, short: 0.25 }]);
    const sums = { long: 1.5, short: 0.25, at: START };
    expect(await circle(b, "ann")).toEqual([{ peer: "bob", ...sums }]);
    expect(await circle(b, "bob")).toEqual([{ peer: "ann", ...sums }]);
    expect(await circle(b, "cat")).toEqual([]);
  });

  law("a later change is added to what has decayed until then", async ({ a, b }) => {
    const later = START + 30 * DAY;
    await a.associates.strengthen([change("ann", "bob", START, 4)]);
    await b.associates.strengthen([change("ann", "bob", later)]);
    const [tie] = await circle(a, "ann", later);
    close(tie!, { long: 3, short: 1, at: later });
  });

  law("it does not matter whose change comes first", async ({ a, b }) => {
    const [early, late] = [change("ann", "bob", START, 2), change("ann", "bob", START + 6 * HOUR)];
    await a.associates.strengthen([early]);
    await b.associates.strengthen([late]);
    await a.associates.strengthen([{ ...late, a: "ann", b: "cat" }]);
    await b.associates.strengthen([{ ...early, a: "ann", b: "cat" }]);
    const ties = await circle(a, "ann", START + 6 * HOUR);
    expect(ties).toHaveLength(2);
    const long = 1 + 2 * 2 ** (-6 / 720);
    for (const tie of ties) close(tie, { long, short: 2, at: START + 6 * HOUR });
  });

  law("changes of one pair in one call, and those of many calls, all count", async ({ a, b }) => {
    const one = change("ann", "bob");
    await a.associates.strengthen([one, change("bob", "cat"), one]);
    await Promise.all([a, b, a, b].map((store) => store.associates.strengthen([one, one])));
    const [tie] = await circle(b, "ann");
    close(tie!, { long: 10, short: 10, at: START });
    expect(await peers(b, "bob")).toEqual(["ann", "cat"]);
  });

  law("a batch of many changes is added to the last one", async ({ a, b }) => {
    const all = members(1_100);
    await a.associates.strengthen(all.map((user) => change("hub", user)));
    expect(await peers(b, all[0]!)).toEqual(["hub"]);
    expect(await peers(b, all.at(-1)!)).toEqual(["hub"]);
    expect(await peers(b, "hub")).toHaveLength(64);
  });

  law("the strongest come first, by what they weigh then", async ({ a, b }) => {
    const now = START + 7 * DAY;
    await a.associates.strengthen([change("ann", "old", START, 10), change("ann", "new", now)]);
    await a.associates.strengthen([change("ann", "e2", START), change("ann", "e1", START)]);
    expect(await peers(b, "ann", now)).toEqual(["new", "old", "e1", "e2"]);
    expect(await peers(b, "ann", now + 7 * DAY)).toEqual(["old", "new", "e1", "e2"]);
    expect(await peers(b, "ann", now, 1)).toEqual(["new"]);
    expect(await peers(b, "ann", now, 0)).toEqual([]);
  });

  law("a time that is not reached, or long past, harms no tie", async ({ a, b }) => {
    await a.associates.strengthen([change("ann", "bob"), change("ann", "cat", START + 99 * DAY)]);
    await b.associates.strengthen([change("ann", "bob", START - 9_999 * DAY)]);
    const ties = await circle(b, "ann", START - DAY);
    expect(weights(ties, START - DAY)).toEqual([21, 21]);
    expect(
      weights(await circle(b, "ann", START + 9_999 * DAY), START + 9_999 * DAY)[1],
    ).toBeCloseTo(0);
  });

  law(
    "L10: of more than 96 ties of a user all but the 64 strongest are dropped",
    async (harness) => {
      const { a, b } = harness;
      const all = members(96);
      await a.associates.strengthen(all.map((peer, at) => change("hub", peer, START, 1 + at)));
      expect(await peers(b, "hub", START, 1_000)).toEqual(all.toReversed().slice(0, 64));
      await b.associates.strengthen([change("hub", "z", START, 1_000)]);
      // What was dropped begins anew; what was only not shown would weigh more.
      await a.associates.strengthen(
        all.slice(0, 33).map((peer) => change("hub", peer, START, 1_000)),
      );
      const left = (await circle(b, "hub", START, 1_000)).map(({ long }) => long);
      expect(left.slice(0, 34)).toEqual(Array.from({ length: 34 }, () => 1_000));
      expect(left.slice(34)).toEqual(Array.from({ length: 30 }, (_, at) => 96 - at));
      expect(await peers(a, all[50]!)).toEqual(["hub"]);
    },
  );

  law("a tie that has decayed to nothing is dropped, and no other", async ({ a, b }) => {
    const now = START + 250 * DAY;
    await a.associates.strengthen([change("ann", "bob"), change("ann", "cat", START + 100 * DAY)]);
    await a.associates.strengthen([change("dan", "eve")]);
    expect(await b.associates.fade("", START + 100 * DAY)).toBe("");
    expect(await peers(a, "dan")).toEqual(["eve"]);
    expect(await b.associates.fade("", now)).toBe("");
    expect(await peers(a, "ann")).toEqual(["cat"]);
    expect([await peers(a, "bob"), await peers(a, "dan"), await peers(a, "cat")]).toEqual([
      [],
      [],
      ["ann"],
    ]);
  });

  law("L10: what has decayed is looked for slice by slice", async ({ a, b }) => {
    const users = members(FADE_SLICE / 2 + 10);
    await a.associates.strengthen(
      users.flatMap((user) => [change(user, "x-hub"), change(user, "y-hub")]),
    );
    const now = START + 999 * DAY;
    const after = await b.associates.fade("", now);
    // Of each user there are two ties.
    expect(after).toBe(users[FADE_SLICE / 2 - 1]!);
    expect(await peers(a, after)).toEqual([]);
    expect(await peers(a, users[FADE_SLICE / 2]!)).toHaveLength(2);
    expect(await b.associates.fade(after, now)).toBe("");
    expect(await peers(a, users.at(-1)!)).toEqual([]);
    expect(await peers(a, "x-hub")).toEqual([]);
  });

  law("nothing that names an erased user is left, however many knew it", async ({ a, b }) => {
    // More than one slice of any backend.
    const all = members(2_300);
    await a.associates.strengthen(all.map((user) => change("hub", user)));
    await a.associates.strengthen([change("ann", "bob"), change(all[0]!, "bob")]);
    await b.associates.erase("hub");
    expect(await peers(a, "hub")).toEqual([]);
    const left = await Promise.all(all.map((user) => peers(a, user)));
    expect(left.flat()).toEqual(["bob"]);
    expect(await peers(a, "bob")).toEqual(["ann", all[0]!]);
    await b.associates.erase("nobody");
    await a.associates.strengthen([change("ann", "hub")]);
    expect(await circle(b, "hub")).toEqual([{ peer: "ann", long: 1, short: 1, at: START }]);
  });

  law("M13: a tie tells which server a push to its peer names", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.associates.strengthen([change("ann", "bob", START, 2), change("ann", "cat")]);
    held((await a.messages.hold([request()]))[0]);
    // It is due; nothing has left yet.
    expect(await named(b)).toEqual([undefined, undefined]);
    await push(a, "phone", "s3");
    expect(await named(b)).toEqual(["s3", undefined]);
  });

  law(
    "M13: a push that led to a connection, or named nobody, names no server",
    async ({ a, b }) => {
      await a.devices.arrive(arrival("bob", "phone"));
      await a.associates.strengthen([change("ann", "bob")]);
      held((await a.messages.hold([request()]))[0]);
      await push(a, "phone", "");
      expect(await named(b)).toEqual([undefined]);
      held((await a.messages.hold([request({ id: newId() })]))[0]);
      await a.wakes.leave("bob", "phone");
      await push(a, "phone", "s3");
      expect(await named(b)).toEqual(["s3"]);
      await a.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
      expect(await named(b)).toEqual([undefined]);
    },
  );

  law("M13: of several devices, and of calls, the newest push counts", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "tablet"));
    await a.associates.strengthen([change("ann", "bob")]);
    held((await a.messages.hold([request()]))[0]);
    await push(a, "phone", "s1");
    advance(SECOND);
    await push(a, "tablet", "s2");
    expect(await named(b)).toEqual(["s2"]);
    advance(SECOND);
    held((await a.messages.hold([request({ wake: "call", id: newId(), n: 0 })]))[0]);
    await push(a, "phone", "s3");
    expect(await named(b)).toEqual(["s3"]);
    await a.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    expect(await named(b)).toEqual(["s2"]);
    await a.devices.forget("bob", "tablet");
    expect(await named(b)).toEqual([undefined]);
  });
}
