import type { Clock } from "../lib/clock.ts";
import type { Ending, WakeStore } from "../store/store.ts";

const RETRY_MS = 500;
/** Endings that wait for the store; what is over the bound is dropped: such a call rings until its time is over. */
const MAX_WAITING = 10_000;

/**
 * Takes calls that are over to the store, in batches, one at a time, and goes on trying while the store is away. What a crash of this server
 * keeps from it rings until its time is over; where the message that ends a call is held, the hold ends it as well.
 */
export class Endings {
  readonly #clock: Clock;
  readonly #store: WakeStore;
  /** The store was told of some: devices may be due to hear of it. */
  readonly #told: () => void;
  #waiting: Ending[] = [];
  #busy = false;
  #deferred = false;

  constructor(clock: Clock, store: WakeStore, told: () => void) {
    this.#clock = clock;
    this.#store = store;
    this.#told = told;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(ending: Ending): void {
    if (this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push(ending);
    if (this.#busy || this.#deferred) return;
    this.#deferred = true;
    this.#clock.defer(this.#flush);
  }

  readonly #flush = (): void => {
    this.#deferred = false;
    if (this.#busy || this.#waiting.length === 0) return;
    this.#busy = true;
    const batch = this.#waiting.slice();
    this.#store.end(batch).then(
      () => {
        this.#busy = false;
        this.#waiting.splice(0, batch.length);
        this.#told();
        this.#flush();
      },
      () => {
        this.#clock.after(RETRY_MS, () => {
          this.#busy = false;
          this.#flush();
        });
      },
    );
  };
}
