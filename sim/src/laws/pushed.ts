/** L5: no lost push: while a device is away and owed something, it has been pushed. Seldom twice. */
import type { DeviceFacts, Facts, MessageFacts } from "../facts.ts";
import { cutAt, type Interval, without } from "../intervals.ts";
import type { Violation } from "../violation.ts";

/**
 * From the moment that a device is away and owed something, and nothing fails: 10 s until a silent connection is given up,
 * 10 s that its intent had still to wait, 5 s for a device that was connected a moment ago, and the lease of a claim.
 */
const PUSH_MS = 40_000;
/** The second push for one intent comes after a minute. */
const REPEAT_MS = 55_000;
/** A call that no end has reached by then is missed. */
const RING_MS = 30_000;
/** It is told of at once. */
const MISSED_MS = 45_000;
/** For so long after a connection whose device was told to go elsewhere it counts as connected. */
const GRACE_MS = 4_500;
/** A push that comes so long after a move may have been for it. */
const MOVED_MS = 6_000;
/** A handler that takes longer delays acknowledgements. */
const BUSY_MS = 200;
/** From the claim of an intent to the push service. */
const ON_ITS_WAY_MS = 1_000;

export function checkPushed(facts: Facts): Violation[] {
  return [...facts.devices.values()].flatMap((device) => {
    if (device.pushable.spans.length === 0) return [];
    const owed = owedTimes(facts, device);
    return [
      ...unpushed(facts, device, owed),
      ...pushedTwice(facts, device, owed),
      ...pushedForMove(facts, device),
    ];
  });
}

/** When a row for a device was there, and what it was. */
interface Debt extends Interval {
  readonly message: MessageFacts;
}

function debtsOf(facts: Facts, device: DeviceFacts): Debt[] {
  const debts: Debt[] = [];
  const ended = new Set([...facts.messages.values()].map(({ sent }) => sent.ends));
  for (const message of facts.messages.values()) {
    // A call that is over wakes nobody.
    if (ended.has(message.name)) continue;
    if (message.sent.wake === "none" || message.sent.to !== device.user) continue;
    for (const row of message.passages.get(device.name)?.rows ?? []) {
      debts.push({ from: row.from, to: Math.min(row.to, facts.end), message });
    }
  }
  return debts.toSorted((a, b) => a.from - b.from);
}

interface Owed {
  readonly debts: readonly Debt[];
  /** Without a break. */
  readonly times: readonly Interval[];
}

function owedTimes(facts: Facts, device: DeviceFacts): Owed {
  const debts = debtsOf(facts, device);
  const times: { from: number; to: number }[] = [];
  for (const { from, to } of debts) {
    const last = times.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else times.push({ from, to });
  }
  return { debts, times };
}

function unpushed(facts: Facts, device: DeviceFacts, { debts, times }: Owed): Violation[] {
  const pushes = device.pushed.filter(({ outcome }) => outcome === "sent");
  const refusals = device.pushed.filter(({ outcome }) => outcome === "retry");
  const shocks = [...facts.shocks, ...refusals.map(({ at }) => at)];
  for (const time of times) {
    for (const window of awayTimes(facts, device, time).flatMap((one) => cutAt(one, shocks))) {
      const deadline = window.from + PUSH_MS;
      if (deadline > window.to) continue;
      const arrived = device.connections.findLast(({ welcomed }) => welcomed.at <= window.from);
      const since = Math.max(time.from, arrived?.welcomed.at ?? 0);
      if (pushes.some(({ at }) => at >= since && at <= deadline)) continue;
      const debt = debts.find(({ from, to }) => from < window.to && to > window.from)!;
      return [
        {
          law: "L5",
          fault: "unpushed",
          says: `${debt.message.name} was held for ${device.name}, which was away, and no push was sent`,
          at: deadline,
          messages: [debt.message.name],
          devices: [device.name],
        },
      ];
    }
  }
  return [];
}

/** When the device was owed something, could be pushed to, and was certainly not connected. */
export function awayTimes(facts: Facts, device: DeviceFacts, time: Interval): Interval[] {
  const connected = device.connections.map(({ welcomed, closedByServer }) => ({
    from: welcomed.at,
    to: closedByServer ?? Infinity,
  }));
  const everyServer = [...facts.servers.values()];
  const nobody = everyServer.flatMap(({ down, noStore }) => [...down.spans, ...noStore.spans]);
  return device.pushable.spans
    .map(({ from, to }) => ({ from: Math.max(from, time.from), to: Math.min(to, time.to) }))
    .filter(({ from, to }) => from < to)
    .flatMap((part) => without(part, [...connected, ...nobody]));
}

