import type { Mode } from "../../../packages/cli/src/replay/people.ts";
import { type Gain, PRICES, type Prices } from "../../../packages/server/src/placement/rule.ts";
import {
  type Counts,
  type PlacementOptions,
  type Policy,
  simulatePlacement,
} from "./simulation.ts";

export interface PlacementResult {
  /** Share of the deliveries. */
  readonly local: number;
  /** The fullest server by the mean, each 10 minutes. */
  readonly imbalanceP95: number;
  readonly imbalanceMax: number;
  /** This and redirects: for 1,000 messages. */
  readonly moves: number;
  readonly redirects: number;
  readonly deliveries: number;
  readonly servers: number;
  readonly policy: Policy;
  readonly mode: Mode;
  readonly seed: number;
  /** Real time. */
  readonly seconds: number;
  readonly gain: Gain;
  readonly staleness: number;
  readonly messages: number;
  /** CPU of hops, redirects and moves for a message, µs. */
  readonly cost: number;
  /** For 1,000 messages. */
  readonly connects: number;
  readonly refusedHints: number;
  /** The busiest server by the mean of what servers accept in a day; median of the days. */
  readonly busiest: number;
}

export function runPlacement(
  options: PlacementOptions,
  gain: Gain,
  { hop, redirect, move }: Prices = PRICES,
): { readonly result: PlacementResult; readonly counts: Counts } {
  const began = performance.now();
  const counts = simulatePlacement(options);
  const seconds = rounded((performance.now() - began) / 1000, 2);
  const { messages, deliveries, imbalance } = counts;
  const perThousand = (n: number): number => rounded((n * 1000) / messages, 1);
  const { servers, policy, mode, seed, staleness } = options;
  const spent =
    (deliveries - counts.local) * hop + counts.redirects * redirect + counts.moves * move;
  const result: PlacementResult = {
    local: rounded(counts.local / Math.max(1, deliveries), 4),
    imbalanceP95: rounded(imbalance.p95, 4),
    imbalanceMax: rounded(imbalance.max, 4),
    moves: perThousand(counts.moves),
    redirects: perThousand(counts.redirects),
    deliveries,
    servers,
    policy,
    mode,
    seed,
    seconds,
    gain,
    staleness,
    messages,
    cost: rounded(spent / messages, 1),
    connects: perThousand(counts.connects),
    refusedHints: perThousand(counts.refusedHints),
    busiest: rounded(counts.busiest, 2),
  };
  return { result, counts };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
