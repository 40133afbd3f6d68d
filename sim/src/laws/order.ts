/** L3: what one device sends to one user is handed over in the order sent; a hole is marked, never silent. */
import type { DeviceFacts, Facts, MessageFacts } from "../facts.ts";
import type { Violation } from "../violation.ts";

export interface Order {
  readonly violations: Violation[];
  /** How many messages were handed over with the mark `gap`. */
  readonly gaps: number;
  /** Of those: nothing in front of them was dropped or never came. */
  readonly falseGaps: number;
}

/** What a device, as long as it remembers, has been handed of one lane. */
interface Lane {
  /** The place that was handed over last of those in order. */
  highest: number;
  last: MessageFacts;
}

export function checkOrder(facts: Facts): Order {
  const lanes = new Map<string, MessageFacts[]>();
  for (const message of facts.messages.values()) {
    const lane = lanes.get(message.lane);
    if (lane === undefined) lanes.set(message.lane, [message]);
    else lane.push(message);
  }
  const orders = [...facts.devices.values()].map((device) => orderAt(device, lanes));
  return {
    violations: orders.flatMap(({ violations }) => violations),
    gaps: orders.reduce((sum, { gaps }) => sum + gaps, 0),
    falseGaps: orders.reduce((sum, { falseGaps }) => sum + falseGaps, 0),
  };
}

function orderAt(device: DeviceFacts, lanes: ReadonlyMap<string, readonly MessageFacts[]>): Order {
  const known = new Map<string, Lane>();
  const seen = new Set<MessageFacts>();
  const violations: Violation[] = [];
  let gaps = 0;
  let falseGaps = 0;
  for (const { event, message, memory } of device.handed) {
    if (message === undefined) continue;
    const key = `${memory} ${message.lane}`;
    const lane = known.get(key);
    const isRepeat = seen.has(message);
    seen.add(message);
    if (event.gap) gaps += 1;
    if (lane === undefined) {
      known.set(key, { highest: message.place, last: message });
      continue;
    }
    if (message.place <= lane.highest) {
      if (!isRepeat && !event.late) {
        const says = `${device.name} was handed ${message.name} after ${lane.last.name}, which was sent later`;
        violations.push(violation("reordered", device, event.at, [message, lane.last], says));
      }
      continue;
    }
    const between = (lanes.get(message.lane) ?? []).slice(lane.highest + 1, message.place);
    const missing = between.filter((one) => isOwed(one) && !seen.has(one));
    if (event.gap) {
      if (!missing.some((one) => !device.got.has(one))) falseGaps += 1;
    } else if (missing.length > 0) {
      const says = `${device.name} was handed ${message.name} without a mark, though ${missing[0]!.name} before it had not come`;
      violations.push(
        violation("silent hole", device, event.at, [message, lane.last, missing[0]!], says),
      );
    }
    lane.highest = message.place;
    lane.last = message;
  }
  return { violations, gaps, falseGaps };
}

function violation(
  fault: "reordered" | "silent hole",
  device: DeviceFacts,
  at: number,
  messages: readonly MessageFacts[],
  says: string,
): Violation {
  return {
    law: "L3",
    fault,
    says,
    at,
    messages: messages.map(({ name }) => name),
    devices: [device.name, messages[0]!.sent.device],
  };
}

/** What its sender was told to be refused is no hole, though it may have come: an authoriser may change its mind. */
function isOwed({ acks, denied, refused }: MessageFacts): boolean {
  return acks.length > 0 && denied === undefined && refused === undefined;
}
