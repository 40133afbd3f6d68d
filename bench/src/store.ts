/** The stores: what a durable hold costs, in SQLite and in a PostgreSQL of its own on this machine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { uuidv7 } from "@beckon/protocol";

import { openPostgres } from "../../packages/server/src/store/postgres.ts";
import { openSqlite } from "../../packages/server/src/store/sqlite.ts";
import type { HoldRequest, Store } from "../../packages/server/src/store/store.ts";
import { startPostgres } from "../../packages/server/src/store/test-support/postgres-process.ts";
import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { parseOptions, UsageError } from "./options.ts";
import { cell, conditions, printConditions, printTable, progress, whole } from "./report.ts";
import { spread } from "./statistics.ts";

const DEFAULTS = {
  writers: [1, 64, 1000] as readonly number[],
  users: 20_000,
  payload: 200,
  seconds: 3,
  runs: 3,
};

interface Sample {
  readonly holdsPerSecond: number;
  /** µs of this process, threads included, for a message that is held and settled. */
  readonly cpuMicros: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
}

type Result = { readonly store: string; readonly writers: number } & {
  readonly [Figure in keyof Sample]: Spread;
};

interface Opened {
  readonly store: Store;
  close(): Promise<void>;
}

const STORES: Readonly<Record<string, () => Promise<Opened>>> = {
  sqlite: async () => {
    const folder = mkdtempSync(join(tmpdir(), "beckon-bench-"));
    const store = await openSqlite(join(folder, "beckon.db"));
    return {
      store,
      close: async () => {
        await store.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
  postgres: async () => {
    const postgres = await startPostgres();
    const store = await openPostgres(postgres.url);
    return {
      store,
      close: async () => {
        await store.close();
        await postgres.remove();
      },
    };
  },
};

export async function run(args: readonly string[]): Promise<void> {
  const { json, chosen } = parseOptions(args, DEFAULTS);
  if (Math.min(chosen.users, chosen.seconds, chosen.runs, ...chosen.writers) < 1) {
    throw new UsageError("--writers, --users, --seconds and --runs are 1 at least");
  }
  const results: Result[] = [];
  for (const writers of chosen.writers) {
    const samples = new Map<string, Sample[]>();
    for (let round = 1; round <= chosen.runs; round++) {
      for (const [name, open] of Object.entries(STORES)) {
        const sample = await measure(open, writers, chosen);
        samples.set(name, [...(samples.get(name) ?? []), sample]);
        progress(
          `${name}, ${writers} writers, run ${round} of ${chosen.runs}: ${whole(sample.holdsPerSecond)}/s`,
        );
      }
    }
    for (const [store, taken] of samples) results.push(resultOf(store, writers, taken));
  }
  const given = conditions("store", chosen);
  if (json) console.log(JSON.stringify({ ...given, results }));
  else print(given, results);
}

function resultOf(store: string, writers: number, samples: readonly Sample[]): Result {
  const of = (figure: keyof Sample): Spread => spread(samples.map((sample) => sample[figure]));
  return {
    store,
    writers,
    holdsPerSecond: of("holdsPerSecond"),
    cpuMicros: of("cpuMicros"),
    p50Millis: of("p50Millis"),
    p99Millis: of("p99Millis"),
  };
}

async function measure(
  open: () => Promise<Opened>,
  writers: number,
  { users, payload, seconds }: typeof DEFAULTS,
): Promise<Sample> {
  const opened = await open();
  const { store } = opened;
  try {
    await Promise.all(Array.from({ length: users }, (_, user) => arrive(store, `user-${user}`)));
    const body = crypto.getRandomValues(new Uint8Array(payload));
    const state = { isOver: false };
    const latencies: number[] = [];
    const write = async (): Promise<void> => {
      for (let n = 1; !state.isOver; n++) {
        const user = `user-${Math.floor(Math.random() * users)}`;
        const start = performance.now();
        const [result] = await store.messages.hold([requestTo(user, n, body)]);
        if (result?.outcome !== "held") throw new Error(`not held: ${result?.outcome}`);
        latencies.push(performance.now() - start);
        await store.messages.settle(result.rows.map(({ row }) => row));
      }
    };
    const cpu = process.cpuUsage();
    const start = performance.now();
    const writing = Array.from({ length: writers }, write);
    await Bun.sleep(seconds * 1000);
    state.isOver = true;
    await Promise.all(writing);
    const took = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const sorted = latencies.toSorted((a, b) => a - b);
    return {
      holdsPerSecond: latencies.length / took,
      cpuMicros: (user + system) / latencies.length,
      p50Millis: sorted[Math.floor(sorted.length * 0.5)]!,
      p99Millis: sorted[Math.floor(sorted.length * 0.99)]!,
    };
  } finally {
    await opened.close();
  }
}

async function arrive(store: Store, user: string): Promise<void> {
  await store.devices.arrive({
    user,
    device: "phone",
    durable: true,
    protocols: ["ws"],
    lastEpoch: 0,
    epoch: 1,
  });
}

function requestTo(user: string, n: number, body: Uint8Array): HoldRequest {
  return {
    key: {
      from: "sender",
      fromDevice: "phone",
      id: uuidv7(Date.now(), (bytes) => crypto.getRandomValues(bytes)),
    },
    user,
    outbox: 1,
    to: user,
    n,
    body,
    digest: "0123456789abcdef",
    exclude: [],
    sent: [],
    ends: new Uint8Array(),
    orUser: true,
    wake: {
      class: "message",
      server: "s1",
      conversation: "sender",
      preview: "",
      delay: 0,
      rings: 0,
    },
  };
}

function print(given: Conditions, results: readonly Result[]): void {
  printConditions(given);
  printTable(
    ["store", "writers", "holds/s", "CPU µs", "p50 ms", "p99 ms"],
    results.map((row) => [
      row.store,
      String(row.writers),
      `${whole(row.holdsPerSecond.median)} (${whole(row.holdsPerSecond.min)}–${whole(row.holdsPerSecond.max)})`,
      cell(row.cpuMicros, 1),
      cell(row.p50Millis),
      cell(row.p99Millis),
    ]),
  );
}
