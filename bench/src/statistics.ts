/** The middle of some runs, and what they lie between. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return {
    median: (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle) - 1]!) / 2,
    min: sorted[0]!,
    max: sorted.at(-1)!,
  };
}

/** Each run's ratio: what ran one after the other met the same weather. */
export function ratios(ours: readonly number[], floor: readonly number[]): Spread {
  return spread(ours.map((value, run) => value / floor[run]!));
}
