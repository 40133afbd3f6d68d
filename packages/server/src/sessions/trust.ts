/**
 * Whether this table's word on the other servers and on the sets of durable devices may be relied on. It may not from a loss (something
 * may have passed this server by) until all is caught up with, and for `quietMs` at least: by then every other server that lives has
 * been heard, and one that suffered the same loss has said that it is not settled. A start is a loss, too.
 */
export class Trust {
  readonly #now: () => number;
  readonly #quietMs: number;
  #lostAt: number | undefined;
  #isCaughtUp = false;

  constructor(now: () => number, quietMs: number) {
    this.#now = now;
    this.#quietMs = quietMs;
  }

  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  lose(): void {
    this.#lostAt = this.#now();
    this.#isCaughtUp = false;
  }

  /** `isComplete`: nothing is missing now. */
  review(isComplete: boolean): void {
    if (this.#isCaughtUp || this.#lostAt === undefined) return;
    this.#isCaughtUp = isComplete && this.#now() - this.#lostAt >= this.#quietMs;
  }
}
