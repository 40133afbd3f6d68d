import type { DeviceName, History, HistoryEvent, MessageName } from "./history.ts";

export type Law = "L1" | "L2" | "L3" | "L4" | "L5" | "L6" | "L7" | "L8" | "L9" | "B2" | "recovered";

/** What was seen; the words of the simulation's result where it counts them. */
export type Fault =
  | "lost"
  | "early ack"
  | "duplicated"
  | "unsettled"
  | "misdelivered"
  | "reordered"
  | "silent hole"
  | "live while behind"
  | "late"
  | "unpushed"
  | "pushed twice"
  | "unrung"
  | "rang too often"
  | "rang after its end"
  | "untold end"
  | "two connections"
  | "expelled"
  | "half-open"
  | "refused"
  | "stuck"
  | "threw"
  | "redirected twice"
  | "beside"
  | "moved in the way"
  | "seen"
  | "pushed for a move"
  | "dishonest";

export interface Violation {
  readonly law: Law;
  readonly fault: Fault;
  /** One sentence. */
  readonly says: string;
  /** When it became certain. */
  readonly at: number;
  readonly messages: readonly MessageName[];
  readonly devices: readonly DeviceName[];
}

/** Events of servers, store, bus and push service: they are about everybody. */
const FAULTS: ReadonlySet<HistoryEvent["kind"]> = new Set([
  "server",
  "store",
  "bus",
  "push service",
  "healed",
  "woken",
]);

/** Of a history the part that shows the violation: what its messages and devices went through, and the faults of that time. */
export function excerpt(history: History, { messages, devices, at }: Violation): HistoryEvent[] {
  const isAbout = (event: HistoryEvent): boolean =>
    "message" in event && messages.includes(event.message);
  const first = history.find(isAbout) ?? history.find((event) => concerns(event, devices));
  // What the devices did shortly before says where they were.
  const from = first === undefined ? 0 : stateBefore(history, devices, first.at);
  return history.filter((event) => {
    if (event.at > at) return false;
    if (isAbout(event)) return true;
    if ("message" in event || event.at < from) return false;
    return FAULTS.has(event.kind) || concerns(event, devices);
  });
}

function concerns(event: HistoryEvent, devices: readonly DeviceName[]): boolean {
  return "device" in event && devices.includes(event.device);
}

function stateBefore(history: History, devices: readonly DeviceName[], at: number): number {
  const starts = devices.map(
    (device) =>
      history.findLast(
        (event) =>
          event.at <= at &&
          (event.kind === "online" || event.kind === "started") &&
          event.device === device,
      )?.at ?? at,
  );
  return Math.min(at, ...starts);
}