/** When a call came to be held for the device that no end has reached while it rang. */
function missedCalls(facts: Facts, device: DeviceFacts): number[] {
  const ended = new Map<string, number>();
  for (const { sent, acks } of facts.messages.values()) {
    if (sent.ends === undefined) continue;
    const before = ended.get(sent.ends) ?? Infinity;
    ended.set(sent.ends, Math.min(before, ...acks.map(({ at }) => at)));
  }
  return [...facts.messages.values()]
    .filter(({ sent }) => sent.wake === "call" && sent.to === device.user)
    .flatMap(({ name, passages }) =>
      (passages.get(device.name)?.rows ?? [])
        .map(({ from }) => from)
        .filter((from) => (ended.get(name) ?? Infinity) > from + RING_MS),
    );
}

function pushedTwice(facts: Facts, device: DeviceFacts, { debts, times }: Owed): Violation[] {
  const pushes = device.pushed.filter(
    ({ outcome, call }) => outcome === "sent" && call === undefined,
  );
  const violations: Violation[] = [];
  const calls = missedCalls(facts, device);
  for (const [index, second] of pushes.entries()) {
    const first = pushes[index - 1];
    if (first === undefined || second.at - first.at >= REPEAT_MS) continue;
    const isBetween = (at: number): boolean => at > first.at - 15_000 && at <= second.at;
    const excused =
      facts.shocks.some(isBetween) ||
      device.connections.some(
        ({ welcomed, closedByServer }) =>
          isBetween(welcomed.at) || isBetween(closedByServer ?? Infinity),
      ) ||
      calls.some((from) => from + MISSED_MS > first.at && from <= second.at) ||
      // The first may have been for what was settled while it was on its way, and the second for what came after it.
      times.some(({ to }) => to >= first.at - ON_ITS_WAY_MS && to < second.at) ||
      !times.some(({ from, to }) => from <= first.at && to >= second.at);
    if (excused) continue;
    const debt = debts.find(({ from, to }) => from <= first.at && to >= second.at);
    violations.push({
      law: "L5",
      fault: "pushed twice",
      says: `${device.name} was pushed to twice within a minute, and nothing had failed between`,
      at: second.at,
      messages: debt === undefined ? [] : [debt.message.name],
      devices: [device.name],
    });
  }
  return violations;
}

/** One process was connected all the time, first to one server and then to another, and nothing failed. */
function pushedForMove(facts: Facts, device: DeviceFacts): Violation[] {
  const moved = device.connections.filter(
    ({ heard, closedByDevice }) => heard !== undefined && closedByDevice !== undefined,
  );
  if (moved.length === 0 || facts.hasJumped) return [];
  const connected = device.connections.map(({ welcomed, heard, closedByServer = Infinity }) => ({
    from: welcomed.at,
    to: closedByServer + (heard === undefined ? 0 : GRACE_MS),
  }));
  const busy = device.busy.filter(({ from, to }) => to - from > BUSY_MS);
  const excuses = [...device.suspended.spans, ...device.full.spans, ...busy];
  const violations: Violation[] = [];
  for (const { at, outcome, call, ended } of device.pushed) {
    if (outcome !== "sent" || call !== undefined || ended === true) continue;
    const window = { from: at - MOVED_MS, to: at };
    const isIn = (time: number): boolean => time > window.from && time <= at;
    if (!device.lives.some(({ from, to }) => from <= window.from && to >= at)) continue;
    if (!moved.some(({ closedByDevice }) => isIn(closedByDevice!))) continue;
    if (without(window, connected).length > 0 || facts.failures.some(isIn)) continue;
    if (excuses.some(({ from, to }) => from < at && to > window.from)) continue;
    const isBroken = device.connections.some(
      ({ broken = Infinity, closedByServer = Infinity }) =>
        broken < at && closedByServer > window.from,
    );
    if (isBroken) continue;
    violations.push({
      law: "L5",
      fault: "pushed for a move",
      says: `${device.name} was pushed to, and had only gone to another server`,
      at,
      messages: [],
      devices: [device.name],
    });
  }
  return violations;
}
