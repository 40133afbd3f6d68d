import type { Millis } from "@beckon/protocol";

import { type Random, randomFraction } from "./random.ts";

/** `base` doubled with each attempt (from 0) up to `cap`; between half of it and all, so that devices spread. */
export function backoff(attempt: number, base: Millis, cap: Millis, random: Random): Millis {
  return Math.min(cap, base * 2 ** attempt) * (0.5 + randomFraction(random) / 2);
}
