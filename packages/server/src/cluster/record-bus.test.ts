import { expect, test } from "bun:test";
import { deliverySubject } from "./delivery-messages.ts";
import { createMemoryBus, type MemoryBus, type MemoryBusHub } from "./memory-bus.ts";
import { createServerBus } from "./record-bus.ts";
import type { ServerBus, ServerRecord } from "./server-bus.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

interface Pair {
  readonly clock: VirtualClock;
  readonly hub: MemoryBusHub;
  readonly handles: readonly [MemoryBus, MemoryBus];
  readonly a: ServerBus;
  readonly b: ServerBus;
  malformed: number;
  /** Which start of the servers it is. */
  incarnation: number;
}

function pair(): Pair {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const handles = [hub.connect(), hub.connect()] as const;
  const made = { clock, hub, handles, malformed: 0, incarnation: 1 };
  const serverBus = (bus: MemoryBus, server: string): ServerBus =>
    createServerBus({
      bus,
      server,
      stream: 1,
      incarnationOf: (other) => (other === "a" || other === "b" ? result.incarnation : undefined),
      onMalformed: () => void result.malformed++,
    });
  const result = { ...made, a: serverBus(handles[0], "a"), b: serverBus(handles[1], "b") };
  return result;
}

const KICK: ServerRecord = { kind: "kick", user: "ann", device: "phone" };

test("records reach their server, with the name of the one that sent them (M6)", async () => {
  const { clock, a, b } = pair();
  const heard: unknown[] = [];
  b.onRecords((server, records) => void heard.push([server, records]));
  const records: ServerRecord[] = [KICK, { kind: "received", refs: [3, 1] }];
  expect(a.send("b", records)).toBe(true);
  await clock.advance(1);
  expect(heard).toEqual([["a", records]]);
});

test("without a link, and to a server that is not known, nothing is sent (L8)", async () => {
  const { clock, hub, handles, a, b } = pair();
  let heard = 0;
  b.onRecords(() => void heard++);
  expect(a.send("c", [KICK])).toBe(false);
  hub.cut(handles[0]);
  expect(a.send("b", [KICK])).toBe(false);
  await clock.advance(1);
  expect(heard).toBe(0);
});

test("what is too much for one message goes in several, in order", async () => {
  const { clock, handles, a, b } = pair();
  const refs: number[] = [];
  const sizes: number[] = [];
  b.onRecords((_, records) => {
    for (const record of records) if (record.kind === "deliver") refs.push(record.ref);
  });
  handles[1].subscribe(deliverySubject("b"), (bytes) => void sizes.push(bytes.length));
  const records = Array.from({ length: 20 }, (_, ref): ServerRecord => {
    const body = new Uint8Array(64 * 1024);
    const to = { user: "ann", device: "phone", epoch: 1 };
    return { kind: "deliver", ref, ...to, heard: 0, bid: undefined, body };
  });
  a.send("b", records);
  await clock.advance(1);
  expect(refs).toEqual(records.map((_, ref) => ref));
  expect(sizes.length).toBeGreaterThan(1);
  expect(Math.max(...sizes)).toBeLessThan(512 * 1024);
});

test("a message that cannot be read is counted, and the next one is heard", async () => {
  const made = pair();
  const { clock, handles, a, b } = made;
  let heard = 0;
  b.onRecords(() => void heard++);
  handles[0].publish(deliverySubject("b"), Uint8Array.of(9, 9, 9));
  a.send("b", [KICK]);
  await clock.advance(1);
  expect([made.malformed, heard]).toEqual([1, 1]);
});

test("L3: where something is lost the next that is heard says so, once", async () => {
  const { clock, hub, handles, a, b } = pair();
  const heard: boolean[] = [];
  b.onRecords((_server, _records, missed) => void heard.push(missed));
  a.send("b", [KICK]);
  await clock.advance(1);
  hub.cut(handles[1]);
  a.send("b", [KICK]);
  await clock.advance(1);
  hub.restore(handles[1]);
  a.send("b", [KICK]);
  a.send("b", [KICK]);
  await clock.advance(1);
  // What was refused went nowhere: nobody has missed it.
  hub.cut(handles[0]);
  a.send("b", [KICK]);
  hub.restore(handles[0]);
  a.send("b", [KICK]);
  await clock.advance(1);
  expect(heard).toEqual([false, true, false, false]);
});

test("who has just begun has missed nothing, of one who begins anew something may have been missed", async () => {
  const made = pair();
  const { clock, handles, a, b } = made;
  const heard: boolean[] = [];
  b.onRecords((_server, _records, missed) => void heard.push(missed));
  a.send("b", [KICK]);
  await clock.advance(1);
  made.incarnation = 2;
  const restarted = createServerBus({
    bus: handles[1],
    server: "b",
    stream: 2,
    incarnationOf: () => made.incarnation,
  });
  const fresh: boolean[] = [];
  restarted.onRecords((_server, _records, missed) => void fresh.push(missed));
  a.send("b", [KICK]);
  await clock.advance(1);
  expect(fresh).toEqual([false]);
  expect(heard).toEqual([false, true]);
});
