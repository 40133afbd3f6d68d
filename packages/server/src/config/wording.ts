import type * as z from "zod";

import { didYouMean } from "../lib/nearest.ts";
import type { Leaf } from "./environment.ts";
import type { Problem } from "./problem.ts";

/** Of what the schema itself has no words for. */
export function wording(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      if (issue.input === undefined) return "missing";
      return `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case "too_small":
      return `must be at least ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
    case "invalid_value": {
      const known = issue.values.map(String);
      return `must be one of ${known.join(", ")}${didYouMean(String(issue.input), known)}`;
    }
    default:
      return undefined;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: "a text in quotes",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a table",
  array: "a list of tables ([[…]])",
};

export function explain(
  issue: z.core.$ZodIssue,
  leaves: readonly Leaf[],
): Omit<Problem, "where">[] {
  const key = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((name) => {
      const unknown = [...issue.path, name].join(".");
      return { key: unknown, message: `unknown key${suggestion(issue.path, name, leaves)}` };
    });
  }
  return [{ key, message: issue.message }];
}

function suggestion(table: readonly PropertyKey[], name: string, leaves: readonly Leaf[]): string {
  const here = table.map((step) => (typeof step === "number" ? "*" : String(step)));
  const siblings = leaves
    .filter(({ path }) => here.every((step, i) => path[i] === step) && path.length > here.length)
    .map(({ path }) => path[here.length]!);
  const sibling = didYouMean(name, siblings);
  if (sibling !== "") return sibling;
  const elsewhere = leaves.find(({ path }) => path.at(-1) === name)?.path;
  if (elsewhere === undefined) return "";
  const isTop = elsewhere.length === 1;
  return isTop
    ? `; ${name} stands at the top, before the first [table]`
    : `; did you mean ${name} in [${elsewhere.slice(0, -1).join(".").replace(".*", "")}]?`;
}
