/** L4: a held message whose device is online is delivered within 5 s of both being true. */
import type { ConnectionFacts, DeviceFacts, Facts, MessageFacts, Passage, Row } from "../facts.ts";
import { type Interval, without } from "../intervals.ts";
import type { Violation } from "../violation.ts";

const PROMPT_MS = 5_000;

export interface Promptness {
  readonly violations: Violation[];
  /** The longest that a held message waited for a device that was online, seconds. */
  readonly worstSeconds: number;
}

export function checkPrompt(facts: Facts): Promptness {
  const violations: Violation[] = [];
  let worst = 0;
  const online = new Map<DeviceFacts, readonly Interval[]>();
  const onlineTimes = (device: DeviceFacts): readonly Interval[] => {
    let times = online.get(device);
    if (times === undefined) {
      times = device.connections.flatMap((connection) => reachable(facts, device, connection));
      online.set(device, times);
    }
    return times;
  };
  for (const message of facts.messages.values()) {
    for (const [name, passage] of message.passages) {
      const device = facts.device(name);
      for (const row of passage.rows) {
        const found = onlineTimes(device).find((time) => {
          const waited = waitedIn(device, passage, row, time);
          worst = Math.max(worst, waited);
          return waited > PROMPT_MS;
        });
        if (found !== undefined) {
          violations.push(late(message, device, Math.max(found.from, row.from)));
        }
      }
    }
  }
  return { violations, worstSeconds: Math.round(worst) / 1000 };
}

function late(message: MessageFacts, device: DeviceFacts, since: number): Violation {
  return {
    law: "L4",
    fault: "late",
    says: `${message.name} was held and ${device.name} online for more than 5 s, and it did not come`,
    at: since + PROMPT_MS,
    messages: [message.name],
    devices: [device.name],
  };
}

/** How long a row waited within a time in which its device could be reached. */
function waitedIn(device: DeviceFacts, passage: Passage, row: Row, time: Interval): number {
  const from = Math.max(row.from, time.from);
  if (from >= time.to) return 0;
  const life = device.lives.findLast((one) => one.from <= from);
  const end = Math.min(
    row.to,
    passage.received[0] ?? Infinity,
    // What has come once to this process has come.
    passage.arrived.find((at) => at >= (life?.from ?? 0)) ?? Infinity,
  );
  return Math.max(0, Math.min(end, time.to) - from);
}

/** When a connection carried, its server ran and reached the store, and the device had room and was not busy. */
function reachable(facts: Facts, device: DeviceFacts, connection: ConnectionFacts): Interval[] {
  if (connection.online === undefined) return [];
  const { down, noStore, slowStore } = facts.server(connection.welcomed.server);
  const from = connection.online.at;
  const next = device.connections.find(({ online }) => online !== undefined && online.at > from);
  const life = device.lives.find((one) => one.from <= from && one.to >= from);
  const to = Math.min(
    facts.end,
    connection.broken ?? Infinity,
    connection.closedByDevice ?? Infinity,
    connection.closedByServer ?? Infinity,
    next?.online?.at ?? Infinity,
    life?.to ?? Infinity,
  );
  if (to <= from) return [];
  return without({ from, to }, [
    ...down.spans,
    ...noStore.spans,
    ...slowStore.spans,
    ...device.suspended.spans,
    ...device.full.spans,
    ...device.busy,
  ]);
}
