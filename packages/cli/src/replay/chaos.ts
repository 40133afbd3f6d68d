import { once } from "node:events";

import type { Cluster } from "./cluster.ts";
import { seeded } from "./random.ts";

export interface Chaos {
  readonly kills: number;
  /** Afterwards every server is up. */
  stop(): Promise<void>;
}

/** For how long a killed server stays away. */
const DOWN_MS = 1_000;

/** Every so many seconds one server, chosen by the seed, is killed and started again; 0 seconds: never. */
export function startChaos(cluster: Cluster, seconds: number, seed: number): Chaos {
  const random = seeded(seed).fork("chaos");
  const stopping = new AbortController();
  const { signal } = stopping;
  let kills = 0;

  async function run(): Promise<void> {
    for (;;) {
      await Promise.race([Bun.sleep(seconds * 1_000 - downMs), once(signal, "abort")]);
      if (signal.aborted) return;
      const victim = random.below(cluster.names.length);
      kills++;
      await cluster.kill(victim);
      await Bun.sleep(downMs);
      await cluster.restart(victim);
    }
  }

  const downMs = Math.min(DOWN_MS, (seconds * 1_000) / 2);
  const running = seconds === 0 ? Promise.resolve() : run();
  return {
    get kills() {
      return kills;
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
