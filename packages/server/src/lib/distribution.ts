/** How often what was observed was at most each bound: a histogram, as plain numbers. */
export class Distribution {
  /** Upper bounds, ascending, the last one short of infinity. */
  readonly bounds: readonly number[];
  /** Not cumulative; the last one is for what is over all bounds. */
  readonly counts: readonly number[];
  readonly #counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
    this.counts = this.#counts;
  }

  observe(value: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && value > bounds[i]!) i++;
    this.#counts[i]!++;
    this.sum += value;
  }
}
