/** Keeps the device connected for as long as the client lives: when to dial, whom, and when to wait (L9, M12). */
import { type Address, CLOSE, type Hint, type Millis, reconnectPolicy } from "@beckon/protocol";

import { attempt, type AttemptParts, errorOf } from "./attempt.ts";
import { backoff } from "./backoff.ts";
import type { Connection } from "./connection.ts";
import type { BeckonError } from "./errors.ts";
import { createAvoided, route } from "./route.ts";
import type { Session } from "./session.ts";
import { createTask, type Task } from "./task.ts";

export interface DialerParts extends Omit<AttemptParts, "avoided" | "unanswered"> {
  readonly session: Session;
  readonly seeds: readonly Address[];
  /** There is a storage. */
  readonly stored: boolean;
  /** While wakes are being opened nothing is dialled. */
  hold(): Promise<void> | undefined;
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

  async function run(): Promise<void> {
    let failures = 0;
    // A run before this one may have left a HELLO behind; and no other client has its storage.
    if (parts.stored) ghost = clock.now();
    for (;;) {
      if (stopped) return;
      parts.connecting();
      const outcome = await dial();
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
        if (policy === "elsewhere") leave(outcome);
        if (clock.now() - began >= LASTED_MS) failures = 0;
        // A server that drops whom it welcomes, again and again, is no better than one that does not answer.
        else if (failures > 0) leave(outcome);
        // All that were on a server come at once: they spread by their pauses.
        if (policy === "backoff" || failures > 0) await rest(failures, error);
      } else {
        if (outcome.final && !isByItself(outcome.error)) return parts.stopped(outcome.error);
        await rest(failures, outcome.error);
      }
      failures++;
    }
  }

  async function dial(): ReturnType<typeof attempt> {
    await parts.hold();
    if (stopped) return undefined;
    const task = createTask();
    dialling = task;
    hints = hints.filter(({ expires }) => expires > session.serverTime());
    const known = { hints, last: session.server, servers: session.servers, seeds: parts.seeds };
    const candidates = route(known, choosing, avoided);
    const unanswered = (): void => void (ghost = clock.now());
    const outcome = await attempt(candidates, { ...parts, avoided, unanswered }, task);
    dialling = undefined;
    if (outcome !== undefined && "open" in outcome) {
      avoided.delete(outcome.address.url);
      hints = [];
    }
    return outcome;
  }

  /** Whether what replaced this client may be an earlier HELLO of its own. One explains it once. */
  function isByItself(error: BeckonError): boolean {
    const itself = error.code === "replaced" && clock.now() - ghost < GHOST_MS;
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
    hurry: () => resting?.interrupt(),
    stop() {
      stopped = true;
      dialling?.interrupt();
      resting?.interrupt();
    },
  };
}
