import { createMemoryBus, type MemoryBus, type MemoryBusHub } from "../../cluster/memory-bus.ts";
import type { SetRecord } from "../../cluster/session-messages.ts";
import { VirtualClock } from "../../cluster/test-support/virtual-clock.ts";
import { createReplicator, type Replicator } from "../replicator.ts";
import type { Session, SessionChange } from "../table.ts";
import { Process } from "./process.ts";

export const LEASE_MS = 5000;
/** For how long changes wait for others, by default. */
const BATCH_MS = 5;

/** A server with as much of a gateway as the table needs: it closes connections that were replaced or revoked. */
interface Server {
  readonly name: string;
  readonly process: Process;
  readonly bus: MemoryBus;
  readonly replicator: Replicator;
  /** Its connections, by user and device. */
  readonly connections: Map<string, { user: string; device: string; epoch: number }>;
  isCut: boolean;
}

/** A user as the store has it. */
interface StoredUser {
  setVersion: number;
  /** Durable ones, and whether they are dormant. */
  readonly devices: Map<string, boolean>;
}

interface Announcement extends SetRecord {
  readonly at: number;
}

/** Several servers, a bus that delays and loses, one store of sets, and devices that keep their epochs. */
export class World {
  readonly clock: VirtualClock = new VirtualClock();
  readonly servers: Map<string, Server> = new Map();
  /** Of messages, 0 to 1. */
  loss = 0;
  isStoreAway = false;
  readonly #hub: MemoryBusHub;
  readonly #random: () => number;
  readonly #users = new Map<string, StoredUser>();
  /** The devices of each set that there was, by user and version. */
  readonly #members = new Map<string, ReadonlySet<string>>();
  readonly #epochs = new Map<string, number>();
  /** Pairs of handles that do not hear each other. */
  readonly #split = new Set<string>();
  /** Those that every table that trusts itself has to know after a lease. */
  #announcements: Announcement[] = [];

