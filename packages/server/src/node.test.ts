import { expect, test } from "bun:test";

import { CLOSE, ERRORS } from "@beckon/protocol";
import type { SendFrame } from "@beckon/protocol";

import { Bed, Device, pair } from "./test-support/bed.ts";

const PACE = { batch: 10, intervalMs: 100, deadlineMs: 10_000 };

test("[P-8.7] B3: a server that is emptied tells its devices where to go, serves them until they do, and takes no others", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  let isOver = false;
  void s1.stop(PACE).then(() => (isOver = true));
  await bed.clock.advance(10);
  expect(ann.of("drain")).toMatchObject([{ servers: [{ name: "s2" }] }]);
  expect(ann.of("drain")[0]!.within).toBeGreaterThan(0);
  expect(s2.members.get("s1")?.state).toBe("draining");

  ann.send("bob");
  await bed.clock.advance(10);
  bob.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(10);
  expect(ann.of("ack")).toMatchObject([{ status: "delivered" }]);

  const late = await bed.device(s1, "zoe");
  expect(late.of("error")).toMatchObject([{ code: ERRORS.draining.number }]);
  expect(late.closed).toBe(CLOSE.draining);
  const elsewhere = await bed.device(s2, "zoe");
  expect(elsewhere.of("welcome")[0]!.servers.map(({ name }) => name)).toEqual(["s2"]);

  expect(isOver).toBe(false);
  ann.write({ type: "bye" });
  await bed.clock.advance(200);
  expect(isOver).toBe(true);
  expect(s2.members.get("s1")).toBeUndefined();
});

test("[P-8.7] L1: a device that does not go is closed, and what it has not acknowledged is held for it", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  bob.send("ann");
  await bed.clock.advance(20);
  expect(ann.of("deliver")).toHaveLength(1);
  const stopped = s1.stop(PACE);
  await bed.clock.advance(5_000);
  expect(ann.of("error")).toMatchObject([{ code: ERRORS.draining.number, send: 0 }]);
  expect(ann.closed).toBe(CLOSE.draining);
  await stopped;
  expect(bob.of("ack")).toMatchObject([{ status: "held" }]);
  const again = await bed.device(s2, "ann");
  expect(again.of("deliver")).toMatchObject([{ held: true, redelivered: true }]);
});

test("[P-8.7] where no other server is up, devices are told that this one stops", async () => {
  const bed = new Bed();
  const s1 = bed.node("s1");
  const ann = await bed.device(s1, "ann");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(200);
  await stopped;
  expect(ann.of("drain")).toEqual([]);
  expect(ann.of("error")).toMatchObject([{ code: ERRORS.stopping.number }]);
  expect(ann.closed).toBe(CLOSE.stopping);
});

test("L5: a device that left because it was told to is not pushed to while it moves", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(10);
  ann.write({ type: "bye" });
  await bed.clock.advance(20);
  bob.send("ann");
  await bed.clock.advance(300);
  await stopped;
  expect(bob.of("ack")).toMatchObject([{ status: "held" }]);
  const again = await bed.device(s2, "ann");
  again.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(8_000);
  expect(again.of("deliver")).toHaveLength(1);
  expect(bed.named).toEqual([]);
});

test("L5: a push that is under way when a server stops is not sent once more by another", async () => {
  const { bed, s1, s2 } = await pair();
  bed.pushMs = 1_000;
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  ann.send("eve");
  await bed.clock.advance(100);
  expect(bed.named).toEqual(["s1"]);
  // As its process does that ends then.
  const stopped = s1.stop(PACE).then(() => bed.stores.get("s1")!.messages.close());
  await bed.clock.advance(10);
  ann.write({ type: "bye" });
  await bed.clock.advance(20_000);
  await stopped;
  expect(bed.named).toEqual(["s1"]);
});

