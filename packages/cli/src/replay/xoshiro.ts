/** Randomness that a seed decides: xoshiro128** over a seed spread by splitmix32. */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    let state = this.#seed;
    const spread = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let x = state ^ (state >>> 16);
      x = Math.imul(x, 0x21f0aaad);
      x ^= x >>> 15;
      x = Math.imul(x, 0x735a2d97);
      return (x ^ (x >>> 15)) >>> 0;
    };
    this.#a = spread();
    this.#b = spread();
    this.#c = spread();
    this.#d = spread();
  }

  /** 32 bits. */
  bits(): number {
    const result = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return result;
  }

  /** From 0 up to, but not including, 1. */
  next(): number {
    return this.bits() / 0x1_0000_0000;
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError("nothing to pick from");
    return from[this.int(0, from.length - 1)]!;
  }

  /** Exponentially distributed. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  fill(bytes: Uint8Array): Uint8Array {
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = this.bits() >>> 24;
    return bytes;
  }

  /**
   * An independent stream that the seed and the label decide, whatever was drawn from this one:
   * so a fault that is taken out of a plan does not change the rest.
   */
  fork(label: string): Random {
    let hash = this.#seed ^ 0x811c9dc5;
    for (let i = 0; i < label.length; i += 1) {
      hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
    }
    return new Random(hash);
  }
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}
