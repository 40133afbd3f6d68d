import type { Millis } from "@beckon/protocol";

/** Failures one after the other that open it. */
const FAILURES = 5;
const FIRST_REST: Millis = 10_000;
const LONGEST_REST: Millis = 300_000;

/**
 * Keeps a service that is away from being asked again and again (circuit breaker). After {@link FAILURES} failures in a row nobody
 * is let through for a while; then one is, whose success closes it, and whose failure doubles the while. Times are monotonic.
 */
export class Breaker {
  #failures = 0;
  #rest: Millis = FIRST_REST;
  #until: Millis = 0;
  #trying = false;

  /** How long to wait, whole ms; 0: go ahead, and say what became of it by `succeeded` or `failed`. */
  admit(now: Millis): Millis {
    if (this.#failures < FAILURES) return 0;
    // A store that keeps times as integers takes no part of one.
    if (now < this.#until) return Math.ceil(this.#until - now);
    if (this.#trying) return FIRST_REST;
    this.#trying = true;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#rest = FIRST_REST;
    this.#trying = false;
  }

  failed(now: Millis): void {
    this.#failures++;
    if (this.#failures < FAILURES) return;
    // Others that were under way when it opened say nothing new.
    if (!this.#trying && this.#failures > FAILURES) return;
    this.#until = now + this.#rest;
    this.#rest = Math.min(LONGEST_REST, this.#rest * 2);
    this.#trying = false;
  }
}
