import {
  type Address,
  type DeliverFrame,
  encodeFrames,
  type ErrorCode,
  ERRORS,
  type Frame,
  type HelloFrame,
  LIMITS,
  type Limits,
  MEANINGS,
  type QuietFrame,
  readFrames,
  type SendFrame,
  type ServerAddresses,
  type WelcomeFrame,
} from "@beckon/protocol";

import type { Dial, TransportHandler } from "../transport.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** Time that a message is under way, ms. */
const LATENCY = 1;

const PORTION: Limits = {
  payload: LIMITS.payload,
  messageBytes: LIMITS.messageBytes,
  messageFrames: LIMITS.messageFrames,
  inFlight: LIMITS.inFlight,
  window: LIMITS.window,
  rate: 100_000,
  burst: 100_000,
};

/** One connection as the server has it. It speaks the protocol by the codec; what it says is up to the test. */
export class FakeConnection {
  readonly server: FakeServer;
  readonly address: Address;
  hello: HelloFrame | undefined;
  /** Everything that came, and the same by message. */
  readonly frames: Frame[] = [];
  readonly messages: Frame[][] = [];
  readonly sends: SendFrame[] = [];
  /** Numbers of DELIVERs that were acknowledged, in the order in which that came. */
  readonly received: number[] = [];
  pulls = 0;
  quiets = 0;
  delivers = 0;
  open = true;
  /** Nothing passes any more, and nobody is told. */
  silent = false;
  /** What the transport says is waiting. */
  backlog = 0;
  readonly #handler: TransportHandler;
  readonly #clock: VirtualClock;

  constructor(
    server: FakeServer,
    address: Address,
    handler: TransportHandler,
    clock: VirtualClock,
  ) {
    this.server = server;
    this.address = address;
    this.#handler = handler;
    this.#clock = clock;
  }

  take(bytes: Uint8Array): void {
    const message: Frame[] = [];
    readFrames(bytes, LIMITS, (frame) => {
      if (frame.type !== "unknown") message.push(frame);
    });
    this.messages.push(message);
    for (const frame of message) {
      this.frames.push(frame);
      this.#handle(frame);
    }
  }

  #handle(frame: Frame): void {
    switch (frame.type) {
      case "hello":
        this.hello = frame;
        return this.server.onHello(this, frame);
      case "send":
        this.sends.push(frame);
        return this.server.onSend(this, frame, this.sends.length);
      case "received":
        for (let i = 0; i < frame.ranges.length; i += 2) {
          for (let k = 0; k < frame.ranges[i + 1]!; k++) this.received.push(frame.ranges[i]! + k);
        }
        return;
      case "pull":
        return this.server.onPull(this, ++this.pulls);
      case "ping":
        return this.server.onPing(this);
      case "quiet":
        return this.server.onQuiet(this, frame, ++this.quiets);
      case "forget":
        return this.server.onForget(this);
      default:
    }
  }

  /** All in one message. */
  write(...frames: Frame[]): void {
    this.writeRaw(encodeFrames(frames));
  }

  writeRaw(bytes: Uint8Array): void {
    this.#clock.after(LATENCY, () => {
      if (this.open && !this.silent) this.#handler.message(bytes);
    });
  }

  welcome(fields: Partial<WelcomeFrame> = {}): void {
    const { server } = this;
    this.write({
      type: "welcome",
      connection: "c",
      server: server.name,
      user: "me",
      epoch: ++server.network.epoch,
      ticket: new Uint8Array(0),
      time: this.#clock.now(),
      heartbeat: LIMITS.heartbeat,
      limits: { ...PORTION, ...server.limits },
      servers: [server.addresses, ...server.network.othersOf(server)],
      held: 0,
      recovered: true,
      capabilities: 0,
      ...fields,
    });
  }

  /** Answers the DELIVER's number. */
  deliver(fields: Partial<DeliverFrame>): number {
    this.write(deliverFrame(fields));
    return ++this.delivers;
  }

  refuse(code: ErrorCode, send = 0, retryAfter = 0): void {
    const { number, closes } = ERRORS[code];
    this.write({ type: "error", code: number, message: MEANINGS[code], send, retryAfter });
    if (closes !== undefined) this.close(closes);
  }

  close(code: number, reason = ""): void {
    this.#clock.after(LATENCY, () => this.#end(code, reason));
  }

  /** The client's side. */
  closedByClient(): void {
    this.open = false;
  }

  #end(code: number, reason: string): void {
    if (!this.open || this.silent) return;
    this.open = false;
    this.#handler.closed(code, reason);
  }
}

