import { expect, test } from "bun:test";

import { Bed } from "./test-support/bed.ts";

/** Devices of so many users, which were here and have gone; each has a push service of this name. */
async function sleepers(bed: Bed, count: number, provider: string): Promise<string[]> {
  const users = Array.from({ length: count }, (_, at) => `${provider}-${at}`);
  for (const user of users) {
    const phone = await bed.servers.get("s1")!.connect(user, "phone", { provider });
    phone.disconnect();
  }
  return users;
}

test("L5: a push service that hangs holds up its own wakes alone, and gets no more than it may have at once", async () => {
  const bed = new Bed();
  bed.services.set("slow", 4_900);
  const s1 = bed.server("s1");
  const slow = await sleepers(bed, 2_000, "slow");
  const [quick] = await sleepers(bed, 1, "dev");
  const ann = await s1.connect("ann", "phone");
  for (const user of slow) ann.send(user, "hello");
  await bed.clock.advance(50);
  const atOnce = bed.pushes.length;
  expect(atOnce).toBe(4 * 256);
  ann.send(quick!, "hello");
  await bed.clock.advance(10);
  expect(bed.pushes.slice(atOnce).map(({ user }) => user)).toEqual([quick!]);
  // Nobody is forgotten, and nobody is pushed to twice.
  await bed.clock.advance(15_000);
  const pushed = bed.pushes.map(({ user }) => user);
  expect(pushed.toSorted()).toEqual([...slow, quick!].toSorted());
});

test("L5: a device that nothing can be said to holds up no other of its batch", async () => {
  const bed = new Bed();
  const s1 = bed.server("s1");
  bed.uncomposable.add("dev-0");
  await sleepers(bed, 3, "dev");
  const ann = await s1.connect("ann", "phone");
  for (const user of ["dev-0", "dev-1", "dev-2"]) ann.send(user, "hello");
  await bed.clock.advance(10);
  expect(bed.pushes.map(({ user }) => user)).toEqual(["dev-1", "dev-2"]);
  // The others are not pushed to once more with it.
  await bed.clock.advance(50_000);
  expect(bed.pushes).toHaveLength(2);
});

test("L5, M7: what a server has claimed as it ends is pushed at once, by it", async () => {
  const bed = new Bed();
  bed.slow.claim = 20;
  const { s1, ann } = await bobSleeps(bed);
  ann.send("bob", "ring", { wake: "call" });
  await bed.clock.advance(10);
  s1.delivery.stop();
  await bed.clock.advance(100);
  expect(bed.pushes).toHaveLength(1);
});

/** Bob's phone was here and has gone; ann is here. */
async function bobSleeps(bed: Bed) {
  const s1 = bed.server("s1");
  const bob = await s1.connect("bob", "phone");
  bob.disconnect();
  return { s1, ann: await s1.connect("ann", "phone") };
}

const countOf = ({ counts }: { readonly counts: readonly number[] }): number =>
  counts.reduce((sum, count) => sum + count, 0);

test("M7: every wake is counted, by its push service, its class and what became of it", async () => {
  const bed = new Bed();
  const { s1, ann } = await bobSleeps(bed);
  const counted = (wake: "message" | "call") =>
    Object.fromEntries(s1.counters.pushes.get("dev")?.get(wake) ?? []);
  bed.pushOutcome = { kind: "retry", after: 2_000 };
  ann.send("bob", "hello");
  await bed.clock.advance(10);
  expect(counted("message")).toEqual({ retry: 1 });
  bed.pushOutcome = { kind: "sent" };
  await bed.clock.advance(3_000);
  expect(counted("message")).toEqual({ retry: 1, sent: 1 });
  bed.pushOutcome = { kind: "rejected", reason: "too large" };
  ann.send("bob", "ring", { wake: "call" });
  await bed.clock.advance(10);
  expect(counted("call")).toEqual({ rejected: 1 });
  expect(s1.counters.sent).toBe(1);
});

