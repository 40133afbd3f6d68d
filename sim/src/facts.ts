/** A history, sorted by what it is about. Says nothing about right and wrong. */
import { LIMITS } from "@beckon/protocol";

import type { ConnectionName, DeviceName, HistoryEvent, History, MessageName } from "./history.ts";
import { userOf } from "./history.ts";
import { Spans } from "./intervals.ts";

type Of<K extends HistoryEvent["kind"]> = Extract<HistoryEvent, { readonly kind: K }>;

/** A row of a message for a device: from its commit until it is settled, dropped, or gone with the device. */
export interface Row {
  readonly from: number;
  to: number;
  isDropped: boolean;
  /** A crash of the database has undone that it was settled. */
  readonly isBack: boolean;
}

/** What of a message one device went through. */
export interface Passage {
  readonly arrived: number[];
  readonly received: number[];
  /** One after the other: a repeat by the sender may be held again. */
  readonly rows: Row[];
}

export interface MessageFacts {
  readonly name: MessageName;
  readonly sent: Of<"sent">;
  /** What one memory of the sending device sends to one user. */
  readonly lane: string;
  /** Its place in the lane, from 0. */
  readonly place: number;
  readonly transmitted: number[];
  readonly acks: Of<"acked">[];
  /** A server has refused it for good, whether its sender has heard of it or not. */
  denied: Of<"denied"> | undefined;
  refused: Of<"refused"> | undefined;
  /** When a row for the recipient's user alone was committed. */
  heldForUser: number | undefined;
  droppedForUser: number | undefined;
  readonly passages: Map<DeviceName, Passage>;
}

/** One hand-over to the application. */
export interface HandOver {
  readonly event: Of<"handed">;
  readonly message: MessageFacts | undefined;
  /** Which life of the process, and which memory of the device: counted from 1. */
  readonly life: number;
  readonly memory: number;
  handled: Of<"handled"> | undefined;
}

export interface ConnectionFacts {
  readonly name: ConnectionName;
  readonly device: DeviceName;
  readonly dialled: number;
  readonly welcomed: Of<"welcomed">;
  online: Of<"online"> | undefined;
  /** When the device has read, on this connection, that it is to go elsewhere. */
  heard: number | undefined;
  /** From when on it no longer carries what it should. */
  broken: number | undefined;
  closedByDevice: number | undefined;
  closedByServer: number | undefined;
  readonly delivered: Of<"delivered">[];
}

export interface DeviceFacts {
  readonly name: DeviceName;
  readonly user: string;
  /** When it was one of its user's durable devices, and could be pushed to. */
  readonly registered: Spans;
  readonly pushable: Spans;
  /** When which server has told it, or who registered it, that it is. */
  readonly admitted: { readonly at: number; readonly server: string }[];
  readonly handed: HandOver[];
  /** All that it was ever handed. */
  readonly got: Set<MessageFacts>;
  readonly connections: ConnectionFacts[];
  readonly pushed: Of<"pushed">[];
  readonly lives: {
    readonly from: number;
    to: number;
    readonly memory: number;
    crashed: boolean;
  }[];
  readonly suspended: Spans;
  /** So much is unacknowledged that nothing more is sent to it. */
  readonly full: Spans;
  unacknowledged: number;
  /** A handler is running. */
  readonly busy: { readonly from: number; to: number }[];
}

/** One server, its link to the store, its link to the bus: when they were not there, or no use. */
export interface ServerFacts {
  readonly down: Spans;
  readonly noStore: Spans;
  readonly slowStore: Spans;
  readonly noBus: Spans;
  readonly crashed: number[];
}

/** DELIVERs that a device may leave unacknowledged while live ones are still sent to it: three quarters of the window. */
const FULL = (LIMITS.inFlight * 3) / 4;

