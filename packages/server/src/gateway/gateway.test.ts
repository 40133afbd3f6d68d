import { expect, test } from "bun:test";

import { encodeFrames, LIMITS, readFrames } from "@beckon/protocol";
import type { Frame, UnknownFrame } from "@beckon/protocol";

import { createMemoryBus } from "../cluster/memory-bus.ts";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createNode } from "../node.ts";
import { createMemoryDatabase } from "../store/memory.ts";
import { createTickets } from "./ticket.ts";

const HOUR = 3_600_000;

test("a device that stays connected is not taken for one that stays away", async () => {
  const clock = new VirtualClock();
  const store = createMemoryDatabase(clock).open();
  const node = createNode({
    name: "s1",
    clock,
    random: (bytes) => void bytes.fill(1),
    bus: createMemoryBus({ clock }).connect(),
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
  node.gateway.start();
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
        epoch: 0,
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
  await clock.advance(1_000);
  expect(frames.map(({ type }) => type)).toEqual(["welcome"]);
  const arrived = clock.now();
  await clock.advance(25 * HOUR);
  const { devices } = await store.devices.devices("ann");
  expect(devices[0]!.seen).toBeGreaterThan(arrived);
  expect(devices[0]!.protocols).toEqual(["ws"]);
  expect(node.gateway.size).toBe(1);
});
