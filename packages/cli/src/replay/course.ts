/**
 * What happens between the messages of a trace, by its clock: devices come and go where the mode has it, servers are killed, drained
 * and added, and every ten minutes it is looked how many devices each has.
 *
 * Where one event at a time is under way, each is complete before the next: the device is connected, has what was kept for it, and all
 * servers know where it is. So a run agrees with the simulation of a system in which everybody knows everything at once.
 */
import type { Cluster } from "./cluster.ts";
import type { ServerChange } from "./change.ts";
import type { Crowd } from "./crowd.ts";
import { History } from "./history.ts";
import { Imbalance, SAMPLE_MS } from "./imbalance.ts";
import type { Ledger } from "./ledger.ts";
import type { People } from "./people.ts";
import type { Policy } from "./result.ts";
import type { Slots } from "./slots.ts";
import { until } from "./turns.ts";
import type { Random } from "./xoshiro.ts";

/** The trace's time, in ms since 1970. */
export interface TraceClock {
  now: number;
}

export interface CourseParts {
  readonly clock: TraceClock;
  readonly start: number;
  readonly end: number;
  readonly policy: Policy;
  readonly changes: readonly ServerChange[];
  readonly cluster: Cluster;
  readonly crowd: Crowd;
  readonly ledger: Ledger;
  readonly slots: Slots;
  /** Each event waits for the one before. */
  readonly isOneByOne: boolean;
  /** Undefined: devices fall asleep when they are idle. */
  readonly people: People | undefined;
  readonly devices: number;
  readonly userOf: (device: number) => string;
  /** Chooses servers. */
  readonly choices: Random;
  readonly problem: (what: string) => void;
}

/** A device connects, or has what was kept for it, within it, or is not waited for. */
const EVENT_MS = 5_000;
/** Until all servers know of it. */
const AGREE_MS = 2_000;
/** Servers miss one that was killed within their lease, and trust their tables a moment later. */
const WHOLE_MS = 30_000;
const POLL_MS = 20;
/** Longer than a push takes to wake a device. */
const FAREWELL_MS = 2_500;

export class Course {
  readonly imbalance: Imbalance = new Imbalance();
  readonly history: History;
  kills = 0;
  drains = 0;
  readonly #parts: CourseParts;
  readonly #changes: readonly ServerChange[];
  #changed = 0;
  #nextSample: number;
  /** By server: devices may be sent there. */
  readonly #isOpen: boolean[];
  /** The latest push to a device that is away. */
  readonly #pushes = new Map<number, string>();
  /** What the device dials that neither follows a push nor knows where it was last. */
  readonly #dials = new Map<number, number>();
  readonly #appeared = new Set<number>();
  #isOver = false;
  /** What a device has to do, one after the other. */
  readonly #chains = new Map<number, Promise<void>>();

  constructor(parts: CourseParts) {
    this.#parts = parts;
    this.#changes = parts.changes.toSorted((a, b) => a.after - b.after);
    this.#nextSample = parts.start + SAMPLE_MS;
    this.#isOpen = parts.cluster.names.map(() => true);
    this.history = new History(parts.start, parts.end, parts.cluster.names);
  }

