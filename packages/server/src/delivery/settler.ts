import type { Clock } from "../lib/clock.ts";
import type { MessageStore, RowRef } from "../store/store.ts";

const RETRY_MS = 500;
/** Rows that wait for the store; what is over the bound is dropped: such a row is delivered again, and acknowledged as a repeat. */
const MAX_WAITING = 100_000;

/** Settles acknowledged rows in batches, one at a time, and goes on trying while the store is away. */
export class Settler {
  readonly #clock: Clock;
  readonly #store: MessageStore;
  #waiting = new Map<RowRef, ((row: RowRef) => void) | undefined>();
  /** What is to be done after the rows that are waiting now. */
  #after: (() => void)[] = [];
  #busy = false;
  #deferred = false;

  constructor(clock: Clock, store: MessageStore) {
    this.#clock = clock;
    this.#store = store;
  }

  /** Rows that wait for the store, or are being settled. */
  get waiting(): number {
    return this.#waiting.size;
  }

  settle(row: RowRef, done?: (row: RowRef) => void): void {
    if (this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.set(row, done);
    this.#schedule();
  }

  /** Runs the task when all is settled that has been acknowledged by now; at the bound never. */
  after(task: () => void): void {
    if (this.#waiting.size === 0 && !this.#busy) task();
    else if (this.#after.length < MAX_WAITING) this.#after.push(task);
  }

  /** Best effort: what is not marked is delivered again without the mark, as after a crash of this server. */
  markSent(rows: readonly RowRef[]): void {
    this.#store.markSent(rows).catch(() => undefined);
  }

  #schedule(): void {
    if (this.#busy || this.#deferred) return;
    this.#deferred = true;
    this.#clock.defer(this.#flush);
  }

  readonly #flush = (): void => {
    this.#deferred = false;
    if (this.#busy || this.#waiting.size === 0) return;
    this.#busy = true;
    const batch = this.#waiting;
    const after = this.#after;
    this.#waiting = new Map();
    this.#after = [];
    this.#store.settle([...batch.keys()]).then(
      () => {
        this.#busy = false;
        for (const [row, tell] of batch) tell?.(row);
        for (const task of after) task();
        if (this.#waiting.size > 0) this.#schedule();
      },
      () => {
        for (const [row, done] of batch) this.#waiting.set(row, done);
        this.#after.unshift(...after);
        this.#clock.after(RETRY_MS, () => {
          this.#busy = false;
          this.#flush();
        });
      },
    );
  };
}
