/** Decisions that every backend makes alike. */
import type { Millis } from "@beckon/protocol";

import type { Ending, HoldRequest, StoreLimits } from "./store.ts";

/** `seen` is written at most this often, so that an arrival that changes nothing writes nothing. */
export const SEEN_INTERVAL_MS: Millis = 3_600_000;

/** Where `ArrivalResult.held` stops counting. */
export const HELD_COUNT_LIMIT = 10_000;

/** What a device has to be told about what it was owed. */
export interface Debt {
  /** Something that was owed to it was dropped. */
  missed: boolean;
  /** The lowest epoch whose WELCOME said so; undefined: none has. */
  toldEpoch: number | undefined;
}

/** Something is dropped now: no WELCOME has said so. */
export function markMissed(debt: Debt): void {
  debt.missed = true;
  debt.toldEpoch = undefined;
}

/** Whether no WELCOME that the device has seen, up to `lastEpoch`, has told it what it missed. */
export function isOwedTruth({ missed, toldEpoch }: Debt, lastEpoch: number): boolean {
  return missed && (toldEpoch === undefined || lastEpoch < toldEpoch);
}

/** The WELCOME of `epoch` answers a HELLO with `lastEpoch`. Answers what it says as `recovered`. */
export function tell(debt: Debt, lastEpoch: number, epoch: number): boolean {
  if (isOwedTruth(debt, lastEpoch)) {
    debt.toldEpoch = Math.min(debt.toldEpoch ?? epoch, epoch);
    return false;
  }
  debt.missed = false;
  debt.toldEpoch = undefined;
  return true;
}

interface Sighted {
  readonly device: string;
  readonly seen: Millis;
}

/** The device to make dormant where there is one too many. */
export function longestUnseen<Device extends Sighted>(devices: readonly Device[]): Device {
  return devices.reduce((a, b) =>
    a.seen < b.seen || (a.seen === b.seen && a.device < b.device) ? a : b,
  );
}

/** Whether a durable device has been away for so long that nothing is held for it any more. */
export function isLost(
  { seen, goneAt }: { readonly seen: Millis; readonly goneAt: Millis | undefined },
  now: Millis,
  limits: StoreLimits,
): boolean {
  if (seen + limits.dormantAfterMs <= now) return true;
  if (goneAt === undefined) return false;
  return Math.max(seen, goneAt) + limits.goneDormantAfterMs <= now;
}

/** The least id of that time. */
export function firstIdOf(time: Millis): Uint8Array {
  const id = new Uint8Array(16);
  const view = new DataView(id.buffer);
  view.setUint32(0, Math.floor(time / 65_536));
  view.setUint16(4, time % 65_536);
  return id;
}

/** The call that a message ends. */
export function endingOf({ key, to, ends }: HoldRequest): Ending | undefined {
  return ends.length === 0 ? undefined : { call: ends, between: [key.from, to] };
}

/** Whose devices a call that is over rang at, and who was calling them. */
export function sidesOf({ between: [a, b] }: Ending): readonly { user: string; from: string }[] {
  return [
    { user: a, from: b },
    { user: b, from: a },
  ];
}

/** @throws {TypeError} What no database could keep as it is. The message names the field, never its value. */
export function checkRequest({ key, user, outbox, to, n, body, digest, ends }: HoldRequest): void {
  must(isText(key.from), "key.from");
  must(typeof key.fromDevice === "string", "key.fromDevice");
  must(key.id instanceof Uint8Array && key.id.length === 16, "key.id");
  must(isText(user), "user");
  must(isCount(outbox), "outbox");
  must(isText(to), "to");
  must(isCount(n), "n");
  must(body instanceof Uint8Array, "body");
  must(typeof digest === "string", "digest");
  must(ends instanceof Uint8Array && (ends.length === 0 || ends.length === 16), "ends");
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
