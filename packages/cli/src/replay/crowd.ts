import { readFrames } from "@beckon/protocol";
import type { Ack, Message } from "@beckon/client";

import { within } from "../within.ts";
import type { Protocol } from "./cluster.ts";
import { Device } from "./device.ts";
import { IdleQueue } from "./idle.ts";
import type { HandOver, Ledger } from "./ledger.ts";
import { seeded } from "./random.ts";

export interface CrowdParts {
  readonly users: readonly string[];
  readonly devicesPerUser: number;
  /** After which a device is put away that neither sent nor received; undefined: somebody else does that. */
  readonly idleSeconds: number | undefined;
  readonly seed: number;
  /** The devices take turns. */
  readonly protocols: readonly Protocol[];
  /** URLs of the servers. */
  readonly servers: Readonly<Record<Protocol, readonly string[]>>;
  readonly ledger: Ledger;
  readonly token: (user: string) => string;
  /** The push service has something for the device of this name. */
  readonly listen: (name: string, handler: (body: string) => void) => void;
  readonly handedOver: (handOver: HandOver) => void;
  /** A push has come for a device. Default: it wakes, and follows it. */
  readonly pushed?: (device: number, body: string) => void;
  /** URLs to be dialled by a device that connects on its own, in order. Default: a random one first. */
  readonly route?: (device: number, urls: readonly string[]) => readonly string[];
  /** Whether a device begins where it was last. Default: it does not. */
  readonly remembers?: (device: number) => boolean;
  /** Something happened that is not a fault by itself. */
  readonly problem: (what: string) => void;
}

/** Registered at the same time. */
const REGISTERING = 64;
const REGISTER_MS = 30_000;
/** A goodbye is everywhere by then: servers tell each other every 5 ms. */
const GOODBYE_MS = 20;
/** Bytes of a payload: a short text. */
const PAYLOAD = 80;
const NO_LIMITS = { messageBytes: Infinity, messageFrames: Infinity } as const;

/** All devices of all users, and what they have in common: the clock of people, and the ledger that hears of what they see. */
export class Crowd {
  pushes = 0;
  connects = 0;
  wireDuplicates = 0;
  readonly connectsByServer: Map<string, number> = new Map();
  readonly connectsByProtocol: Record<Protocol, number> = { ws: 0, tcp: 0 };
  /** Of servers that sent a device elsewhere: before it was welcome, and while it was connected. */
  redirects = 0;
  moves = 0;
  /** Where a connected device is. */
  readonly #where = new Map<number, string>();
  /** Of the last event that brings a run forward. */
  lastEvent: number = performance.now();
  readonly #parts: CrowdParts;
  readonly #devices: readonly Device[];
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #idle: IdleQueue | undefined;
  /** `message * devices + device`: DELIVERs that have come. */
  readonly #seen = new Set<number>();
  /** Who waits for a device to be online. */
  readonly #waiting = new Map<number, () => void>();
  readonly #decoder = new TextDecoder();
  /** When the devices fell asleep last. */
  readonly #asleepAt = new Map<number, number>();
  #isRegistered = false;

