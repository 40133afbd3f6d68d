/** Decisions that every backend makes alike. */
import type { Millis, WakeClass } from "@beckon/protocol";

import type { HoldRequest } from "./store.ts";

/** Wait before the second, third and fourth push of an intent; after that none until the device arrives. */
const REPEATS: readonly Millis[] = [60_000, 600_000, 3_600_000];

/** A device that has just arrived is not pushed to for this long: it is about to read what it is owed. */
export const ARRIVAL_GRACE_MS = 10_000;

/** `seen` is written at most this often, so that an arrival that changes nothing writes nothing. */
export const SEEN_INTERVAL_MS = 3_600_000;

/** Where `ArrivalResult.held` stops counting. */
export const HELD_COUNT_LIMIT = 10_000;

/** Wait after push number `attempts` (from 1); undefined: no more. */
export function repeatAfter(attempts: number): Millis | undefined {
  return REPEATS[attempts - 1];
}

const RANKS: Readonly<Record<WakeClass, number>> = { call: 3, message: 2, silent: 1, none: 0 };

/** Whether a message of class `next` may speak for an intent that so far is of class `present`. */
export function outranks(next: WakeClass, present: WakeClass): boolean {
  return RANKS[next] >= RANKS[present];
}

/** The time in a UUIDv7: its first 48 bits. */
export function idTime(id: Uint8Array): Millis {
  let time = 0;
  for (let at = 0; at < 6; at++) time = time * 256 + (id[at] ?? 0);
  return time;
}

/** @throws {TypeError} What no database could keep as it is. The message names the field, never its value. */
export function checkRequest({ key, user, outbox, to, n, body, digest }: HoldRequest): void {
  must(isText(key.from), "key.from");
  must(typeof key.fromDevice === "string", "key.fromDevice");
  must(key.id instanceof Uint8Array && key.id.length === 16, "key.id");
  must(isText(user), "user");
  must(isCount(outbox), "outbox");
  must(isText(to), "to");
  must(isCount(n), "n");
  must(body instanceof Uint8Array, "body");
  must(typeof digest === "string", "digest");
}

function must(isGood: boolean, field: string): void {
  if (!isGood) throw new TypeError(`not a hold request: ${field}`);
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
