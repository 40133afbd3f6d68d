/** A server of the scenario `join`, as far as its session table goes: an owner of sessions, or the one that joins. */
import { createNatsBus } from "../../packages/server/src/cluster/nats-bus.ts";
import { systemClock } from "../../packages/server/src/lib/clock.ts";
import { createReplicator } from "../../packages/server/src/sessions/replicator.ts";
import type { SessionTable } from "../../packages/server/src/sessions/table.ts";

import { record } from "./sessions.ts";

export interface JoinRole {
  /** Of NATS. */
  readonly port: number;
  readonly name: string;
  /** In the whole system. */
  readonly sessions: number;
  /** Of these, the first that is its own, and how many are. */
  readonly first: number;
  readonly own: number;
}

export interface Joined {
  /** From the first step to when it has every session. */
  readonly completeSeconds: number;
  /** And to when it also trusts its table. */
  readonly trustedSeconds: number;
  /** The longest that something which was due waited for its turn. */
  readonly stallMillis: number;
}

/** So many are opened in a turn, and told before the next. */
const OPENED = 2000;
const LOOK_MS = 2;

async function main({ port, name, sessions, first, own }: JoinRole): Promise<Joined> {
  process.stdin.on("end", () => process.exit());
  process.stdin.resume();
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const clock = systemClock;
  const bus = createNatsBus({
    servers: [`nats://127.0.0.1:${port}`],
    name,
    cluster: "bench",
    clock,
  });
  const replicator = createReplicator({
    server: name,
    clock,
    bus,
    addresses: [],
    // No set has changed.
    refreshSets: () => Promise.resolve([]),
    readDevices: () => Promise.resolve({ setVersion: 0, devices: [] }),
  });
  const { table } = replicator;
  let known = 0;
  let completeSeconds = 0;
  table.onChange(({ kind }) => {
    if (kind === "appeared" && ++known === sessions) completeSeconds = seconds();
    if (kind === "gone") known--;
  });
  replicator.start();
  await openAll(table, first, own);
  const stallMillis = await until(() => known === sessions && table.trusted);
  return { completeSeconds, trustedSeconds: seconds(), stallMillis };
}

async function openAll(table: SessionTable, first: number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    table.open(record(first + i));
    if (i % OPENED === OPENED - 1) await Bun.sleep(LOOK_MS);
  }
}

/** Answers the longest wait for a turn. */
async function until(holds: () => boolean): Promise<number> {
  let longest = 0;
  while (!holds()) {
    const due = performance.now() + LOOK_MS;
    await Bun.sleep(LOOK_MS);
    longest = Math.max(longest, performance.now() - due);
  }
  return longest;
}

console.log(JSON.stringify(await main(JSON.parse(process.argv[2]!) as JoinRole)));