test("M12: a wake names another server where the one that accepted the message is being emptied", async () => {
  const { bed, s1, s2 } = await pair();
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(10);
  ann.send("eve");
  await bed.clock.advance(1_500);
  expect(bed.named).toEqual(["s2"]);
  await bed.clock.advance(5_000);
  await stopped;
});

test("M12: a wake names another server where the one that accepted the message is full", async () => {
  const bed = new Bed();
  const [s1, s2] = [bed.node("s1", 1), bed.node("s2")];
  await bed.clock.advance(3_000);
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  await bed.clock.advance(1_100);
  ann.send("eve");
  await bed.clock.advance(1_500);
  expect(bed.named).toEqual(["s2"]);
});

test("M8: a device that a push woke is counted where it connects: at the server that the push named, or elsewhere", async () => {
  const { bed, s1, s2 } = await pair();
  for (const user of ["bob", "carol", "dave", "eve"]) {
    await bed.sleeper(s2, user, user === "dave" ? { protocols: ["tcp"] } : {});
  }
  const ann = await bed.device(s1, "ann");
  for (const user of ["bob", "carol", "dave"]) ann.send(user);
  await bed.clock.advance(3_000);
  // No address of s1 suits dave.
  expect(bed.named).toEqual(["s1", "s1", ""]);
  await bed.device(s1, "bob");
  await bed.device(s2, "carol");
  await bed.device(s1, "dave");
  // Nobody has woken eve, nor bob for a second time.
  await bed.device(s1, "eve");
  await bed.device(s1, "bob");
  expect(s1.counters.woken).toEqual({ named: 1, elsewhere: 0, none: 1 });
  expect(s2.counters.woken).toEqual({ named: 0, elsewhere: 1, none: 0 });
  expect(s2.counters.waking.sum).toBeCloseTo(3, 0);
});

test("M8: a device that comes before its push is noted is counted if it says that a wake led it there", async () => {
  const { bed, s1, s2 } = await pair();
  await bed.sleeper(s2, "bob");
  await bed.sleeper(s2, "carol");
  bed.pushMs = 1_000;
  const ann = await bed.device(s1, "ann");
  for (const user of ["bob", "carol"]) ann.send(user);
  await bed.clock.advance(100);
  await bed.device(s1, "bob", { hinted: "s1" });
  await bed.device(s1, "carol");
  expect(s1.counters.woken).toEqual({ named: 1, elsewhere: 0, none: 0 });
});

test("L5: a push to a device that had connected when the table did not know it yet is counted as spurious", async () => {
  const { bed, s1, s2 } = await pair();
  await bed.sleeper(s2, "bob");
  await bed.sleeper(s2, "carol");
  const ann = await bed.device(s1, "ann");
  // Its push wakes it.
  ann.send("carol");
  await bed.clock.advance(500);
  await bed.device(s2, "carol");
  await bed.clock.advance(1_000);
  expect(s1.counters.spurious).toBe(0);

  const bob = new Device(s2, bed.clock, "bob");
  while (bob.of("welcome").length === 0) await bed.clock.advance(0.1);
  expect(s1.table.find("bob", "phone")).toBeUndefined();
  ann.send("bob");
  await bed.clock.advance(1_000);
  expect(bed.named).toHaveLength(2);
  expect(s1.counters.spurious).toBe(1);
  expect(bob.of("deliver")).toHaveLength(1);
});

const CALL: Partial<SendFrame> = { wake: "call", n: 0, prev: 0 };

for (const [what, fields] of [
  ["a message", {}],
  ["a call", CALL],
] as const) {
  test(`[P-3.9] L5: a device that says by STATE that it is in the background is pushed to for ${what}, though connected`, async () => {
    const { bed, s1, s2 } = await pair();
    const ann = await bed.device(s1, "ann");
    const bob = await bed.device(s2, "bob");
    bob.write({ type: "state", background: true });
    await bed.clock.advance(100);
    ann.send("bob", fields);
    await bed.clock.advance(3_000);
    expect([bob.of("deliver").length, bob.closed, bed.named]).toEqual([1, undefined, ["s1"]]);
  });
}

