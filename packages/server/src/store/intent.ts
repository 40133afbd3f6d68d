/** The life of a wake intent, as decisions without a database. */
import type { Millis, WakeClass } from "@beckon/protocol";

import type { WakeOutcome, WakeRequest } from "./store.ts";

export interface Intent {
  class: WakeClass;
  /** Pushes sent since the device's last arrival. */
  attempts: number;
  activity: number;
  conversation: string;
  /** Its messages are of more than one conversation. */
  isMixed: boolean;
  server: string;
  preview: string;
  expires: Millis;
  /** When it can be claimed next: while it is leased the lease's end. Undefined: not before the device arrives. */
  due: Millis | undefined;
  /** Who has claimed it and not yet said what became of it. */
  owner: string | undefined;
  /** What cannot wait came while it was leased: due as soon as the lease is given back. */
  again: boolean;
  /** When the last push since the device's last arrival was noted, and the server that it named. */
  pushedAt: Millis | undefined;
  named: string;
}

/** Wait before the second, third and fourth push of an intent; after that none until the device arrives. */
const REPEATS: readonly Millis[] = [60_000, 600_000, 3_600_000];

/** A device that has just arrived is not pushed to for this long: it is about to read what it is owed. */
export const ARRIVAL_GRACE_MS = 10_000;

/** An intent is never a call's: those have their own, see `call.ts`. */
const RANKS: Readonly<Record<WakeClass, number>> = { call: 2, message: 2, silent: 1, none: 0 };

export function newIntent(wake: WakeRequest, due: Millis, expires: Millis): Intent {
  const { conversation, server, preview } = wake;
  return {
    class: wake.class,
    attempts: 0,
    activity: 1,
    conversation,
    isMixed: false,
    server,
    preview,
    expires,
    due,
    owner: undefined,
    again: false,
    pushedAt: undefined,
    named: "",
  };
}

/** One more message for a device that has an intent. `due`: when a new intent for it would fall due. */
export function takeOn(intent: Intent, wake: WakeRequest, due: Millis, expires: Millis): void {
  intent.activity++;
  intent.isMixed ||= wake.conversation !== intent.conversation;
  intent.expires = Math.max(intent.expires, expires);
  if (RANKS[wake.class] >= RANKS[intent.class]) {
    intent.class = wake.class;
    intent.conversation = wake.conversation;
    intent.server = wake.server;
    intent.preview = wake.preview;
  }
  // Pushed to the end in vain: what is new begins anew.
  if (intent.due !== undefined) return;
  intent.attempts = 0;
  intent.due = due;
}

/** What it has taken on cannot wait for its turn: a call that nobody has answered. */
export function hurry(intent: Intent, now: Millis): void {
  if (isLeased(intent, now)) intent.again = true;
  else intent.due = Math.min(intent.due ?? Infinity, now);
}

/**
 * The device is here: it reads its rows now, and the pushes so far no longer count. If it goes before it has settled them, the next
 * push is not one of their repeats, which may be an hour away (L5).
 */
export function deferForArrival(intent: Intent, now: Millis): void {
  const due = now + ARRIVAL_GRACE_MS;
  intent.due = intent.attempts > 0 ? due : Math.max(intent.due ?? 0, due);
  beginAnew(intent);
}

/** The device has gone, perhaps without its rows: whoever finds that there are any pushes now. */
export function renewForDeparture(intent: Intent, now: Millis): void {
  intent.due = now;
  beginAnew(intent);
}

function beginAnew(intent: Intent): void {
  intent.attempts = 0;
  intent.owner = undefined;
  intent.again = false;
  intent.pushedAt = undefined;
  intent.named = "";
}

export function lease(intent: Intent, owner: string, until: Millis): void {
  intent.owner = owner;
  intent.due = until;
  intent.again = false;
}

/** Ends the lease. */
export function conclude(intent: Intent, outcome: WakeOutcome, now: Millis): void {
  switch (outcome.kind) {
    case "sent": {
      intent.attempts++;
      intent.pushedAt = now;
      intent.named = outcome.named ?? "";
      const wait = intent.again ? 0 : REPEATS[intent.attempts - 1];
      intent.due = wait === undefined ? undefined : now + wait;
      break;
    }
    case "later":
      intent.due = now + outcome.delay;
      break;
    case "gone":
      intent.due = now;
      break;
  }
  intent.owner = undefined;
  intent.again = false;
}

export function isDue(intent: Intent | undefined, now: Millis): boolean {
  return intent?.due !== undefined && intent.due <= now;
}

function isLeased(intent: Intent, now: Millis): boolean {
  return intent.owner !== undefined && !isDue(intent, now);
}