export class Facts {
  readonly history: History;
  readonly messages: Map<MessageName, MessageFacts> = new Map();
  readonly devices: Map<DeviceName, DeviceFacts> = new Map();
  readonly connections: Map<ConnectionName, ConnectionFacts> = new Map();
  readonly servers: Map<string, ServerFacts> = new Map();
  /** Moments at which something failed or came back: what has a deadline begins to wait anew. */
  readonly shocks: number[] = [];
  /** Those of them without the orderly stops of servers: these are no failures. */
  readonly failures: number[] = [];
  /** A transaction does not end: whoever wants its users waits, and fails. */
  readonly hung: Spans = new Spans();
  /** Somebody's clock was set. */
  hasJumped = false;
  /** When everything was healthy again, for good. */
  healed: number = Infinity;
  end = 0;
  readonly #dialled = new Map<ConnectionName, number>();
  readonly #lanes = new Map<string, number>();
  /** Connections that no longer carry what they should, some of them from before their WELCOME on. */
  readonly #broken = new Set<ConnectionName>();

  constructor(history: History) {
    this.history = history;
    for (const event of history) {
      this.end = event.at;
      this.#take(event);
    }
    for (const { registered, pushable, suspended, full, lives } of this.devices.values()) {
      for (const spans of [registered, pushable, suspended, full]) spans.end(Infinity);
      const last = lives.at(-1);
      if (last?.to === Infinity) last.to = this.end;
    }
    for (const { down, noStore, slowStore, noBus } of this.servers.values()) {
      for (const spans of [down, noStore, slowStore, noBus]) spans.end(Infinity);
    }
    this.hung.end(Infinity);
  }

  device(name: DeviceName): DeviceFacts {
    let facts = this.devices.get(name);
    if (facts === undefined) {
      facts = {
        name,
        user: userOf(name),
        registered: new Spans(),
        pushable: new Spans(),
        admitted: [],
        handed: [],
        got: new Set(),
        connections: [],
        pushed: [],
        lives: [],
        suspended: new Spans(),
        full: new Spans(),
        unacknowledged: 0,
        busy: [],
      };
      this.devices.set(name, facts);
    }
    return facts;
  }

  devicesOf(user: string): DeviceFacts[] {
    return [...this.devices.values()].filter((device) => device.user === user);
  }

  server(name: string): ServerFacts {
    let facts = this.servers.get(name);
    if (facts === undefined) {
      facts = {
        down: new Spans(),
        noStore: new Spans(),
        slowStore: new Spans(),
        noBus: new Spans(),
        crashed: [],
      };
      this.servers.set(name, facts);
    }
    return facts;
  }

  passage(message: MessageFacts, device: DeviceName): Passage {
    let passage = message.passages.get(device);
    if (passage === undefined) {
      passage = { arrived: [], received: [], rows: [] };
      message.passages.set(device, passage);
    }
    return passage;
  }

  /** Whether the device is connected when the history ends. */
  isOnlineAtEnd({ connections, lives, suspended }: DeviceFacts): boolean {
    const last = connections.findLast(({ online }) => online !== undefined);
    const isRunning = lives.at(-1)?.to === this.end && suspended.spans.at(-1)?.to !== Infinity;
    return (
      isRunning &&
      last !== undefined &&
      last.closedByDevice === undefined &&
      last.closedByServer === undefined
    );
  }

  /** Whether it was one of its user's durable devices before, and was forgotten. */
  wasForgotten({ registered }: DeviceFacts, at: number): boolean {
    return registered.spans.some(({ to }) => to <= at);
  }

  /** The memory that the device has at a time. */
  memoryAt(device: DeviceFacts, at: number): number {
    return device.lives.findLast(({ from }) => from <= at)?.memory ?? 0;
  }

