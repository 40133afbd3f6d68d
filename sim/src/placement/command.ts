/** `npm run sim -- placement`, and `check`, which believes nothing of what it says. */
import { Command, InvalidArgumentError, Option } from "commander";

import { Failure } from "../../../packages/cli/src/failure.ts";
import { changed, type ServerChange } from "../../../packages/cli/src/replay/change.ts";
import { community } from "../../../packages/cli/src/replay/community.ts";
import { type Mode, MODES } from "../../../packages/cli/src/replay/people.ts";
import { traceFile } from "../../../packages/cli/src/replay/trace.ts";
import { tableOf } from "../../../packages/cli/src/table.ts";
import { parseDuration } from "../../../packages/server/src/lib/duration.ts";
import {
  type Gain,
  type Prices,
  PRICES,
  ruleOf,
} from "../../../packages/server/src/placement/rule.ts";
import { checkLog } from "../check.ts";
import { openJournal } from "./journal.ts";
import { drawSweep } from "./picture.ts";
import { type PlacementResult, runPlacement } from "./result.ts";
import { POLICIES, type Policy } from "./simulation.ts";
import { sweep, sweepTable } from "./sweep.ts";
import type { Window } from "./timeline.ts";
import { type Messages, readMessages } from "./trace.ts";

interface Options {
  readonly trace: readonly string[];
  readonly users: number;
  readonly messages: number;
  readonly limit?: number;
  readonly skip: number;
  readonly servers: number;
  readonly mode: Mode;
  readonly policy: Policy;
  readonly gain: Gain;
  readonly cap: number;
  readonly prices: Prices;
  readonly perUser: number;
  readonly staleness: number;
  readonly busyCap?: number;
  readonly seed: number;
  readonly change: readonly ServerChange[];
  readonly log?: string;
  readonly sweep: boolean;
  readonly picture: string;
  readonly json: boolean;
}

const SERVERS = 1024;

export function placementCommand(): Command {
  return new Command("placement")
    .description(
      "Replays who wrote to whom on a virtual clock, with the server's own policy: how local it is, how even, at how many moves.",
    )
    .option("--trace <file>", "a .tsv or .tsv.gz file; default: a made-up community", collected, [])
    .option("--users <n>", "of the community", whole(2, 100_000), 1_000)
    .option("--messages <n>", "of the community", whole(1, 1_000_000), 50_000)
    .option("--limit <n>", "the first n messages of the trace alone", whole(1, 1e9))
    .option("--skip <n>", "the first n messages do not count", whole(0, 1e9), 0)
    .option("--servers <n>", "how many servers", whole(1, SERVERS), 16)
    .addOption(
      new Option("--mode <mode>", "how devices are online").choices(MODES).default("always-on"),
    )
    .addOption(
      new Option("--policy <policy>", "what places devices").choices(POLICIES).default("move"),
    )
    .option(
      "--gain <gain>",
      "what a move has to bring: cost, locality, or a number",
      gainOf,
      "cost" as Gain,
    )
    .option(
      "--cap <times>",
      "at so many times the mean a server attracts nobody",
      number(1, 100),
      1.1,
    )
    .option(
      "--prices <hop,redirect,move>",
      "CPU of each, µs; as measured on one machine",
      pricesOf,
      PRICES,
    )
    .option(
      "--busy-cap <times>",
      "at so many times the mean of messages a server attracts nobody; default: no bound",
      number(1, 1e6),
    )
    .option("--per-user <k>", "associates that are kept of a user", whole(1, 4096), 64)
    .option(
      "--staleness <ms>",
      "by how much is old what servers know of each other",
      whole(0, 3_600_000),
      1000,
    )
    .option("--seed <n>", "repeats what is chosen at random", whole(0, 2 ** 32 - 1), 1)
    .option(
      "--change <when:what:server>",
      "such as 30d:kill:s2, 30d:drain:s2, 31d:add:s2; may be said again",
      (text: string, before: readonly ServerChange[]) => changed(text, before, parseDuration),
      [],
    )
    .option("--log <file>", "write every connect, redirect, move, accept and delivery")
    .option(
      "--sweep",
      "all policies and several gains at 4, 16 and 64 servers, as a table and a picture",
      false,
    )
    .option("--picture <file>", "where --sweep draws", "placement.svg")
    .option("--json", "print one JSON object", false)
    .allowExcessArguments(false)
    .action(async (options: Options) => {
      const traces = await tracesOf(options).catch(explained);
      if (traces === undefined) return;
      if (options.sweep) await runSweep(traces, options);
      else for (const messages of traces) runOne(messages, options);
    });
}

