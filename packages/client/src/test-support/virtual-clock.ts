import { drainMicrotasks } from "bun:jsc";

import type { Clock } from "../clock.ts";

/** No timer is for longer: runtimes have a bound too. */
const DAY_MS = 86_400_000;

interface Timer {
  at: number;
  readonly order: number;
  readonly task: () => void;
}

/** Time that stands still until it is told to run; each task is followed by all that it leaves to do in its turn. */
export class VirtualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Timer>();
  #deferred: (() => void)[] = [];

  constructor(now = 1_750_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, task: () => void): () => void {
    if (!(ms <= DAY_MS)) throw new RangeError(`a timer of ${ms} ms`);
    const timer = { at: this.#now + Math.max(0, ms), order: this.#order++, task };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  defer(task: () => void): void {
    this.#deferred.push(task);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Everything that happens in this moment. */
  settle(): void {
    drainMicrotasks();
    while (this.#deferred.length > 0) {
      const tasks = this.#deferred;
      this.#deferred = [];
      for (const task of tasks) {
        task();
        drainMicrotasks();
      }
    }
  }

  run(ms: number): void {
    const end = this.#now + ms;
    this.settle();
    for (;;) {
      const timer = this.#next();
      if (timer === undefined || timer.at > end) break;
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.at);
      timer.task();
      this.settle();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Runs until `done` holds, a minute at most. */
  until(done: () => boolean, ms = 60_000): void {
    const end = this.#now + ms;
    this.settle();
    while (!done()) {
      const timer = this.#next();
      if (timer === undefined || timer.at > end) throw new Error("it did not come to pass");
      this.run(Math.max(0, timer.at - this.#now));
    }
  }

  /** The wall clock goes on while nothing runs: the machine sleeps. Timers wait out what was left of them. */
  sleep(ms: number): void {
    for (const timer of this.#timers) timer.at += ms;
    this.#now += ms;
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        next === undefined ||
        timer.at < next.at ||
        (timer.at === next.at && timer.order < next.order)
      ) {
        next = timer;
      }
    }
    return next;
  }
}
