import { expect, test } from "bun:test";
import { type Bus, BusUnavailable } from "../cluster/bus.ts";
import { createMemoryBus } from "../cluster/memory-bus.ts";
import { SESSIONS_SUBJECT } from "../cluster/session-messages.ts";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createReplicator, type Replicator, type ReplicatorStats } from "./replicator.ts";
import type { UserDevices } from "./member-reading.ts";
import type { SessionTable } from "./table.ts";
import { LEASE_MS, World } from "./test-support/world.ts";

/** Servers that have known each other for a while. */
async function running(...names: string[]): Promise<World> {
  const world = new World(1, 0);
  for (const name of names) world.start(name);
  await world.clock.advance(5000);
  return world;
}

const tableOf = (world: World, name: string): SessionTable =>
  world.servers.get(name)!.replicator.table;
const statsOf = (world: World, name: string): ReplicatorStats =>
  world.servers.get(name)!.replicator.stats();
/** Where a server believes the device to be. */
const whereIs = (world: World, name: string, user: string, device = "phone"): string | undefined =>
  tableOf(world, name).find(user, device)?.server;

/** Devices of ann that a server takes for durable ones of hers. */
const membersAt = (world: World, name: string): string[] =>
  world.shown(name, ["ann"]).flatMap(({ device, member }) => (member ? device : []));

test("every server answers from its own table who is connected, and where (M2, M3)", async () => {
  const world = await running("a", "b", "c");
  world.connect("a", "ann", "phone", 0);
  world.connect("b", "ann", "tab", 0);
  await world.clock.advance(10);
  for (const name of ["a", "b", "c"]) {
    expect(whereIs(world, name, "ann")).toBe("a");
    expect(whereIs(world, name, "ann", "tab")).toBe("b");
    expect(tableOf(world, name).lookup("bob")).toEqual([]);
  }
  world.disconnect("a", "ann", "phone");
  await world.clock.advance(10);
  expect(world.shown("c", ["ann"]).map(({ device }) => device)).toEqual(["tab"]);
});

test("heartbeats carry load, state and addresses to all servers (M1)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.servers.get("a")!.replicator.members.setState("draining");
  await world.clock.advance(1100);
  const [a] = world.servers.get("b")!.replicator.members.list();
  expect(a).toMatchObject({ name: "a", load: 1, state: "draining", addresses: [] });
});

test("B3: the others hear at once that a server is being emptied", async () => {
  const world = await running("a", "b");
  await world.clock.advance(300);
  world.servers.get("a")!.replicator.members.setState("draining");
  await world.clock.advance(5);
  expect(world.servers.get("b")!.replicator.members.get("a")?.state).toBe("draining");
});

test("how far each replica is behind its owner is known", async () => {
  const world = await running("a", "b");
  await world.clock.advance(2_000);
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  const { published, incarnation } = world.servers.get("a")!.replicator.stats();
  const [replica] = world.servers.get("b")!.replicator.stats().replicas;
  expect(replica).toMatchObject({ server: "a", incarnation, version: published });
  expect(replica!.confirmed).toBeLessThanOrEqual(1_010);
  world.crash("a");
  await world.clock.advance(3_000);
  expect(world.servers.get("b")!.replicator.stats().replicas[0]!.confirmed).toBeGreaterThan(3_000);
});

test("a server that has just started does not claim to know", async () => {
  const world = new World(1, 0);
  world.start("a");
  expect(tableOf(world, "a").trusted).toBe(false);
  await world.clock.advance(1400);
  expect(tableOf(world, "a").trusted).toBe(false);
  await world.clock.advance(400);
  expect(tableOf(world, "a").trusted).toBe(true);
});

test("a server that joins learns what the others have, and does not disturb them (M3)", async () => {
  const world = await running("a");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.start("b");
  await world.clock.advance(50);
  expect(whereIs(world, "b", "ann")).toBe("a");
  expect(tableOf(world, "a").trusted).toBe(true);
  expect(tableOf(world, "b").trusted).toBe(false);
  await world.clock.advance(3000);
  expect(tableOf(world, "b").trusted).toBe(true);
});

test("one snapshot is published for all who need it, in pages", async () => {
  const world = await running("a");
  for (let i = 0; i < 1200; i++) world.connect("a", `u${i}`, "phone", 0);
  await world.clock.advance(100);
  world.start("b");
  world.start("c");
  await world.clock.advance(100);
  expect(statsOf(world, "a").snapshotsSent).toBe(1);
  expect(statsOf(world, "b").snapshotsTaken).toBe(1);
  expect(whereIs(world, "c", "u1199")).toBe("a");
});

