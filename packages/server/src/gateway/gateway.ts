import type {
  MessageLimits,
  Millis,
  ProtocolLimits,
  PushRegistration,
  ServerAddresses,
} from "@beckon/protocol";

import type { Authorize } from "../delivery/authorize.ts";
import type { Delivery } from "../delivery/delivery.ts";
import type { Clock } from "../lib/clock.ts";
import type { Mover } from "../placement/mover.ts";
import type { Placement } from "../placement/placement.ts";
import type { SessionTable } from "../sessions/table.ts";
import type { ArrivedWake, Store } from "../store/store.ts";
import { Connection } from "./connection.ts";
import type { DrainPlan } from "./drain-plan.ts";
import { drainConnections } from "./drain.ts";
import type { ConnectionFailure } from "./failure-log.ts";
import type { Authenticate, Tickets } from "./identity.ts";
import { WriterPool } from "./outgoing.ts";
import type { Socket, SocketHandler } from "./socket.ts";

const CHECK_MS = 1_000;

export interface GatewayOptions {
  /** Name of this server. */
  readonly server: string;
  readonly clock: Clock;
  readonly limits: ProtocolLimits;
  /** Connections that this server takes at most; one more is refused as `full`. */
  readonly maxConnections: number;
  readonly table: SessionTable;
  readonly store: Store;
  readonly delivery: Delivery;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  readonly tickets: Tickets;
  /** Random bytes for connection ids, as text. */
  connectionId(): string;
  /** This server first, then the others that are up. */
  servers(): readonly ServerAddresses[];
  /** The others that take devices, each time another one first. */
  readonly elsewhere: () => readonly ServerAddresses[];
  state(): "up" | "draining";
  /** Undefined: devices stay where they come. */
  readonly placement: Placement | undefined;
  /** Undefined: nor are they moved later. */
  readonly mover: Mover | undefined;
  /** Undefined: where this server is emptied devices go anywhere. `devices`: by user, how many are connected here. It takes `most` ms at most. */
  readonly planEmptying:
    | ((devices: ReadonlyMap<string, number>, most: Millis) => Promise<Departures>)
    | undefined;
  /** What its push service would find wrong with a registration; undefined: nothing that can be seen. */
  pushFault(push: PushRegistration): string | undefined;
  /** For the counters, and for the log. */
  onFailure(failure: ConnectionFailure): void;
  /** A device is welcomed that had been pushed to. `hinted`: the server whose wake led it here, as it says. */
  onWoken(wake: ArrivedWake, hinted: string): void;
}

/** Where each device of a server that is emptied goes (B3). */
export interface Departures {
  /** In the order in which they leave. */
  readonly users: Iterable<string>;
  /** The device is told to go now: to which servers, the best first. Undefined: to any. */
  send(user: string, device: string): readonly ServerAddresses[] | undefined;
}

export interface GatewayParts extends GatewayOptions {
  full(): boolean;
  /** The connection is closed. */
  over(connection: Connection): void;
  /** Before WELCOME. */
  readonly helloLimits: MessageLimits;
}

/** The connections of devices to this server. */
export class Gateway {
  readonly #parts: GatewayParts;
  readonly #writers: WriterPool;
  readonly #connections = new Set<Connection>();
  #checked = 0;
  #cancelCheck: (() => void) | undefined;

  constructor(options: GatewayOptions) {
    this.#parts = {
      ...options,
      over: (connection) => void this.#connections.delete(connection),
      full: () => this.#connections.size > options.maxConnections,
      helloLimits: {
        messageBytes: options.limits.helloBytes,
        messageFrames: options.limits.messageFrames,
      },
    };
    this.#writers = new WriterPool(options.clock);
  }

  get size(): number {
    return this.#connections.size;
  }

  start(): void {
    this.#cancelCheck = this.#parts.clock.after(CHECK_MS, this.#check);
  }

  /** A device has opened a transport (M1). */
  accept(socket: Socket): SocketHandler {
    const connection = new Connection(this.#parts, this.#writers, socket);
    this.#connections.add(connection);
    return connection;
  }

  /**
   * Sends the connections elsewhere, and resolves when none is left of those that are there now. What comes later is refused, as
   * `state` says `draining`.
   */
  async drain(plan: DrainPlan): Promise<void> {
    const { clock, elsewhere, planEmptying } = this.#parts;
    const began = clock.monotonic();
    const connections = [...this.#connections];
    if (planEmptying === undefined || elsewhere().length === 0) {
      await drainConnections(connections, { plan, clock, elsewhere });
      return;
    }
    // Who is not welcomed yet is refused first.
    const ordered: Connection[] = [];
    const users = new Map<string, Connection[]>();
    for (const connection of connections) {
      const { user } = connection;
      const others = user === undefined ? ordered : users.get(user);
      if (others === undefined) users.set(user!, [connection]);
      else others.push(connection);
    }
    const devices = new Map([...users].map(([user, { length }]) => [user, length]));
    const departures = await planEmptying(devices, plan.planned);
    for (const user of departures.users) ordered.push(...users.get(user)!);
    const placeOf = ({ user, device }: Connection): readonly ServerAddresses[] | undefined =>
      user === undefined ? undefined : departures.send(user, device!);
    await drainConnections(ordered, { plan, clock, began, elsewhere, placeOf });
  }

  stop(): void {
    this.#cancelCheck?.();
  }

  readonly #check = (): void => {
    const now = this.#parts.clock.monotonic();
    // After a stall the sockets are read first: what looks like silence may be waiting there.
    if (now - this.#checked < 2 * CHECK_MS) {
      for (const connection of this.#connections) connection.check();
    }
    this.#checked = now;
    this.#cancelCheck = this.#parts.clock.after(CHECK_MS, this.#check);
  };
}
