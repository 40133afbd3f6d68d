import { type Ack, type Beckon, connect, type ConnectOptions, type Message } from "@beckon/client";
import { memory, type Storage } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";

import type { Protocol } from "./cluster.ts";
import { within } from "../within.ts";
import { forgetful } from "./forgetful.ts";

/** What its owner sees of a device. */
export interface DeviceEvents {
  awake(byPush: boolean): void;
  online(server: string, by: Protocol): void;
  /** It is connected to another server, and was never away. */
  moved?(server: string): void;
  offline(): void;
  asleep(): void;
  message(message: Message): void;
  /** Every message of the transport that came in. */
  wire(bytes: Uint8Array): void;
  error(error: Error): void;
}

export interface DeviceParts {
  /** The device's id; also what the push service calls it. */
  readonly name: string;
  /** How it connects, if it can. Default: by WebSocket. */
  readonly protocol?: Protocol;
  readonly token: () => string;
  /** Where a device that connects on its own begins, and where it goes on if that cannot be reached. Asked at each waking. */
  readonly servers: () => readonly string[];
  /** Whether it begins where it was last instead. Asked at each waking; default: it does not. */
  readonly remembers?: () => boolean;
  readonly events: DeviceEvents;
}

/** For how long a device that was woken stays up waiting for what it was woken for. */
const PATIENCE_MS = 10_000;

/**
 * A phone: the SDK while it is awake, and nothing but its storage while it sleeps. It does not fall asleep over a message that is not
 * acknowledged, nor before that has come for which it was woken.
 */
export class Device {
  readonly #parts: DeviceParts;
  readonly #storage: Storage;
  #client: Beckon | undefined;
  /** The client before is on its way out: two at a time would share a storage. */
  #closing: Promise<void> | undefined;
  /** What is to be done as soon as that has happened. */
  #waiting: (() => void)[] = [];
  #unacknowledged = 0;
  /** Who waits until that is 0. */
  #settling: (() => void)[] = [];
  /** When it was woken by a push that has not brought anything yet. */
  #expecting: number | undefined;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    this.#storage = forgetful(memory(), parts.remembers ?? (() => false));
  }

  get awake(): boolean {
    return this.#client !== undefined;
  }

  /** The application is opened, if it is not open. */
  wake(byPush: boolean = false): void {
    this.#open(byPush, () => {});
  }

  /** A push has come. Its owner looks: a device that is awake stays so until there is something to see, or patience ends. */
  pushed(body: string): void {
    this.#expecting ??= performance.now();
    this.#open(true, (client) => void client.onWake(body));
  }

  send(to: string, payload: string): Promise<Ack> {
    this.#unacknowledged++;
    const { promise, resolve, reject } = Promise.withResolvers<Ack>();
    this.#open(false, (client) => void client.send(to, payload).then(resolve, reject));
    return promise.finally(() => this.#answered());
  }

  /** Until all that it has sent is acknowledged, or for so long. */
  async settled(ms: number): Promise<void> {
    if (this.#unacknowledged === 0) return;
    await within(ms, new Promise<void>((resolve) => this.#settling.push(resolve)));
  }

  /** Answers whether it falls asleep. */
  sleep(): boolean {
    if (this.#unacknowledged > 0 || this.#closing !== undefined) return false;
    const since = this.#expecting;
    if (since !== undefined && performance.now() - since < PATIENCE_MS) return false;
    void this.close();
    return true;
  }

  /** At once, whatever it is doing. */
  close(): Promise<void> {
    const client = this.#client;
    if (client === undefined) return this.#closing ?? Promise.resolve();
    this.#client = undefined;
    this.#expecting = undefined;
    const { events } = this.#parts;
    events.asleep();
    this.#closing = this.#shut(client);
    return this.#closing;
  }

  #answered(): void {
    if (--this.#unacknowledged > 0) return;
    for (const settled of this.#settling.splice(0)) settled();
  }

  async #shut(client: Beckon): Promise<void> {
    try {
      await client.close();
    } catch (error) {
      this.#parts.events.error(error as Error);
    }
    this.#closing = undefined;
    for (const task of this.#waiting.splice(0)) task();
  }

  #open(byPush: boolean, use: (client: Beckon) => void): void {
    if (this.#closing !== undefined) {
      this.#waiting.push(() => this.#open(byPush, use));
      return;
    }
    if (this.#client === undefined) {
      this.#parts.events.awake(byPush);
      this.#client = this.#connect();
    }
    use(this.#client);
  }

  #connect(): Beckon {
    const { name, protocol, token, servers, events } = this.#parts;
    /** Connections by TCP that are open: one that is over may end after the next has begun. */
    let byTcp = 0;
    const client = connect({
      ...(protocol === "tcp"
        ? {
            transports: { tcp: heard(tcp(), (more) => (byTcp += more)) },
            prefer: { protocols: ["tcp", "ws"] },
          }
        : {}),
      servers: servers(),
      token,
      device: name,
      push: { provider: "dev", token: name },
      storage: this.#storage,
      trace: (direction, bytes) => {
        if (direction === "down") events.wire(bytes);
      },
    });
    /** Where it is connected. */
    let at: string | undefined;
    client.on("state", ({ name: state, server = "" }) => {
      const now = state === "connected" ? server : undefined;
      // What the client says after it was put to sleep is of no interest.
      if (now === at || this.#client !== client) return;
      const before = at;
      at = now;
      if (now === undefined) events.offline();
      else if (before === undefined) events.online(now, byTcp > 0 ? "tcp" : "ws");
      else events.moved?.(now);
    });
    client.on("message", (message) => {
      this.#expecting = undefined;
      events.message(message);
    });
    client.on("error", (error) => events.error(error));
    return client;
  }
}

type Dial = NonNullable<ConnectOptions["transports"]>[string];

/** Tells of each connection that opens (1), and of its end (-1). */
function heard(dial: Dial, told: (more: 1 | -1) => void): Dial {
  return (address, handler) => {
    let isOpen = false;
    return dial(address, {
      ...handler,
      opened() {
        isOpen = true;
        told(1);
        handler.opened();
      },
      closed(code, reason) {
        if (isOpen) told(-1);
        handler.closed(code, reason);
      },
    });
  };
}
