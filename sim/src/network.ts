/** The network between devices and servers: it is slow, and it breaks. */
import type { Address, Frame } from "@beckon/protocol";

import type { Dial, Transport, TransportHandler } from "../../packages/client/src/transport.ts";
import type { Socket, SocketHandler } from "../../packages/server/src/gateway/socket.ts";
import type { DeviceName } from "./history.ts";
import type { Process } from "./scheduler.ts";
import { Tap } from "./tap.ts";
import type { World } from "./world.ts";

/** Where devices connect to. */
export interface Host {
  readonly name: string;
  /** Undefined: it does not run. */
  readonly process: Process | undefined;
  accept(socket: Socket): SocketHandler;
}

/** What a WebSocket says of a connection that ended without a word. */
const LOST = 1006;
/** Bytes that wait for a slow reader; one more is dropped and kills the connection, as Bun does. */
const BUFFER_LIMIT = 512 * 1024;
/** Bytes a millisecond that a slow reader takes. */
const SLOW = 2;
/** Bytes below which a socket tells that it has drained. */
const DRAINED = 0;

export class Network {
  readonly #world: World;
  readonly #hosts = new Map<string, Host>();
  readonly #wires = new Set<Wire>();
  /** "device server": the way there is blocked. */
  readonly #blocked = new Set<string>();
  #count = 0;

  constructor(world: World) {
    this.#world = world;
  }

  add(host: Host): void {
    this.#hosts.set(`ws://${host.name}`, host);
  }

  /** How a device dials. */
  dial(device: DeviceName, process: Process): Dial {
    return (address, handler) => this.#dial(device, process, address, handler);
  }

