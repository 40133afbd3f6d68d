/** Who is not to be woken, and until when: decisions without a database. */
import type { Millis, WakeClass } from "@beckon/protocol";

import type { Call } from "./call.ts";
import type { Intent } from "./intent.ts";

/** Quiet conversations of a user; beyond it the one that ends first is forgotten. */
const MUTES_PER_USER = 1_000;

/** Quiet conversations of one user, and until when. */
export type Mutes = Map<string, Millis>;

/** What of a device its quiet concerns. */
interface Hushed {
  /** It is not pushed to before that; 0: never said. */
  quietUntil: Millis;
  intent: Intent | undefined;
  calls: readonly Call[];
}

/** Whether a message of this class wakes anybody. A call rings, whoever makes it. */
export function doesWake(wake: WakeClass, mutedUntil: Millis | undefined, now: Millis): boolean {
  return wake === "call" || (wake !== "none" && (mutedUntil ?? 0) <= now);
}

/** Answers the conversations whose word has gone: that one where it is no longer quiet, those that have ended, and what is one too many. */
export function mute(mutes: Mutes, conversation: string, until: Millis, now: Millis): string[] {
  mutes.delete(conversation);
  const gone = [...mutes].filter(([, end]) => end <= now).map(([name]) => name);
  if (until <= now) gone.push(conversation);
  for (const name of gone) mutes.delete(name);
  if (until <= now) return gone;
  if (mutes.size >= MUTES_PER_USER) {
    const [first] = [...mutes].reduce((a, b) => (isFirst(b, a) ? b : a));
    mutes.delete(first);
    gone.push(first);
  }
  mutes.set(conversation, until);
  return gone;
}

function isFirst([name, end]: [string, Millis], [otherName, other]: [string, Millis]): boolean {
  return end < other || (end === other && name < otherName);
}

/** Whether an intent has nothing more to say, as the conversation is quiet from now on. */
export function isMuted(intent: Intent | undefined, conversation: string): boolean {
  if (intent === undefined || intent.class === "call") return false;
  return intent.conversation === conversation && !intent.isMixed;
}

/** Those that are quiet now, in the order of their names. */
export function mutesOf(
  mutes: Iterable<readonly [conversation: string, until: Millis]>,
  now: Millis,
): { conversation: string; until: Millis }[] {
  return [...mutes]
    .filter(([, until]) => until > now)
    .map(([conversation, until]) => ({ conversation, until }))
    .sort((a, b) => (a.conversation < b.conversation ? -1 : 1));
}

/**
 * After every change of what wakes it: what would fall due while the device is quiet falls due when that ends. A call that rings no longer by then
 * is one that was missed.
 */
export function hush({ intent, calls, quietUntil }: Hushed): void {
  if (intent?.due !== undefined) intent.due = Math.max(intent.due, quietUntil);
  for (const call of calls) call.due = Math.max(call.due, quietUntil);
}

/** The device is quiet until then; where that is not to come, no longer: what has waited for it is due then. */
export function quietDevice(device: Hushed, until: Millis, now: Millis): void {
  const { intent, calls, quietUntil: before } = device;
  device.quietUntil = until > now ? until : 0;
  const waiting = [intent, ...calls].filter((one) => one?.due === before);
  if (before > now) for (const one of waiting) one!.due = Math.max(now, device.quietUntil);
  hush(device);
}
