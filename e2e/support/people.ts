import type { Ack, Message } from "@beckon/client";

import { Device } from "../../packages/cli/src/replay/device.ts";
import { Ledger, type Verdict } from "../../packages/cli/src/replay/ledger.ts";
import { type Random, seeded } from "../../packages/cli/src/replay/random.ts";
import { mintDevToken } from "../../packages/cli/src/token.ts";
import type { ClusterServer } from "./cluster-server.ts";
import type { Cluster } from "./cluster.ts";
import { until } from "./until.ts";

/** Everything as it should be, whatever the number of messages. */
export const FLAWLESS = {
  lost: 0,
  duplicated: 0,
  reordered: 0,
  gaps: 0,
  late: 0,
  unpushed: 0,
  misdelivered: 0,
  problems: [] as string[],
};

interface Person {
  readonly name: string;
  readonly device: Device;
  /** Name of the server that it is connected to. */
  server: string | undefined;
}

/** People with a phone each, the real SDK, and an account of what they saw. Person `n` and the phone are called `u<n>`. */
export class People {
  /** By message. */
  readonly acks: Map<number, Ack> = new Map();
  /** What was handed over, by message. */
  readonly handed: Map<number, Message> = new Map();
  /** What the SDKs reported. */
  readonly errors: string[] = [];
  readonly #cluster: Cluster;
  readonly #ledger: Ledger;
  readonly #people: readonly Person[];
  #taken = 0;

  /** `homes`: the server that each begins at. */
  constructor(cluster: Cluster, homes: readonly string[]) {
    this.#cluster = cluster;
    this.#ledger = new Ledger(homes.length);
    this.#people = homes.map((home, number) => this.#person(number, home));
  }

  /** All of them connected where they begin, and known so everywhere; what is said to them from now on is said live. */
  static async at(cluster: Cluster, homes: readonly string[]): Promise<People> {
    const people = new People(cluster, homes);
    await Promise.all(homes.map((_, number) => people.arrive(number)));
    await Promise.all(homes.map((home, number) => cluster.placed(`u${number}`, home)));
    const before = (number: number): number => (number + homes.length - 1) % homes.length;
    await Promise.all(homes.map((_, number) => people.caughtUp(number, before(number))));
    return people;
  }

  #person(number: number, home: string): Person {
    const name = `u${number}`;
    const { servers, pushes } = this.#cluster;
    const urls = (): string[] => {
      const first = servers.filter((server) => server.name === home);
      const others = servers.filter((server) => server.name !== home);
      return [...first, ...others].map(({ url }) => url);
    };
    const now = (): number => performance.now();
    const device = new Device({
      name,
      token: () => mintDevToken(name),
      servers: urls,
      events: {
        awake: (byPush) => this.#ledger.awake(number, now(), byPush),
        asleep: () => {
          person.server = undefined;
          this.#ledger.asleep(number, now());
        },
        online: (server) => {
          person.server = server;
          this.#ledger.online(number, now());
        },
        offline: () => {
          person.server = undefined;
          this.#ledger.offline(number, now());
        },
        message: (message) => this.#message(number, message),
        wire: () => {},
        error: (error) => void this.errors.push(`${name}: ${error.message}`),
      },
    });
    const person: Person = { name, device, server: undefined };
    pushes.phones.register(name, (body) => {
      this.#ledger.pushed(number);
      device.pushed(body);
    });
    return person;
  }

  #message(device: number, message: Message): void {
    const number = Number(message.text());
    const { server, held, gap } = message;
    this.handed.set(number, message);
    this.#ledger.handedOver({ message: number, device, at: performance.now(), server, held, gap });
  }

  /** The server that somebody is connected to. */
  serverOf(person: number): string | undefined {
    return this.#people[person]!.server;
  }

  async arrive(person: number, ms = 20_000): Promise<void> {
    const { device, name } = this.#people[person]!;
    device.wake();
    await until(
      () => this.serverOf(person) !== undefined,
      () => `${name} to connect`,
      ms,
    );
  }

  /** Closes the application, with a goodbye, until these servers know it; it opens when a push comes. */
  async sleep(person: number, told?: readonly ClusterServer[]): Promise<void> {
    const { device, name } = this.#people[person]!;
    await device.close();
    await this.#cluster.placed(name, null, told);
  }

  /** The phone is gone without a goodbye that anybody hears: to be called while its server is paused. */
  async vanish(person: number): Promise<void> {
    await this.#people[person]!.device.close();
  }

  /** The answer is the message's number. */
  say(from: number, to: number): number {
    const message = this.#ledger.taken(from, to);
    this.#taken++;
    const sender = this.#people[from]!;
    sender.device.send(this.#people[to]!.name, String(message)).then(
      (ack) => {
        this.acks.set(message, ack);
        this.#ledger.acked(message, performance.now(), ack.server);
      },
      (error: Error) => void this.errors.push(`${sender.name}: ${error.message}`),
    );
    return message;
  }

  /** Until the message is acknowledged and handed over. */
  async done(message: number, ms = 10_000): Promise<{ ack: Ack; message: Message }> {
    await until(
      () => this.acks.has(message) && this.handed.has(message),
      () =>
        `message ${message}: acknowledged ${this.acks.has(message)}, handed over ${this.handed.has(message)}`,
      ms,
    );
    return { ack: this.acks.get(message)!, message: this.handed.get(message)! };
  }

  async tell(from: number, to: number, ms = 10_000): Promise<{ ack: Ack; message: Message }> {
    return this.done(this.say(from, to), ms);
  }

  /**
   * Until the person has read what was held, as a device that has come does first, and hears live what `from` says: until then all
   * that is said to it is held as well.
   */
  async caughtUp(person: number, from: number): Promise<void> {
    const isLive = async (): Promise<boolean> =>
      (await this.tell(from, person)).ack.status === "delivered";
    await until(isLive, () => `${this.#people[person]!.name} to have read what was held`);
  }

  /** Pairs of these talk at random, a message each `everyMs`, for as long as `meanwhile` takes. */
  async chat<T>(
    meanwhile: () => Promise<T>,
    everyMs = 20,
    among: readonly number[] = [...this.#people.keys()],
    random: Random = seeded(1),
  ): Promise<T> {
    const timer = setInterval(() => {
      const from = random.pick(among);
      const to = random.pick(among.filter((other) => other !== from));
      this.say(from, to);
    }, everyMs);
    try {
      return await meanwhile();
    } finally {
      clearInterval(timer);
    }
  }

  /** Until nothing is owed to anybody, and every sender knows. */
  async settled(ms = 60_000): Promise<void> {
    await until(
      () => this.#ledger.outstanding === 0 && this.acks.size === this.#taken,
      () =>
        `the last of ${this.#taken} messages: ${this.#taken - this.acks.size} without ACK, ${this.#ledger.outstanding} not handed over; ${this.errors.join("; ")}`,
      ms,
    );
  }

  /** To be called once, at the end; everybody goes. */
  async verdict(): Promise<Verdict> {
    this.#ledger.lastCall(performance.now());
    await this.close();
    return this.#ledger.verdict();
  }

  async close(): Promise<void> {
    await Promise.all(this.#people.map(({ device }) => device.close()));
  }
}
