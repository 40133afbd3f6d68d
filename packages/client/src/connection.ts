import {
  type Address,
  CLOSE,
  errorByNumber,
  type Frame,
  LIMITS,
  type Limits,
  type MessageLimits,
  ProtocolError,
  readFramesByTable,
  type RedirectFrame,
  TableWriter,
  type UnknownFrame,
  type WelcomeFrame,
} from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Link } from "./link.ts";
import type { ConnectOptions } from "./options.ts";

/** How a connection ended. */
export interface Closing {
  /** What came with the connection's end; or what the last ERROR stands for, as not every transport has close codes. */
  readonly code: number;
  readonly message: string;
  /** Instead of a WELCOME. */
  readonly redirect: RedirectFrame | undefined;
}

/** One connection, from its open transport to its end. What is written first is HELLO. */
export interface Connection {
  readonly address: Address;
  /** Undefined: not yet welcome. */
  readonly welcome: WelcomeFrame | undefined;
  readonly limits: Limits;
  readonly open: boolean;
  /** Unacknowledged DELIVERs fill the window, but for what is kept for calls. [P-6.3] */
  readonly full: boolean;
  readonly closed: Promise<Closing>;
  /** All that is written in one turn leaves as one message. */
  write(frame: Frame): void;
  /** Acknowledges a DELIVER by its number. */
  received(deliver: number): void;
  /** Bytes written that have not left yet. */
  buffered(): number;
  /** Whether the server answers, which it has to do in 5 s; if not, the connection is closed. */
  probe(): Promise<boolean>;
  /** Says goodbye, after what was to be said, and ends it as if the server had closed it with this code. */
  leave(code: number): void;
  /** Ends it here, as if the server had closed it with this code. */
  close(code: number, message: string): void;
}

export interface ConnectionHandler {
  welcomed(connection: Connection, welcome: WelcomeFrame): void;
  /** `deliver`: a DELIVER's number. Only between `welcomed` and `ended`. */
  frame(connection: Connection, frame: Frame, deliver: number): void;
  /** All frames of one message were handed over. */
  turn(connection: Connection): void;
  /** Only after `welcomed`. */
  ended(connection: Connection): void;
}

/** From the open transport to WELCOME. */
const HANDSHAKE_MS = 10_000;
/** How often the clock is looked at. */
const TICK_MS = 5_000;
/** A tick that is this late was slept through. */
const SLEPT_MS = 2_000;
/** What a WebSocket says of a connection that ended without a word. */
export const LOST = 1006;

/** More than any server sends at once: beyond it something is wrong. */
const INBOUND: MessageLimits = { messageBytes: 16 * LIMITS.messageBytes, messageFrames: 65_536 };