  #take(event: HistoryEvent): void {
    switch (event.kind) {
      case "started":
      case "stopped":
      case "asleep":
      case "awake":
        this.#takeProcess(event);
        break;
      case "sent":
        this.#takeSent(event);
        break;
      case "denied":
        this.#message(event.message, (message) => (message.denied = event));
        break;
      case "dialled":
        this.#dialled.set(event.connection, event.at);
        break;
      case "refused":
        this.#message(event.message, (message) => (message.refused = event));
        break;
      case "handed":
      case "handled":
        this.#takeHandling(event);
        break;
      case "welcomed":
        this.#takeWelcomed(event);
        break;
      case "online":
        this.#connection(event.connection, (connection) => (connection.online = event));
        break;
      case "heard":
        this.#connection(event.connection, (connection) => (connection.heard ??= event.at));
        break;
      case "broken":
      case "slow":
        this.#broken.add(event.connection);
        this.#connection(event.connection, (connection) => (connection.broken ??= event.at));
        break;
      case "closed":
        this.#connection(event.connection, (connection) => {
          if (event.side === "device") connection.closedByDevice ??= event.at;
          else connection.closedByServer ??= event.at;
        });
        break;
      case "delivered":
        this.#connection(event.connection, (connection) => connection.delivered.push(event));
        this.#count(this.device(event.device), 1, event.at);
        break;
      case "transmitted":
        this.#message(event.message, (message) => message.transmitted.push(event.at));
        break;
      case "acked":
        this.#message(event.message, (message) => message.acks.push(event));
        break;
      case "arrived":
      case "received":
        if (event.kind === "received") this.#count(this.device(event.device), -1, event.at);
        this.#message(event.message, (message) =>
          this.passage(message, event.device)[event.kind].push(event.at),
        );
        break;
      case "held":
        this.#takeHeld(event);
        break;
      case "unsettled":
        this.#message(event.message, (message) => {
          if (event.device.endsWith("/")) return;
          this.passage(message, event.device).rows.push({
            from: event.at,
            to: Infinity,
            isDropped: false,
            isBack: true,
          });
        });
        break;
      case "settled":
      case "dropped":
        this.#message(event.message, (message) => {
          if (event.device.endsWith("/")) {
            if (event.kind === "dropped") message.droppedForUser ??= event.at;
          } else endRow(this.passage(message, event.device), event.at, event.kind === "dropped");
        });
        break;
      case "registered":
        this.device(event.device).registered.begin(event.at);
        if (event.push) this.device(event.device).pushable.begin(event.at);
        else this.device(event.device).pushable.end(event.at);
        break;
      case "admitted":
        this.device(event.device).admitted.push(event);
        break;
      case "forgotten":
        this.#forget(event.device, event.at);
        break;
      case "pushed":
        this.device(event.device).pushed.push(event);
        if (event.outcome === "gone") this.device(event.device).pushable.end(event.at);
        break;
      case "server":
      case "store":
      case "bus":
      case "push service":
        this.#takeFault(event);
        break;
      case "jumped":
        this.hasJumped = true;
        break;
      case "healed":
        this.shocks.push(event.at);
        this.failures.push(event.at);
        this.healed = event.at;
        break;
      case "confirmed":
      case "state":
      case "greeted":
      case "told":
      case "background":
      case "opened":
      case "expelled":
      case "woken":
      case "ended":
      case "threw":
    }
  }

  #message(name: MessageName, apply: (message: MessageFacts) => void): void {
    const message = this.messages.get(name);
    if (message !== undefined) apply(message);
  }

  #connection(name: ConnectionName, apply: (connection: ConnectionFacts) => void): void {
    const connection = this.connections.get(name);
    if (connection !== undefined) apply(connection);
  }

  #takeProcess(event: Of<"started" | "stopped" | "asleep" | "awake">): void {
    const { lives, suspended, busy } = this.device(event.device);
    const last = lives.at(-1);
    if (event.kind === "asleep") suspended.begin(event.at);
    if (event.kind === "awake") suspended.end(event.at);
    if (event.kind === "started") {
      const memory = (last?.memory ?? 0) + (event.storage === "kept" && last !== undefined ? 0 : 1);
      lives.push({ from: event.at, to: Infinity, memory, crashed: false });
    }
    if (event.kind === "stopped" && last !== undefined) {
      last.to = event.at;
      last.crashed = event.how === "crash";
      suspended.end(event.at);
      for (const span of busy) span.to = Math.min(span.to, event.at);
    }
  }

  #takeSent(event: Of<"sent">): void {
    const device = this.device(event.device);
    const memory = this.memoryAt(device, event.at);
    // What has no process of an SDK has no lane, and no call has one: each stands alone.
    const isAlone = memory === 0 || event.wake === "call";
    const lane = isAlone
      ? `${event.message} alone`
      : `${event.device} (memory ${memory}) to ${event.to}`;
    const place = this.#lanes.get(lane) ?? 0;
    this.#lanes.set(lane, place + 1);
    this.messages.set(event.message, {
      name: event.message,
      sent: event,
      lane,
      place,
      transmitted: [],
      acks: [],
      denied: undefined,
      refused: undefined,
      heldForUser: undefined,
      droppedForUser: undefined,
      passages: new Map(),
    });
  }

  #takeHandling(event: Of<"handed" | "handled">): void {
    const device = this.device(event.device);
    if (event.kind === "handed") {
      const message = this.messages.get(event.message);
      if (message !== undefined) device.got.add(message);
      device.handed.push({
        event,
        message,
        life: device.lives.length,
        memory: this.memoryAt(device, event.at),
        handled: undefined,
      });
      device.busy.push({ from: event.at, to: Infinity });
      return;
    }
    const at = device.handed.findLastIndex(
      (one) => one.event.message === event.message && one.handled === undefined,
    );
    if (at < 0) return;
    device.handed[at]!.handled = event;
    device.busy[at]!.to = event.at;
  }

  #takeWelcomed(event: Of<"welcomed">): void {
    const connection: ConnectionFacts = {
      name: event.connection,
      device: event.device,
      dialled: this.#dialled.get(event.connection) ?? event.at,
      welcomed: event,
      online: undefined,
      heard: undefined,
      broken: this.#broken.has(event.connection) ? event.at : undefined,
      closedByDevice: undefined,
      closedByServer: undefined,
      delivered: [],
    };
    this.connections.set(event.connection, connection);
    const device = this.device(event.device);
    device.connections.push(connection);
    if (event.durable) device.admitted.push(event);
    this.#count(device, -device.unacknowledged, event.at);
  }

  #count(device: DeviceFacts, by: number, at: number): void {
    device.unacknowledged = Math.max(0, device.unacknowledged + by);
    mark(device.full, device.unacknowledged >= FULL, at);
  }

  #takeHeld(event: Of<"held">): void {
    this.#message(event.message, (message) => {
      for (const device of event.devices) {
        const { rows } = this.passage(message, device);
        if (rows.at(-1)?.to !== Infinity) {
          rows.push({ from: event.at, to: Infinity, isDropped: false, isBack: false });
        }
      }
      if (event.user !== undefined && event.user === message.sent.to) {
        message.heldForUser ??= event.at;
      }
    });
  }

  /** Its rows are gone with it. */
  #forget(name: DeviceName, at: number): void {
    const device = this.device(name);
    device.registered.end(at);
    device.pushable.end(at);
    for (const { passages } of this.messages.values()) {
      const passage = passages.get(name);
      if (passage !== undefined) endRow(passage, at, false);
    }
  }

  #takeFault(event: Of<"server" | "store" | "bus" | "push service">): void {
    this.shocks.push(event.at);
    if (event.state !== "stopped") this.failures.push(event.at);
    if (event.kind === "push service") return;
    if (event.state === "hung" || event.state === "freed") {
      mark(this.hung, event.state === "hung", event.at);
    }
    if (event.kind === "server") {
      const { down, crashed } = this.server(event.server);
      const isGone = event.state === "crashed" || event.state === "stopped";
      if (isGone) crashed.push(event.at);
      if (isGone || event.state === "stalled") down.begin(event.at);
      else down.end(event.at);
      if (isGone) this.#crash(event.server, event.at);
      return;
    }
    const servers =
      event.server === undefined ? [...this.servers.values()] : [this.server(event.server)];
    for (const server of servers) {
      if (event.kind === "bus") mark(server.noBus, event.state === "away", event.at);
      else if (event.state === "away" || event.state === "back") {
        mark(server.noStore, event.state === "away", event.at);
      } else if (event.state === "slow" || event.state === "fast") {
        mark(server.slowStore, event.state === "slow", event.at);
      }
    }
  }

  /** With the server its ends of its connections are gone. */
  #crash(server: string, at: number): void {
    for (const connection of this.connections.values()) {
      if (connection.welcomed.server === server) connection.closedByServer ??= at;
    }
  }
}

function endRow({ rows }: Passage, at: number, isDropped: boolean): void {
  const last = rows.at(-1);
  if (last === undefined || last.to !== Infinity) return;
  last.to = at;
  last.isDropped = isDropped;
}

function mark(spans: Spans, begins: boolean, at: number): void {
  if (begins) spans.begin(at);
  else spans.end(at);
}