test("M7: messages for which no push of their own was needed are counted", async () => {
  const bed = new Bed();
  const { s1, ann } = await bobSleeps(bed);
  for (const text of ["one", "two", "three"]) ann.send("bob", text);
  await bed.clock.advance(100);
  ann.send("bob", "four");
  await bed.clock.advance(100);
  expect(bed.pushes).toHaveLength(1);
  expect(s1.counters.coalesced).toBe(3);
  // These wake nobody.
  ann.send("bob", "five", { wake: "none" });
  await bed.clock.advance(100);
  expect(s1.counters.coalesced).toBe(3);
});

test("M7: how long a message waits until its wake leaves, and how long the push service takes, is counted", async () => {
  const bed = new Bed();
  Object.assign(bed.slow, { hold: 30, claim: 10 });
  bed.services.set("dev", 700);
  const { s1, ann } = await bobSleeps(bed);
  ann.send("bob", "hello");
  await bed.clock.advance(1_000);
  const { dispatch, answers } = s1.counters;
  expect(countOf(dispatch)).toBe(1);
  expect(dispatch.sum).toBeGreaterThanOrEqual(0.04);
  expect(dispatch.sum).toBeLessThan(0.7);
  expect(countOf(answers.get("dev")!)).toBe(1);
  expect(answers.get("dev")!.sum).toBeCloseTo(0.7, 3);
  // A repeat after a minute is no wait.
  await bed.clock.advance(70_000);
  expect(bed.pushes).toHaveLength(2);
  expect(countOf(dispatch)).toBe(1);
});

test("M7, L10: however many devices nobody pushes to, the waits of those that are pushed to are counted", async () => {
  const bed = new Bed();
  const { s1, ann } = await bobSleeps(bed);
  const { devices } = s1.store;
  for (let at = 0; at <= 10_000; at += 8) {
    const names = Array.from({ length: 8 }, (_, n) => `phone-${n}`);
    for (const name of names) (await s1.connect(`mute-${at}`, name)).disconnect();
    await Promise.all([
      ...names.map((name) => devices.unregister(`mute-${at}`, name)),
      bed.clock.advance(0),
    ]);
    ann.send(`mute-${at}`, "hello");
  }
  await bed.clock.advance(10);
  expect(countOf(s1.counters.dispatch)).toBe(0);
  ann.send("bob", "hello");
  await bed.clock.advance(10);
  expect(countOf(s1.counters.dispatch)).toBe(1);
});

test("M7: what another server has pushed is no wait when this one repeats it", async () => {
  const bed = new Bed();
  bed.services.set("slow", 4_900);
  const s1 = bed.server("s1");
  const slow = await sleepers(bed, 4 * 256, "slow");
  const ann = await s1.connect("ann", "phone");
  const phone = await s1.connect("bob", "phone", { provider: "slow" });
  phone.disconnect();
  for (const user of slow) ann.send(user, "hello");
  await bed.clock.advance(50);
  // It has no room now, and another server has.
  const s2 = bed.server("s2");
  ann.send("bob", "hello");
  await bed.clock.advance(8_000);
  s2.delivery.stop();
  await bed.clock.advance(62_000);
  const pushes = bed.pushes.filter(({ user }) => user === "bob");
  expect(pushes.map(({ attempts }) => attempts)).toEqual([0, 1]);
  expect(s2.counters.sent).toBe(1);
  expect(countOf(s2.counters.dispatch)).toBe(0);
  expect(countOf(s1.counters.dispatch)).toBe(4 * 256);
});

test("M8: how long a held message waits until its device has it is counted where it is delivered", async () => {
  const bed = new Bed();
  const { s1, ann } = await bobSleeps(bed);
  const s2 = bed.server("s2");
  ann.send("bob", "hello");
  await bed.clock.advance(90_000);
  await s2.connect("bob", "phone");
  await bed.clock.advance(100);
  expect(countOf(s1.counters.heldFor)).toBe(0);
  expect(countOf(s2.counters.heldFor)).toBe(1);
  expect(s2.counters.heldFor.sum).toBeCloseTo(90, 0);
});
