/** L6 and the session table: a device has one live connection; one that does not acknowledge is given up. */
import type { ConnectionFacts, DeviceFacts, Facts } from "../facts.ts";
import { cutAt, type Interval, without } from "../intervals.ts";
import type { Violation } from "../violation.ts";

/** Within it servers that can talk to each other close all but one connection of a device. */
const FENCE_MS = 5_000;
/** 10 s in which the server was reading, and what a timer may add. */
const SILENT_MS = 15_000;

export function checkOneConnection(facts: Facts): Violation[] {
  return [
    ...expelled(facts),
    ...[...facts.devices.values()].flatMap((device) => [
      ...twoConnections(facts, device),
      ...halfOpen(facts, device),
    ]),
  ];
}

/**
 * No device has two processes at a time here: whoever took over from it was an older connection of its own. Against one of a
 * process before it, of which it remembers nothing, it cannot win where neither table nor clock knows better.
 */
function expelled(facts: Facts): Violation[] {
  return facts.history.flatMap((event) => {
    if (event.kind !== "expelled" || isBeatenByFormerSelf(facts, event)) return [];
    const isRevoked = event.code === "revoked";
    if (isRevoked && facts.wasForgotten(facts.device(event.device), event.at)) return [];
    const says = `${event.device} was closed for good as ${event.code}, and ${isRevoked ? "was never forgotten" : "no other process of it was there"}`;
    const { at, device } = event;
    return [{ law: "L6", fault: "expelled", says, at, messages: [], devices: [device] }];
  });
}

export function isBeatenByFormerSelf(
  facts: Facts,
  { at, device }: { readonly at: number; readonly device: string },
): boolean {
  const { connections, lives } = facts.device(device);
  const life = lives.findLast(({ from }) => from <= at);
  const lost = connections.findLast(({ online }) => online !== undefined && online.at <= at);
  if (life === undefined || lost === undefined) return false;
  const winners = connections.filter(
    ({ name, welcomed }) =>
      name !== lost.name && welcomed.at <= at && welcomed.epoch >= lost.welcomed.epoch,
  );
  return winners.length > 0 && winners.every(({ dialled }) => dialled < life.from);
}

function twoConnections(facts: Facts, device: DeviceFacts): Violation[] {
  const violations: Violation[] = [];
  const { connections } = device;
  for (const [index, one] of connections.entries()) {
    for (const other of connections.slice(index + 1)) {
      const both = intersection(openTime(facts, one), openTime(facts, other));
      if (both === undefined || both.to - both.from <= FENCE_MS) continue;
      const quiet = healthyTimes(facts, both, [one, other]);
      const long = quiet.find(({ from, to }) => to - from > FENCE_MS);
      if (long === undefined) continue;
      const at = long.from + FENCE_MS;
      const stray = one.delivered.find((event) => event.at > at);
      const after = stray === undefined ? "" : `, and ${stray.message} went to the older one`;
      violations.push({
        law: "L6",
        fault: "two connections",
        says: `${device.name} was connected to ${one.welcomed.server} and ${other.welcomed.server} for more than 5 s${after}`,
        at: stray?.at ?? at,
        messages: stray === undefined ? [] : [stray.message],
        devices: [device.name],
      });
    }
  }
  return violations;
}

/** A connection over which something was sent, and nothing was acknowledged, is closed. */
function halfOpen(facts: Facts, device: DeviceFacts): Violation[] {
  const receipts = [...facts.messages.values()]
    .flatMap((message) => message.passages.get(device.name)?.received ?? [])
    .toSorted((a, b) => a - b);
  return device.connections.flatMap((connection) => {
    const open = openTime(facts, connection);
    for (const { at, message } of connection.delivered) {
      const answered = receipts.find((receipt) => receipt >= at);
      const waiting = { from: at, to: Math.min(answered ?? Infinity, open.to) };
      if (waiting.to - at <= SILENT_MS) continue;
      const long = healthyTimes(facts, waiting, [connection]).find(
        ({ from, to }) => to - from > SILENT_MS,
      );
      if (long === undefined) continue;
      return [
        {
          law: "L6" as const,
          fault: "half-open" as const,
          says: `${device.name} acknowledged nothing for 10 s and more, and its connection stayed open`,
          at: long.from + SILENT_MS,
          messages: [message],
          devices: [device.name],
        },
      ];
    }
    return [];
  });
}

/** While the server holds it open. */
function openTime(facts: Facts, { welcomed, closedByServer }: ConnectionFacts): Interval {
  return { from: welcomed.at, to: closedByServer ?? facts.end };
}

function intersection(a: Interval, b: Interval): Interval | undefined {
  const both = { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
  return both.from < both.to ? both : undefined;
}

/** Parts in which the servers of these connections ran, could talk to each other, and reached the store. */
function healthyTimes(
  facts: Facts,
  interval: Interval,
  connections: readonly ConnectionFacts[],
): Interval[] {
  const servers = connections.map(({ welcomed }) => facts.server(welcomed.server));
  const ill = servers.flatMap(({ down, noBus, noStore, slowStore }) => [
    ...down.spans,
    ...noBus.spans,
    ...noStore.spans,
    ...slowStore.spans,
  ]);
  return without(interval, ill).flatMap((part) => cutAt(part, facts.shocks));
}
