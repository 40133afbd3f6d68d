/** A server that is new learns the sessions of the others, over a real NATS: all in processes of their own. */
import { startNats } from "../../packages/server/src/cluster/test-support/nats.ts";
import type { JoinRole, Joined } from "./join-server.ts";
import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { parseOptions, UsageError } from "./options.ts";
import { cpuMicros } from "./proc.ts";
import { command, firstLine } from "./processes.ts";
import { cell, conditions, printConditions, printTable, progress, whole } from "./report.ts";
import { spread } from "./statistics.ts";

const DEFAULTS = { sessions: [100_000, 1_000_000] as readonly number[], owners: 2, runs: 3 };

interface Sample extends Joined {
  /** CPU of the newcomer, and of all owners together, till then. */
  readonly newcomerSeconds: number;
  readonly ownersSeconds: number;
}

type Result = { readonly sessions: number } & { readonly [F in keyof Sample]: Spread };

export async function run(args: readonly string[]): Promise<void> {
  const { json, chosen } = parseOptions(args, DEFAULTS);
  if (Math.min(chosen.owners, chosen.runs, ...chosen.sessions) < 1) {
    throw new UsageError("--sessions, --owners and --runs are 1 at least");
  }
  const results: Result[] = [];
  for (const sessions of chosen.sessions) {
    const samples: Sample[] = [];
    for (let round = 1; round <= chosen.runs; round++) {
      const sample = await measureJoin({ sessions, owners: chosen.owners });
      samples.push(sample);
      progress(
        `${whole(sessions)} sessions, run ${round} of ${chosen.runs}: complete after ` +
          `${sample.completeSeconds.toFixed(2)} s, trusted after ${sample.trustedSeconds.toFixed(2)} s`,
      );
    }
    const of = (figure: keyof Sample): Spread => spread(samples.map((sample) => sample[figure]));
    results.push({
      sessions,
      completeSeconds: of("completeSeconds"),
      trustedSeconds: of("trustedSeconds"),
      newcomerSeconds: of("newcomerSeconds"),
      ownersSeconds: of("ownersSeconds"),
      stallMillis: of("stallMillis"),
    });
  }
  const given = conditions("join", chosen);
  if (json) console.log(JSON.stringify({ ...given, results }));
  else print(given, results);
}

/** Owners that have all sessions between them, and each other's in their tables; then one server more. */
export async function measureJoin(work: { sessions: number; owners: number }): Promise<Sample> {
  const { sessions, owners } = work;
  const nats = await startNats();
  const children: Child[] = [];
  const start = (name: string, first: number, own: number): Child => {
    const child = startChild({ port: nats.port, name, sessions, first, own });
    children.push(child);
    return child;
  };
  try {
    const share = Math.ceil(sessions / owners);
    for (let first = 0; first < sessions; first += share) {
      start(`owner-${first}`, first, Math.min(share, sessions - first));
    }
    await Promise.all(children.map(answer));
    const before = children.map(cpuSeconds);
    const newcomer = start("newcomer", 0, 0);
    const joined = JSON.parse(await answer(newcomer)) as Joined;
    const ownersSeconds = before.reduce((sum, cpu, i) => sum + cpuSeconds(children[i]!) - cpu, 0);
    return { ...joined, newcomerSeconds: cpuSeconds(newcomer), ownersSeconds };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => child.exited));
    await nats.stop();
  }
}

type Child = Bun.Subprocess<"pipe", "pipe", "inherit">;

function startChild(role: JoinRole): Child {
  return Bun.spawn(command(undefined, "./join-server.ts", JSON.stringify(role)), {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
}

async function answer(child: Child): Promise<string> {
  const line = await firstLine(child.stdout);
  if (line === undefined) throw new Error("a server has ended");
  return line;
}

function cpuSeconds(child: Child): number {
  return cpuMicros(child.pid) / 1e6;
}

function print(given: Conditions, results: readonly Result[]): void {
  printConditions(given);
  printTable(
    ["sessions", "s, complete", "s, trusted", "CPU s", "of the owners", "ms, longest turn"],
    results.map((result) => [
      whole(result.sessions),
      cell(result.completeSeconds),
      cell(result.trustedSeconds),
      cell(result.newcomerSeconds),
      cell(result.ownersSeconds),
      cell(result.stallMillis, 0),
    ]),
  );
}
