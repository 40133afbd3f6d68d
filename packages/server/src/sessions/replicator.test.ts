import { expect, test } from "bun:test";
import { createMemoryBus } from "../cluster/memory-bus.ts";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createReplicator, type Replicator } from "./replicator.ts";

const SESSION = {
  user: "ann",
  device: "phone",
  epoch: 1,
  durable: true,
  background: false,
  setVersion: 1,
  setSize: 1,
};

test("every server answers who is where from its own table (M2, M3)", async () => {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const [a, b] = ["a", "b"].map((server): Replicator => {
    const refreshSets = async (): Promise<[]> => [];
    return createReplicator({ server, clock, bus: hub.connect(), addresses: [], refreshSets });
  }) as [Replicator, Replicator];
  a.start();
  await clock.advance(300);
  a.table.open(SESSION);
  await clock.advance(20);
  expect(b.table.lookup("ann")).toEqual([]);
  b.start();
  await clock.advance(100);
  expect(b.table.lookup("ann")).toEqual([{ ...SESSION, server: "a" }]);
  expect(b.table.trusted).toBe(false);
  await clock.advance(3000);
  expect(b.table.trusted).toBe(true);
  expect(a.table.trusted).toBe(true);
  expect(b.members.list().map(({ name, load }) => [name, load])).toEqual([
    ["a", 1],
    ["b", 0],
  ]);
});
