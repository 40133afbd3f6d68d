import { availableParallelism, cpus, release, totalmem } from "node:os";

import type { Spread } from "./statistics.ts";

/** What a figure means nothing without. */
export interface Conditions {
  readonly scenario: string;
  readonly at: string;
  readonly machine: string;
  readonly bun: string;
  /** Of git; "+" after it: the tree has changes that are in no commit. */
  readonly revision: string;
  readonly parameters: object;
}

export function conditions(scenario: string, parameters: object): Conditions {
  const gib = (totalmem() / 2 ** 30).toFixed(0);
  const cpu = cpus()[0]?.model.trim() ?? process.arch;
  return {
    scenario,
    at: new Date().toISOString(),
    machine: `${cpu}, ${availableParallelism()} cores, ${gib} GiB, Linux ${release()}`,
    bun: Bun.version,
    revision: revision(),
    parameters,
  };
}

function revision(): string {
  const git = (...args: string[]): string => {
    const { stdout, success } = Bun.spawnSync(["git", ...args], { cwd: import.meta.dir });
    return success ? stdout.toString().trim() : "";
  };
  const commit = git("rev-parse", "--short=12", "HEAD");
  if (commit === "") return "unknown";
  return git("status", "--porcelain") === "" ? commit : `${commit}+`;
}

/** What goes on, on standard error: the result alone is on standard output. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function printConditions(given: Conditions): void {
  const parameters = Object.entries(given.parameters)
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(" · ");
  console.log(`\n${given.scenario}: ${parameters}`);
  console.log(`${given.machine} · Bun ${given.bun} · ${given.revision} · ${given.at}\n`);
}

/** Rows of cells under their titles: the first column to the left, all others to the right. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  for (const row of [titles, ...rows]) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
    );
    console.log(cells.join("  "));
  }
}

/** A median, and what the runs lie between. */
export function cell({ median, min, max }: Spread, digits = 2): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}

/** A large number, with its thousands apart. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
