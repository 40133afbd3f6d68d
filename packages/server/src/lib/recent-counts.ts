/** How often each of a few kinds of things happened lately: counts by spans of time, of which only the latest are kept. */
export class RecentCounts {
  readonly #kinds: number;
  readonly #spanMs: number;
  readonly #now: () => number;
  /** Spans that are kept: one that has begun, and before it as many as are asked for at most. */
  readonly #spans: number;
  /** By span, and in it by kind; a span comes again and again in the same place. */
  readonly #counts: Uint32Array;
  /** Number of the span that has begun, since the clock's start; where it ends, and its place. */
  #span: number;
  #ends: number;
  #place: number;

  /** `mostMs`: how far back is asked, a number of spans. `now`: milliseconds, by a clock that never goes back. */
  constructor(kinds: number, spanMs: number, mostMs: number, now: () => number) {
    this.#kinds = kinds;
    this.#spanMs = spanMs;
    this.#now = now;
    this.#spans = 1 + mostMs / spanMs;
    this.#counts = new Uint32Array(this.#spans * kinds);
    this.#span = Math.floor(now() / spanMs);
    this.#ends = (this.#span + 1) * spanMs;
    this.#place = this.#placeOf(this.#span);
  }

  add(kind: number): void {
    this.#turn();
    this.#counts[this.#place + kind]!++;
  }

  /** By kind, how often in the last `ms`, which is a number of spans, and in up to one span more. */
  within(ms: number): number[] {
    this.#turn();
    const sums = Array.from({ length: this.#kinds }, () => 0);
    const spans = Math.min(this.#spans, 1 + ms / this.#spanMs);
    for (let back = 0; back < spans; back++) {
      const first = this.#placeOf(this.#span - back);
      for (let kind = 0; kind < this.#kinds; kind++) sums[kind]! += this.#counts[first + kind]!;
    }
    return sums;
  }

  /** Empties the places of spans that have begun since. */
  #turn(): void {
    const now = this.#now();
    if (now < this.#ends) return;
    const span = Math.floor(now / this.#spanMs);
    for (let begun = Math.max(this.#span, span - this.#spans) + 1; begun <= span; begun++) {
      const first = this.#placeOf(begun);
      this.#counts.fill(0, first, first + this.#kinds);
    }
    this.#span = span;
    this.#ends = (span + 1) * this.#spanMs;
    this.#place = this.#placeOf(span);
  }

  #placeOf(span: number): number {
    return (((span % this.#spans) + this.#spans) % this.#spans) * this.#kinds;
  }
}
