/**
 * Settings from a TOML file and the environment, checked by one schema. Every key of the schema is a variable, too; the variable
 * wins. Every problem names its key, and where it was said: the line, or the variable.
 */
import { parse, TomlError } from "smol-toml";
import type * as z from "zod";

import { applyEnvironment, type Environment, leavesOf, type Table } from "./environment.ts";
import { type ConfigFile, locate } from "./locate.ts";
import { ConfigError, type Problem } from "./problem.ts";
import { explain, wording } from "./wording.ts";

export interface Sources extends Environment {
  /** TOML. */
  readonly file?: ConfigFile;
}

export interface Settings<T> {
  readonly value: T;
  /** A problem that shows later, told as one of the schema's. */
  problem(key: string, message: string): Problem;
  /** Whether the key's value comes from the file, so that what it says of paths is relative to that. */
  isFromFile(key: string): boolean;
}

/** Characters; to find a line takes time with the square of them. */
const LONGEST_FILE = 200_000;

/** @throws {ConfigError} with all problems that could be found. */
export function readSettings<S extends z.ZodType>(
  schema: S,
  sources: Sources,
): Settings<z.output<S>> {
  const leaves = leavesOf(schema);
  const raw = parseFile(sources);
  const variables = new Map<string, string>();
  const problems = applyEnvironment(raw, leaves, sources, variables);
  const tell = (found: readonly Omit<Problem, "where">[]): Problem[] => {
    const keys = found.map(({ key }) => key);
    const places = locate(keys, variables, sources.file);
    return found.map((problem) => ({ ...problem, where: places.get(problem.key) }));
  };

  const parsed = schema.safeParse(raw, { error: wording });
  if (!parsed.success) {
    const issues = parsed.error.issues.flatMap((issue) => explain(issue, leaves));
    throw new ConfigError([...problems, ...tell(issues)]);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    value: parsed.data,
    problem: (key, message) => tell([{ key, message }])[0]!,
    isFromFile: (key) => !variables.has(key) && sources.file !== undefined,
  };
}

function parseFile({ file }: Sources): Table {
  if (file === undefined) return {};
  if (file.text.length > LONGEST_FILE) {
    throw new ConfigError([{ key: "", where: file.path, message: "the file is too long" }]);
  }
  try {
    return parse(file.text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // What follows the first line shows a part of the file, which may hold a secret.
    const message = error.message.split("\n")[0]!.replace("Invalid TOML document: ", "");
    throw new ConfigError([{ key: "", where: `${file.path}:${error.line}`, message }]);
  }
}
