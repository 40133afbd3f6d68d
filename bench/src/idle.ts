import type { Entry, IdleResult, IdleTask } from "./load/task.ts";
import type { Cores, Target } from "./processes.ts";
import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { ENTRIES } from "./load/task.ts";
import { parseOptions } from "./options.ts";
import { runLoad, startServer } from "./processes.ts";
import { cell, conditions, printConditions, printTable, progress } from "./report.ts";
import { ratios, spread } from "./statistics.ts";

const DEFAULTS = { connections: 15_000, runs: 3 };

interface Compared {
  readonly floor: Spread;
  readonly ours: Spread;
  readonly ratio: Spread;
}

interface Comparison {
  /** Resident memory of a connection, bytes. */
  readonly bytes: Compared;
  /** CPU of a connect, microseconds. */
  readonly connectMicros: { readonly [E in Entry]: Compared };
}

const MEANING: { readonly [E in Entry]: string } = {
  first: "CPU of a first connect, with a token, µs",
  token: "CPU of a reconnect with a token, µs",
  ticket: "CPU of a reconnect with a ticket, µs",
};

/** What a connection costs that does nothing, and what it costs to connect: our server beside the floor. */
export async function run(args: readonly string[]): Promise<void> {
  const { json, cores, ours, chosen } = parseOptions(args, DEFAULTS);
  const results: Record<"floor" | "ours", IdleResult[]> = { floor: [], ours: [] };
  for (let run = 1; run <= chosen.runs; run++) {
    for (const role of ["floor", "ours"] as const) {
      const target = role === "floor" ? "floor" : ours;
      const result = await measureIdle(target, chosen.connections, cores);
      results[role].push(result);
      const micros = ENTRIES.map((entry) => result.connectMicros[entry].toFixed(0)).join(" / ");
      progress(
        `run ${run} of ${chosen.runs}, ${role}: ${result.bytes.toFixed(0)} bytes a connection, ` +
          `${micros} µs a connect (${ENTRIES.join(" / ")})`,
      );
    }
  }
  const given = conditions("idle", { ...chosen, ours, cores });
  const comparison = compare(results.floor, results.ours);
  if (json) console.log(JSON.stringify({ ...given, ...comparison }));
  else print(given, comparison);
}

/** One run, on a server that has just been started. */
export async function measureIdle(
  target: Target,
  connections: number,
  cores?: Cores,
): Promise<IdleResult> {
  await using server = await startServer(target, cores);
  const { port, pid } = server;
  return await runLoad<IdleTask>({ scenario: "idle", target, port, pid, connections }, cores);
}

function compare(floor: readonly IdleResult[], ours: readonly IdleResult[]): Comparison {
  const by = (figure: (result: IdleResult) => number): Compared => {
    const [floors, own] = [floor.map(figure), ours.map(figure)];
    return { floor: spread(floors), ours: spread(own), ratio: ratios(own, floors) };
  };
  return {
    bytes: by(({ bytes }) => bytes),
    connectMicros: {
      first: by(({ connectMicros }) => connectMicros.first),
      token: by(({ connectMicros }) => connectMicros.token),
      ticket: by(({ connectMicros }) => connectMicros.ticket),
    },
  };
}

function print(given: Conditions, { bytes, connectMicros }: Comparison): void {
  printConditions(given);
  const row = (title: string, of: Compared, digits: number): string[] => [
    title,
    cell(of.floor, digits),
    cell(of.ours, digits),
    cell(of.ratio),
  ];
  printTable(
    ["", "floor", "ours", "ratio"],
    [
      row("memory of a connection, bytes", bytes, 0),
      ...ENTRIES.map((entry) => row(MEANING[entry], connectMicros[entry], 1)),
    ],
  );
}
