/** What a run of the placement comes to. */

export const SAMPLE_MS = 600_000;
/** Devices a server in the mean, below which no sample counts: one device more would be beyond any cap. */
const LEAST_MEAN = 10;

export class Imbalance {
  readonly #counted: number[] = [];
  readonly #others: number[] = [];

  /** `loads` of the servers that are up. */
  sample(loads: readonly number[]): void {
    let sum = 0;
    let most = 0;
    for (const load of loads) {
      sum += load;
      most = Math.max(most, load);
    }
    if (sum === 0) return;
    const mean = sum / loads.length;
    (mean >= LEAST_MEAN ? this.#counted : this.#others).push(most / mean);
  }

  /** Where the mean was never high enough all samples count. */
  result(): { readonly p95: number; readonly max: number } {
    const from = this.#counted.length > 0 ? this.#counted : this.#others;
    const sorted = from.toSorted((a, b) => a - b);
    const nth = Math.max(0, Math.ceil(sorted.length * 0.95) - 1);
    return { p95: sorted[nth] ?? 0, max: sorted.at(-1) ?? 0 };
  }
}