test("a device that connects elsewhere is closed by the server that it was on (M2)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.connect("b", "ann", "phone", 0);
  await world.clock.advance(30);
  expect(world.servers.get("a")!.connections.size).toBe(0);
  for (const name of ["a", "b"]) expect(whereIs(world, name, "ann")).toBe("b");
});

test("two servers that take one device at the same time agree on one of them", async () => {
  const world = await running("a", "b", "c");
  world.connect("a", "ann", "phone", 0);
  world.connect("b", "ann", "phone", 0);
  await world.clock.advance(30);
  for (const name of ["a", "b", "c"]) expect(whereIs(world, name, "ann")).toBe("b");
  expect(world.servers.get("a")!.connections.size).toBe(0);
});

test("a server that dies is dropped whole after the lease; meanwhile nothing is trusted (L7, L8)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.crash("a");
  await world.clock.advance(1000);
  expect(tableOf(world, "b").trusted).toBe(true);
  await world.clock.advance(2000);
  expect(whereIs(world, "b", "ann")).toBe("a");
  expect(tableOf(world, "b").trusted).toBe(false);
  await world.clock.advance(LEASE_MS - 3000 + 500);
  expect(whereIs(world, "b", "ann")).toBeUndefined();
  expect(tableOf(world, "b").wasConnectedWithin("ann", "phone", 5000)).toBe(true);
  expect(tableOf(world, "b").trusted).toBe(false);
  await world.clock.advance(2000);
  expect(tableOf(world, "b").trusted).toBe(true);
  expect(statsOf(world, "b").dropped).toBe(1);
});

test("a server that says goodbye is dropped at once, and the table stays trusted", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.stop("a");
  await world.clock.advance(10);
  expect(whereIs(world, "b", "ann")).toBeUndefined();
  expect(tableOf(world, "b").trusted).toBe(true);
  expect(world.servers.get("b")!.replicator.members.get("a")).toBeUndefined();
});

test("a goodbye shows what was missed before it", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.loss = 1;
  await world.clock.advance(10);
  world.loss = 0;
  world.stop("a");
  await world.clock.advance(10);
  expect(tableOf(world, "b").trusted).toBe(false);
});

test("a server without its link keeps what it knows, and its word is not trusted (L8)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.cut("b");
  await world.clock.advance(60_000);
  expect(whereIs(world, "b", "ann")).toBe("a");
  expect(tableOf(world, "b").trusted).toBe(false);
  world.heal("b");
  await world.clock.advance(10);
  // Heartbeats have revalidated all; others may still have something to say.
  expect(whereIs(world, "b", "ann")).toBe("a");
  expect(tableOf(world, "b").trusted).toBe(false);
  await world.clock.advance(3000);
  expect(tableOf(world, "b").trusted).toBe(true);
  expect(statsOf(world, "b")).toMatchObject({ snapshotsTaken: 0, gaps: 0, dropped: 0 });
});

test("all links down for a minute: everybody keeps what he knows, and all is well after it (L8)", async () => {
  const world = await running("a", "b", "c");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  for (const name of ["a", "b", "c"]) world.cut(name);
  await world.clock.advance(30_000);
  world.connect("b", "bob", "phone", 0);
  await world.clock.advance(30_000);
  for (const name of ["a", "b", "c"]) world.heal(name);
  await world.clock.advance(3000);
  for (const name of ["a", "b", "c"]) {
    expect(whereIs(world, name, "ann")).toBe("a");
    expect(whereIs(world, name, "bob")).toBe("b");
    expect(tableOf(world, name).trusted).toBe(true);
    expect(statsOf(world, name).dropped).toBe(0);
  }
});

test("a server that stood still past its lease rejoins, and drops nobody itself (L6)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.connect("b", "bob", "phone", 0);
  await world.clock.advance(10);
  world.pause("a");
  await world.clock.advance(12_000);
  expect(whereIs(world, "b", "ann")).toBeUndefined();
  // What it sees before it has read anything.
  expect(tableOf(world, "a").trusted).toBe(false);
  world.resume("a");
  expect(tableOf(world, "a").trusted).toBe(false);
  await world.clock.advance(1500);
  expect(whereIs(world, "b", "ann")).toBe("a");
  expect(whereIs(world, "a", "bob")).toBe("b");
  expect(statsOf(world, "a").dropped).toBe(0);
  await world.clock.advance(3000);
  for (const name of ["a", "b"]) expect(tableOf(world, name).trusted).toBe(true);
});

