import { drainMicrotasks } from "bun:jsc";

import type { Clock } from "../../packages/server/src/lib/clock.ts";
import { EventHeap, type Scheduled } from "./event-heap.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";

/** Milliseconds since 1970 at which every run starts. */
export const EPOCH = 1_750_000_000_000;

/**
 * Virtual time. One event runs at a time, then all microtasks that it left; so a run is one
 * synchronous call, and the same seed makes the same run.
 */
export class Scheduler {
  /** Milliseconds since the start of the run. */
  now = 0;
  /** How many events have run. */
  events = 0;
  /** Code of a process has thrown where nobody catches. */
  onThrow: (process: Process, error: unknown) => void = (_, error) => {
    throw error;
  };
  readonly random: Random;
  readonly #heap = new EventHeap();

  constructor(random: Random) {
    this.random = random;
  }

  /** Runs `run` at `time`, outside of every process: the world itself. */
  at(time: number, run: () => void): () => void {
    return this.schedule(time, "input", undefined, run);
  }

  schedule(
    time: number,
    kind: Scheduled["kind"],
    process: Process | undefined,
    run: () => void,
  ): () => void {
    const event: Scheduled = {
      time: Math.max(time, this.now),
      kind,
      process,
      run,
      order: 0,
      cancelled: false,
    };
    this.#heap.push(event);
    return () => {
      event.cancelled = true;
    };
  }

  /** Runs until `time`, or until `isDone` holds after an event; time stands where it ended. */
  run(time: number, isDone: () => boolean = () => false): void {
    drainMicrotasks();
    while (!isDone()) {
      const event = this.#heap.peek();
      if (event === undefined || event.time > time) {
        this.now = time;
        return;
      }
      this.#heap.pop();
      if (event.cancelled) continue;
      this.now = event.time;
      if (event.process === undefined) this.execute(event);
      else event.process.take(event);
    }
  }

  execute(event: Scheduled): void {
    if (event.cancelled) return;
    this.events += 1;
    try {
      event.run();
      drainMicrotasks();
    } catch (error) {
      if (event.process === undefined) throw error;
      this.onThrow(event.process, error);
    }
  }
}

export interface ProcessOptions {
  readonly name: string;
  /** How far this process's wall clock is ahead of the world's, ms. */
  readonly skew?: number;
}

/** A process of an operating system: it can be stopped for a while, and killed. */
export class Process {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly clock: Clock;
  /** How far the wall clock is ahead of the world's, ms. It may jump. */
  skew: number;
  #isAlive = true;
  #isStalled = false;
  /** What came due while the process was stopped. */
  #backlog: Scheduled[] = [];

  constructor(scheduler: Scheduler, { name, skew = 0 }: ProcessOptions) {
    this.name = name;
    this.scheduler = scheduler;
    this.skew = skew;
    this.random = scheduler.random.fork(`process ${name}`);
    const started = this.random.int(0, 1_000_000);
    this.clock = {
      now: () => Math.floor(EPOCH + scheduler.now + this.skew),
      monotonic: () => scheduler.now + started,
      // A timer of a JavaScript runtime takes a millisecond at least.
      after: (ms, task) => scheduler.schedule(scheduler.now + Math.max(1, ms), "timer", this, task),
      defer: (task) => {
        scheduler.schedule(scheduler.now, "deferred", this, task);
      },
    };
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  /** Whether it runs now. */
  get isRunning(): boolean {
    return this.#isAlive && !this.#isStalled;
  }

  /** Something reaches the process from outside `delay` ms from now. */
  input(delay: number, run: () => void): void {
    this.scheduler.schedule(this.scheduler.now + delay, "input", this, run);
  }

  /** Stops it, as SIGSTOP does; `resume` lets it go on. */
  stall(): void {
    this.#isStalled = true;
  }

  /**
   * All that came due meanwhile happens in one turn: timers and input each in their order, which of
   * both comes first by chance, and last what was deferred, as in a real event loop.
   */
  resume(): void {
    if (!this.#isStalled || !this.#isAlive) return;
    this.#isStalled = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    const inputFirst = this.random.chance(0.5);
    const rank = { input: inputFirst ? 0 : 1, timer: inputFirst ? 1 : 0, deferred: 2 };
    backlog.sort((a, b) => rank[a.kind] - rank[b.kind] || a.time - b.time || a.order - b.order);
    for (const event of backlog) {
      if (!this.#isAlive) return;
      // Deferring runs after the input of this turn: it goes through the queue once more.
      if (event.kind === "deferred") this.clock.defer(event.run);
      else this.scheduler.execute(event);
    }
  }

  /** Nothing of it ever runs again. */
  kill(): void {
    this.#isAlive = false;
    this.#backlog = [];
  }

  /** Called by the scheduler when an event of this process is due. */
  take(event: Scheduled): void {
    if (!this.#isAlive) return;
    if (this.#isStalled) this.#backlog.push(event);
    else this.scheduler.execute(event);
  }
}
