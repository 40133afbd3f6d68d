/** Random numbers that depend on nothing but the seed, so that a run can be repeated. */
export interface Random {
  /** From 0 up to, not including, 1. */
  next(): number;
  /** A whole number from 0 up to, not including, `n`. */
  below(n: number): number;
  /** Exponentially distributed. */
  exponential(mean: number): number;
  /** Its logarithm is normally distributed. */
  logNormal(median: number, sigma: number): number;
  /** How often a coin that falls on its head with probability `1 / mean` is thrown until it does: 1, 2, … */
  geometric(mean: number): number;
  pick<T>(from: readonly T[]): T;
  /** Another sequence, the same for the same seed and name, whatever this one was asked before. */
  fork(name: string): Random;
}

export function seeded(seed: number | string): Random {
  const source = `${seed}`;
  let state = hash(source);

  // Mulberry32: one round of a 32-bit counter and mixer; plenty for a load, useless for a secret.
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  const below = (n: number): number => Math.floor(next() * n);
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return {
    next,
    below,
    exponential: (mean) => -mean * Math.log(1 - next()),
    logNormal: (median, sigma) => median * Math.exp(sigma * normal()),
    geometric: (mean) =>
      mean <= 1 ? 1 : 1 + Math.floor(Math.log(1 - next()) / Math.log(1 - 1 / mean)),
    pick: (from) => from[below(from.length)]!,
    fork: (name) => seeded(`${source}/${name}`),
  };
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h | 0;
}

/** Draws indices with probabilities in proportion to `weights`, in logarithmic time. */
export function weighted(weights: readonly number[]): (random: Random) => number {
  let sum = 0;
  const upTo = weights.map((weight) => (sum += weight));
  return (random) => {
    const at = random.next() * sum;
    let low = 0;
    let high = upTo.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (upTo[middle]! > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
