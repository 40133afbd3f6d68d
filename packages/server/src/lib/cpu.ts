/** Shorter than it nothing is measured: the last figure stands. */
const LEAST_MS = 1_000;

/** Answers the thousandths of one CPU that the process used since it was last asked, or since some asking before. Both times are in ms. */
export function createCpuMeter(used: () => number, now: () => number): () => number {
  let before = { at: now(), used: used() };
  let last = 0;
  return () => {
    const at = now();
    if (at - before.at < LEAST_MS) return last;
    const after = { at, used: used() };
    last = Math.max(0, Math.round((1_000 * (after.used - before.used)) / (at - before.at)));
    before = after;
    return last;
  };
}
