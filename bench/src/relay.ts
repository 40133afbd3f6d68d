import type { RelayResult, RelayTask } from "./load/task.ts";
import type { Cores, Target } from "./processes.ts";
import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { parseOptions } from "./options.ts";
import { runLoad, startServer } from "./processes.ts";
import { cell, conditions, printConditions, printTable, progress, whole } from "./report.ts";
import { ratios, spread } from "./statistics.ts";

interface RelayDefaults {
  readonly pairs: readonly number[];
  readonly window: readonly number[];
  readonly payload: number;
  readonly runs: number;
  readonly warmup: number;
  readonly seconds: number;
  readonly [name: string]: number | readonly number[];
}

const DEFAULTS: RelayDefaults = {
  pairs: [100, 1000],
  window: [1, 16],
  payload: 80,
  runs: 3,
  warmup: 2,
  seconds: 3,
};

/** Above this share of its core a process has nothing left. */
const SATURATED = 0.95;
/** Below this one it waits for others. */
const WAITING = 0.9;

export type RelayWork = Omit<RelayTask, "scenario" | "target" | "ports" | "pids">;

type Measure = (target: Target, work: RelayWork, cores?: Cores) => Promise<RelayResult>;

/** What the runs of one work came to on one server. */
type Figures = { readonly [K in keyof RelayResult]: Spread };

interface Row {
  readonly pairs: number;
  readonly window: number;
  readonly floor: Figures;
  readonly ours: Figures;
  /** Ours to the floor's CPU for a message. */
  readonly ratio: Spread;
  readonly warnings: readonly string[];
}

/** Messages between connected devices, acknowledged end to end: our server beside the floor. */
export function run(args: readonly string[]): Promise<void> {
  return compare("relay", args, DEFAULTS, measureRelay);
}

/** Each work on floor and ours in turn. */
export async function compare(
  scenario: string,
  args: readonly string[],
  defaults: RelayDefaults,
  measure: Measure,
): Promise<void> {
  const { json, cores, ours, chosen } = parseOptions(args, defaults);
  const { runs, payload, warmup, seconds } = chosen;
  const rows: Row[] = [];
  for (const window of chosen.window) {
    for (const pairs of chosen.pairs) {
      const work = { pairs, window, payload, warmup, seconds };
      const results: Record<"floor" | "ours", RelayResult[]> = { floor: [], ours: [] };
      for (let run = 1; run <= runs; run++) {
        for (const role of ["floor", "ours"] as const) {
          const result = await measure(role === "floor" ? "floor" : ours, work, cores);
          results[role].push(result);
          progress(
            `${pairs} x ${window}, run ${run} of ${runs}, ${role}: ` +
              `${result.serverMicros.toFixed(2)} µs a message, ${whole(result.perSecond)} a second`,
          );
        }
      }
      rows.push(toRow(work, results.floor, results.ours));
    }
  }
  const given = conditions(scenario, { ...chosen, ours, cores });
  if (json) console.log(JSON.stringify({ ...given, rows }));
  else print(given, rows);
}

/** One run, on a server that has just been started. */
export async function measureRelay(
  target: Target,
  work: RelayWork,
  cores?: Cores,
): Promise<RelayResult> {
  await using server = await startServer(target, cores);
  const [ports, pids] = [[server.port], [server.pid]];
  return await runLoad<RelayTask>({ scenario: "relay", target, ports, pids, ...work }, cores);
}

function toRow(
  { pairs, window }: RelayWork,
  floor: readonly RelayResult[],
  ours: readonly RelayResult[],
): Row {
  const micros = (result: RelayResult): number => result.serverMicros;
  return {
    pairs,
    window,
    floor: figures(floor),
    ours: figures(ours),
    ratio: ratios(ours.map(micros), floor.map(micros)),
    warnings: [...warnings("floor", floor), ...warnings("ours", ours)],
  };
}

function figures(results: readonly RelayResult[]): Figures {
  const names = Object.keys(results[0]!) as (keyof RelayResult)[];
  const spreads = names.map((name) => [name, spread(results.map((result) => result[name]))]);
  return Object.fromEntries(spreads) as Figures;
}

/** Why the figures may not mean what they should. */
function warnings(role: string, results: readonly RelayResult[]): string[] {
  const found: string[] = [];
  const sum = (figure: "held" | "repeated"): number =>
    results.reduce((all, result) => all + result[figure], 0);
  const [held, repeated] = [sum("held"), sum("repeated")];
  if (held > 0) found.push(`${role}: ${held} messages were held, not delivered`);
  if (repeated > 0) found.push(`${role}: ${repeated} messages came twice`);
  const starved = results.filter(
    ({ loadShare, serverShare }) => loadShare > SATURATED && serverShare < WAITING,
  );
  if (starved.length > 0) {
    found.push(
      `${role}: the load had no CPU left and the server had, in ${starved.length} of ` +
        `${results.length} runs: throughput and latency are the load's`,
    );
  }
  return found;
}

function print(given: Conditions, rows: readonly Row[]): void {
  printConditions(given);
  printTable(
    [
      "pairs x window",
      "",
      "µs CPU/message",
      "ratio",
      "messages/s",
      "CPU",
      "load",
      "p50 ms",
      "p99 ms",
    ],
    rows.flatMap((row) => [
      [`${row.pairs} x ${row.window}`, "floor", ...cells(row.floor, "")],
      ["", "ours", ...cells(row.ours, cell(row.ratio))],
    ]),
  );
  const all = rows.flatMap((row) =>
    row.warnings.map((text) => `${row.pairs} x ${row.window}, ${text}`),
  );
  for (const text of all) console.log(`warning: ${text}`);
}

function cells(of: Figures, ratio: string): string[] {
  const percent = ({ median }: Spread): string => `${(100 * median).toFixed(0)}%`;
  const milliseconds = ({ median }: Spread): string => (median / 1000).toFixed(1);
  return [
    cell(of.serverMicros),
    ratio,
    whole(of.perSecond.median),
    percent(of.serverShare),
    percent(of.loadShare),
    milliseconds(of.p50),
    milliseconds(of.p99),
  ];
}