export function deliverFrame(fields: Partial<DeliverFrame>): DeliverFrame {
  const n = fields.n ?? 1;
  return {
    type: "deliver",
    id: idOf(n),
    to: "me",
    n,
    prev: n === 0 ? 0 : n - 1,
    payload: new TextEncoder().encode(`${fields.from ?? "ann"} ${n}`),
    wake: "message",
    preview: "",
    ends: new Uint8Array(),
    from: "ann",
    fromDevice: "phone",
    outbox: 7,
    at: 1_750_000_000_000,
    server: "a",
    held: false,
    redelivered: false,
    ...fields,
  };
}

/** A UUIDv7 that is the same for the same number. */
export function idOf(n: number): Uint8Array {
  const id = new Uint8Array(16);
  id.set([1, 0x97, 0x70, 0, 0, 0, 0x70, 0, 0x80]);
  new DataView(id.buffer).setUint32(12, n);
  return id;
}

type On<A extends unknown[]> = (connection: FakeConnection, ...args: A) => void;

/** Welcomes whoever comes, acknowledges what is sent, holds nothing; each of it can be replaced. */
export class FakeServer {
  readonly name: string;
  readonly network: FakeNetwork;
  readonly addresses: ServerAddresses;
  readonly connections: FakeConnection[] = [];
  /** `refuses`: closes at once. `hangs`: never answers the dial. */
  state: "up" | "refuses" | "hangs" = "up";
  limits: Partial<Limits> = {};

  constructor(network: FakeNetwork, name: string, addresses?: readonly Address[]) {
    this.network = network;
    this.name = name;
    this.addresses = { name, addresses: addresses ?? [addressOf(`ws://${name}`)] };
  }

  onHello: On<[HelloFrame]> = (connection) => connection.welcome();
  onSend: On<[SendFrame, number]> = (connection, _send, number) => this.ack(connection, number);
  onPull: On<[number]> = (connection, pull) => connection.write({ type: "pulled", pull });
  onQuiet: On<[QuietFrame, number]> = (connection, _quiet, count) =>
    connection.write({ type: "quieted", count });
  onForget: On<[]> = (connection) => connection.refuse("revoked");
  onPing: On<[]> = (connection) =>
    connection.write({ type: "pong", time: this.network.clock.now() });

  ack(connection: FakeConnection, send: number, count = 1): void {
    const at = this.network.clock.now();
    connection.write({ type: "ack", send, count, status: "delivered", route: "local", at });
  }

  /** The newest connection. */
  get last(): FakeConnection {
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error(`nobody connected to ${this.name}`);
    return connection;
  }
}

export function addressOf(url: string, fields: Partial<Address> = {}): Address {
  return { url, protocol: "ws", secure: false, network: "", region: "", priority: 0, ...fields };
}

/** What lies between the device and an address, in place of the server's state. */
export interface Path {
  readonly state: FakeServer["state"];
  /** Until it opens or is refused, ms. */
  readonly latency: number;
}

export class FakeNetwork {
  readonly clock: VirtualClock;
  readonly servers: FakeServer[] = [];
  /** By URL. */
  readonly paths: Map<string, Path> = new Map();
  /** URLs in the order in which they were dialled, and when. */
  readonly dialled: { readonly url: string; readonly at: number }[] = [];
  epoch = 1000;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  add(name: string, addresses?: readonly Address[]): FakeServer {
    const server = new FakeServer(this, name, addresses);
    this.servers.push(server);
    return server;
  }

  othersOf(server: FakeServer): ServerAddresses[] {
    return this.servers.filter((other) => other !== server).map(({ addresses }) => addresses);
  }

  readonly dial: Dial = (address, handler) => {
    const { clock } = this;
    this.dialled.push({ url: address.url, at: clock.now() });
    const server = this.servers.find(({ addresses }) =>
      addresses.addresses.some(({ url }) => url === address.url),
    );
    const path = this.paths.get(address.url);
    const state = path?.state ?? server?.state;
    const latency = path?.latency ?? LATENCY;
    let closed = false;
    let connection: FakeConnection | undefined;
    if (server === undefined || state === "refuses") {
      clock.after(latency, () => {
        if (!closed) handler.closed(1006, "");
      });
    } else if (state === "up") {
      clock.after(latency, () => {
        if (closed) return;
        connection = new FakeConnection(server, address, handler, clock);
        server.connections.push(connection);
        handler.opened();
      });
    }
    return {
      send: (bytes) => {
        const to = connection;
        const copy = bytes.slice();
        if (to?.open) clock.after(LATENCY, () => !to.silent && to.take(copy));
      },
      buffered: () => connection?.backlog ?? 0,
      close: () => {
        closed = true;
        connection?.closedByClient();
      },
    };
  };
}
