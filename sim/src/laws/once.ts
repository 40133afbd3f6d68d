/** L2: at the application's handler exactly once while the process lives; after a crash once more, marked. */
import type { DeviceFacts, Facts, HandOver } from "../facts.ts";
import { type Interval, without } from "../intervals.ts";
import type { Violation } from "../violation.ts";

/** What was handled this long before the end of the process must have been noted as handled. */
const NOTED_MS = 2_000;
/** Within it what was acknowledged is settled, when the store is there. */
const SETTLED_MS = 5_000;

export function checkOnce(facts: Facts): Violation[] {
  return [...facts.devices.values()].flatMap((device) => [
    ...misdelivered(device),
    ...repeats(facts, device),
    ...unsettled(facts, device),
  ]);
}

/** What the device has acknowledged is still in the store when all is healthy: it will come again. */
function unsettled(facts: Facts, device: DeviceFacts): Violation[] {
  if (!facts.isOnlineAtEnd(device)) return [];
  const violations: Violation[] = [];
  for (const message of facts.messages.values()) {
    const passage = message.passages.get(device.name);
    const row = passage?.rows.at(-1);
    if (row === undefined || row.to !== Infinity) continue;
    // Nobody knows of what has come back before the device connects: then its server reads it.
    const isUnread = !device.connections.some(({ online }) => (online?.at ?? 0) > row.from);
    if (row.isBack && isUnread) continue;
    const last = passage!.received.at(-1);
    if (last === undefined || last < row.from || facts.end - last < SETTLED_MS) continue;
    violations.push({
      law: "L2",
      fault: "unsettled",
      says: `${device.name} has acknowledged ${message.name}, which is still in the store for it`,
      at: facts.end,
      messages: [message.name],
      devices: [device.name],
    });
  }
  return violations;
}

function misdelivered(device: DeviceFacts): Violation[] {
  return device.handed.flatMap(({ event, message }) => {
    const isOurs =
      message !== undefined &&
      (message.sent.to === device.user || message.sent.device.startsWith(`${device.user}/`)) &&
      message.sent.device !== device.name;
    if (isOurs) return [];
    const says = `${device.name} was handed ${event.message}, which nobody has sent to it`;
    return [
      {
        law: "L2" as const,
        fault: "misdelivered" as const,
        says,
        at: event.at,
        messages: [event.message],
        devices: [device.name],
      },
    ];
  });
}

function repeats(facts: Facts, device: DeviceFacts): Violation[] {
  const before = new Map<string, HandOver>();
  const violations: Violation[] = [];
  for (const handOver of device.handed) {
    const { event } = handOver;
    const earlier = before.get(event.message);
    before.set(event.message, handOver);
    if (earlier === undefined) continue;
    const why = wrongRepeat(facts, device, earlier, handOver);
    if (why === undefined) continue;
    violations.push({
      law: "L2",
      fault: "duplicated",
      says: `${event.message} was handed over twice at ${device.name}, ${why}`,
      at: event.at,
      messages: [event.message],
      devices: [
        device.name,
        ...(handOver.message === undefined ? [] : [handOver.message.sent.device]),
      ],
    });
  }
  return violations;
}

/** Why it was wrong to hand it over again; undefined: it was right. */
function wrongRepeat(
  facts: Facts,
  device: DeviceFacts,
  earlier: HandOver,
  again: HandOver,
): string | undefined {
  const isMarked = again.event.redelivered;
  if (earlier.life === again.life) {
    if (earlier.handled?.outcome !== "failed") return "while one process lived";
    return isMarked ? undefined : "without the mark, after its handler had failed";
  }
  const isRemembered = earlier.memory === again.memory;
  if (!isMarked) {
    if (isRemembered) return "without the mark, after the process had ended";
    // A process that remembers nothing is owed the mark for what it died of, and not for what it had handled or acknowledged.
    if (earlier.handled?.outcome === "finished" || hasAcknowledged(facts, again)) return undefined;
    return couldNotTell(facts, earlier, again) || wasRepeated(again)
      ? undefined
      : "without the mark, though the servers knew that it had been sent";
  }
  const { handled } = earlier;
  const life = device.lives[earlier.life - 1];
  if (!isRemembered || handled?.outcome !== "finished" || life === undefined) return undefined;
  return ranFor(device, { from: handled.at, to: life.to }) >= NOTED_MS
    ? "though its handler had finished long before the process ended"
    : undefined;
}

function hasAcknowledged(facts: Facts, { event, message }: HandOver): boolean {
  const first =
    message === undefined ? undefined : facts.passage(message, event.device).received[0];
  return first !== undefined && first < event.at;
}

/** The sender has sent it again, and to another server it is new. */
function wasRepeated({ event, message }: HandOver): boolean {
  return (message?.transmitted.filter((at) => at <= event.at).length ?? 0) > 1;
}

/** How long the process was not suspended. */
function ranFor({ suspended }: DeviceFacts, time: Interval): number {
  return without(time, suspended.spans).reduce((sum, { from, to }) => sum + to - from, 0);
}

/** What only one server knew, its crash may have taken; or it could not tell. */
function couldNotTell(facts: Facts, earlier: HandOver, again: HandOver): boolean {
  const [from, to] = [earlier.event.at, again.event.at];
  const isDuring = (span: Interval): boolean => span.from <= to && span.to >= from;
  if (facts.hung.spans.some(isDuring)) return true;
  return [...facts.servers.values()].some(({ down, noBus, noStore, slowStore }) =>
    [...down.spans, ...noBus.spans, ...noStore.spans, ...slowStore.spans].some(isDuring),
  );
}