  #dial(
    device: DeviceName,
    process: Process,
    { url }: Address,
    handler: TransportHandler,
  ): Transport {
    this.#count += 1;
    const name = `c${this.#count}`;
    const host = this.#blocked.has(`${device} ${url}`) ? undefined : this.#hosts.get(url);
    const wire = new Wire(this.#world, { name, device, process, host, handler }, () => {
      this.#wires.delete(wire);
    });
    this.#wires.add(wire);
    wire.open();
    return wire.transport;
  }

  /** For a while the device cannot reach the server anew. */
  block(device: DeviceName, server: string, ms: number): void {
    const way = `${device} ws://${server}`;
    this.#blocked.add(way);
    this.#world.after(ms, () => this.#blocked.delete(way));
  }

  /** The connections of a device, or of a server, the oldest first. */
  wiresOf(of: { readonly device?: DeviceName; readonly server?: string }): Wire[] {
    return [...this.#wires].filter(
      (wire) =>
        (of.device === undefined || wire.device === of.device) &&
        (of.server === undefined || wire.server === of.server),
    );
  }

  /** A process is gone: its operating system resets its connections, unless the whole machine is gone. */
  processDied(process: Process, says: "reset" | "nothing"): void {
    for (const wire of this.#wires) wire.processDied(process, says);
  }

  /** From now on nothing that can be broken is. What is broken already ends. */
  heal(): void {
    this.#blocked.clear();
    for (const wire of this.#wires) wire.heal();
  }
}

interface WireOptions {
  readonly name: string;
  readonly device: DeviceName;
  readonly process: Process;
  readonly host: Host | undefined;
  readonly handler: TransportHandler;
}

/** One connection. Each direction keeps its order. */
export class Wire {
  readonly name: string;
  readonly device: DeviceName;
  readonly server: string;
  readonly transport: Transport;
  readonly #world: World;
  readonly #handler: TransportHandler;
  readonly #deviceProcess: Process;
  readonly #host: Host | undefined;
  readonly #serverProcess: Process | undefined;
  readonly #over: () => void;
  readonly #tap: Tap;
  /** Milliseconds one way, at least, and what may come on top. */
  readonly #latency: number;
  readonly #jitter: number;
  /** When the last thing sent arrives: what follows does not arrive before it. */
  #upUntil = 0;
  #downUntil = 0;
  #server: SocketHandler | undefined;
  #isBroken = false;
  #isSlow = false;
  /** Bytes that wait for a slow reader. */
  #buffered = 0;
  #mustDrain = false;
  /** Each side: open, has closed or reset, has been told. */
  #deviceEnd: "open" | "closing" | "closed" = "open";
  #serverEnd: "none" | "open" | "closing" | "closed" = "none";

  constructor(world: World, options: WireOptions, over: () => void) {
    const { name, device, process, host, handler } = options;
    this.#world = world;
    this.name = name;
    this.device = device;
    this.server = host?.name ?? "nowhere";
    this.#handler = handler;
    this.#deviceProcess = process;
    this.#host = host;
    this.#serverProcess = host?.process;
    this.#over = over;
    this.#tap = new Tap(world, name, device, this.server);
    const random = world.random.fork(`wire ${name}`);
    this.#latency = random.pick([1, 2, 5, 15, 40, 90]);
    this.#jitter = random.pick([0, 1, 5, 20]);
    this.transport = {
      send: (message) => this.#up(message),
      buffered: () => 0,
      close: () => this.#closeFromDevice(),
    };
  }

  get isOpen(): boolean {
    return this.#deviceEnd === "open" && this.#serverEnd === "open";
  }

  open(): void {
    const { name: connection, device } = this;
    this.#world.record({ kind: "dialled", device, connection, server: this.server });
    const server = this.#serverProcess;
    const delay = this.#delay();
    if (this.#host === undefined || server === undefined || !server.isAlive) {
      this.#tellDevice(delay * 2, LOST, "refused");
      return;
    }
    // A stopped process answers when it goes on; the device's patience decides.
    server.input(delay, () => {
      if (this.#deviceEnd !== "open" || this.#isBroken) return this.#forget();
      this.#serverEnd = "open";
      this.#server = this.#host!.accept(this.#socket());
      this.#toDevice(() => this.#handler.opened());
    });
  }

  // ── Faults ──

  /** Half-open from now on: what is written goes nowhere, and nobody is told. */
  break(): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#recordFault("broken");
  }

  /** The device reads slowly from now on. */
  slow(): void {
    if (this.#isSlow) return;
    this.#isSlow = true;
    this.#recordFault("slow");
  }

  /** Both sides learn that it is gone. */
  reset(): void {
    this.#tellDevice(this.#delay(), LOST, "reset");
    this.#tellServer(this.#delay());
  }

  /** The device has another network: it knows, and the server does not. */
  orphan(): void {
    this.break();
    this.#tellDevice(1, LOST, "network changed");
  }

  heal(): void {
    if (this.#isBroken || this.#buffered > 0) this.reset();
    this.#isSlow = false;
  }

  processDied(process: Process, says: "reset" | "nothing"): void {
    const isDevice = process === this.#deviceProcess;
    if (!isDevice && process !== this.#serverProcess) return;
    if (isDevice) {
      this.#recordClosed("device");
      this.#deviceEnd = "closed";
    } else {
      this.#serverEnd = "closed";
    }
    if (says === "nothing") this.break();
    else if (isDevice) this.#tellServer(this.#delay());
    else this.#tellDevice(this.#delay(), LOST, "reset");
    this.#forget();
  }

  // ── The device's side ──

  #up(message: Uint8Array): void {
    if (this.#deviceEnd !== "open" || this.#serverEnd === "none") return;
    const bytes = message.slice();
    this.#tap.up(bytes);
    this.#toServer(() => this.#server!.message(bytes));
  }

  #closeFromDevice(): void {
    if (this.#deviceEnd !== "open") return;
    this.#deviceEnd = "closing";
    this.#recordClosed("device");
    // The last bytes, then the end.
    if (!this.#isBroken && this.#serverEnd !== "none") {
      this.#upUntil = Math.max(this.#upUntil, this.#world.now + this.#delay());
      this.#tellServer(this.#upUntil - this.#world.now);
    }
    this.#deviceProcess.input(1, () => {
      if (this.#deviceEnd === "closed") return;
      this.#deviceEnd = "closed";
      this.#handler.closed(1000, "");
      this.#forget();
    });
  }

  /** The device learns that the connection is over. */
  #tellDevice(delay: number, code: number, reason: string): void {
    this.#deviceProcess.input(delay, () => {
      if (this.#deviceEnd !== "open") return;
      this.#deviceEnd = "closed";
      this.#recordClosed("device", code);
      this.#handler.closed(code, reason);
      this.#forget();
    });
  }

  #toDevice(run: () => void): void {
    this.#downUntil = Math.max(this.#downUntil, this.#world.now + this.#delay());
    this.#deviceProcess.input(this.#downUntil - this.#world.now, () => {
      if (this.#deviceEnd === "open" && !this.#isBroken) run();
    });
  }

  // ── The server's side ──

  #socket(): Socket {
    return {
      remote: "192.0.2.1",
      send: (message) => this.#down(message),
      buffered: () => this.#buffered,
      close: (code, reason) => this.#closeFromServer(code, reason),
      terminate: () => this.#closeFromServer(LOST, ""),
    };
  }

  #down(message: Uint8Array): boolean {
    if (this.#serverEnd !== "open" || !this.#serverProcess!.isAlive) return false;
    const bytes = message.slice();
    if (this.#buffered + bytes.length > BUFFER_LIMIT) return false;
    const notable = this.#tap.down(bytes);
    if (this.#isSlow) this.#wait(bytes, notable);
    else this.#toDevice(() => this.#read(bytes, notable));
    return true;
  }

  #read(bytes: Uint8Array, notable: readonly Frame[]): void {
    this.#tap.read(notable);
    this.#handler.message(bytes);
  }

  /** A slow reader: bytes stay in the server's buffer until those before them have left. */
  #wait(bytes: Uint8Array, notable: readonly Frame[]): void {
    this.#buffered += bytes.length;
    this.#mustDrain = true;
    this.#downUntil = Math.max(this.#downUntil, this.#world.now) + bytes.length / SLOW;
    this.#world.after(this.#downUntil - this.#world.now, () => {
      this.#buffered -= bytes.length;
      this.#toDevice(() => this.#read(bytes, notable));
      if (this.#buffered > DRAINED || !this.#mustDrain) return;
      this.#mustDrain = false;
      this.#serverProcess!.input(0, () => {
        if (this.#serverEnd === "open") this.#server!.drained();
      });
    });
  }

  #closeFromServer(code: number, reason: string): void {
    if (this.#serverEnd !== "open") return;
    this.#serverEnd = "closing";
    this.#recordClosed("server");
    if (!this.#isBroken) {
      this.#downUntil = Math.max(this.#downUntil, this.#world.now + this.#delay());
      this.#tellDevice(this.#downUntil - this.#world.now, code, reason);
    }
    // The own end hears of it when the other has answered, or much later when that is gone.
    const delay = this.#isBroken ? 1 + this.#latency * 50 : 1 + this.#latency;
    this.#serverProcess!.input(delay, () => this.#serverClosed());
  }

  #serverClosed(): void {
    if (this.#serverEnd === "closed" || this.#serverEnd === "none") return;
    this.#serverEnd = "closed";
    this.#recordClosed("server");
    this.#server!.closed();
    this.#forget();
  }

  #tellServer(delay: number): void {
    this.#serverProcess?.input(delay, () => this.#serverClosed());
  }

  #toServer(run: () => void): void {
    this.#upUntil = Math.max(this.#upUntil, this.#world.now + this.#delay());
    this.#serverProcess!.input(this.#upUntil - this.#world.now, () => {
      if (this.#serverEnd === "open" && !this.#isBroken) run();
    });
  }

  // ──

  /** Whole milliseconds, so that things that are near to each other arrive in one turn. */
  #delay(): number {
    return Math.ceil(this.#latency + this.#world.random.exponential(this.#jitter));
  }

  #forget(): void {
    const isServerOver = this.#serverEnd === "closed" || this.#serverEnd === "none";
    if (this.#deviceEnd === "closed" && isServerOver) this.#over();
  }

  #recordFault(kind: "broken" | "slow"): void {
    this.#world.record({ kind, device: this.device, connection: this.name });
  }

  #recordClosed(side: "device" | "server", told?: number): void {
    if (!this.#tap.isGreeted) return;
    const code = side === "device" ? (this.#tap.end ?? told) : undefined;
    this.#world.record({ kind: "closed", device: this.device, connection: this.name, side, code });
  }
}
