/** `npm run sim -- delivery`: runs schedules by seed, and says whether the laws of delivery were kept. */
import { Command, InvalidArgumentError } from "commander";

import { simulate } from "./delivery.ts";
import { describe } from "./history.ts";
import { planOf, scenarioOf, SCENARIOS } from "./scenarios.ts";
import { shrink } from "./shrink.ts";
import { excerpt, type Violation } from "./violation.ts";

interface Options {
  readonly runs: number;
  readonly seed: number;
  readonly scenario?: string;
  readonly json: boolean;
  readonly trace: boolean;
}

/** By what each law's violations are counted. */
const COUNTERS = {
  L1: "lost",
  L2: "duplicated",
  L3: "reordered",
  L4: "late",
  L5: "unpushed",
  L6: "other",
  L7: "other",
  L8: "other",
  L9: "other",
  recovered: "other",
} as const satisfies Record<Violation["law"], string>;

interface Result {
  runs: number;
  readonly seed: number;
  acked: number;
  lost: number;
  duplicated: number;
  reordered: number;
  unpushed: number;
  late: number;
  /** Violations of the other laws. */
  other: number;
  /** Messages handed over with the mark `gap`; `falseGaps`: where nothing was missing for good. Not violations. */
  gaps: number;
  falseGaps: number;
  /** The longest that a held message waited for a device that was online. */
  worstSeconds: number;
  /** Real time. */
  seconds: number;
}

/** Failing seeds that are shown in full; the others are only named. */
const SHOWN = 3;

function delivery(options: Options): number {
  const started = performance.now();
  const result: Result = {
    runs: 0,
    seed: options.seed,
    acked: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    unpushed: 0,
    late: 0,
    other: 0,
    gaps: 0,
    falseGaps: 0,
    worstSeconds: 0,
    seconds: 0,
  };
  const failed: string[] = [];
  for (let seed = options.seed; seed < options.seed + options.runs; seed += 1) {
    const scenario = options.scenario ?? scenarioOf(seed);
    const outcome = simulate(planOf(scenario, seed));
    const { report } = outcome;
    if (options.trace) {
      console.error(`# ${scenario}, seed ${seed}`);
      for (const event of outcome.history) console.error(describe(event));
    }
    result.runs += 1;
    result.acked += report.acked;
    result.gaps += report.gaps;
    result.falseGaps += report.falseGaps;
    result.worstSeconds = Math.max(result.worstSeconds, report.worstSeconds);
    for (const { law } of report.violations) result[COUNTERS[law]] += 1;
    if (report.violations.length > 0) {
      failed.push(`--scenario ${scenario} --seed ${seed}`);
      if (failed.length <= SHOWN) show(scenario, seed, outcome);
    }
    progress(options, result.runs, failed.length);
  }
  result.seconds = Math.round(performance.now() - started) / 1000;
  if (failed.length > SHOWN) console.error(`\nFailed as well: ${failed.slice(SHOWN).join(", ")}`);
  print(options, result);
  return failed.length === 0 ? 0 : 1;
}

function show(scenario: string, seed: number, outcome: ReturnType<typeof simulate>): void {
  const { violations } = outcome.report;
  const { violation, outcome: small } = shrink(outcome);
  const kinds = [...new Set(violations.map(({ law, fault }) => `${law} ${fault}`))].join(", ");
  console.error(`\nSeed ${seed} (${scenario}) breaks ${violations.length}: ${kinds}`);
  console.error(`\n${violation.law} ${violation.fault}: ${violation.says}`);
  console.error(`The shortest history found, of ${small.plan.steps.length} steps:`);
  for (const event of excerpt(small.history, violation)) console.error(describe(event));
  console.error(
    `\nRepeat it:\n  npm run sim -- delivery --runs 1 --seed ${seed} --scenario ${scenario} --trace`,
  );
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
  .option("--json", "print one JSON object", false)
  .option("--trace", "print the whole history of each schedule", false)
  .allowExcessArguments(false)
  .action((options: Options) => {
    process.exitCode = delivery(options);
  });
program.parse();
