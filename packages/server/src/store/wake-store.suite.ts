import { expect } from "bun:test";

import type { Millis } from "@beckon/protocol";

import type { Store, WakeOutcome } from "./store.ts";
import type { Law } from "./store.suite.ts";
import {
  DAY,
  HOUR,
  MINUTE,
  SECOND,
  START,
  arrival,
  held,
  newId,
  registration,
  request,
} from "./test-support/requests.ts";
import type { Wanted } from "./test-support/requests.ts";

const ALL = 1_000;

const hold = async (store: Store, wanted: Wanted = {}) =>
  held((await store.messages.hold([request(wanted)]))[0]);

const claim = (store: Store, owner = "a", leaseMs: Millis = MINUTE, limit = ALL) =>
  store.wakes.claim(owner, leaseMs, limit);

const claimed = async (store: Store, owner = "a"): Promise<string[]> =>
  (await claim(store, owner)).map(({ user, device }) => `${user}/${device}`);

const done = (store: Store, outcome: WakeOutcome, owner = "a", call = "") =>
  store.wakes.done(owner, [{ user: "bob", device: "phone", call, outcome }]);

/** A call by Ann, to Bob; answers its id, and the same in hex. */
async function ring(store: Store, wanted: Wanted = {}): Promise<[Uint8Array, string]> {
  const id = newId();
  await hold(store, { wake: "call", id, n: 0, ...wanted });
  return [id, id.toHex()];
}

const end = (store: Store, call: Uint8Array, between: [string, string] = ["ann", "bob"]) =>
  store.wakes.end([{ call, between }]);

/** What was claimed, in a word each. */
async function told(store: Store, owner = "a"): Promise<string[]> {
  const intents = await claim(store, owner);
  return intents.map((one) => (one.ended ? "ended" : one.class)).toSorted();
}

/** Bob's only row is settled. */
async function settleAll(store: Store, device = "phone"): Promise<void> {
  const rows = await store.messages.pending("bob", device, ALL);
  await store.messages.settle(rows.map(({ row }) => row));
}

