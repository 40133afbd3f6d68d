import type { Mode } from "../../../packages/cli/src/replay/people.ts";
import { type Gain, type Prices, ruleOf } from "../../../packages/server/src/placement/rule.ts";
import { tableOf } from "../../../packages/cli/src/table.ts";
import { type PlacementResult, runPlacement } from "./result.ts";
import type { Policy } from "./simulation.ts";
import type { Messages } from "./trace.ts";

export interface SweepOptions {
  readonly mode: Mode;
  readonly cap: number;
  readonly prices: Prices;
  readonly seed: number;
  readonly staleness: number;
  readonly skip: number;
}

export interface SweepResult extends PlacementResult {
  readonly trace: string;
}

const SERVERS = [4, 16, 64] as const;
const ROWS: readonly (readonly [policy: Policy, gain: Gain])[] = [
  ["random", "cost"],
  ["wake", "cost"],
  ["place", "cost"],
  ["place", "locality"],
  ["move", "cost"],
  ["move", 60],
  ["move", 30],
  ["move", "locality"],
  ["move", 12],
];

/** What a row is called. */
export function labelOf({ policy, gain }: PlacementResult): string {
  return policy === "random" || policy === "wake" ? policy : `${policy} ${gain}`;
}

export function sweep(
  traces: readonly Messages[],
  options: SweepOptions,
  onProgress: (what: string) => void,
): SweepResult[] {
  const results: SweepResult[] = [];
  for (const messages of traces) {
    for (const servers of SERVERS) {
      for (const [policy, gain] of ROWS) {
        onProgress(`${messages.name} ${servers} ${policy} ${gain}`);
        const { mode, cap, prices, seed, staleness, skip } = options;
        const rule = ruleOf(gain, cap, prices);
        const counted = [skip, messages.count] as const;
        const one = { messages, servers, mode, policy, rule, seed, staleness, counted };
        results.push({ trace: messages.name, ...runPlacement(one, gain, prices).result });
      }
    }
  }
  return results;
}

export function sweepTable(results: readonly SweepResult[]): string[] {
  const head = [
    "trace",
    "servers",
    "policy",
    "local",
    "p95",
    "max",
    "moves",
    "redirects",
    "cost µs",
    "busiest",
    "s",
  ];
  const rows = results.map((result) => [
    result.trace,
    `${result.servers}`,
    labelOf(result),
    result.local.toFixed(3),
    result.imbalanceP95.toFixed(2),
    result.imbalanceMax.toFixed(2),
    result.moves.toFixed(1),
    result.redirects.toFixed(0),
    result.cost.toFixed(1),
    result.busiest.toFixed(1),
    result.seconds.toFixed(1),
  ]);
  return tableOf([head, ...rows], [1, 3, 4, 5, 6, 7, 8, 9, 10]);
}