test("a server that comes back under its name has none of its old connections (M2)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.crash("a");
  await world.clock.advance(1000);
  world.start("a");
  await world.clock.advance(10);
  expect(whereIs(world, "b", "ann")).toBeUndefined();
  expect(tableOf(world, "b").trusted).toBe(false);
  await world.clock.advance(3000);
  expect(tableOf(world, "b").trusted).toBe(true);
  expect(statsOf(world, "b").dropped).toBe(0);
});

test("a change of a user's set reaches the sessions on every server", async () => {
  const world = await running("a", "b", "c");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.register("b", "ann", "laptop");
  await world.clock.advance(20);
  for (const name of ["a", "b", "c"]) {
    expect(tableOf(world, name).find("ann", "phone")).toMatchObject({ setVersion: 2, setSize: 2 });
  }
});

test("a change that was made without a link is told when it is back", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.cut("b");
  world.register("b", "ann", "laptop");
  await world.clock.advance(1000);
  world.heal("b");
  await world.clock.advance(20);
  expect(tableOf(world, "a").find("ann", "phone")).toMatchObject({ setVersion: 2 });
});

test("after a loss the sets of the own users are read again, until the store answers (L8)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.isStoreAway = true;
  world.cut("a");
  world.register("b", "ann", "laptop");
  await world.clock.advance(1000);
  world.heal("a");
  await world.clock.advance(20_000);
  expect(tableOf(world, "a").trusted).toBe(false);
  // What a says of its users is not trusted elsewhere either, if it was learnt since.
  world.start("c");
  await world.clock.advance(5000);
  expect(tableOf(world, "c").trusted).toBe(false);
  world.isStoreAway = false;
  await world.clock.advance(4000);
  for (const name of ["a", "c"]) {
    expect(tableOf(world, name).find("ann", "phone")).toMatchObject({ setVersion: 2 });
    expect(tableOf(world, name).trusted).toBe(true);
  }
});

test("a session that is opened after a loss with a set that was read before it is looked after", async () => {
  const world = await running("a", "b");
  world.cut("a");
  world.connect("a", "ann", "phone", 500);
  world.register("b", "ann", "laptop");
  await world.clock.advance(100);
  world.heal("a");
  await world.clock.advance(390);
  expect(world.servers.get("a")!.connections.size).toBe(0);
  await world.clock.advance(50);
  expect(tableOf(world, "a").find("ann", "phone")).toMatchObject({ setVersion: 2 });
});

test("sets are read again from time to time though nothing seems to be missed", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.cut("b");
  await world.clock.advance(8000);
  world.register("b", "ann", "laptop");
  world.crash("b");
  await world.clock.advance(10_500);
  expect(tableOf(world, "a").find("ann", "phone")).toMatchObject({ setVersion: 2 });
});

test("L1: who is there when another device is registered stays a known member, everywhere", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.register("b", "ann", "laptop");
  for (let i = 0; i < 5; i++) {
    expect(membersAt(world, "a")).toEqual(["phone"]);
    expect(membersAt(world, "b")).toEqual(["phone"]);
    await world.clock.advance(2);
  }
  expect(tableOf(world, "b").find("ann", "phone")).toMatchObject({ setSize: 2, member: true });
});

test("L1: a device that is forgotten is a member nowhere from then on, and its server closes it; the others are found out", async () => {
  const world = await running("a", "b", "c");
  for (const [server, device] of [
    ["a", "phone"],
    ["b", "laptop"],
  ] as const) {
    world.connect(server, "ann", device, 0);
    await world.clock.advance(10);
  }
  world.forget("c", "ann", "laptop");
  await world.clock.advance(10);
  // Who has left is not known yet. The server that did it has no word for it either.
  for (const name of ["a", "b", "c"]) expect(membersAt(world, name)).toEqual([]);
  expect(world.servers.get("b")!.connections.size).toBe(1);
  await world.clock.advance(40);
  for (const name of ["a", "b", "c"]) {
    expect(world.shown(name, ["ann"]).map(({ device }) => device)).toEqual(["phone"]);
    expect(membersAt(world, name)).toEqual(["phone"]);
  }
  expect(world.servers.get("b")!.connections.size).toBe(0);
});