test("[P-3.9] a device that says so and comes back before anything is late is not pushed to", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  for (const background of [true, false]) bob.write({ type: "state", background });
  await bed.clock.advance(100);
  ann.send("bob");
  await bed.clock.advance(8_000);
  expect(bed.named).toEqual([]);
});

test("L6: a device whose connection is half open is closed after 10 s, and pushed to; for a call after 2 s", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const [bob, carol] = [await bed.device(s2, "bob"), await bed.device(s2, "carol")];
  ann.send("bob");
  ann.send("carol", CALL);
  await bed.clock.advance(4_000);
  expect(bed.named).toEqual(["s1"]);
  await bed.clock.advance(4_000);
  expect([bob.closed, carol.closed]).toEqual([undefined, undefined]);
  await bed.clock.advance(10_000);
  expect([bob.closed, carol.closed]).toEqual([CLOSE.notAcknowledging, CLOSE.notAcknowledging]);
  expect(bed.named.length).toBeGreaterThan(2);
});

for (const [wake, pushes] of [
  ["message", 4],
  ["silent", 4],
  ["none", 0],
] as const) {
  test(`L5: a message of class ${wake} is pushed for ${pushes} times in three hours`, async () => {
    const { bed, s1, s2 } = await pair();
    await bed.sleeper(s2, "bob");
    const ann = await bed.device(s1, "ann");
    ann.send("bob", { wake });
    for (let minute = 0; minute < 180; minute++) {
      await bed.clock.advance(30_000);
      ann.write({ type: "ping" });
      await bed.clock.advance(30_000);
    }
    expect(bed.named).toHaveLength(pushes);
  });
}

test("B4: each delivery is counted by one server, as local, as one that crossed, or as one of a wake", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const received = async (node: typeof s1, user: string): Promise<void> => {
    const device = await bed.device(node, user);
    await bed.clock.advance(50);
    device.write({ type: "received", ranges: [1, 1] });
    await bed.clock.advance(50);
  };
  await bed.sleeper(s2, "here");
  await bed.sleeper(s1, "there");
  for (const user of ["here", "there"]) ann.send(user);
  await bed.clock.advance(100);
  await received(s1, "here");
  await received(s2, "there");
  const devices = [
    await bed.device(s1, "bob"),
    await bed.device(s2, "bob", { device: "laptop" }),
    await bed.device(s2, "cat"),
  ];
  for (const user of ["bob", "cat"]) ann.send(user);
  await bed.clock.advance(50);
  for (const device of devices) device.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(50);
  const none = { local: 0, remote: 0, wakeLocal: 0, wakeRemote: 0 };
  const [first, second] = [s1.counters.lately, s2.counters.lately];
  expect(first.fiveMinutes).toEqual({ ...none, local: 1, remote: 2, wakeLocal: 1 });
  expect(second.fiveMinutes).toEqual({ ...none, wakeRemote: 1 });
  await bed.clock.advance(400_000);
  expect(s1.counters.lately).toEqual({ fiveMinutes: none, hour: first.hour });
});

test("B3: a server whose store takes nothing any more ends by its deadline", async () => {
  const { bed, s1 } = await pair();
  const never = (): Promise<never> => new Promise(() => undefined);
  const ann = await bed.device(s1, "ann");
  await bed.sleeper(s1, "bob");
  const store = bed.stores.get("s1")!;
  store.messages.hold = never;
  store.associates.strengthen = never;
  ann.send("bob");
  await bed.clock.advance(10);
  let isOver = false;
  void s1.stop({ ...PACE, deadlineMs: 5_000 }).then(() => (isOver = true));
  ann.write({ type: "bye" });
  await bed.clock.advance(5_000);
  expect(isOver).toBe(true);
});
