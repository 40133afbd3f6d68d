/** Sets of times, as intervals that include their start and not their end. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** Parts of `interval` that none of `holes` covers; `holes` in any order. */
export function without(interval: Interval, holes: readonly Interval[]): Interval[] {
  let parts: Interval[] = [interval];
  for (const hole of holes) {
    if (hole.to <= interval.from || hole.from >= interval.to) continue;
    parts = parts.flatMap(({ from, to }) => {
      if (hole.to <= from || hole.from >= to) return [{ from, to }];
      const left = hole.from > from ? [{ from, to: hole.from }] : [];
      const right = hole.to < to ? [{ from: hole.to, to }] : [];
      return [...left, ...right];
    });
  }
  return parts;
}

/** The parts into which moments within it cut an interval. */
export function cutAt(interval: Interval, moments: readonly number[]): Interval[] {
  const parts: Interval[] = [];
  let { from } = interval;
  for (const moment of moments.toSorted((a, b) => a - b)) {
    if (moment <= from || moment >= interval.to) continue;
    parts.push({ from, to: moment });
    from = moment;
  }
  return [...parts, { from, to: interval.to }];
}

/** Collects intervals from events that begin and end them. */
export class Spans {
  readonly spans: Interval[] = [];
  #from: number | undefined;

  begin(at: number): void {
    this.#from ??= at;
  }

  end(at: number): void {
    if (this.#from === undefined) return;
    this.spans.push({ from: this.#from, to: at });
    this.#from = undefined;
  }

  get isOpen(): boolean {
    return this.#from !== undefined;
  }
}
