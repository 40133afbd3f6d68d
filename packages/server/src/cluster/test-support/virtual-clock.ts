import type { Clock } from "../../lib/clock.ts";

interface Task {
  readonly time: number;
  readonly run: () => void;
  isCancelled: boolean;
}

/** Time that stands still until it is told to go on. Each task is a turn; what it deferred comes next. */
export class VirtualClock implements Clock {
  /** Tasks by time, then in the order they were set. */
  readonly #tasks: Task[] = [];
  #elapsed = 0;
  readonly #start: number;

  constructor(start = 1_700_000_000_000) {
    this.#start = start;
  }

  now(): number {
    return this.#start + Math.floor(this.#elapsed);
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, run: () => void): () => void {
    const task: Task = { time: this.#elapsed + Math.max(0, ms), run, isCancelled: false };
    let low = 0;
    let high = this.#tasks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tasks[middle]!.time <= task.time) low = middle + 1;
      else high = middle;
    }
    this.#tasks.splice(low, 0, task);
    return () => {
      task.isCancelled = true;
    };
  }

  defer(run: () => void): void {
    this.after(0, run);
  }

  /** Runs all that falls due within `ms`, and the promises that it settles. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settle();
    for (let task = this.#tasks[0]; task !== undefined && task.time <= end; task = this.#tasks[0]) {
      this.#tasks.shift();
      if (task.isCancelled) continue;
      this.#elapsed = task.time;
      task.run();
      await settle();
    }
    this.#elapsed = end;
  }
}

/** Long enough for a chain of a few promises. */
async function settle(): Promise<void> {
  for (let i = 0; i < 16; i++) await Promise.resolve();
}
