import type { Clock } from "./clock.ts";

/** Milliseconds between two ticks. */
const TICK_MS = 50;
/** A tick that comes later than this follows a stall: the server was not reading. */
const STALL_MS = TICK_MS + 100;

/**
 * Time in which this server was reading (L6): it advances with the clock, but not over a stall, after which sockets and bus are
 * read before the next tick. So a stall expires nobody's deadline. It ticks only while somebody waits for it, and is as coarse
 * as a tick.
 */
export class Attention {
  readonly #clock: Clock;
  readonly #onTick: () => boolean;
  #last = 0;
  #ticking = false;
  /** Milliseconds. */
  now = 0;

  /** `onTick` runs every {@link TICK_MS} while it answers true. */
  constructor(clock: Clock, onTick: () => boolean) {
    this.#clock = clock;
    this.#onTick = onTick;
  }

  /** Ticks from now on, until `onTick` answers false. */
  wake(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    this.#last = this.#clock.monotonic();
    this.#clock.after(TICK_MS, this.#tick);
  }

  readonly #tick = (): void => {
    const now = this.#clock.monotonic();
    const passed = now - this.#last;
    this.#last = now;
    if (passed <= STALL_MS) {
      this.now += passed;
      this.#ticking = this.#onTick();
    }
    if (this.#ticking) this.#clock.after(TICK_MS, this.#tick);
  };
}
