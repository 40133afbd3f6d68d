import type { Millis } from "@beckon/protocol";

import type { Clock } from "./clock.ts";

/** Timers that end together. */
export interface Timers {
  after(ms: Millis, task: () => void): void;
  clear(): void;
}

export function createTimers(clock: Clock): Timers {
  const running = new Set<() => void>();
  return {
    after(ms, task) {
      const cancel = clock.after(ms, () => {
        running.delete(cancel);
        task();
      });
      running.add(cancel);
    },
    clear() {
      for (const cancel of running) cancel();
      running.clear();
    },
  };
}
