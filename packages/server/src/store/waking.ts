/** What wakes a device, as decisions without a database: one intent for all of its messages, and one for each call. */
import { uuidTime } from "@beckon/protocol";
import type { Millis } from "@beckon/protocol";

import {
  concludeCall,
  isOver,
  isRinging,
  leaseCall,
  renewed,
  withCall,
  withOver,
  withoutCall,
} from "./call.ts";
import type { Call } from "./call.ts";
import {
  ARRIVAL_GRACE_MS,
  conclude,
  deferForArrival,
  hurry,
  isDue,
  lease,
  newIntent,
  renewForDeparture,
  takeOn,
} from "./intent.ts";
import type { Intent } from "./intent.ts";
import { hush } from "./quiet.ts";
import type {
  ArrivedWake,
  HoldRequest,
  RowRef,
  WakeIntent,
  WakeOutcome,
  WakeRequest,
} from "./store.ts";

/** A device, or the user alone. */
export interface Woken {
  /** Of all that wakes it; never goes back, so that a late `clear` cannot mean another one. */
  generation: number;
  /** For messages. */
  intent: Intent | undefined;
  /** At the user alone also those that have ended, see `withOver`. */
  calls: readonly Call[];
  /** Nothing of it can be claimed before that, see `hush`. */
  quietUntil: Millis;
}

/** What of a {@link WakeIntent} is decided here. */
export type Claimed = Omit<WakeIntent, "user" | "device" | "protocols" | "push">;

/** The generation; 0: nothing wakes it. */
export function generationOf({ generation, intent, calls }: Woken): number {
  return intent === undefined && calls.length === 0 ? 0 : generation;
}

export function callsDueOf({ calls }: Pick<Woken, "calls">): Millis | undefined {
  return calls.length === 0 ? undefined : Math.min(...calls.map(({ due }) => due));
}

/** When something of it can be claimed. */
export function dueOf(woken: Woken): Millis | undefined {
  const due = Math.min(woken.intent?.due ?? Infinity, callsDueOf(woken) ?? Infinity);
  return due === Infinity ? undefined : due;
}

function isAnythingDue(woken: Woken, now: Millis): boolean {
  const due = dueOf(woken);
  return due !== undefined && due <= now;
}

export function forgetWakes(woken: Woken): void {
  woken.intent = undefined;
  woken.calls = [];
}

/** An intent that has outlived its rows has nothing to say; its attempts must not count against a new message. */
export function forgetOutlived(woken: Woken): void {
  woken.intent = undefined;
  if (woken.calls.length > 0) woken.calls = woken.calls.filter(({ ended }) => ended);
}

/** A message, and its row for a holder. `over`: the calls of its user that have ended. Answers whether something fell due by it. */
export function wakeFor(
  woken: Woken,
  request: HoldRequest,
  row: RowRef,
  over: readonly Call[],
  retentionMs: Millis,
  now: Millis,
): boolean {
  const { key, wake } = request;
  if (wake.class === "none" || isOver(over, request, now)) return false;
  const wasDue = isAnythingDue(woken, now);
  woken.generation++;
  const calls = withCall(woken.calls, request, row, now);
  if (calls === undefined) {
    takeMessage(woken, asMessage(wake), now + wake.delay, uuidTime(key.id) + retentionMs);
  } else {
    woken.calls = calls;
  }
  hush(woken);
  return !wasDue && isAnythingDue(woken, now);
}

function asMessage(wake: WakeRequest): WakeRequest {
  return wake.class === "call" ? { ...wake, class: "message" } : wake;
}

function takeMessage(woken: Woken, wake: WakeRequest, due: Millis, expires: Millis): Intent {
  if (woken.intent === undefined) woken.intent = newIntent(wake, due, expires);
  else takeOn(woken.intent, wake, due, expires);
  return woken.intent;
}

/** The call of this id is over. Answers whether that changed anything. */
export function endCall(woken: Woken, id: string, conversation: string, now: Millis): boolean {
  const calls = withoutCall(woken.calls, id, conversation, now);
  if (calls !== undefined) woken.calls = calls;
  hush(woken);
  return calls !== undefined;
}

/** The same at the user, whose devices may come to be owed the call only now. */
export function rememberEnd(own: Woken, id: string, conversation: string, now: Millis): void {
  own.calls = withOver(own.calls, id, conversation, now);
}

/** The first durable device takes over what was for the user alone. Answers whether that was anything. */
export function adoptWakes(own: Woken, device: Woken): boolean {
  const ringing = own.calls.filter(({ ended }) => !ended);
  const adopted = own.intent !== undefined || ringing.length > 0;
  if (adopted) device.generation++;
  if (own.intent !== undefined) device.intent = own.intent;
  device.calls = [...device.calls, ...ringing];
  own.intent = undefined;
  own.calls = own.calls.filter(({ ended }) => ended);
  hush(device);
  return adopted;
}