test("a device that becomes dormant while it is connected stays so, and is no member until it registers anew", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.connect("b", "ann", "laptop", 0);
  await world.clock.advance(10);
  world.retire("a", "ann", "laptop");
  await world.clock.advance(60);
  for (const name of ["a", "b"]) {
    expect(world.shown(name, ["ann"]).map(({ device }) => device)).toEqual(["laptop", "phone"]);
    expect(membersAt(world, name)).toEqual(["phone"]);
  }
  world.register("b", "ann", "laptop");
  await world.clock.advance(60);
  for (const name of ["a", "b"]) expect(membersAt(world, name)).toEqual(["laptop", "phone"]);
});

test("while the store is away nobody is closed on a suspicion, and nobody is taken for a member (L1, L8)", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  world.connect("a", "ann", "laptop", 0);
  await world.clock.advance(10);
  world.isStoreAway = true;
  world.forget("b", "ann", "laptop");
  await world.clock.advance(30_000);
  expect(world.servers.get("a")!.connections.size).toBe(2);
  expect(membersAt(world, "a")).toEqual([]);
  expect(membersAt(world, "b")).toEqual([]);
  world.isStoreAway = false;
  await world.clock.advance(3000);
  expect(world.servers.get("a")!.connections.size).toBe(1);
  for (const name of ["a", "b"]) expect(membersAt(world, name)).toEqual(["phone"]);
});

test("a device that connects anew while it is found out about is left alone", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(10);
  world.forget("a", "ann", "phone");
  await world.clock.advance(5);
  // The store has been asked, and has not answered.
  world.connect("a", "ann", "phone", 0);
  await world.clock.advance(200);
  expect(world.servers.get("a")!.connections.size).toBe(1);
  for (const name of ["a", "b"]) expect(membersAt(world, name)).toEqual(["phone"]);
});

test("a session that is opened after its device was forgotten is closed", async () => {
  const world = await running("a", "b");
  world.connect("a", "ann", "phone", 100);
  await world.clock.advance(10);
  world.forget("b", "ann", "phone");
  await world.clock.advance(95);
  expect(world.servers.get("a")!.connections.size).toBe(1);
  await world.clock.advance(50);
  expect(world.servers.get("a")!.connections.size).toBe(0);
  expect(whereIs(world, "b", "ann")).toBeUndefined();
});

test("a message that cannot be read is counted, and changes nothing", async () => {
  const { clock, buses, replicators } = await plain("a", "b");
  buses[0]!.publish(SESSIONS_SUBJECT, Uint8Array.of(1, 2, 3));
  await clock.advance(10);
  expect(replicators[1]!.stats().malformed).toBe(1);
  expect(replicators[1]!.table.trusted).toBe(true);
});

test("while a change cannot be told the table is not trusted, whatever the link says", async () => {
  let isBroken = false;
  const { clock, replicators } = await plain("a", "b", (bus) => ({
    publish: (subject, message) => {
      if (isBroken) throw new BusUnavailable("half open");
      bus.publish(subject, message);
    },
    subscribe: (subject, handler) => bus.subscribe(subject, handler),
    request: (subject, message, timeoutMs) => bus.request(subject, message, timeoutMs),
    onLink: (listener) => bus.onLink(listener),
    up: true,
    close: () => bus.close(),
  }));
  const [a, b] = replicators as [Replicator, Replicator];
  isBroken = true;
  a.table.announceSet("ann", 1, 1);
  await clock.advance(6);
  expect(a.table.trusted).toBe(false);
  isBroken = false;
  await clock.advance(1100);
  expect(a.table.trusted).toBe(true);
  expect(b.stats().gaps).toBe(0);
});

test("two processes with one name count each other", async () => {
  const { clock, replicators } = await plain("a", "a");
  await clock.advance(3000);
  expect(replicators.every((one) => one.stats().strangers > 0)).toBe(true);
});

/** Two replicators without a world around them. */
async function plain(
  first: string,
  second: string,
  wrap: (bus: Bus) => Bus = (bus) => bus,
): Promise<{ clock: VirtualClock; buses: Bus[]; replicators: Replicator[] }> {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const buses = [hub.connect(), hub.connect()];
  const replicators = [first, second].map((server, i) => {
    const refreshSets = async (): Promise<[]> => [];
    const readDevices = async (): Promise<UserDevices> => ({ setVersion: 0, devices: [] });
    const bus = wrap(buses[i]!);
    return createReplicator({ server, clock, bus, addresses: [], refreshSets, readDevices });
  });
  for (const replicator of replicators) replicator.start();
  await clock.advance(5000);
  return { clock, buses, replicators };
}
