/** Keeps the device connected for as long as the client lives: when to dial, whom, and when to wait (L9, M12). */
import {
  type Address,
  CLOSE,
  type Hint,
  type Millis,
  reconnectPolicy,
  type ServerAddresses,
} from "@beckon/protocol";

import { attempt, type AttemptParts, errorOf, type Holding } from "./attempt.ts";
import { backoff } from "./backoff.ts";
import type { Connection } from "./connection.ts";
import type { BeckonError } from "./errors.ts";
import { type Candidate, createAvoided, ofServer, route } from "./route.ts";
import type { Session } from "./session.ts";
import { createTask, type Task } from "./task.ts";

export interface DialerParts extends Omit<AttemptParts, "avoided" | "unanswered" | "move"> {
  readonly session: Session;
  readonly seeds: readonly Address[];
  /** There is a storage. */
  readonly stored: boolean;
  /** While wakes are being opened nothing is dialled. */
  hold(): Promise<void> | undefined;
  /** SENDs, while it is open whether a move succeeds. */
  readonly sends: Holding;
  connecting(): void;
  waiting(until: Millis, error: BeckonError): void;
  /** It will not connect any more. */
  stopped(error: BeckonError): void;
}

export interface Dialer {
  /** Returns when it was stopped. */
  run(): Promise<void>;
  /** The attempt under way, or the next one, begins with this hint; the answer takes it back. */
  follow(hint: Hint): () => void;
  /**
   * [P-8.4] Goes to one of the servers while the connection works on, and leaves it when welcome there. `wanted` is asked before it dials and
   * before it says HELLO; without it the server is being emptied: if there is no other way, the connection is left first (B3).
   */
  move(
    from: Connection,
    servers: readonly ServerAddresses[],
    wanted?: () => boolean,
  ): Promise<void>;
  /** The network may be back: does not wait any longer. */
  hurry(): void;
  stop(): void;
}

/** First pause after a failed attempt, and the longest. */
const PAUSE_MS: Millis = 500;
const MAX_PAUSE_MS: Millis = 30_000;
/** A connection that lasted this long was no failure. */
const LASTED_MS: Millis = 10_000;
/** How long a server may take to answer a HELLO that was given up, as after a stall. */
const GHOST_MS: Millis = 60_000;
/** Hints that wait for a connection; beyond it the oldest is forgotten. */
const HINTS = 8;

/** A move that is under way; or one that has succeeded, until the connection before it has ended. */
interface Move {
  readonly task: Task;
  readonly outcome: Promise<Connection | undefined>;
}