export function checkCommand(): Command {
  return new Command("check")
    .description("Recomputes every figure of a placement from its log and the trace alone.")
    .argument("<log>", "what --log wrote")
    .requiredOption("--trace <file>", "the trace that it was of")
    .allowExcessArguments(false)
    .action(async (log: string, { trace }: { readonly trace: string }) => {
      const checked = await checkLog(log, trace);
      console.log(JSON.stringify(checked));
      process.exitCode = checked.problems.length === 0 ? 0 : 1;
    });
}

async function tracesOf(options: Options): Promise<Messages[]> {
  const { trace, users, messages, seed, limit } = options;
  if (trace.length === 0) return [await readMessages(community({ users, messages, seed }))];
  return Promise.all(trace.map((path) => readMessages(traceFile(path, limit))));
}

/** What is wrong with a file is said, and no more. */
function explained(error: unknown): undefined {
  if (!(error instanceof Failure)) throw error;
  console.error([error.message, error.hint].filter((line) => line !== undefined).join("\n  "));
  process.exitCode = error.exitCode;
}

function runOne(messages: Messages, options: Options): void {
  const { servers, gain, cap, prices, skip, log, change } = options;
  for (const { server } of change) {
    if (server >= servers) throw new InvalidArgumentError(`There is no server s${server + 1}.`);
  }
  const journal = log === undefined ? undefined : openJournal(log);
  const { result, counts } = runPlacement(
    {
      messages,
      servers,
      mode: options.mode,
      policy: options.policy,
      rule: ruleOf(gain, cap, prices),
      seed: options.seed,
      staleness: options.staleness,
      perUser: options.perUser,
      changes: change,
      counted: [skip, messages.count],
      ...(options.busyCap === undefined ? {} : { busyCap: options.busyCap }),
      ...(journal === undefined ? {} : { journal }),
    },
    gain,
    prices,
  );
  journal?.close();
  if (options.json) {
    const { windows } = counts;
    console.log(JSON.stringify(windows.length === 0 ? result : { ...result, windows }));
    return;
  }
  print(messages, result);
  if (counts.windows.length > 0) console.log(`\n${windowTable(counts.windows).join("\n")}`);
}

function print({ name, users }: Messages, result: PlacementResult): void {
  console.log(`${name}: ${users.length} users`);
  for (const [key, value] of Object.entries(result)) console.log(`${key.padEnd(13)} ${value}`);
}

/** After each change of the servers: where devices connected, in per cent, and what became of hints. */
function windowTable(windows: readonly Window[]): string[] {
  const servers = windows[0]!.connects.map((_, i) => `s${i + 1}`);
  const rows = windows.map(({ from, connects, hints, refused }) => {
    const sum = connects.reduce((a, b) => a + b, 0);
    const shares = connects.map((n) => (sum === 0 ? "" : ((100 * n) / sum).toFixed(0)));
    return [`${from} min`, `${sum}`, ...shares, `${hints}`, `${refused}`];
  });
  const head = ["after", "connects", ...servers, "hints", "refused"];
  return tableOf(
    [head, ...rows],
    head.map((_, i) => i),
  );
}

async function runSweep(traces: readonly Messages[], options: Options): Promise<void> {
  const results = sweep(traces, options, (done) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${done} \x1b[K`);
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  await Bun.write(options.picture, drawSweep(results));
  console.log(options.json ? JSON.stringify(results) : sweepTable(results).join("\n"));
  if (!options.json) console.log(`\n${options.picture}`);
}

function collected(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

function gainOf(text: string): Gain {
  return text === "cost" || text === "locality" ? text : number(0, 1e6)(text);
}

function pricesOf(text: string): Prices {
  const [hop, redirect, move, ...more] = text.split(",").map(number(0.001, 1e9));
  if (move === undefined || more.length > 0) {
    throw new InvalidArgumentError("Write it as 40,60,250.");
  }
  return { hop: hop!, redirect: redirect!, move };
}

function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = number(low, high)(text);
    if (!Number.isInteger(value)) throw new InvalidArgumentError("Give a whole number.");
    return value;
  };
}

function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high) return value;
    throw new InvalidArgumentError(`Give a number from ${low} to ${high}.`);
  };
}