  constructor(seed: number, maxDelayMs: number) {
    this.#random = mulberry32(seed);
    this.#hub = createMemoryBus({
      clock: this.clock,
      fate: (from, to) =>
        this.#random() < this.loss || this.#split.has(pairOf(from, to))
          ? undefined
          : this.#random() * maxDelayMs,
    });
  }

  get live(): Server[] {
    return [...this.servers.values()].filter(({ process }) => process.isAlive);
  }

  start(name: string): void {
    if (this.servers.get(name)?.process.isAlive === true) return;
    const process = new Process();
    const bus = this.#hub.connect();
    const clock = process.clock(this.clock);
    const replicator = createReplicator({
      server: name,
      clock,
      bus: process.bus(bus),
      addresses: [],
      leaseMs: LEASE_MS,
      rereadMs: 10_000,
      refreshSets: async (users) => {
        await new Promise<void>((resolve) => clock.after(20, resolve));
        if (this.isStoreAway) throw new Error("the store is away");
        return users.map((user) => this.#setOf(user));
      },
      readDevices: async (user) => {
        await new Promise<void>((resolve) => clock.after(20, resolve));
        if (this.isStoreAway) throw new Error("the store is away");
        const { setVersion, devices } = this.#stored(user);
        return {
          setVersion,
          devices: [...devices].map(([device, dormant]) => ({ device, dormant })),
        };
      },
    });
    const server = { name, process, bus, replicator, connections: new Map(), isCut: false };
    this.servers.set(name, server);
    replicator.table.onChange((change) => {
      const closing = change.kind === "revoked" ? change.session : replaced(change);
      if (closing?.server !== name) return;
      const { user, device, epoch } = closing;
      clock.after(1, () => this.#closeConnection(server, user, device, epoch));
    });
    replicator.start();
  }

  crash(name: string): void {
    const server = this.#running(name);
    if (server === undefined) return;
    server.process.kill();
    this.#hub.kill(server.bus);
  }

  stop(name: string): void {
    const server = this.#running(name);
    if (server === undefined) return;
    server.replicator.stop();
    server.process.kill();
    void server.bus.close();
  }

  cut(name: string): void {
    const server = this.servers.get(name);
    if (server?.process.isAlive !== true) return;
    server.isCut = true;
    this.#forgetUntold();
    this.#hub.cut(server.bus);
  }

  heal(name: string): void {
    const server = this.servers.get(name);
    if (server === undefined) return;
    server.isCut = false;
    this.#hub.restore(server.bus);
  }

  pause(name: string): void {
    this.servers.get(name)?.process.pause();
  }

  resume(name: string): void {
    this.servers.get(name)?.process.resume();
  }

  /** Everybody who lives can hear everybody, and the store. */
  calm(): void {
    this.loss = 0;
    this.isStoreAway = false;
    this.unsplit();
    for (const { name } of this.live) {
      this.heal(name);
      this.resume(name);
    }
  }

  split(a: string, b: string): void {
    const [one, other] = [this.servers.get(a), this.servers.get(b)];
    if (one === undefined || other === undefined) return;
    this.#forgetUntold();
    this.#split.add(pairOf(one.bus.id, other.bus.id));
  }

  /** What waits to go out with others is not said by whoever is not heard any more. */
  #forgetUntold(): void {
    const told = this.clock.monotonic() - BATCH_MS;
    this.#announcements = this.#announcements.filter(({ at }) => at < told);
  }

  unsplit(): void {
    this.#split.clear();
  }

  /** A device connects: the store learns of it if it is a durable one, and the session is opened `delayMs` later. */
  connect(name: string, user: string, device: string, delayMs: number): void {
    const server = this.#running(name);
    if (server === undefined) return;
    const durable = device !== "tab";
    if (durable) this.#change(user, ({ devices }) => devices.set(device, false));
    const { setVersion, setSize } = this.#setOf(user);
    const key = `${user} ${device}`;
    const { table } = server.replicator;
    const epoch = table.nextEpoch(user, device, this.#epochs.get(key) ?? 0);
    server.process.clock(this.clock).after(delayMs, () => {
      if (this.servers.get(name) !== server) return;
      const open = server.connections.get(key);
      if (open !== undefined && open.epoch >= epoch) return;
      server.connections.set(key, { user, device, epoch });
      this.#epochs.set(key, Math.max(epoch, this.#epochs.get(key) ?? 0));
      table.open({ user, device, epoch, durable, background: false, setVersion, setSize });
    });
  }

  disconnect(name: string, user: string, device: string): void {
    const server = this.#running(name);
    const connection = server?.connections.get(`${user} ${device}`);
    if (server === undefined || connection === undefined) return;
    this.#closeConnection(server, user, device, connection.epoch);
  }

  setBackground(name: string, user: string, device: string, background: boolean): void {
    const server = this.#running(name);
    const epoch = server?.connections.get(`${user} ${device}`)?.epoch;
    if (epoch !== undefined) {
      server?.replicator.table.setBackground(user, device, epoch, background);
    }
  }

  /** The device becomes one of its user's durable ones without connecting, as far as it is not. */
  register(name: string, user: string, device: string): void {
    this.#announce(name, user, ({ devices }) => devices.set(device, false));
  }

  forget(name: string, user: string, device: string): void {
    this.#announce(name, user, ({ devices }) => devices.delete(device));
  }

  /** The device becomes dormant, if it is durable. */
  retire(name: string, user: string, device: string): void {
    this.#announce(name, user, ({ devices }) => devices.has(device) && devices.set(device, true));
  }

  /** A change of a user's devices through one server, which announces it. */
  #announce(name: string, user: string, change: (stored: StoredUser) => unknown): void {
    const server = this.#running(name);
    if (server === undefined || !this.#change(user, change)) return;
    const set = this.#setOf(user);
    server.replicator.table.announceSet(user, set.setVersion, set.setSize);
    // A server that is not heard cannot tell. What it registers is found in the store some time later.
    if (server.isCut || this.#split.size > 0) return;
    this.#announcements.push({ ...set, at: this.clock.monotonic() });
  }

  /** False: the user's devices are what they were. */
  #change(user: string, change: (stored: StoredUser) => unknown): boolean {
    const stored = this.#stored(user);
    const before = [...stored.devices].join();
    change(stored);
    if ([...stored.devices].join() === before) return false;
    this.#members.set(`${user} ${++stored.setVersion}`, this.#membersOf(stored));
    return true;
  }

  #stored(user: string): StoredUser {
    let stored = this.#users.get(user);
    if (stored === undefined)
      this.#users.set(user, (stored = { setVersion: 0, devices: new Map() }));
    return stored;
  }

  #membersOf({ devices }: StoredUser): Set<string> {
    return new Set([...devices].flatMap(([device, isDormant]) => (isDormant ? [] : device)));
  }

  #setOf(user: string): SetRecord {
    const stored = this.#stored(user);
    return { user, setVersion: stored.setVersion, setSize: this.#membersOf(stored).size };
  }

  /** What may never be, at any time. */
  check(): void {
    for (const { name, process, replicator } of this.live) {
      const users = new Set([...this.#users.keys(), ...this.#usersConnected()]);
      for (const user of users) {
        const sessions = replicator.table.lookup(user);
        if (new Set(sessions.map(({ device }) => device)).size !== sessions.length) {
          throw new Error(`${name} shows two sessions of a device: ${JSON.stringify(sessions)}`);
        }
        this.#checkMembers(name, sessions);
        if (!process.isPaused && replicator.table.trusted) this.#checkSets(name, sessions);
      }
    }
  }

  /**
   * What each table must show when all has been quiet for long enough: the connections that there are, none of them of a device that was
   * forgotten, and which are of durable devices that are not dormant.
   */
  expected(): Session[] {
    const sessions = this.live.flatMap(({ name, connections, replicator }) =>
      [...connections.values()].map(({ user, device, epoch }) => {
        const { setVersion, setSize } = this.#setOf(user);
        const background = replicator.table.find(user, device)?.background ?? false;
        const durable = device !== "tab";
        const member = durable && this.#stored(user).devices.get(device) !== true;
        const set = { setVersion, setSize, member };
        return { user, device, server: name, epoch, durable, background, ...set };
      }),
    );
    return sorted(sessions);
  }

  /** What one table shows of these users. */
  shown(name: string, users: readonly string[]): Session[] {
    const { table } = this.servers.get(name)!.replicator;
    return sorted(users.flatMap((user) => table.lookup(user)));
  }

  /** Trusted or not, no table takes a device for one of a set that it was not in (L1). */
  #checkMembers(name: string, sessions: readonly Session[]): void {
    for (const { user, device, setVersion, member } of sessions) {
      if (!member || this.#members.get(`${user} ${setVersion}`)?.has(device) === true) continue;
      throw new Error(`${name} takes ${user}'s ${device} for a member of set ${setVersion}`);
    }
  }

  #checkSets(name: string, sessions: readonly Session[]): void {
    const before = this.clock.monotonic() - LEASE_MS - 1000;
    for (const { user, setVersion, at } of this.#announcements) {
      const stale = sessions.find((s) => s.user === user && s.setVersion < setVersion);
      if (at > before || stale === undefined) continue;
      const now = this.clock.monotonic();
      throw new Error(`${name} trusts ${JSON.stringify(stale)} at ${now}: ${setVersion} at ${at}`);
    }
  }

  #usersConnected(): string[] {
    return this.live.flatMap(({ connections }) => [...connections.values()].map((c) => c.user));
  }

  #closeConnection(server: Server, user: string, device: string, epoch: number): void {
    const key = `${user} ${device}`;
    if (server.connections.get(key)?.epoch === epoch) server.connections.delete(key);
    server.replicator.table.close(user, device, epoch);
  }

  #running(name: string): Server | undefined {
    const server = this.servers.get(name);
    return server !== undefined && server.process.isAlive && !server.process.isPaused
      ? server
      : undefined;
  }
}

/** A small generator of numbers from 0 to 1. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function pairOf(a: number, b: number): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

function replaced(change: SessionChange): Session | undefined {
  return change.kind === "appeared" ? change.before : undefined;
}

function sorted(sessions: Session[]): Session[] {
  const key = (s: Session): string => `${s.user} ${s.device} ${s.server}`;
  return sessions.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