export function createDialer(parts: DialerParts): Dialer {
  const { clock, session, choosing } = parts;
  const avoided = createAvoided(() => clock.now());
  let hints: readonly Hint[] = [];
  let stopped = false;
  /** When a HELLO was given up last that may yet be answered: such a connection replaces a later one, and nobody is at its end. */
  let ghost = -Infinity;
  /** The attempt under way. */
  let dialling: Task | undefined;
  /** The pause under way. */
  let resting: Task | undefined;
  let moving: Move | undefined;
  /** A move's HELLO is out. */
  let greeting = false;

  async function run(): Promise<void> {
    let failures = 0;
    let moved: Connection | undefined;
    // A run before this one may have left a HELLO behind; and no other client has its storage.
    if (parts.stored) ghost = clock.now();
    for (;;) {
      if (stopped) return;
      parts.connecting();
      const outcome = moved ?? (await dial());
      if (outcome === undefined) continue;
      if ("open" in outcome) {
        const began = clock.now();
        const closing = await outcome.closed;
        if (stopped) return;
        const error = errorOf(closing, outcome.address);
        const policy = reconnectPolicy(closing.code);
        // A new token may be had.
        const expired = closing.code === CLOSE.tokenExpired;
        if (expired) parts.credentials.drop();
        else if (policy === "stop" && !isByItself(error)) return parts.stopped(error);
        const lasted = clock.now() - began >= LASTED_MS;
        if (lasted) failures = 0;
        moved = await arrival(closing.code);
        if (stopped) return;
        if (moved !== undefined) continue;
        if (policy === "elsewhere") leave(outcome);
        // A server that drops whom it welcomes, again and again, is no better than one that does not answer.
        if (!lasted && failures > 0) leave(outcome);
        // All that were on a server come at once: they spread by their pauses.
        if (policy === "backoff" || failures > 0) await rest(failures, error);
      } else {
        if (outcome.final && !isByItself(outcome.error)) return parts.stopped(outcome.error);
        await rest(failures, outcome.error);
      }
      failures++;
    }
  }

  /** Whether the connection that has ended with this code has a successor, or gets one by a move that is under way. */
  async function arrival(code: number): Promise<Connection | undefined> {
    if (moving === undefined) return undefined;
    // The move's HELLO has replaced it: the application need not know.
    if (code !== CLOSE.replaced) parts.connecting();
    dialling = moving.task;
    const moved = await moving.outcome;
    dialling = moving = undefined;
    return moved;
  }

  async function move(
    from: Connection,
    servers: readonly ServerAddresses[],
    wanted?: () => boolean,
  ): Promise<void> {
    if (!from.open) return;
    if (wanted === undefined) {
      leave(from);
      await moving?.outcome;
    }
    if (moving !== undefined || !from.open || wanted?.() === false) return;
    const candidates = servers
      .filter(({ name }) => name !== session.server)
      .flatMap((server) => ofServer(server, choosing))
      .filter(({ address }) => !avoided.has(address.url));
    if (candidates.length > 0) {
      const task = createTask();
      moving = { task, outcome: arrive(candidates, task, wanted) };
      if ((await moving.outcome) !== undefined) return;
    }
    if (wanted === undefined) from.leave(CLOSE.draining);
  }

  async function arrive(
    candidates: readonly Candidate[],
    task: Task,
    wanted: (() => boolean) | undefined,
  ): Promise<Connection | undefined> {
    const move: Holding = {
      async hold() {
        await parts.sends.hold();
        if (wanted?.() === false) task.interrupt();
      },
      release() {
        greeting = false;
        parts.sends.release();
      },
    };
    const hello: AttemptParts["hello"] = (said) => {
      greeting = true;
      return parts.hello(said);
    };
    const outcome = await attempt(candidates, { ...parts, avoided, unanswered, hello, move }, task);
    greeting = false;
    if (outcome !== undefined) {
      if ("open" in outcome) return outcome;
      for (const { address } of candidates) avoided.add(address.url);
    }
    moving = undefined;
    return undefined;
  }

  async function dial(): ReturnType<typeof attempt> {
    await parts.hold();
    if (stopped) return undefined;
    const task = createTask();
    dialling = task;
    hints = hints.filter(({ expires }) => expires > session.serverTime());
    const known = { hints, last: session.server, servers: session.servers, seeds: parts.seeds };
    const candidates = route(known, choosing, avoided);
    const outcome = await attempt(candidates, { ...parts, avoided, unanswered }, task);
    dialling = undefined;
    if (outcome !== undefined && "open" in outcome) {
      avoided.delete(outcome.address.url);
      hints = [];
    }
    return outcome;
  }

  function unanswered(): void {
    ghost = clock.now();
  }

  /** Whether what replaced this client may be another HELLO of its own. One that was given up explains it once. */
  function isByItself(error: BeckonError): boolean {
    if (error.code !== "replaced") return false;
    if (greeting) return true;
    const itself = clock.now() - ghost < GHOST_MS;
    if (itself) ghost = -Infinity;
    return itself;
  }

  async function rest(failures: number, error: BeckonError): Promise<void> {
    const pause = backoff(failures, PAUSE_MS, MAX_PAUSE_MS, choosing.random);
    parts.waiting(clock.now() + pause, error);
    resting = createTask();
    await resting.wait<void>((resolve) => clock.after(pause, resolve));
    resting = undefined;
  }

  /** The server wants us elsewhere: none of its addresses is tried while there are others. */
  function leave({ address, welcome }: Connection): void {
    avoided.add(address.url);
    const server = session.servers.find(({ name }) => name === welcome?.server);
    for (const { url } of server?.addresses ?? []) avoided.add(url);
  }

  return {
    run,
    follow(hint) {
      hints = [...hints, hint].slice(-HINTS);
      // That server lives, whatever was seen of it before.
      for (const { url } of hint.server.addresses) avoided.delete(url);
      dialling?.interrupt();
      resting?.interrupt();
      return () => (hints = hints.filter((other) => other !== hint));
    },
    move,
    hurry: () => resting?.interrupt(),
    stop() {
      stopped = true;
      dialling?.interrupt();
      moving?.task.interrupt();
      resting?.interrupt();
    },
  };
}
