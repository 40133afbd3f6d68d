/**
 * Which devices have been idle for too long, by the clock of people: the time of the trace. A device is idle from its last send or
 * receipt on.
 */
export class IdleQueue {
  readonly #idleSeconds: number;
  /** When each was active last; the longest idle is first, because the trace's time never goes back. */
  readonly #active = new Map<number, number>();
  #now = 0;

  constructor(idleSeconds: number) {
    this.#idleSeconds = idleSeconds;
  }

  /** The device has sent or received, or has just been woken. */
  touch(device: number): void {
    this.#active.delete(device);
    this.#active.set(device, this.#now);
  }

  /** The trace has come to this second. `sleep` answers whether the device could; one that is busy is asked again. */
  advance(now: number, sleep: (device: number) => boolean): void {
    this.#now = now;
    for (const [device, since] of this.#active) {
      if (since + this.#idleSeconds >= now) return;
      if (sleep(device)) this.#active.delete(device);
    }
  }
}