export function wakeStoreLaws(law: Law): void {
  law("M7: a hold makes one intent for each device with a new row", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone", { protocols: ["ws", "tcp"] }));
    await a.devices.arrive(arrival("bob", "laptop"));
    await a.devices.arrive(arrival("bob", "watch"));
    const id = newId(START - HOUR);
    await hold(a, { id, exclude: ["laptop"], conversation: "ann", preview: "hi", server: "s1" });
    const intents = await claim(b);
    expect(intents.map(({ device }) => device).toSorted()).toEqual(["phone", "watch"]);
    const phone = intents.find(({ device }) => device === "phone")!;
    expect(phone).toEqual({
      user: "bob",
      device: "phone",
      generation: phone.generation,
      class: "message",
      call: "",
      ended: false,
      attempts: 0,
      activity: 1,
      conversation: "ann",
      server: "s1",
      preview: "hi",
      expires: START - HOUR + 30 * DAY,
      protocols: ["ws", "tcp"],
      push: registration("token of bob's phone"),
    });
    expect(phone.generation).toBeGreaterThan(0);
  });

  law("an intent falls due after its delay, and no earlier", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("eve", "laptop"));
    expect((await hold(a, { user: "eve", to: "eve" })).due).toEqual(["laptop"]);
    expect((await hold(a, { delay: 10 * SECOND })).due).toEqual([]);
    expect(await claimed(b)).toEqual(["eve/laptop"]);
    advance(10 * SECOND - 1);
    expect(await claimed(b)).toEqual([]);
    advance(1);
    expect(await claimed(b)).toEqual(["bob/phone"]);
  });

  law("class none makes no intent, and no repeat of one", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    expect((await hold(a, { wake: "none" })).due).toEqual([]);
    expect(await claim(b)).toEqual([]);
    await hold(a);
    await hold(a, { wake: "none", conversation: "eve" });
    expect(await claim(b)).toMatchObject([{ activity: 1, conversation: "ann" }]);
  });

  law("messages coalesce into the intent", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const first = await hold(a, { preview: "one", id: newId(START) });
    const { generation } = await b.devices.arrive(arrival("bob", "phone"));
    const newer = { preview: "two", conversation: "eve", server: "s2", id: newId(START - DAY) };
    const second = await hold(b, newer);
    expect([first.due, second.due]).toEqual([["phone"], []]);
    expect(await b.devices.arrive(arrival("bob", "phone"))).toMatchObject({
      generation: generation + 1,
    });
    // The store's clock has not moved; the device has just arrived.
    expect(await claim(a)).toEqual([]);
  });

  law("a coalesced intent speaks for the newest, and counts all", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, { preview: "one", id: newId(START) });
    await hold(b, { preview: "two", conversation: "eve", server: "s2", id: newId(START - DAY) });
    expect(await claim(a)).toMatchObject([
      { activity: 2, conversation: "eve", server: "s2", preview: "two", expires: START + 30 * DAY },
    ]);
  });

  law("a repeated hold changes no intent", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const message: Wanted = { id: newId() };
    await hold(a, message);
    expect((await hold(b, { ...message, server: "s2" })).due).toEqual([]);
    expect(await claim(a)).toMatchObject([{ activity: 1, server: "server-1" }]);
  });

  law("a message outranks what is silent", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, { wake: "silent", conversation: "s" });
    await hold(a, { wake: "message", conversation: "m" });
    await hold(a, { wake: "silent", conversation: "t" });
    expect(await claim(b, "b", 0)).toMatchObject([
      { class: "message", conversation: "m", activity: 3 },
    ]);
  });

  law("a call has an intent of its own, due at once, beside that for messages", async (harness) => {
    const { a, b } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, { delay: MINUTE, conversation: "m" });
    const id = newId();
    const call: Wanted = { id, wake: "call", n: 0, conversation: "c", server: "s2", preview: "hi" };
    expect((await hold(b, call)).due).toEqual(["phone"]);
    const [intent, ...others] = await claim(a);
    expect(others).toEqual([]);
    expect(intent).toMatchObject({
      class: "call",
      call: id.toHex(),
      ended: false,
      attempts: 0,
      activity: 1,
      conversation: "c",
      server: "s2",
      preview: "hi",
      expires: harness.now() + 30 * SECOND,
      push: registration("token of bob's phone"),
    });
    expect(intent!.generation).toBeGreaterThan(0);
    // A repeat is none of its own.
    expect((await hold(b, call)).due).toEqual([]);
    expect(await claim(b, "b")).toEqual([]);
  });

  law(
    "a call is due again every 8 s while it rings, and then it is a message, told of at once",
    async ({ a, b, advance }) => {
      await a.devices.arrive(arrival("bob", "phone"));
      const [, call] = await ring(a, { preview: "hi", server: "s2" });
      for (const [attempts, wait] of [8, 8, 8, 6].entries()) {
        expect(await claim(b, "b", SECOND)).toMatchObject([{ class: "call", call, attempts }]);
        await done(b, { kind: "sent" }, "b", call);
        advance(wait * SECOND - 1);
        expect(await claim(a)).toEqual([]);
        expect(await a.wakes.nextDue()).toBe(1);
        advance(1);
      }
      const message = { class: "message", call: "", conversation: "ann", preview: "hi" };
      expect(await claim(b, "b")).toMatchObject([
        { ...message, server: "s2", attempts: 0, expires: START + 30 * DAY },
      ]);
      await done(b, { kind: "sent" }, "b");
      expect(await a.wakes.nextDue()).toBe(MINUTE);
    },
  );

  law("a missed call does not wait for the turn of earlier messages", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a);
    await done(a, { kind: "sent" });
    await ring(a, { rings: 2 * SECOND });
    // The intent is leased as the call ends, and once more as it is not.
    advance(2 * SECOND);
    expect(await claim(a, "a", 30 * SECOND)).toMatchObject([{ class: "message", activity: 2 }]);
    await ring(a, { rings: SECOND });
    advance(SECOND);
    expect(await claim(b, "b")).toEqual([]);
    await done(a, { kind: "sent" });
    expect(await claim(b, "b")).toMatchObject([{ class: "message", activity: 3 }]);
  });

  law("a call that has no time left to ring is a message", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, { wake: "call", rings: 0 });
    expect(await claim(b)).toMatchObject([{ class: "message", call: "" }]);
  });

  law("four calls ring at a device at a time; a further one is a message", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const calls = [];
    for (let count = 0; count < 4; count++) calls.push((await ring(a))[1]);
    await hold(a, { wake: "call", conversation: "fifth" });
    const intents = await claim(b);
    expect(intents.map(({ call }) => call).toSorted()).toEqual([...calls, ""].toSorted());
    expect(intents.find(({ call }) => call === "")).toMatchObject({
      class: "message",
      conversation: "fifth",
      activity: 1,
    });
  });

  law("a call that the device has got rings no longer", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, { delay: MINUTE });
    const { rows } = await hold(a, { wake: "call", n: 0 });
    await b.messages.settle(rows.map(({ row }) => row));
    expect(await claim(b)).toEqual([]);
    expect(await b.wakes.nextDue()).toBe(MINUTE);
  });

  law("an end tells who was pushed to, once, and nobody else", async (harness) => {
    const { a, b, advance, now } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const [id, call] = await ring(a, { preview: "hi" });
    expect(await claim(a, "a")).toHaveLength(2);
    await done(a, { kind: "sent" }, "a", call);
    const later = { kind: "later", delay: SECOND } as const;
    await a.wakes.done("a", [{ user: "bob", device: "laptop", call, outcome: later }]);
    await end(b, id, ["bob", "ann"]);
    await end(a, id);
    const said = { device: "phone", class: "silent", call, ended: true, conversation: "ann" };
    expect(await claim(b, "b")).toMatchObject([
      { ...said, preview: "", expires: now() + 10 * MINUTE },
    ]);
    await done(b, { kind: "sent" }, "b", call);
    // The call is held as before, and rings no more, nor is it told of as missed.
    advance(HOUR);
    expect(await b.wakes.nextDue()).toBeUndefined();
    expect(await b.messages.pending("bob", "phone", ALL)).toHaveLength(1);
  });

  law("an end that comes while a push is under way is told after it", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const [sent, first] = await ring(a);
    await claim(a);
    await end(b, sent);
    expect(await claim(b, "b")).toEqual([]);
    await done(a, { kind: "sent" }, "a", first);
    expect(await told(b, "b")).toEqual(["ended"]);
    await done(b, { kind: "sent" }, "b", first);
    // That push was not sent.
    const [unsent, second] = await ring(a);
    await claim(a);
    await end(b, unsent);
    await done(a, { kind: "later", delay: SECOND }, "a", second);
    advance(MINUTE);
    expect(await claim(b)).toEqual([]);
    // Nobody knows whether that one was: its server has died.
    const [lost] = await ring(a);
    await claim(a, "a", SECOND);
    await end(b, lost);
    advance(SECOND);
    expect(await told(b)).toEqual(["ended"]);
  });

  law("an end is told to who leaves while a push is under way", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const [id, call] = await ring(a);
    await claim(a);
    await b.wakes.leave("bob", "phone");
    await done(a, { kind: "sent" }, "a", call);
    await end(b, id);
    expect(await told(b)).toEqual(["ended"]);
  });

  law(
    "L5: a push that rings cannot overtake that of the end, though the device comes or goes",
    async (harness) => {
      const { a, b, advance } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      const [gone, first] = await ring(a);
      await claim(a);
      await b.wakes.leave("bob", "phone");
      // The first push may reach the push service later than what would be sent now.
      expect(await claim(b, "b")).toEqual([]);
      await end(b, gone);
      await b.wakes.leave("bob", "phone");
      expect(await claim(b, "b")).toEqual([]);
      await done(a, { kind: "sent" }, "a", first);
      expect(await told(b)).toEqual(["ended"]);

      const [back, second] = await ring(a);
      await claim(a);
      await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
      await b.wakes.leave("bob", "phone");
      expect(await claim(b, "b")).toEqual([]);
      await done(a, { kind: "later", delay: SECOND }, "a", second);
      expect(await claim(b, "b", 10 * SECOND)).toMatchObject([{ call: second, ended: false }]);
      // Its server has died: whether it was pushed is not known.
      await end(a, back);
      await b.wakes.leave("bob", "phone");
      expect(await claim(a)).toEqual([]);
      advance(10 * SECOND);
      expect(await told(a)).toEqual(["ended"]);
    },
  );

  law("a call that is claimed as its device arrives rings only if it is left", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    const [, call] = await ring(a);
    await claim(a);
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    await done(a, { kind: "later", delay: SECOND }, "a", call);
    advance(9 * SECOND);
    expect(await claim(b)).toEqual([]);
    advance(SECOND);
    expect(await claim(b)).toMatchObject([{ call, ended: false, attempts: 0 }]);
  });

  law("an end is of a call between these two users", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const [id] = await ring(a);
    await end(b, id, ["bob", "eve"]);
    await end(b, id, ["eve", "ann"]);
    await end(b, newId());
    expect(await told(a)).toEqual(["call"]);
  });

  law("a call that has ended before it is held does not ring", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const id = newId();
    await end(b, id);
    expect((await hold(a, { id, wake: "call", n: 0 })).due).toEqual([]);
    expect(await b.wakes.nextDue()).toBeUndefined();
    // Who knows its id cannot keep another's from ringing.
    const other = newId();
    await end(b, other, ["eve", "bob"]);
    await hold(a, { id: other, wake: "call", n: 0 });
    expect(await told(b)).toEqual(["call"]);
    advance(3 * MINUTE);
    const third = newId();
    await end(b, third);
    advance(3 * MINUTE);
    await hold(a, { id: third, wake: "call", n: 0 });
    expect(await told(b)).toContain("call");
  });

  law("a hold ends a call, unless it is refused", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("ann", "phone"));
    const [id, call] = await ring(a);
    await claim(a);
    await done(a, { kind: "sent" }, "a", call);
    const answer: Wanted = { id: newId(), from: "bob", user: "ann", wake: "none", digest: "one" };
    await hold(a, answer);
    await b.messages.hold([request({ ...answer, digest: "another", ends: id })]);
    expect(await claim(b, "b")).toEqual([]);
    // A repeat of it is one that ends it.
    await hold(b, { ...answer, ends: id });
    expect(await told(b, "b")).toEqual(["ended"]);
  });

  law(
    "a device that arrives hears of no end, and of a call again if it leaves it",
    async (harness) => {
      const { a, b, advance } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      const [over, first] = await ring(a);
      const [, second] = await ring(a);
      await claim(a);
      await done(a, { kind: "sent" }, "a", first);
      await done(a, { kind: "sent" }, "a", second);
      await end(a, over);
      const { generation } = await b.devices.arrive(arrival("bob", "phone"));
      expect(generation).toBeGreaterThan(0);
      expect(await claim(b)).toEqual([]);
      advance(9 * SECOND);
      expect(await claim(b)).toEqual([]);
      await a.wakes.leave("bob", "phone");
      expect(await claim(b)).toMatchObject([{ call: second, attempts: 0 }]);
      await settleAll(b);
      expect(await b.wakes.clear("bob", "phone", generation)).toBe(0);
      expect(await b.wakes.nextDue()).toBeUndefined();
    },
  );

  law("calls to a user without a device ring at the first", async ({ a, b }) => {
    const [, call] = await ring(a);
    const [over] = await ring(a);
    await end(b, over);
    await b.devices.register("bob", "phone", ["ws"], registration("t"));
    expect(await claim(a)).toMatchObject([{ device: "phone", class: "call", call }]);
  });

  law("L5: a claim is exclusive until its lease ends, over all handles", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    const both = await Promise.all([claim(a, "a", 30 * SECOND), claim(b, "b", 30 * SECOND)]);
    expect(both.flat()).toHaveLength(1);
    const other = both[0].length === 1 ? b : a;
    advance(30 * SECOND - 1);
    expect(await claim(other, "c")).toEqual([]);
    advance(1);
    expect(await claimed(other, "c")).toEqual(["bob/phone"]);
  });

  law("the longest due are claimed first, and at most the limit", async ({ a, b, advance }) => {
    for (const [at, user] of ["u1", "u2", "u3"].entries()) {
      await a.devices.arrive(arrival(user, "phone"));
      await hold(a, { user, delay: (3 - at) * SECOND });
    }
    advance(3 * SECOND);
    const first = await claim(b, "b", MINUTE, 2);
    expect(first.map(({ user }) => user)).toEqual(["u3", "u2"]);
    expect(await claimed(b)).toEqual(["u1/phone"]);
  });

  law("only devices with a push registration are claimed", async ({ a, b }) => {
    const { push: _, ...silent } = arrival("bob", "phone");
    await a.devices.arrive(silent);
    await hold(a);
    expect(await claim(b)).toEqual([]);
    expect(await b.wakes.nextDue()).toBeUndefined();
    await b.devices.register("bob", "phone", ["ws"], registration("late"));
    expect(await claim(b)).toMatchObject([{ push: registration("late") }]);
  });

  law(
    "L5: a claim passes over what it is told to, and takes what is behind it",
    async ({ a, b, advance }) => {
      for (const user of ["u1", "u2", "u3"]) {
        const provider = user === "u3" ? "quick" : "slow";
        const push = { ...registration(user), provider };
        await a.devices.arrive(arrival(user, "phone", { push }));
        await hold(a, { user, to: user });
        advance(SECOND);
      }
      const users = (intents: readonly { user: string }[]): string[] =>
        intents.map(({ user }) => user);
      expect(users(await b.wakes.claim("b", MINUTE, 1, ["slow", "other"]))).toEqual(["u3"]);
      expect(users(await b.wakes.claim("b", MINUTE, ALL, ["slow"]))).toEqual([]);
      expect(users(await a.wakes.claim("a", MINUTE, ALL, []))).toEqual(["u1", "u2"]);
    },
  );

  law(
    "sent: due again after 1 min, 10 min and 1 h, then no more until a new message",
    async ({ a, b, advance }) => {
      await a.devices.arrive(arrival("bob", "phone"));
      await hold(a);
      for (const [attempts, wait] of [MINUTE, 10 * MINUTE, HOUR].entries()) {
        expect(await claim(b, "b", SECOND)).toMatchObject([{ attempts }]);
        await done(b, { kind: "sent" }, "b");
        advance(wait - 1);
        expect(await claim(a)).toEqual([]);
        expect(await a.wakes.nextDue()).toBe(1);
        advance(1);
      }
      expect(await claim(b, "b")).toMatchObject([{ attempts: 3 }]);
      await done(b, { kind: "sent" }, "b");
      expect(await a.wakes.nextDue()).toBeUndefined();
      advance(10 * DAY);
      expect(await claim(a)).toEqual([]);
      // A new message begins anew.
      await hold(a);
      expect(await claim(a)).toMatchObject([{ attempts: 0, activity: 2 }]);
      const { generation } = await a.devices.arrive(arrival("bob", "phone"));
      expect(generation).toBeGreaterThan(0);
    },
  );

  law("later: due after the delay, not counted", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a);
    await done(a, { kind: "later", delay: 5 * SECOND });
    advance(5 * SECOND - 1);
    expect(await claim(b)).toEqual([]);
    advance(1);
    expect(await claim(b)).toMatchObject([{ attempts: 0 }]);
  });

  law("gone: the registration is removed if it is still that one", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone", { push: registration("old") }));
    await hold(a);
    await claim(a);
    await b.devices.register("bob", "phone", ["ws"], registration("new"));
    await done(a, { kind: "gone", token: "old" });
    // The new one has not been tried: due at once.
    expect(await claim(a)).toMatchObject([{ attempts: 0, push: registration("new") }]);
    await done(a, { kind: "gone", token: "new" });
    expect(await claim(b)).toEqual([]);
    const { devices } = await b.devices.devices("bob");
    expect(devices.map((device) => "push" in device)).toEqual([false]);
    await b.devices.register("bob", "phone", ["ws"], registration("newest"));
    expect(await claim(b)).toMatchObject([{ attempts: 0, push: registration("newest") }]);
  });

  law("done is ignored where the lease is another's by now", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a, "a", SECOND);
    advance(SECOND);
    await claim(b, "b", MINUTE);
    await done(a, { kind: "later", delay: 0 }, "a");
    await done(a, { kind: "gone", token: "token of bob's phone" }, "a");
    expect(await claim(a)).toEqual([]);
    advance(MINUTE);
    expect(await claim(a)).toMatchObject([{ attempts: 0 }]);
  });

  law("done is ignored where the device has arrived since", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a, "a", SECOND);
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    await done(a, { kind: "sent" });
    await done(a, { kind: "gone", token: "token of bob's phone" });
    advance(10 * SECOND);
    expect(await claim(b)).toMatchObject([{ attempts: 0 }]);
  });

  law(
    "L5: a device that leaves rows behind is pushed at once, whatever was sent while it was here",
    async (harness) => {
      const { a, b } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      await hold(a);
      await claim(a);
      await done(a, { kind: "sent" });
      await b.wakes.leave("bob", "phone");
      expect(await claim(b, "b")).toMatchObject([{ attempts: 0 }]);
      // The lease that was under way as it left is none any more.
      await a.wakes.leave("bob", "phone");
      await done(b, { kind: "sent" }, "b");
      expect(await a.wakes.nextDue()).toBe(0);

      await settleAll(a);
      expect(await claim(a)).toEqual([]);
      await a.wakes.leave("bob", "phone");
      await a.wakes.leave("bob", "tablet");
      await a.wakes.leave("eve", "phone");
      expect(await a.wakes.nextDue()).toBeUndefined();
    },
  );

  law("clear deletes the intent of that generation, without rows", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    expect(await b.wakes.clear("bob", "phone", 0)).toBe(0);
    await hold(a);
    const { generation } = await b.devices.arrive(arrival("bob", "phone"));
    expect(await b.wakes.clear("bob", "phone", generation)).toBe(generation);
    await settleAll(b);
    await hold(a);
    const raised = await b.wakes.clear("bob", "phone", generation);
    expect(raised).toBeGreaterThan(generation);
    await settleAll(b);
    expect(await b.wakes.clear("bob", "phone", generation)).toBe(raised);
    expect(await b.wakes.clear("bob", "phone", raised)).toBe(0);
    expect(await a.wakes.nextDue()).toBeUndefined();
    expect(await b.devices.arrive(arrival("bob", "phone"))).toMatchObject({ generation: 0 });
  });

  law("a generation is not used again", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    const first = (await b.devices.arrive(arrival("bob", "phone"))).generation;
    await settleAll(b);
    await b.wakes.clear("bob", "phone", first);
    await hold(a);
    const second = (await b.devices.arrive(arrival("bob", "phone"))).generation;
    expect(second).toBeGreaterThan(first);
  });

  law("L5: an intent that outlived its rows does not swallow the next message", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    for (const wait of [MINUTE, 10 * MINUTE, HOUR, HOUR]) {
      await claim(a);
      await done(a, { kind: "sent" });
      advance(wait);
    }
    await settleAll(b);
    expect((await hold(b, { conversation: "eve" })).due).toEqual(["phone"]);
    expect(await claim(a)).toMatchObject([{ attempts: 0, activity: 1, conversation: "eve" }]);
  });

  law("claim deletes an intent without rows", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("carol", "phone"));
    await hold(a);
    await settleAll(a);
    await hold(a, { user: "carol" });
    expect((await claim(b, "b", MINUTE, 1)).map(({ user }) => user)).toEqual(["carol"]);
    expect(await b.wakes.clear("bob", "phone", -1)).toBe(0);
  });

  law("an arrival puts the push off for 10 s, and its attempts start anew", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a);
    await done(a, { kind: "sent" });
    advance(MINUTE);
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    expect(await a.wakes.nextDue()).toBe(10 * SECOND);
    advance(10 * SECOND);
    expect(await claim(a)).toMatchObject([{ attempts: 0, activity: 1 }]);
    await done(a, { kind: "sent" });
    // The wait for the next repeat was for a device that stays away.
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 2, epoch: 3 }));
    expect(await a.wakes.nextDue()).toBe(10 * SECOND);
    // The wait that a push service asked for stays.
    advance(10 * SECOND);
    await claim(a);
    await done(a, { kind: "later", delay: HOUR });
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 3, epoch: 4 }));
    expect(await a.wakes.nextDue()).toBe(HOUR);
  });

  law("M8: an arrival tells once what was pushed for it, by whichever server", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    const before = await b.devices.arrive(arrival("bob", "phone"));
    expect(before.wake).toBeUndefined();
    advance(10 * SECOND);
    await claim(a);
    await done(a, { kind: "sent", named: "s1" });
    advance(4 * SECOND);
    const { wake } = await b.devices.arrive(arrival("bob", "phone"));
    expect(wake).toEqual({ since: 4 * SECOND, named: "s1", underWay: false });
    expect((await a.devices.arrive(arrival("bob", "phone"))).wake).toBeUndefined();
  });

  law("M8: an arrival tells of a push that may be under way", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await claim(a);
    const { wake } = await b.devices.arrive(arrival("bob", "phone"));
    expect(wake).toEqual({ since: undefined, named: "", underWay: true });
    advance(10 * SECOND);
    await claim(a);
    await done(a, { kind: "later", delay: MINUTE });
    expect((await b.devices.arrive(arrival("bob", "phone"))).wake).toBeUndefined();
  });

  law("a hold says how many intents took the message on beside others", async ({ a, b }) => {
    const { push: _, ...silent } = arrival("bob", "laptop");
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(silent);
    const coalesced = [await hold(a), await hold(b), await hold(b, { wake: "none" })];
    expect(coalesced.map((result) => result.coalesced)).toEqual([0, 1, 0]);
    await a.wakes.quiet("bob", "phone", "eve", START + DAY);
    expect(await hold(b, { conversation: "eve" })).toMatchObject({ coalesced: 0 });
    await settleAll(b);
    expect(await hold(b)).toMatchObject({ coalesced: 0 });
  });

  law("a session device's arrival changes no intent", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await b.devices.arrive(arrival("bob", "phone", { durable: false }));
    expect(await claimed(b)).toEqual(["bob/phone"]);
  });

  law("rows that a device adopts bring an intent", async ({ a, b, advance }) => {
    await hold(a, { conversation: "eve" });
    await hold(a, { conversation: "ann", preview: "hi" });
    const { generation } = await b.devices.arrive(arrival("bob", "phone"));
    expect(generation).toBeGreaterThan(0);
    expect(await a.wakes.nextDue()).toBe(10 * SECOND);
    advance(10 * SECOND);
    expect(await claim(a)).toMatchObject([
      { device: "phone", activity: 2, conversation: "ann", preview: "hi", attempts: 0 },
    ]);
  });

  law(
    "M7: a device that registers away from a connection is woken for what it adopts",
    async (harness) => {
      const { a, b } = harness;
      await hold(a);
      await b.devices.register("bob", "phone", ["ws"], registration("t"));
      expect(await claimed(a)).toEqual(["bob/phone"]);
    },
  );

  law("nextDue is the time until something can be claimed", async ({ a, b, advance }) => {
    expect(await b.wakes.nextDue()).toBeUndefined();
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("carol", "phone"));
    await hold(a, { delay: MINUTE });
    await hold(a, { user: "carol", delay: SECOND });
    expect(await b.wakes.nextDue()).toBe(SECOND);
    advance(5 * SECOND);
    expect(await b.wakes.nextDue()).toBe(0);
    await claim(b, "b", 10 * SECOND);
    expect(await b.wakes.nextDue()).toBe(10 * SECOND);
  });

  law("a device that became dormant is not woken", async ({ a, b, advance, now }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    advance(30 * DAY);
    await a.devices.retire(now());
    expect(await claim(b)).toEqual([]);
    expect(await b.wakes.nextDue()).toBeUndefined();
  });

  law(
    "a quiet conversation wakes none of the user's devices, and is held as ever",
    async (harness) => {
      const { a, b } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      await a.devices.arrive(arrival("bob", "laptop"));
      expect(await b.wakes.quiet("bob", "phone", "eve", START + HOUR)).toBe(true);
      const kept = await hold(a, { from: "eve" });
      expect([kept.rows.length, kept.due]).toEqual([2, []]);
      expect(await claim(b)).toEqual([]);
      expect(await b.messages.pending("bob", "phone", ALL)).toHaveLength(1);
      // Another conversation wakes, and does not speak for the quiet one; another user is not concerned.
      await hold(a, { from: "ann" });
      await hold(b, { from: "eve", wake: "silent" });
      await a.devices.arrive(arrival("carol", "phone"));
      await hold(a, { user: "carol", from: "eve" });
      const intents = await claim(b);
      expect(
        intents
          .map(({ user, conversation, activity }) => `${user} ${conversation} ${activity}`)
          .toSorted(),
      ).toEqual(["bob ann 1", "bob ann 1", "carol eve 1"]);
    },
  );

  law("what is held for a user without a device is quiet, too", async ({ a, b }) => {
    await a.wakes.quiet("bob", "", "eve", START + HOUR);
    await hold(a, { from: "eve" });
    expect(await b.devices.arrive(arrival("bob", "phone"))).toMatchObject({
      held: 1,
      generation: 0,
    });
  });

  law("a call rings in a quiet conversation", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.wakes.quiet("bob", "phone", "eve", START + HOUR);
    expect((await hold(a, { from: "eve", wake: "call" })).due).toEqual(["phone"]);
    const [rings] = await claim(b);
    expect(rings).toMatchObject({ class: "call", conversation: "eve", activity: 1 });
    await a.wakes.quiet("bob", "phone", "eve", START + 2 * HOUR);
    await done(b, { kind: "later", delay: 0 }, "a", rings!.call);
    expect(await claim(b)).toMatchObject([{ class: "call" }]);
  });

  law(
    "a conversation's quiet ends by its time or by a word, and what came meanwhile is not pushed",
    async ({ a, b, advance }) => {
      await a.devices.arrive(arrival("bob", "phone"));
      await a.wakes.quiet("bob", "phone", "eve", START + MINUTE);
      await a.wakes.quiet("bob", "phone", "dan", Number.MAX_SAFE_INTEGER);
      await a.wakes.quiet("bob", "phone", "ann", START);
      expect(await b.wakes.mutes("bob")).toEqual([
        { conversation: "dan", until: Number.MAX_SAFE_INTEGER },
        { conversation: "eve", until: START + MINUTE },
      ]);
      expect(await b.wakes.mutes("eve")).toEqual([]);
      advance(MINUTE - 1);
      await hold(a, { from: "eve" });
      await hold(a, { from: "dan" });
      advance(1);
      await a.wakes.quiet("bob", "phone", "dan", 0);
      expect(await b.wakes.mutes("bob")).toEqual([]);
      expect(await claim(b)).toEqual([]);
      expect(await b.wakes.nextDue()).toBeUndefined();
      await hold(a, { from: "eve" });
      await hold(a, { from: "dan" });
      expect(await claim(b)).toMatchObject([{ activity: 2 }]);
    },
  );

  law("an intent that is the quiet conversation's alone is not pushed again", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("carol", "phone"));
    await hold(a, { from: "eve" });
    for (const from of ["ann", "eve"]) await hold(a, { user: "carol", from });
    await claim(a);
    for (const user of ["bob", "carol"]) {
      await b.wakes.quiet(user, "phone", "eve", START + DAY);
      await done(a, { kind: "sent" }, "a", user);
    }
    advance(MINUTE);
    // Ann's message is unread.
    expect(await claimed(b)).toEqual(["carol/phone"]);
    expect((await hold(b, { from: "ann" })).due).toEqual(["phone"]);
    expect(await claim(b)).toMatchObject([{ user: "bob", attempts: 0, activity: 1 }]);
  });

  law(
    "a user has 1,000 quiet conversations: the one that ends first is forgotten",
    async (harness) => {
      const { a, b } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      const said = Array.from({ length: 1_000 }, (_, at) =>
        a.wakes.quiet("bob", "phone", `c${at}`, START + HOUR + ((at + 500) % 1_000)),
      );
      await Promise.all(said);
      await a.wakes.quiet("bob", "phone", "c7", START + DAY);
      expect(await b.wakes.mutes("bob")).toHaveLength(1_000);
      await b.wakes.quiet("bob", "phone", "one more", START + MINUTE);
      const names = (await a.wakes.mutes("bob")).map(({ conversation }) => conversation);
      expect(names).toHaveLength(1_000);
      expect(names).toContain("one more");
      expect(names).not.toContain("c500");
      expect((await hold(a, { from: "c500" })).due).toEqual(["phone"]);
    },
  );

  law("a quiet device is not pushed to, nor rung; at the end it is woken once", async (harness) => {
    const { a, b, advance } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    expect(await b.wakes.quiet("bob", "phone", "", START + HOUR)).toBe(true);
    expect(await b.wakes.quiet("bob", "watch", "", START + HOUR)).toBe(false);
    expect((await a.devices.devices("bob")).devices).toMatchObject([
      { device: "laptop" },
      { device: "phone", quietUntil: START + HOUR },
    ]);
    expect((await hold(a)).due).toEqual(["laptop"]);
    expect((await hold(a, { wake: "call" })).due).toEqual([]);
    await a.wakes.leave("bob", "phone");
    expect(await claimed(b)).toEqual(["bob/laptop", "bob/laptop"]);
    advance(HOUR - 1);
    await b.wakes.leave("bob", "phone");
    expect((await claimed(b)).filter((name) => name === "bob/phone")).toEqual([]);
    advance(1);
    expect((await claim(a, "a")).filter(({ device }) => device === "phone")).toMatchObject([
      { activity: 2, attempts: 0 },
    ]);
    await done(a, { kind: "sent" });
    advance(MINUTE - 1);
    expect((await claimed(b)).filter((name) => name === "bob/phone")).toEqual([]);
    // A message that comes when it is over finds nothing quiet.
    await a.devices.arrive(arrival("carol", "phone"));
    await a.wakes.quiet("carol", "phone", "", START + HOUR);
    expect((await hold(a, { user: "carol" })).due).toEqual(["phone"]);
  });

  law(
    "what a device's quiet has kept is due when it is lifted, or ends sooner",
    async (harness) => {
      const { a, b, advance } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      await hold(a);
      await claim(a);
      await b.wakes.quiet("bob", "phone", "", START + DAY);
      await done(a, { kind: "sent" });
      advance(HOUR);
      // Its repeat would have been due long ago.
      expect(await claim(b)).toEqual([]);
      expect(await b.wakes.nextDue()).toBe(DAY - HOUR);
      await a.wakes.quiet("bob", "phone", "", START + 2 * DAY);
      expect(await b.wakes.nextDue()).toBe(2 * DAY - HOUR);
      await a.wakes.quiet("bob", "phone", "", START + 2 * HOUR);
      expect(await b.wakes.nextDue()).toBe(HOUR);
      await a.wakes.quiet("bob", "phone", "", 0);
      expect(await claim(b)).toMatchObject([{ attempts: 1 }]);
      // What has another time of its own keeps it.
      await done(b, { kind: "later", delay: DAY });
      expect(await a.wakes.nextDue()).toBe(DAY);
      await a.wakes.quiet("bob", "phone", "", START + 2 * HOUR);
      await a.wakes.quiet("bob", "phone", "", 0);
      expect(await a.wakes.nextDue()).toBe(DAY);
    },
  );

  law("an arrival does not end the device's quiet", async ({ a, b, advance }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.wakes.quiet("bob", "phone", "", START + HOUR);
    await hold(a);
    await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    advance(MINUTE);
    expect(await claim(b)).toEqual([]);
    await b.wakes.leave("bob", "phone");
    await hold(b);
    expect(await claim(b)).toEqual([]);
    expect(await b.wakes.nextDue()).toBe(HOUR - MINUTE);
  });
}
