import { expect, test } from "bun:test";

import { encodeFrames, errorByNumber, LIMITS, readFrames } from "@beckon/protocol";
import type { Frame, UnknownFrame } from "@beckon/protocol";

import { createMemoryBus } from "../cluster/memory-bus.ts";
import type { MemoryBusHub } from "../cluster/memory-bus.ts";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createNode } from "../node.ts";
import type { Node } from "../node.ts";
import { createMemoryDatabase } from "../store/memory.ts";
import type { Store } from "../store/store.ts";
import { createTickets } from "./ticket.ts";

const HOUR = 3_600_000;

function nodeOf(name: string, clock: VirtualClock, hub: MemoryBusHub, store: Store): Node {
  return createNode({
    name,
    clock,
    random: (bytes) => void bytes.fill(1),
    bus: hub.connect(),
    store,
    authenticate: () =>
      Promise.resolve({
        user: "ann",
        device: undefined,
        expires: clock.now() + 1_000 * HOUR,
        mayWriteTo: undefined,
      }),
    authorize: () => true,
    tickets: createTickets(new Uint8Array(32)),
    providers: [],
    compose: () => Promise.resolve(undefined),
    addresses: [],
    limits: { ...LIMITS, idle: 1_000 * HOUR },
  });
}

/** Answers what the server will have said. */
function hello(node: Node, epoch = 0): (Frame | UnknownFrame)[] {
  const frames: (Frame | UnknownFrame)[] = [];
  const socket = node.gateway.accept({
    remote: "192.0.2.1",
    send: (bytes) => {
      readFrames(bytes.slice(), LIMITS, (frame) => void frames.push(frame));
      return true;
    },
    buffered: () => 0,
    close: () => undefined,
    terminate: () => undefined,
  });
  socket.message(
    encodeFrames([
      {
        type: "hello",
        token: "a token",
        ticket: new Uint8Array(0),
        device: "phone",
        durable: true,
        protocols: ["ws"],
        epoch,
        outbox: 1,
        hinted: "",
        intent: "",
        noRedirect: false,
        noCopies: false,
        client: "test",
        capabilities: 0,
        background: false,
      },
    ]),
  );
  return frames;
}

/** Types, and of errors what they are. */
function said(frames: readonly (Frame | UnknownFrame)[]): unknown[] {
  return frames.map((frame) =>
    frame.type === "error" ? errorByNumber(frame.code)?.code : frame.type,
  );
}

test("a device that stays connected is not taken for one that stays away", async () => {
  const clock = new VirtualClock();
  const store = createMemoryDatabase(clock).open();
  const node = nodeOf("s1", clock, createMemoryBus({ clock }), store);
  node.gateway.start();
  const frames = hello(node);
  await clock.advance(1_000);
  expect(said(frames)).toEqual(["welcome"]);
  const arrived = clock.now();
  await clock.advance(25 * HOUR);
  const { devices } = await store.devices.devices("ann");
  expect(devices[0]!.seen).toBeGreaterThan(arrived);
  expect(devices[0]!.protocols).toEqual(["ws"]);
  expect(node.gateway.size).toBe(1);
});

test("a device that became dormant while it was connected is durable again a day later, and told at its next WELCOME", async () => {
  const clock = new VirtualClock();
  const store = createMemoryDatabase(clock).open();
  const node = nodeOf("s1", clock, createMemoryBus({ clock }), store);
  // Alone: nothing but the gateway brings the set up to date.
  node.gateway.start();
  const frames = hello(node);
  await clock.advance(1_000);
  const [set] = await store.devices.retire(clock.now() + 31 * 24 * HOUR);
  node.table.announceSet("ann", set!.setVersion, set!.setSize);
  await clock.advance(HOUR);
  expect(said(frames)).toEqual(["welcome"]);
  expect(node.table.find("ann", "phone")).toMatchObject({ setSize: 0, member: false });
  await clock.advance(24 * HOUR);
  expect(node.table.find("ann", "phone")).toMatchObject({ setSize: 1, member: true });
  const again = hello(node, node.table.find("ann", "phone")!.epoch);
  await clock.advance(1_000);
  expect(again).toMatchObject([{ type: "welcome", recovered: false }]);
});

test("a durable device that is forgotten while it is connected is closed as revoked [P-4.9]", async () => {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const database = createMemoryDatabase(clock);
  const [s1, s2] = ["s1", "s2"].map((name) => nodeOf(name, clock, hub, database.open()));
  for (const node of [s1!, s2!]) node.start();
  const frames = hello(s1!);
  await clock.advance(1_000);
  const set = await database.open().devices.forget("ann", "phone");
  s2!.table.announceSet("ann", set.setVersion, set.setSize);
  await clock.advance(100);
  expect(said(frames)).toEqual(["welcome", "revoked"]);
  expect([s1!.gateway.size, s2!.table.lookup("ann").length]).toEqual([0, 0]);
  // It is not kept out: who still has a good token may log in again.
  const again = hello(s2!);
  await clock.advance(1_000);
  expect(said(again)).toEqual(["welcome"]);
  expect(s1!.table.find("ann", "phone")).toMatchObject({ server: "s2", member: true });
});

test("L6: a HELLO that waited for the store does not close the connection that the device has made elsewhere meanwhile", async () => {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const database = createMemoryDatabase(clock);
  const slow = database.open({
    schedule: (operation, stage, run) => {
      if (operation === "arrive" && stage === "commit") clock.after(3_000, run);
      else run();
    },
  });
  const s1 = nodeOf("s1", clock, hub, slow);
  const s2 = nodeOf("s2", clock, hub, database.open());
  for (const node of [s1, s2]) node.start();
  const given = hello(s1);
  await clock.advance(1_000);
  const live = hello(s2);
  await clock.advance(5_000);
  expect(said(live)).toEqual(["welcome"]);
  expect(said(given)).toEqual(["unavailable"]);
  // Where somebody is at its end after all, the next HELLO has it.
  const again = hello(s1);
  await clock.advance(5_000);
  expect(said(again)).toEqual(["welcome"]);
  expect(said(live)).toEqual(["welcome", "replaced"]);
});
