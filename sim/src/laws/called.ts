/** L5 for calls: each rings by itself, at once and while it may, not too often, and not after its end, which is told to who rang. */
import type { DeviceFacts, Facts, MessageFacts, Row } from "../facts.ts";
import { userOf } from "../history.ts";
import { cutAt, type Interval } from "../intervals.ts";
import type { Violation } from "../violation.ts";
import { awayTimes } from "./pushed.ts";

/** How long a call rings, short of what a server's clock and a hold may take of it. */
const RING_MS = 26_000;
/** From the moment that a device is away and a call rings, and nothing fails: the lease of a claim, and a little. */
const PROMPT_MS = 12_000;
/** Pushes for one call come 8 s apart. */
const APART_MS = 7_000;
/** From the ACK of what ends a call until no push of before is on its way any more. */
const ENDING_MS = 3_000;
/** From then on, until who rang is told. */
const TOLD_MS = 15_000;
/** Of one device; a further one is a message. */
const AT_ONCE = 4;
/** Ends that are known of a user. */
const KNOWN_ENDS = 16;
/** A call that was on its way for longer may be a message. */
const FRESH_MS = 60_000;

export function checkCalled(facts: Facts): Violation[] {
  const calls = [...facts.messages.values()].filter(({ sent }) => sent.wake === "call");
  if (calls.length === 0) return [];
  const ends = endsOf(facts);
  return [...facts.devices.values()].flatMap((device) =>
    calls
      .filter(({ sent }) => sent.to === device.user)
      .flatMap((call) => [
        ...unrung(facts, device, call, calls, ends.get(call.name) ?? []),
        ...tooOften(facts, device, call),
        ...afterEnd(facts, device, call, ends),
      ]),
  );
}

function endsOf(facts: Facts): Map<string, MessageFacts[]> {
  const ends = new Map<string, MessageFacts[]>();
  for (const message of facts.messages.values()) {
    const { ends: call } = message.sent;
    if (call !== undefined) ends.set(call, [...(ends.get(call) ?? []), message]);
  }
  return ends;
}

function rowsOf(call: MessageFacts, device: DeviceFacts): readonly Row[] {
  return call.passages.get(device.name)?.rows ?? [];
}

function pushesOf(device: DeviceFacts, call: MessageFacts, isEnd: boolean): number[] {
  return device.pushed
    .filter(({ outcome, call: about }) => outcome === "sent" && about === call.name)
    .filter(({ ended = false }) => ended === isEnd)
    .map(({ at }) => at);
}

function unrung(
  facts: Facts,
  device: DeviceFacts,
  call: MessageFacts,
  calls: readonly MessageFacts[],
  ends: readonly MessageFacts[],
): Violation[] {
  // Whoever's clock was set may take it for an old one; what was for the user alone has rung for a while.
  if (facts.hasJumped || call.heldForUser !== undefined) return [];
  const refusals = device.pushed.filter(({ outcome }) => outcome === "retry");
  const shocks = [...facts.shocks, ...refusals.map(({ at }) => at)];
  const pushes = pushesOf(device, call, false);
  const ended = Math.min(Infinity, ...ends.map(({ sent }) => sent.at));
  for (const row of rowsOf(call, device)) {
    if (row.isBack || row.from - call.sent.at > FRESH_MS) continue;
    const others = calls.filter((other) =>
      rowsOf(other, device).some(({ from }) => Math.abs(from - row.from) < 2 * RING_MS),
    );
    if (others.length > AT_ONCE) continue;
    const time = { from: row.from, to: Math.min(row.to, row.from + RING_MS, ended, facts.end) };
    if (time.to <= time.from) continue;
    for (const window of awayTimes(facts, device, time).flatMap((one) => cutAt(one, shocks))) {
      const deadline = window.from + PROMPT_MS;
      if (deadline > window.to || isHampered(facts, { from: row.from, to: deadline })) continue;
      const arrived = device.connections.findLast(({ welcomed }) => welcomed.at <= window.from);
      const since = Math.max(time.from, arrived?.welcomed.at ?? 0);
      if (pushes.some((at) => at >= since && at <= deadline)) continue;
      const says = `${device.name} was away, and was not pushed to for the call ${call.name}`;
      return [violation("unrung", device, call, deadline, says)];
    }
  }
  return [];
}

