import type { Clock } from "../lib/clock.ts";

/** How long: twice the lease, so that a device that came while its server's news was late is seen. */
const WATCH_MS = 10_000;
const MAX_WATCHED = 20_000;

/**
 * The devices for which this server has just held something (L4): when one appears in the session table, its read of the
 * store may have begun before our commit, so its server is told. Over the bound the oldest is forgotten; the tail finds it.
 */
export class Watch {
  readonly #clock: Clock;
  /** By user: when the watch over its devices ends. In order of that. */
  readonly #until = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#until.size;
  }

  add(user: string): void {
    const now = this.#clock.monotonic();
    this.#until.delete(user);
    this.#until.set(user, now + WATCH_MS);
    for (const [oldest, until] of this.#until) {
      if (until > now && this.#until.size <= MAX_WATCHED) break;
      this.#until.delete(oldest);
    }
  }

  has(user: string): boolean {
    const until = this.#until.get(user);
    return until !== undefined && until > this.#clock.monotonic();
  }
}
