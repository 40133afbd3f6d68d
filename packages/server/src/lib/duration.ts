/** Durations as people write them: `250ms`, `30s`, `10m`, `6h`, `30d`. */

const UNITS: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};

/** Milliseconds; undefined for anything else than digits and a unit. */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * UNITS[unit ?? ""]!;
}

/** In the largest unit that says it exactly. */
export function formatDuration(ms: number): string {
  for (const [unit, length] of Object.entries(UNITS)) {
    if (ms >= length && ms % length === 0) return `${ms / length}${unit}`;
  }
  return `${ms}ms`;
}