export function openConnection(
  link: Link,
  clock: Clock,
  handler: ConnectionHandler,
  trace: ConnectOptions["trace"],
): Connection {
  const { address, transport } = link;
  const out = new TableWriter();
  let limits: Limits = LIMITS;
  let heartbeat: number = LIMITS.heartbeat;
  let welcome: WelcomeFrame | undefined;
  let open = true;
  let flushing = false;
  let acknowledged: number[] = [];
  let delivers = 0;
  /** Of these, not acknowledged. */
  let owed = 0;
  let heard = clock.now();
  let ticked = heard;
  let pinged: number | undefined;
  let excused = false;
  let cancelTimer = clock.after(HANDSHAKE_MS, () => close(LOST, ""));
  let answered: ((alive: boolean) => void)[] = [];
  let resolveClosed: (closing: Closing) => void;
  const closed = new Promise<Closing>((resolve) => (resolveClosed = resolve));

  function write(frame: Frame): void {
    if (!open) return;
    // The server reads nothing after it.
    if (frame.type === "bye") acknowledge();
    if (out.frames > 0 && out.size + sizeOf(frame) > limits.messageBytes) transmit();
    out.write(frame);
    if (out.frames >= limits.messageFrames) transmit();
    schedule();
  }

  function schedule(): void {
    if (flushing) return;
    flushing = true;
    clock.defer(flush);
  }

  function flush(): void {
    acknowledge();
    if (open && out.frames > 0) transmit();
    flushing = false;
  }

  function acknowledge(): void {
    if (acknowledged.length === 0) return;
    const ranges = rangesOf(acknowledged);
    acknowledged = [];
    write({ type: "received", ranges });
  }

  function transmit(): void {
    out.flush((bytes) => {
      trace?.("up", bytes);
      transport.send(bytes);
    });
  }

  function message(bytes: Uint8Array): void {
    if (!open) return;
    trace?.("down", bytes);
    heard = clock.now();
    pinged = undefined;
    excused = false;
    const told = answered;
    answered = [];
    for (const resolve of told) resolve(true);
    try {
      readFramesByTable(bytes, INBOUND, (frame) => {
        if (open) take(frame);
      });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      close(LOST, error.message);
    }
    if (open && welcome !== undefined) handler.turn(connection);
  }

  function take(frame: Frame | UnknownFrame): void {
    if (frame.type === "error" && frame.send === 0) {
      const closes = errorByNumber(frame.code)?.closes;
      if (closes !== undefined) return close(closes, frame.message);
    }
    if (welcome === undefined) {
      if (frame.type === "redirect") close(CLOSE.redirected, frame.reason, frame);
      if (frame.type === "welcome") begin(frame);
    } else if (frame.type !== "unknown") {
      const isDeliver = frame.type === "deliver";
      if (isDeliver) owed++;
      handler.frame(connection, frame, isDeliver ? ++delivers : 0);
    }
  }

  function begin(frame: WelcomeFrame): void {
    welcome = frame;
    limits = stated(frame.limits);
    if (frame.heartbeat > 0) heartbeat = frame.heartbeat;
    cancelTimer();
    ticked = heard;
    tick();
    handler.welcomed(connection, frame);
  }

  /** The heartbeat: looks at the clock, so that time that was slept through shows. */
  function tick(): void {
    const now = clock.now();
    const slept = now - ticked > TICK_MS + SLEPT_MS || now < ticked;
    ticked = now;
    if (slept && !excused) {
      // Whatever came meanwhile has not been read yet: the time to answer begins now, but only once.
      excused = true;
      ping(now);
    } else if (pinged !== undefined && now - pinged >= LIMITS.pongTimeout) {
      return close(LOST, "");
    } else if (pinged === undefined && now - heard >= heartbeat) {
      ping(now);
    }
    const next = pinged === undefined ? heard + heartbeat - now : pinged + LIMITS.pongTimeout - now;
    cancelTimer = clock.after(Math.max(0, Math.min(TICK_MS, next)), tick);
  }

  function ping(now: number): void {
    pinged = now;
    write({ type: "ping" });
  }

  function close(code: number, message: string, redirect?: RedirectFrame): void {
    if (!open) return;
    flush();
    open = false;
    cancelTimer();
    transport.close();
    for (const resolve of answered) resolve(false);
    resolveClosed({ code, message, redirect });
    if (welcome !== undefined) handler.ended(connection);
  }

  const connection: Connection = {
    address,
    get welcome() {
      return welcome;
    },
    get limits() {
      return limits;
    },
    get open() {
      return open;
    },
    get full() {
      return owed * 8 >= limits.inFlight * 7;
    },
    closed,
    write,
    received(deliver) {
      if (!open) return;
      owed--;
      acknowledged.push(deliver);
      schedule();
    },
    buffered: () => out.size + transport.buffered(),
    probe() {
      if (!open || welcome === undefined) return Promise.resolve(false);
      if (pinged === undefined) {
        ping(clock.now());
        cancelTimer();
        tick();
      }
      return new Promise((resolve) => answered.push(resolve));
    },
    leave(code) {
      write({ type: "bye" });
      close(code, "");
    },
    close,
  };
  link.listen(message, close);
  return connection;
}

/** What a server does not state is the protocol's default. */
function stated(limits: Limits): Limits {
  const all: Record<keyof Limits, number> = { ...limits };
  for (const name of Object.keys(all) as (keyof Limits)[]) all[name] ||= LIMITS[name];
  return all;
}

/** An upper bound of what the frame takes. */
function sizeOf(frame: Frame): number {
  if (frame.type === "send") {
    return 64 + frame.payload.length + 3 * (frame.to.length + frame.preview.length);
  }
  if (frame.type === "received") return 16 + 8 * frame.ranges.length;
  return frame.type === "auth" ? 16 + 3 * frame.token.length : 64;
}

/** Pairs: a number, and how many follow it without a hole. */
function rangesOf(numbers: number[]): number[] {
  const ranges: number[] = [];
  numbers.sort((a, b) => a - b);
  for (const number of numbers) {
    const last = ranges.length - 2;
    const after = last < 0 ? 0 : ranges[last]! + ranges[last + 1]!;
    if (number === after) ranges[last + 1]!++;
    else ranges.push(number, 1);
  }
  return ranges;
}