function tooOften(facts: Facts, device: DeviceFacts, call: MessageFacts): Violation[] {
  const pushes = pushesOf(device, call, false);
  for (const [index, second] of pushes.entries()) {
    const first = pushes[index - 1];
    if (first === undefined || second - first >= APART_MS) continue;
    const isBetween = (at: number): boolean => at > first - 15_000 && at <= second;
    const excused =
      facts.shocks.some(isBetween) ||
      device.connections.some(
        ({ welcomed, closedByServer }) =>
          isBetween(welcomed.at) || isBetween(closedByServer ?? Infinity),
      );
    if (excused) continue;
    const says = `${device.name} was pushed to for the call ${call.name} twice in a moment, and nothing had failed between`;
    return [violation("rang too often", device, call, second, says)];
  }
  return [];
}

function afterEnd(
  facts: Facts,
  device: DeviceFacts,
  call: MessageFacts,
  allEnds: ReadonlyMap<string, readonly MessageFacts[]>,
): Violation[] {
  const ends = allEnds.get(call.name) ?? [];
  const acked = Math.min(Infinity, ...ends.flatMap(({ acks }) => acks.map(({ at }) => at)));
  if (acked === Infinity || call.heldForUser !== undefined) return [];
  const rang = pushesOf(device, call, false);
  const late = rang.find((at) => at > acked + ENDING_MS);
  if (late !== undefined && !hasFailed(facts, { from: acked - ENDING_MS, to: late })) {
    const first = Math.min(...ends.map(({ sent }) => sent.at));
    if (endedOf(device.user, { from: first, to: late }, allEnds) > KNOWN_ENDS) return [];
    const says = `${device.name} was pushed to for the call ${call.name}, which was over`;
    return [violation("rang after its end", device, call, late, says)];
  }
  const last = rang.findLast((at) => at <= acked);
  const row = rowsOf(call, device).at(-1);
  // It was missed before it was ended, or the device had it by then.
  if (last === undefined || row === undefined || acked > row.from + RING_MS) return [];
  const told = { from: acked, to: acked + TOLD_MS };
  if (row.to < told.to || told.to > facts.end) return [];
  if (hasFailed(facts, { from: last - ENDING_MS, to: told.to })) return [];
  const away = awayTimes(facts, device, { from: last, to: told.to });
  if (away.length !== 1 || away[0]!.from > last || away[0]!.to < told.to) return [];
  if (device.pushed.some(({ at, outcome }) => outcome === "retry" && at >= last)) return [];
  if (pushesOf(device, call, true).some((at) => at >= last && at <= told.to)) return [];
  const says = `${device.name} was not told that the call ${call.name}, for which it had been pushed to, is over`;
  return [violation("untold end", device, call, told.to, says)];
}

/** How many calls of a user have ended in a time. */
function endedOf(
  user: string,
  { from, to }: Interval,
  ends: ReadonlyMap<string, readonly MessageFacts[]>,
): number {
  const isOf = ({ sent }: MessageFacts): boolean =>
    (sent.to === user || userOf(sent.device) === user) && sent.at >= from && sent.at <= to;
  return [...ends.values()].filter((messages) => messages.some(isOf)).length;
}

/** The store was not there for somebody, or slow, or kept somebody waiting. */
function isHampered(facts: Facts, { from, to }: Interval): boolean {
  const servers = [...facts.servers.values()].flatMap(({ down, noStore, slowStore }) => [
    ...down.spans,
    ...noStore.spans,
    ...slowStore.spans,
  ]);
  return [...servers, ...facts.hung.spans].some((span) => span.from <= to && span.to >= from);
}

function hasFailed(facts: Facts, time: Interval): boolean {
  return facts.shocks.some((at) => at >= time.from && at <= time.to) || isHampered(facts, time);
}

function violation(
  fault: "unrung" | "rang too often" | "rang after its end" | "untold end",
  device: DeviceFacts,
  call: MessageFacts,
  at: number,
  says: string,
): Violation {
  return {
    law: "L5",
    fault,
    says,
    at,
    messages: [call.name],
    devices: [device.name, call.sent.device],
  };
}
