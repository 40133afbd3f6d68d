/** How a server is emptied: at which rate, and in what time. Pure. */
import type { Millis } from "@beckon/protocol";

export interface DrainPace {
  /** Devices that are told at once. */
  readonly batch: number;
  /** From one batch to the next. */
  readonly intervalMs: Millis;
  /** When all is to be over. It wins over the two others. */
  readonly deadlineMs: Millis;
}

/** Points in time, in ms from the beginning of the drain. */
export interface DrainPlan {
  readonly pace: DrainPace;
  /** DRAIN says it: each device leaves at some moment within it. */
  readonly within: Millis;
  /** From the moment at which a device is told to the one at which it is closed. */
  readonly patience: Millis;
  /** Until then it is decided where each device is to go; the first is told after that. */
  readonly planned: Millis;
  /** Until then all were told. */
  readonly told: Millis;
  /** Until then all are gone. */
  readonly gone: Millis;
  /** Until then is waited for what has to reach the store. What is left of the deadline is for closing it. */
  readonly saved: Millis;
}

/** A device's random moment need not be far: it is the batches that make the rate. */
const WITHIN_MS = 5_000;
/** For DRAIN to come and BYE to go. */
const GRACE_MS = 1_000;
/** For what is in flight to reach the store: longer than two deadlines of a live delivery. */
const SAVING_MS = 5_000;
const CLOSING_MS = 1_000;

/** Of the time until all were told; the rest is for the pace. */
const PLANNING = 1 / 4;

/** Of the deadline a fifth, a tenth, a fifth and a tenth at most; so four tenths are left for telling at least. */
export function planDrain(pace: DrainPace): DrainPlan {
  const { deadlineMs } = pace;
  const within = Math.min(WITHIN_MS, deadlineMs / 5);
  const patience = within + Math.min(GRACE_MS, deadlineMs / 10);
  const saved = deadlineMs - Math.min(CLOSING_MS, deadlineMs / 10);
  const gone = saved - Math.min(SAVING_MS, deadlineMs / 5);
  const told = gone - patience;
  return {
    pace,
    within: Math.floor(within),
    patience,
    planned: told * PLANNING,
    told,
    gone,
    saved,
  };
}

/** How many devices are to be told (or closed) now, of those that are left to be, when `elapsed` of the time until `end` is over. */
export function batchOf(plan: DrainPlan, left: number, elapsed: Millis, end: Millis): number {
  return Math.max(plan.pace.batch, Math.ceil(left / roundsIn(plan, end - elapsed)));
}

/** Devices that the pace gets done by the deadline; of more, more are told at once. */
export function drainCapacity(pace: DrainPace): number {
  const plan = planDrain(pace);
  return pace.batch * roundsIn(plan, plan.told);
}

/** One at the beginning, and one after each interval. */
function roundsIn({ pace }: DrainPlan, ms: Millis): number {
  return 1 + Math.floor(Math.max(0, ms) / Math.max(1, pace.intervalMs));
}
