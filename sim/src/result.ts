/** What a number of schedules comes to. */
import type { Report } from "./checker.ts";
import type { Law } from "./violation.ts";

export interface Result {
  runs: number;
  /** The first. */
  readonly seed: number;
  acked: number;
  lost: number;
  duplicated: number;
  reordered: number;
  unpushed: number;
  late: number;
  /** Violations of the other laws. */
  other: number;
  /** Connects that were told to go elsewhere, and devices that were connected and went elsewhere as they were told. */
  redirects: number;
  moves: number;
  /** Messages handed over with the mark `gap`; `falseGaps`: where nothing was missing for good. Not violations. */
  gaps: number;
  falseGaps: number;
  /** The longest that a held message waited for a device that was online. */
  worstSeconds: number;
  /** Real time. */
  seconds: number;
}

/** By what each law's violations are counted. */
const COUNTERS = {
  L1: "lost",
  L2: "duplicated",
  L3: "reordered",
  L4: "late",
  L5: "unpushed",
  L6: "other",
  L7: "other",
  L8: "other",
  L9: "other",
  B2: "other",
  recovered: "other",
} as const satisfies Record<Law, keyof Result>;

const SUMS = [
  "runs",
  "acked",
  "lost",
  "duplicated",
  "reordered",
  "unpushed",
  "late",
  "other",
  "redirects",
  "moves",
  "gaps",
  "falseGaps",
] as const satisfies readonly (keyof Result)[];

export function emptyResult(seed: number): Result {
  return {
    runs: 0,
    seed,
    acked: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    unpushed: 0,
    late: 0,
    other: 0,
    redirects: 0,
    moves: 0,
    gaps: 0,
    falseGaps: 0,
    worstSeconds: 0,
    seconds: 0,
  };
}

export function addReport(result: Result, report: Report): void {
  result.runs += 1;
  result.acked += report.acked;
  result.redirects += report.redirects;
  result.moves += report.moves;
  result.gaps += report.gaps;
  result.falseGaps += report.falseGaps;
  result.worstSeconds = Math.max(result.worstSeconds, report.worstSeconds);
  for (const { law } of report.violations) result[COUNTERS[law]] += 1;
}

export function addResult(result: Result, more: Result): void {
  for (const name of SUMS) result[name] += more[name];
  result.worstSeconds = Math.max(result.worstSeconds, more.worstSeconds);
}
