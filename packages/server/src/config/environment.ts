import type * as z from "zod";

import { nearest } from "../lib/nearest.ts";
import type { Problem } from "./problem.ts";

export type Table = Record<string, unknown>;
type Path = readonly (string | number)[];

export interface Environment {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Of the variables' names, with its underscore. */
  readonly prefix: string;
  /** Variables with the prefix that mean something else. */
  readonly isForeign: (name: string, value: string) => boolean;
}

/** A key of the schema that has no keys below it; the number of an element is `*`. */
export interface Leaf {
  readonly path: readonly string[];
  readonly type: string;
}

export function leavesOf(schema: z.core.$ZodType, path: readonly string[] = []): Leaf[] {
  const def = schema._zod.def as unknown as z.core.$ZodTypeDef & Record<string, unknown>;
  switch (def.type) {
    case "object":
      return Object.entries(def["shape"] as Record<string, z.core.$ZodType>).flatMap(
        ([key, value]) => leavesOf(value, [...path, key]),
      );
    case "array":
      return leavesOf(def["element"] as z.core.$ZodType, [...path, "*"]);
    case "pipe":
      return leavesOf(def["in"] as z.core.$ZodType, path);
    case "optional":
    case "default":
    case "prefault":
      return leavesOf(def["innerType"] as z.core.$ZodType, path);
    default:
      return [{ path, type: def.type }];
  }
}

function variableOf(prefix: string, path: Path): string {
  return prefix + path.join("_").toUpperCase();
}

/** Puts the variables into `raw`, and says which key each one is. */
export function applyEnvironment(
  raw: Table,
  leaves: readonly Leaf[],
  { env, prefix, isForeign }: Environment,
  variables: Map<string, string>,
): Problem[] {
  const problems: Problem[] = [];
  const names = Object.keys(env).filter((name) => name.startsWith(prefix));
  // In order of their numbers: an element is appended to those before it.
  for (const name of names.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const text = env[name];
    // Tools that pass a variable on make an empty one of one that is not there.
    if (text === undefined || text === "" || isForeign(name, text)) continue;
    const found = leaves
      .map((leaf) => ({ leaf, number: matchVariable(name, prefix, leaf.path) }))
      .find(({ number }) => number !== undefined);
    if (found === undefined) {
      problems.push({ key: "", where: name, message: unknownVariable(name, prefix, leaves) });
      continue;
    }
    const path = found.leaf.path.map((step) => (step === "*" ? found.number! : step));
    if (put(raw, path, valueOf(text, found.leaf.type))) variables.set(path.join("."), name);
    else {
      const key = path.slice(0, -1).join(".");
      problems.push({ key, where: name, message: "there is none before it; count from 0" });
    }
  }
  return problems;
}

function unknownVariable(name: string, prefix: string, leaves: readonly Leaf[]): string {
  const known = leaves.map(({ path }) => variableOf("", path).replace("*", "0"));
  // The prefix, which all of them have, does not make them alike.
  const meant = nearest(name.slice(prefix.length), known);
  return `unknown variable${meant === undefined ? "" : `; did you mean ${prefix}${meant}?`}`;
}

/** The number in a variable's name, -1 for a key without one; undefined: it is not the variable of this key. */
function matchVariable(name: string, prefix: string, path: readonly string[]): number | undefined {
  const pattern = variableOf(prefix, path).replace("*", "(\\d{1,4})");
  const match = new RegExp(`^${pattern}$`).exec(name);
  return match === null ? undefined : Number(match[1] ?? -1);
}

function valueOf(text: string, type: string): unknown {
  if (type === "number" && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === "boolean" && /^(true|false)$/.test(text)) return text === "true";
  return text;
}

/** False where a number would leave a hole before it. What is no table is left for the schema to refuse. */
function put(raw: Table, path: Path, value: unknown): boolean {
  let into: Table = raw;
  for (const [at, step] of path.entries()) {
    if (Array.isArray(into) && Number(step) > into.length) return false;
    if (at === path.length - 1) into[step] = value;
    else {
      into[step] ??= typeof path[at + 1] === "number" ? [] : {};
      const next = into[step];
      if (typeof next !== "object" || next === null) return true;
      into = next as Table;
    }
  }
  return true;
}
