import type { Happening, HistoryEvent } from "./history.ts";
import type { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

/** What everything in a run shares: time, chance, and the record of what happens. */
export class World {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly history: HistoryEvent[] = [];

  constructor(random: Random) {
    this.random = random;
    this.scheduler = new Scheduler(random.fork("scheduler"));
    this.scheduler.onThrow = ({ name }, error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.record({ kind: "threw", process: name, error: text });
    };
  }

  get now(): number {
    return this.scheduler.now;
  }

  record(happening: Happening): void {
    this.history.push({ at: this.scheduler.now, ...happening });
  }

  after(ms: number, run: () => void): () => void {
    return this.scheduler.at(this.scheduler.now + ms, run);
  }
}