/** What its wakes have done, as the device arrives; to be asked for before {@link arriveAt}. */
export function arrivedWake({ intent, calls }: Woken, now: Millis): ArrivedWake | undefined {
  const wakes = intent === undefined ? calls : [intent, ...calls];
  const underWay = wakes.some(
    ({ owner, due }) => owner !== undefined && due !== undefined && due > now,
  );
  const last = newestPush(wakes);
  if (last === undefined && !underWay) return undefined;
  const since = last === undefined ? undefined : Math.max(0, now - last.pushedAt!);
  return { since, named: last?.named ?? "", underWay };
}

/** What is known of the push for one wake. */
export type Pushed = Pick<Intent, "pushedAt" | "named">;

/** Of what was noted as sent; of two at one time the later in the list. */
function newestPush(wakes: readonly Pushed[]): Pushed | undefined {
  let newest: Pushed | undefined;
  for (const wake of wakes) {
    if (wake.pushedAt !== undefined && wake.pushedAt >= (newest?.pushedAt ?? 0)) newest = wake;
  }
  return newest;
}

/** The server that the newest push named, of those that named one. */
export function namedBy(wakes: readonly Pushed[]): string | undefined {
  return newestPush(wakes.filter(({ named }) => named !== ""))?.named;
}

/** The device is here. What has ended it learns from its messages; what rings rings again if it leaves that behind. */
export function arriveAt(woken: Woken, now: Millis): void {
  if (woken.intent !== undefined) deferForArrival(woken.intent, now);
  woken.calls = woken.calls
    .filter(({ ended }) => !ended)
    .map((call) => renewed(call, now + ARRIVAL_GRACE_MS, false, now));
  hush(woken);
}

export function leaveFrom(woken: Woken, now: Millis): void {
  if (woken.intent !== undefined) renewForDeparture(woken.intent, now);
  woken.calls = woken.calls.map((call) =>
    renewed(call, now, call.rang || call.owner !== undefined, now),
  );
  hush(woken);
}

/**
 * Leases what of a device is due, `room` at most. `isHeld`: whether the row is there yet, and `held` whether any is: what has outlived its
 * rows is gone. A call that rings no longer is a message from here on, of which the device is told at once.
 */
export function claimDue(
  woken: Woken,
  held: boolean,
  isHeld: (row: RowRef) => boolean,
  { owner, until, retentionMs, room }: Claim,
  now: Millis,
): Claimed[] {
  if (!held) woken.intent = undefined;
  if (woken.calls.length > 0) tidyCalls(woken, isHeld, retentionMs, now);
  const claimed: Claimed[] = [];
  const { generation, intent } = woken;
  for (const call of woken.calls) {
    if (call.due > now || claimed.length >= room) continue;
    leaseCall(call, owner, until);
    const { id, conversation, server, preview, expires, attempts, ended } = call;
    claimed.push({
      generation,
      class: ended ? "silent" : "call",
      call: id,
      ended,
      attempts,
      activity: 1,
      conversation,
      server,
      preview: ended ? "" : preview,
      expires,
    });
  }
  if (intent !== undefined && isDue(intent, now) && claimed.length < room) {
    lease(intent, owner, until);
    const { class: wake, attempts, activity, conversation, server, preview, expires } = intent;
    const said = { attempts, activity, conversation, server, preview, expires };
    claimed.push({ generation, class: wake, call: "", ended: false, ...said });
  }
  return claimed;
}

export interface Claim {
  readonly owner: string;
  readonly until: Millis;
  readonly retentionMs: Millis;
  readonly room: number;
}

function tidyCalls(
  woken: Woken,
  isHeld: (row: RowRef) => boolean,
  retentionMs: Millis,
  now: Millis,
): void {
  woken.calls = woken.calls.filter((call) => {
    if (call.due > now) return true;
    if (call.ended) return call.expires > now;
    if (!isHeld(call.row)) return false;
    if (isRinging(call, now)) return true;
    const { id, conversation, server, preview } = call;
    const wake = { class: "message", conversation, server, preview, delay: 0, rings: 0 } as const;
    const expires = uuidTime(Uint8Array.fromHex(id)) + retentionMs;
    hurry(takeMessage(woken, wake, now, expires), now);
    return false;
  });
}

/** What became of the claimed call, or ("") of the intent. Answers whether it was still this one's to say. */
export function concludeWake(
  woken: Woken,
  owner: string,
  id: string,
  outcome: WakeOutcome,
  now: Millis,
): boolean {
  if (id === "") {
    if (woken.intent?.owner !== owner) return false;
    conclude(woken.intent, outcome, now);
    hush(woken);
    return true;
  }
  const call = woken.calls.find((each) => each.id === id);
  if (call?.owner !== owner) return false;
  if (concludeCall(call, outcome, now)) woken.calls = woken.calls.filter((each) => each !== call);
  hush(woken);
  return true;
}