  /** When all devices are registered: until all servers know that they have gone, and that there is nothing else to know. */
  async begin(): Promise<void> {
    const { devices, clock, start } = this.#parts;
    for (let device = 0; device < devices; device++) await this.agreed(device);
    if (this.#parts.isOneByOne) await this.#isWhole();
    clock.now = start;
  }

  /** After the last message: whoever was pushed comes for it; from then on at once, as no time passes any more. */
  async finish(): Promise<void> {
    const { clock, ledger, people } = this.#parts;
    if (people === undefined || ledger.outstanding === 0) return;
    await this.advance(clock.now + FAREWELL_MS);
    this.#isOver = true;
    for (const device of this.#pushes.keys()) void this.#open(device);
  }

  /** All that was decided about these devices since `leaving` is done. */
  async told(devices: readonly number[], leaving: number = 0): Promise<void> {
    const { cluster } = this.#parts;
    if (cluster.leaving !== undefined) await until(() => cluster.leaving!() <= leaving, AGREE_MS);
    for (const device of devices) await this.agreed(device);
  }

  /** All that is due until `time`. */
  async advance(time: number): Promise<void> {
    const { clock, start, people, slots } = this.#parts;
    for (;;) {
      const change = this.#changes[this.#changed];
      const changes = change === undefined ? Infinity : start + change.after;
      const due = Math.min(people?.next ?? Infinity, this.#nextSample, changes);
      if (due > time) break;
      if (due === this.#nextSample) {
        clock.now = due;
        this.#sample();
      } else if (change !== undefined && due === changes) {
        clock.now = due;
        this.#changed++;
        await this.#change(change);
      } else {
        const release = await slots.take();
        clock.now = due;
        // A push may have come meanwhile, and brought one forward.
        const turned = this.#turn(people!.first).finally(release);
        if (this.#parts.isOneByOne) await turned;
      }
    }
    clock.now = time;
  }

  /** The device writes: it connects first, if it is away. */
  writes(device: number): void {
    const { people, clock } = this.#parts;
    if (people === undefined) return;
    if (people.isOn(device)) people.active(device, clock.now);
    else void this.#open(device);
  }

  /** A push has come. */
  pushed(device: number, body: string): void {
    const { people, crowd, clock } = this.#parts;
    if (people === undefined || people.isOn(device)) {
      crowd.follow(device, body);
      return;
    }
    this.#pushes.set(device, body);
    if (this.#isOver) void this.#open(device);
    else people.pushed(device, clock.now);
  }

  /** Whether the device is away and has been pushed to. */
  willWake(device: number): boolean {
    return this.#pushes.has(device);
  }

  isAway(device: number): boolean {
    return this.#parts.people?.isOn(device) === false;
  }

  /** What a device dials on its own, the one it was meant to first. */
  route(device: number, urls: readonly string[]): readonly string[] {
    const first = this.#dials.get(device) ?? 0;
    return [...urls.slice(first), ...urls.slice(0, first)];
  }

  remembers(device: number): boolean {
    return this.#isPlaced && !this.#dials.has(device);
  }

  /** Until all servers have the device where it is. */
  async agreed(device: number): Promise<void> {
    const { cluster, crowd, isOneByOne, userOf, problem } = this.#parts;
    const { agree } = cluster;
    if (agree === undefined || !isOneByOne) return;
    const user = userOf(device);
    const holds = (): boolean => agree(user, `d${device}`, crowd.where(device));
    if (!(await until(holds, AGREE_MS)))
      problem(`the servers did not agree where device ${device} is`);
  }

  get #isPlaced(): boolean {
    return this.#parts.policy === "place" || this.#parts.policy === "move";
  }

  #sample(): void {
    const { clock, cluster, crowd, ledger, people } = this.#parts;
    if (people === undefined) crowd.advance(clock.now / 1000);
    this.#nextSample += SAMPLE_MS;
    const loads = crowd.loads();
    this.imbalance.sample(
      cluster.names.filter((_, i) => cluster.isUp(i)).map((name) => loads.get(name) ?? 0),
    );
    this.history.sample(clock.now, loads, ledger.local, ledger.remote);
  }

  /** A device's time to go, or to come back. */
  async #turn(device: number): Promise<void> {
    const { people, clock, crowd } = this.#parts;
    if (people!.isOn(device)) {
      people!.gone(device, clock.now);
      await this.#inTurn(device, () => crowd.putAway(device, EVENT_MS));
    } else {
      await this.#open(device);
    }
    await this.agreed(device);
  }

  #open(device: number): Promise<void> {
    const { people, clock, crowd, policy, ledger } = this.#parts;
    people!.connected(device, clock.now);
    const push = this.#pushes.get(device);
    this.#pushes.delete(device);
    const isLed = push !== undefined && policy !== "random";
    if (isLed || (this.#isPlaced && this.#appeared.has(device))) this.#dials.delete(device);
    else this.#dials.set(device, this.#anyServer());
    this.#appeared.add(device);
    return this.#inTurn(device, async () => {
      const online = crowd.online(device, EVENT_MS);
      if (isLed) crowd.follow(device, push);
      else crowd.wake(device, push !== undefined);
      await online;
      await until(() => !ledger.isOwed(device), EVENT_MS);
    });
  }

  /** `choices` decides, whatever else is up. */
  #anyServer(): number {
    for (;;) {
      const server = this.#parts.choices.int(0, this.#isOpen.length - 1);
      if (this.#isOpen[server] === true) return server;
    }
  }

  #inTurn(device: number, task: () => Promise<void>): Promise<void> {
    const before = this.#chains.get(device);
    const running = before === undefined ? task() : before.then(task);
    const over = running.finally(() => {
      if (this.#chains.get(device) === over) this.#chains.delete(device);
    });
    this.#chains.set(device, over);
    return over;
  }

  async #change({ kind, server }: ServerChange): Promise<void> {
    const { cluster, people, crowd, clock, problem } = this.#parts;
    if (kind === "add") {
      await cluster.restart(server);
    } else {
      this.#isOpen[server] = false;
      const there = this.#devicesAt(cluster.names[server]!);
      if (kind === "drain") {
        this.drains++;
        await cluster.drain(server);
      } else {
        this.kills++;
        await cluster.kill(server);
        // They are away as if they had left; else they come back by themselves.
        for (const device of people === undefined ? [] : there) {
          people!.gone(device, clock.now);
          void this.#inTurn(device, () => crowd.putAway(device, EVENT_MS));
        }
      }
    }
    if (!(await this.#isWhole())) problem(`the servers did not find each other after a ${kind}`);
    if (kind === "add") this.#isOpen[server] = true;
    if (people !== undefined && this.#parts.isOneByOne) {
      await until(() => this.#areConnected(), EVENT_MS);
    }
  }

  #devicesAt(server: string): number[] {
    const { crowd, devices } = this.#parts;
    return Array.from({ length: devices }, (_, device) => device).filter(
      (device) => crowd.where(device) === server,
    );
  }

  #areConnected(): boolean {
    const { people, crowd, devices } = this.#parts;
    for (let device = 0; device < devices; device++) {
      if (people!.isOn(device) && crowd.where(device) === undefined) return false;
    }
    return true;
  }

  async #isWhole(): Promise<boolean> {
    const deadline = performance.now() + WHOLE_MS;
    while (performance.now() < deadline) {
      if (await this.#parts.cluster.isWhole()) return true;
      await Bun.sleep(POLL_MS);
    }
    return false;
  }
}
