/** `npm run sim -- delivery`: runs schedules by seed, and says whether the laws of delivery were kept. `placement`: see there. */
import { availableParallelism } from "node:os";

import { Command, InvalidArgumentError, Option } from "commander";

import { simulate } from "./delivery.ts";
import { describe } from "./history.ts";
import { checkCommand, placementCommand } from "./placement/command.ts";
import type { Plan } from "./plan.ts";
import { enginesOf, planOf, scenarioOf, SCENARIOS } from "./scenarios.ts";
import { addReport, addResult, emptyResult, type Result } from "./result.ts";
import { shrink } from "./shrink.ts";
import { excerpt } from "./violation.ts";

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly scenario?: string;
  readonly bus?: "memory" | "nats";
  readonly store?: "memory" | "postgres";
  readonly json: boolean;
  readonly trace: boolean;
  readonly jobs: number;
}

/** Failing seeds that are shown in full; the others are only named. Of one seed, errors that nobody awaited. */
const SHOWN = 3;
/** Schedules that are worth a process. */
const LEAST_OF_A_JOB = 100;

/** Answers the exit code. */
async function delivery(options: Options): Promise<number> {
  const started = performance.now();
  const jobs = Math.max(1, Math.min(options.jobs, Math.ceil(options.runs / LEAST_OF_A_JOB)));
  const result = emptyResult(options.seed);
  const isClean = jobs > 1 ? await runJobs(options, jobs, result) : await runHere(options, result);
  result.seconds = Math.round(performance.now() - started) / 1000;
  print(options, result);
  return isClean ? 0 : 1;
}

/** What promises were rejected with while nobody awaited them. */
const unheard: unknown[] = [];
process.on("unhandledRejection", (error) => void unheard.push(error));

/** Answers whether all laws were kept. */
async function runHere(options: Options, result: Result): Promise<boolean> {
  const failed: string[] = [];
  for (let seed = options.seed; seed < options.seed + options.runs; seed += 1) {
    const drawn = enginesOf(seed);
    const engines = { bus: options.bus ?? drawn.bus, store: options.store ?? drawn.store };
    const plan = planOf(options.scenario ?? scenarioOf(seed), seed, engines);
    const outcome = simulate(plan);
    if (options.trace) {
      console.error(`# ${argsOf(plan)}`);
      for (const event of outcome.history) console.error(describe(event));
    }
    addReport(result, outcome.report);
    // The runtime tells of these after the turn.
    await Bun.sleep(0);
    const errors = unheard.splice(0);
    result.other += errors.length;
    if (outcome.report.violations.length > 0 || errors.length > 0) {
      failed.push(argsOf(plan));
      if (failed.length <= SHOWN) await show(outcome, errors);
    }
    progress(options, result.runs, failed.length);
  }
  if (failed.length > SHOWN) console.error(`\nFailed as well: ${failed.slice(SHOWN).join(", ")}`);
  return failed.length === 0;
}

/** Each process takes its share of the seeds. */
async function runJobs(options: Options, jobs: number, result: Result): Promise<boolean> {
  const share = Math.ceil(options.runs / jobs);
  const children = Array.from({ length: jobs }, (_, index) => {
    const runs = Math.min(share, options.runs - index * share);
    const args = ["--runs", runs, "--seed", options.seed + index * share, "--json", "--jobs", 1];
    for (const name of ["scenario", "bus", "store"] as const) {
      if (options[name] !== undefined) args.push(`--${name}`, options[name]);
    }
    const command = [process.execPath, import.meta.path, "delivery", ...args.map(String)];
    return Bun.spawn(command, { stdout: "pipe", stderr: "inherit" });
  });
  const codes = await Promise.all(
    children.map(async (child) => {
      const output = await new Response(child.stdout).text();
      const code = await child.exited;
      if (output.trim() === "") {
        console.error(`A process ended without a result: ${child.signalCode ?? `code ${code}`}.`);
        return 1;
      }
      addResult(result, JSON.parse(output) as Result);
      progress(options, result.runs, 0);
      return code;
    }),
  );
  return codes.every((code) => code === 0);
}

function argsOf({ scenario, seed, engines }: Plan): string {
  return `--seed ${seed} --scenario ${scenario} --bus ${engines.bus} --store ${engines.store}`;
}

async function show(
  outcome: ReturnType<typeof simulate>,
  errors: readonly unknown[],
): Promise<void> {
  const { scenario, seed } = outcome.plan;
  const { violations } = outcome.report;
  const kinds = new Set(violations.map(({ law, fault }) => `${law} ${fault}`));
  if (errors.length > 0) kinds.add("L8 threw");
  const count = violations.length + errors.length;
  console.error(`\nSeed ${seed} (${scenario}) breaks ${count}: ${[...kinds].join(", ")}`);
  const texts = errors.map((error) => (error instanceof Error && error.stack) || String(error));
  for (const text of [...new Set(texts)].slice(0, SHOWN)) {
    console.error(`\nL8 threw: a promise was rejected, and nobody awaited it: ${text}`);
  }
  if (violations.length > 0) {
    const { violation, outcome: small } = shrink(outcome);
    console.error(`\n${violation.law} ${violation.fault}: ${violation.says}`);
    console.error(`The shortest history found, of ${small.plan.steps.length} steps:`);
    for (const event of excerpt(small.history, violation)) console.error(describe(event));
    // Smaller plans of the same schedule have said the same.
    await Bun.sleep(0);
    unheard.length = 0;
  }
  console.error(`\nRepeat it:\n  npm run sim -- delivery --runs 1 ${argsOf(outcome.plan)} --trace`);
}

function progress({ runs, json }: Options, done: number, failed: number): void {
  if (!process.stderr.isTTY || json) return;
  process.stderr.write(`\r${done} of ${runs}${failed > 0 ? `, ${failed} failed` : ""} `);
  if (done === runs) process.stderr.write("\r\x1b[K");
}

function print({ json }: Options, result: Result): void {
  if (json) {
    console.log(JSON.stringify(result));
    return;
  }
  for (const [name, value] of Object.entries(result)) console.log(`${name.padEnd(13)} ${value}`);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("Give a whole number.");
  return value;
}

function scenarioName(text: string): string {
  if (SCENARIOS.includes(text)) return text;
  throw new InvalidArgumentError(`Give one of ${SCENARIOS.join(", ")}.`);
}

const program = new Command("sim").description("The production code on a virtual clock.");
program
  .command("delivery")
  .description(
    "Runs servers, SDKs and everything between them under faults, and checks the laws of delivery (L1 to L9).",
  )
  .option("--runs <n>", "how many schedules", wholeNumber, 100)
  .option("--seed <n>", "the first schedule's seed; each next has the next", wholeNumber, 1)
  .option("--scenario <name>", `one of ${SCENARIOS.join(", ")}; default: all in turn`, scenarioName)
  .addOption(
    new Option("--bus <engine>", "as which the bus fails; default: by the seed").choices([
      "memory",
      "nats",
    ]),
  )
  .addOption(
    new Option("--store <engine>", "as which the store fails; default: by the seed").choices([
      "memory",
      "postgres",
    ]),
  )
  .option("--json", "print one JSON object", false)
  .option("--trace", "print the whole history of each schedule", false)
  .option("--jobs <n>", "processes, for many schedules", wholeNumber, availableParallelism())
  .allowExcessArguments(false)
  .action(async (options: Options) => {
    process.exitCode = await delivery(options);
  });
program.addCommand(placementCommand());
program.addCommand(checkCommand());
await program.parseAsync();
