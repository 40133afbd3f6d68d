/** The life of a call at one device, as decisions without a database. */
import { LIMITS } from "@beckon/protocol";
import type { Millis } from "@beckon/protocol";

import type { HoldRequest, RowRef, WakeOutcome, WakeRequest } from "./store.ts";

/** A call that rings, or whose end a device that rang is still to be told. */
export interface Call {
  /** In hex. */
  readonly id: string;
  /** The message. */
  readonly row: RowRef;
  /** Who calls. */
  readonly conversation: string;
  readonly server: string;
  readonly preview: string;
  /** When it rings no longer; once it has ended: when nobody needs to be told any more. */
  expires: Millis;
  /** Pushes sent since the device's last arrival. */
  attempts: number;
  /** When it can be claimed next: while it is leased the lease's end. */
  due: Millis;
  /** Who has claimed it and not yet said what became of it. */
  owner: string | undefined;
  /** A push for it was sent, or may have been, and the device was not here since. */
  rang: boolean;
  ended: boolean;
  /** When the last push since the device's last arrival was noted, and the server that it named. */
  pushedAt: Millis | undefined;
  named: string;
  /** While it is leased it has ended, or the device has come or gone: that push was none of this, and the next is due then. */
  next: Millis | undefined;
}

/** Of one device. What has ended makes room; a further one is a message like any other. */
const CALLS = 4;

/** From one push to the next: four while it rings. */
const REPEAT_MS: Millis = 8_000;

/** How long a device that rang is still to be told of the end: what it shows may be looked at much later. */
const ENDED_MS: Millis = 600_000;

/**
 * How long it is known of a user that a call has ended, so that one that comes to be held after its end does not ring: longer than a call
 * can be on its way (see `RING_ID_AGE_MS`).
 */
const OVER_MS: Millis = 180_000;

/** Ends that are known of a user; beyond it the oldest is forgotten. */
const OVER = 16;

/** Whether it is not for the intent of messages, where there is room. */
export function mayRing({ class: wake, rings }: WakeRequest): boolean {
  return wake === "call" && rings > 0;
}

export function isRinging({ ended, expires }: Call, now: Millis): boolean {
  return !ended && expires > now;
}

function isLeased({ owner, due }: Call, now: Millis): boolean {
  return owner !== undefined && due > now;
}

/** The calls of a device with this one; undefined: it is none that can ring here. */
export function withCall(
  calls: readonly Call[],
  { key, wake }: HoldRequest,
  row: RowRef,
  now: Millis,
): Call[] | undefined {
  if (!mayRing(wake)) return undefined;
  const room = calls.length < CALLS ? calls : calls.toSpliced(firstEnded(calls), 1);
  if (room.length >= CALLS) return undefined;
  const { conversation, server, preview } = wake;
  const expires = now + Math.min(wake.rings, LIMITS.ring);
  const said = { id: key.id.toHex(), row, conversation, server, preview, expires, ended: false };
  return [...room, anew(said, now + wake.delay, false)];
}

type Progress = "attempts" | "due" | "owner" | "rang" | "pushedAt" | "named" | "next";

/** One for which nothing was pushed since the device's last arrival, and which nobody has claimed. */
function anew(call: Omit<Call, Progress>, due: Millis, rang: boolean): Call {
  const progress = {
    attempts: 0,
    owner: undefined,
    pushedAt: undefined,
    named: "",
    next: undefined,
  };
  return { ...call, ...progress, due, rang };
}

/**
 * The device has come or gone. A lease stays: of two pushes that are under way, one that rings may overtake the other that tells
 * of the end.
 */
export function renewed(call: Call, due: Millis, rang: boolean, now: Millis): Call {
  if (!isLeased(call, now)) return anew(call, due, rang);
  return { ...anew(call, Math.max(call.due, due), rang), owner: call.owner, next: due };
}

/** Beyond the end where there is none. */
function firstEnded(calls: readonly Call[]): number {
  const at = calls.findIndex(({ ended }) => ended);
  return at < 0 ? calls.length : at;
}

/** The calls of a device after the end of one; undefined: it has no such call. */
export function withoutCall(
  calls: readonly Call[],
  id: string,
  conversation: string,
  now: Millis,
): Call[] | undefined {
  const call = calls.find(
    (each) => each.id === id && each.conversation === conversation && !each.ended,
  );
  if (call === undefined) return undefined;
  const leased = isLeased(call, now);
  if (!leased && !call.rang) return calls.filter((each) => each !== call);
  const expires = now + ENDED_MS;
  const end: Call = leased
    ? { ...call, ended: true, expires, next: now }
    : { ...call, ended: true, expires, due: now, owner: undefined };
  return calls.map((each) => (each === call ? end : each));
}

/** What is known of a user's calls that have ended, with this one. No device has these, so nobody is told. */
export function withOver(
  calls: readonly Call[],
  id: string,
  conversation: string,
  now: Millis,
): Call[] {
  const expires = now + OVER_MS;
  const said = { id, row: "", conversation, server: "", preview: "", expires, ended: true };
  const over = anew(said, expires, false);
  const others = calls.filter((each) => each.expires > now && each.id !== id);
  return [...others, over].slice(-OVER);
}

export function isOver(calls: readonly Call[], { key, wake }: HoldRequest, now: Millis): boolean {
  if (wake.class !== "call" || calls.length === 0) return false;
  const id = key.id.toHex();
  return calls.some(
    (each) =>
      each.ended && each.id === id && each.conversation === wake.conversation && each.expires > now,
  );
}

/** Somebody takes it on. A lease that has lapsed may have been a push. */
export function leaseCall(call: Call, owner: string, until: Millis): void {
  call.rang ||= call.owner !== undefined;
  call.owner = owner;
  call.due = until;
  call.next = undefined;
}

/** Ends the lease. Answers whether nothing is left to be told. */
export function concludeCall(call: Call, outcome: WakeOutcome, now: Millis): boolean {
  const { next, expires } = call;
  const dueIn = (ms: Millis): Millis =>
    next === undefined ? Math.min(now + ms, expires) : Math.max(now, next);
  call.owner = undefined;
  call.next = undefined;
  if (outcome.kind === "gone") {
    call.due = now;
    return call.ended;
  }
  if (outcome.kind === "later") {
    call.due = dueIn(outcome.delay);
    return call.ended && !call.rang;
  }
  if (call.ended && next === undefined) return true;
  call.rang = true;
  call.pushedAt = now;
  call.named = outcome.named ?? "";
  call.attempts++;
  call.due = dueIn(REPEAT_MS);
  return false;
}
