import type { Pair } from "./pair.ts";
import type { RelayResult, RelayTask } from "./task.ts";

import { cpuMicros } from "../proc.ts";
import { connectBeckonPair } from "./beckon.ts";
import { connectFloorPair } from "./floor.ts";
import { Tally } from "./pair.ts";
import { inParallel } from "./parallel.ts";

/** How long the last messages may take when the load has stopped, ms. */
const LAST_MESSAGES = 10_000;

export async function relayLoad(task: RelayTask): Promise<RelayResult> {
  const tally = new Tally();
  const payload = new Uint8Array(task.payload).fill(0x61);
  const connect = task.target === "floor" ? connectFloorPair : connectBeckonPair;
  const pairs: Pair[] = await inParallel(task.pairs, (index) =>
    connect(task.ports, index, task.window, payload, tally),
  );

  for (const pair of pairs) pair.fill();
  await Bun.sleep(task.warmup * 1000);
  tally.forgetLatencies();
  const start = reading(task.pids, tally);
  await Bun.sleep(task.seconds * 1000);
  const end = reading(task.pids, tally);
  const [p50, p99] = [tally.percentile(0.5), tally.percentile(0.99)];

  for (const pair of pairs) pair.stop();
  await lastMessages(pairs, tally);

  const messages = end.acknowledged - start.acknowledged;
  const elapsed = end.at - start.at;
  const server = end.server - start.server;
  const load = end.load - start.load;
  return {
    serverMicros: server / messages,
    loadMicros: load / messages,
    serverShare: server / elapsed,
    loadShare: load / elapsed,
    perSecond: (messages * 1e6) / elapsed,
    p50,
    p99,
    messages: tally.acknowledged,
    held: tally.held,
    repeated: tally.delivered - tally.sent,
  };
}

/** Counts and times, the latter in microseconds. */
interface Reading {
  readonly at: number;
  readonly server: number;
  readonly load: number;
  readonly acknowledged: number;
}

function reading(servers: readonly number[], tally: Tally): Reading {
  return {
    at: performance.now() * 1000,
    server: servers.reduce((sum, pid) => sum + cpuMicros(pid), 0),
    load: cpuMicros(process.pid),
    acknowledged: tally.acknowledged,
  };
}

/** Waits for what is under way: where a message is lost the figures are worthless. */
async function lastMessages(pairs: readonly Pair[], tally: Tally): Promise<void> {
  const deadline = performance.now() + LAST_MESSAGES;
  const isUnderWay = (): boolean =>
    tally.delivered < tally.sent || pairs.some((pair) => pair.underWay > 0);
  while (isUnderWay() && performance.now() < deadline) {
    await Bun.sleep(10);
  }
  const { sent, delivered, acknowledged } = tally;
  if (sent > delivered || sent !== acknowledged) {
    throw new Error(`${sent} sent, ${delivered} delivered, ${acknowledged} acknowledged`);
  }
}
