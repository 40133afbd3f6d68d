/** What wakes a device, from the SEND to the push service, and from the device's HELLO to its message: on SQLite, and on PostgreSQL. */
import { loadavg } from "node:os";

import {
  isInstalled,
  startPostgres,
} from "../../packages/server/src/store/test-support/postgres-process.ts";
import type { Latency, WakeResult, WakeTask } from "./load/task.ts";
import type { Cores } from "./processes.ts";
import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { SLEEPERS } from "./load/task.ts";
import { parseOptions, UsageError } from "./options.ts";
import { freePort, runLoad, startServer } from "./processes.ts";
import { cell, conditions, printConditions, printTable, progress, whole } from "./report.ts";
import { spread } from "./statistics.ts";

const DEFAULTS = {
  rate: 2000,
  coalesced: 10,
  payload: 80,
  connects: 1000,
  "connect-rate": 200,
  warmup: 2,
  seconds: 5,
  runs: 3,
};

export type WakeWork = Omit<WakeTask, "scenario" | "target" | "port" | "pid" | "push">;
export type WakeStore = "sqlite" | "postgres";

/** From where to where. */
const SPANS = ["wake", "coalesce", "hello"] as const;
const MEANING: { readonly [S in (typeof SPANS)[number]]: string } = {
  wake: "SEND to wake, each to another device, ms",
  coalesce: "SEND to wake, of several that coalesce, ms",
  hello: "HELLO to held message, ms",
};

type Figures = {
  readonly [S in (typeof SPANS)[number]]: { readonly [F in keyof Latency]: Spread };
};

interface Result extends Figures {
  readonly store: WakeStore;
  /** CPU of the server, µs. */
  readonly micros: { readonly [K in keyof WakeResult["micros"]]: Spread };
  /** What a wake adds to a message that is held. */
  readonly microsOfWake: Spread;
  readonly perSecond: Spread;
  readonly serverShare: Spread;
  readonly loadShare: Spread;
  readonly repeated: number;
}

export async function run(args: readonly string[]): Promise<void> {
  const { json, cores, chosen } = parseOptions(args, DEFAULTS);
  const { rate, coalesced, connects, seconds, runs } = chosen;
  if (Math.min(rate, coalesced, connects, seconds, runs, chosen["connect-rate"]) < 1) {
    throw new UsageError("--warmup may be 0, all others are 1 at least");
  }
  if (connects > rate * (chosen.warmup + seconds)) {
    throw new UsageError("--connects: no more devices than were woken");
  }
  const { "connect-rate": connectRate, runs: _, ...work } = chosen;
  const stores: readonly WakeStore[] = isInstalled ? ["sqlite", "postgres"] : ["sqlite"];
  if (!isInstalled) progress("there is no PostgreSQL: SQLite alone");
  const loads = [loadavg()[0]!];
  const samples = new Map<WakeStore, WakeResult[]>();
  for (let round = 1; round <= runs; round++) {
    for (const store of stores) {
      const result = await measureWake(store, { ...work, connectRate }, cores);
      samples.set(store, [...(samples.get(store) ?? []), result]);
      loads.push(loadavg()[0]!);
      progress(
        `${store}, run ${round} of ${runs}: SEND to wake p99 ${result.wake.p99.toFixed(1)} ms ` +
          `at ${whole(result.perSecond)}/s, HELLO to message p99 ${result.hello.p99.toFixed(1)} ms`,
      );
    }
  }
  const results = [...samples].map(([store, taken]) => resultOf(store, taken));
  const given = conditions("wake", { ...chosen, cores });
  if (json) console.log(JSON.stringify({ ...given, machineLoad: spread(loads), results }));
  else print(given, spread(loads), results);
}

/** One run, on a server that has just been started. */
export async function measureWake(
  store: WakeStore,
  work: WakeWork,
  cores?: Cores,
): Promise<WakeResult> {
  await using database = store === "postgres" ? await ownPostgres() : undefined;
  const push = freePort();
  const sleepers = Math.floor(work.rate * (work.warmup + work.seconds));
  const url = database === undefined ? [] : [database.url];
  await using server = await startServer("wake-server", cores, `${push}`, `${sleepers}`, ...url);
  const { port, pid } = server;
  return await runLoad<WakeTask>(
    { scenario: "wake", target: "beckon", port, pid, push, ...work },
    cores,
  );
}

async function ownPostgres(): Promise<AsyncDisposable & { readonly url: string }> {
  const postgres = await startPostgres();
  return { url: postgres.url, [Symbol.asyncDispose]: () => postgres.remove() };
}

function resultOf(store: WakeStore, samples: readonly WakeResult[]): Result {
  const of = (figure: (sample: WakeResult) => number): Spread => spread(samples.map(figure));
  const latency = (span: (typeof SPANS)[number]): Figures["wake"] => ({
    p50: of((sample) => sample[span].p50),
    p99: of((sample) => sample[span].p99),
    max: of((sample) => sample[span].max),
  });
  return {
    store,
    wake: latency("wake"),
    coalesce: latency("coalesce"),
    hello: latency("hello"),
    micros: {
      hold: of(({ micros }) => micros.hold),
      wake: of(({ micros }) => micros.wake),
      coalesce: of(({ micros }) => micros.coalesce),
    },
    microsOfWake: of(({ micros }) => micros.wake - micros.hold),
    perSecond: of(({ perSecond }) => perSecond),
    serverShare: of(({ serverShare }) => serverShare),
    loadShare: of(({ loadShare }) => loadShare),
    repeated: samples.reduce((sum, { repeated }) => sum + repeated, 0),
  };
}

function print(given: Conditions, load: Spread, results: readonly Result[]): void {
  printConditions(given);
  console.log(`load of the machine, average of a minute: ${cell(load, 1)}\n`);
  printTable(
    ["", "store", "p50", "p99", "max"],
    SPANS.flatMap((span) =>
      results.map((result) => [
        MEANING[span],
        result.store,
        cell(result[span].p50),
        cell(result[span].p99),
        cell(result[span].max),
      ]),
    ),
  );
  console.log("");
  printTable(
    [
      "CPU of the server, µs",
      "held",
      "held and woken for",
      "coalesced",
      "a wake",
      "messages/s",
      "CPU",
      "load",
    ],
    results.map((result) => [
      result.store,
      ...SLEEPERS.map((kind) => cell(result.micros[kind], 0)),
      cell(result.microsOfWake, 0),
      whole(result.perSecond.median),
      percent(result.serverShare),
      percent(result.loadShare),
    ]),
  );
  for (const { store, repeated } of results) {
    if (repeated > 0) console.log(`warning: ${store}: ${repeated} wakes came twice`);
  }
}

const percent = ({ median }: Spread): string => `${(100 * median).toFixed(0)}%`;