  constructor(parts: CrowdParts) {
    this.#parts = parts;
    this.#idle = parts.idleSeconds === undefined ? undefined : new IdleQueue(parts.idleSeconds);
    this.#numbers = new Map(parts.users.map((user, number) => [user, number]));
    this.#devices = parts.users.flatMap((user, number) =>
      Array.from({ length: parts.devicesPerUser }, (_, nth) =>
        this.#createDevice(user, number * parts.devicesPerUser + nth),
      ),
    );
  }

  userNumber(user: string): number {
    return this.#numbers.get(user)!;
  }

  /** Every device connects once, says where its pushes go, and falls asleep. */
  async register(progress: (done: number) => void): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < this.#devices.length) {
        const number = next++;
        await this.#registerOne(number);
        progress(number + 1);
      }
    };
    await Promise.all(Array.from({ length: REGISTERING }, work));
    this.#isRegistered = true;
  }

  /** The trace has come to this second; whoever has been idle for too long falls asleep. */
  advance(seconds: number): void {
    this.#idle?.advance(seconds, (number) => {
      const device = this.#devices[number]!;
      return !device.awake || device.sleep();
    });
  }

  /**
   * Waits until every server has heard that the user's devices have gone, if they went just now. By the trace's clock that is minutes
   * ago.
   */
  async departed(user: string): Promise<void> {
    const { devicesPerUser } = this.#parts;
    const first = this.userNumber(user) * devicesPerUser;
    for (let number = first; number < first + devicesPerUser; number++) {
      const ms = GOODBYE_MS - (performance.now() - (this.#asleepAt.get(number) ?? 0));
      if (ms > 0) await Bun.sleep(ms);
    }
  }

  async send(message: number, from: string, to: string): Promise<Ack> {
    const number = this.userNumber(from) * this.#parts.devicesPerUser;
    this.#idle?.touch(number);
    const ack = await this.#devices[number]!.send(to, `${message}`.padEnd(PAYLOAD, " ."));
    this.#idle?.touch(number);
    this.lastEvent = performance.now();
    return ack;
  }

  /** `byPush`: one has told it to, but not where. */
  wake(number: number, byPush: boolean = false): void {
    this.#devices[number]!.wake(byPush);
  }

  /** When it is connected; or after so long. */
  async online(number: number, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(number, resolve);
    await within(ms, promise);
    if (this.#waiting.get(number) === resolve) this.#waiting.delete(number);
  }

  /** As {@link wake}, by this push. */
  follow(number: number, body: string): void {
    this.#devices[number]!.pushed(body);
  }

  /** When what it has sent is acknowledged, or after so long. Resolves when it is put away. */
  async putAway(number: number, ms: number): Promise<void> {
    await this.#devices[number]!.settled(ms);
    await this.#devices[number]!.close();
  }

  /** The server that the device is connected to; undefined: none. */
  where(number: number): string | undefined {
    return this.#where.get(number);
  }

  /** Connected devices by server. */
  loads(): ReadonlyMap<string, number> {
    const loads = new Map<string, number>();
    for (const server of this.#where.values()) loads.set(server, (loads.get(server) ?? 0) + 1);
    return loads;
  }

  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.close()));
  }

  #createDevice(user: string, number: number): Device {
    const { ledger, token, listen, problem } = this.#parts;
    const { protocols } = this.#parts;
    const name = `d${number}`;
    // Those of one user, too, differ, and those of one number of different users.
    const protocol =
      protocols[(number + Math.floor(number / protocols.length)) % protocols.length]!;
    let wakings = 0;
    const device = new Device({
      name,
      protocol,
      token: () => token(user),
      servers: () => this.#route(number, wakings++, protocol),
      remembers: () => this.#isRegistered && this.#parts.remembers?.(number) === true,
      events: {
        awake: (byPush) => {
          if (!this.#isRegistered) return;
          ledger.awake(number, performance.now(), byPush);
          this.#idle?.touch(number);
        },
        asleep: () => {
          this.#where.delete(number);
          if (!this.#isRegistered) return;
          const at = performance.now();
          this.#asleepAt.set(number, at);
          ledger.asleep(number, at);
        },
        online: (server, by) => this.#online(number, server, by),
        moved: (server) => {
          this.#where.set(number, server);
          if (this.#isRegistered) this.moves++;
        },
        offline: () => {
          this.#where.delete(number);
          ledger.offline(number, performance.now());
        },
        message: (message) => this.#message(number, user, message),
        wire: (bytes) => this.#wire(number, bytes),
        error: (error) => problem(`device ${number}: ${error.message}`),
      },
    });
    listen(name, (body) => {
      this.pushes++;
      this.lastEvent = performance.now();
      ledger.pushed(number);
      this.#idle?.touch(number);
      if (this.#parts.pushed === undefined) device.pushed(body);
      else this.#parts.pushed(number, body);
    });
    return device;
  }

  /** On its own a device dials one server, chosen uniformly; the others are there in case it does not answer. */
  #route(device: number, waking: number, protocol: Protocol): readonly string[] {
    const { seed, route } = this.#parts;
    const servers = this.#parts.servers[protocol];
    if (route !== undefined && this.#isRegistered) return route(device, servers);
    const first = seeded(`${seed}/${device}/${waking}`).below(servers.length);
    return [...servers.slice(first), ...servers.slice(0, first)];
  }

  #online(device: number, server: string, protocol: Protocol): void {
    this.#waiting.get(device)?.();
    this.#where.set(device, server);
    if (!this.#isRegistered) return;
    this.connects++;
    this.connectsByServer.set(server, (this.connectsByServer.get(server) ?? 0) + 1);
    this.connectsByProtocol[protocol]++;
    this.lastEvent = performance.now();
    this.#parts.ledger.online(device, this.lastEvent);
  }

  #message(device: number, user: string, message: Message): void {
    const { handedOver, problem } = this.#parts;
    const number = Number.parseInt(message.text());
    if (!Number.isSafeInteger(number)) {
      problem(`device ${device} was handed a message that nobody sent`);
      return;
    }
    const at = performance.now();
    this.lastEvent = at;
    // A copy of what the user wrote on another device is no reason to stay awake.
    if (message.to === user) this.#idle?.touch(device);
    const { server, held, gap } = message;
    handedOver({ message: number, device, at, server, held, gap });
  }

  #wire(device: number, bytes: Uint8Array): void {
    readFrames(bytes, NO_LIMITS, (frame) => {
      if (frame.type === "redirect" && this.#isRegistered) this.redirects++;
      if (frame.type !== "deliver") return;
      const message = Number.parseInt(this.#decoder.decode(frame.payload.subarray(0, 16)));
      const key = message * this.#devices.length + device;
      if (this.#seen.has(key)) this.wireDuplicates++;
      this.#seen.add(key);
    });
  }

  async #registerOne(device: number): Promise<void> {
    const online = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      online.reject(
        new Error(`device ${device} could not register within ${REGISTER_MS / 1000} s`),
      );
    }, REGISTER_MS);
    this.#waiting.set(device, online.resolve);
    try {
      this.#devices[device]!.wake();
      await online.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(device);
    }
    await this.#devices[device]!.close();
  }
}
