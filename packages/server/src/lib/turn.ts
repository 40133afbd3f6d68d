import type { Clock } from "./clock.ts";

/** Collects work during a turn of the event loop and runs it once at its end. */
export class TurnBatch<T> {
  readonly #clock: Clock;
  readonly #run: (items: T[]) => void;
  #items: T[] = [];

  constructor(clock: Clock, run: (items: T[]) => void) {
    this.#clock = clock;
    this.#run = run;
  }

  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length === 1) this.#clock.defer(this.#flush);
  }

  readonly #flush = (): void => {
    const items = this.#items;
    this.#items = [];
    this.#run(items);
  };
}
