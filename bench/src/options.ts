import { parseArgs } from "node:util";

import type { Cores, Target } from "./processes.ts";

/** An option that cannot be understood: said to whoever typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Options by name, each with its default; a list is written with commas. */
export type Defaults = Readonly<Record<string, number | readonly number[]>>;

/** The options as given, or their defaults. */
export type Chosen<D extends Defaults> = {
  readonly [K in keyof D]: D[K] extends number ? number : readonly number[];
};

export interface Options<D extends Defaults> {
  readonly json: boolean;
  readonly cores: Cores;
  /** What is measured beside the floor. The floor itself: how far two equals come apart on this machine. */
  readonly ours: Target;
  readonly chosen: Chosen<D>;
}

/** @throws {UsageError} */
export function parseOptions<D extends Defaults>(args: readonly string[], defaults: D): Options<D> {
  const { json, cores, ours = "beckon", ...rest } = parse(args, Object.keys(defaults));
  const chosen: Record<string, number | readonly number[]> = { ...defaults };
  for (const [name, text] of Object.entries(rest)) {
    const list = numbers(name, String(text));
    if (typeof defaults[name] !== "number") chosen[name] = list;
    else if (list.length === 1) chosen[name] = list[0]!;
    else throw new UsageError(`--${name} takes one number`);
  }
  const [server, load] = numbers("cores", String(cores ?? "0,1"));
  if (server === undefined || load === undefined) {
    throw new UsageError("--cores takes two: of the server, and of the load");
  }
  if (ours !== "beckon" && ours !== "floor") throw new UsageError("--ours is beckon or floor");
  return { json: json === true, cores: { server, load }, ours, chosen: chosen as Chosen<D> };
}

function parse(
  args: readonly string[],
  names: readonly string[],
): Record<string, string | boolean | undefined> {
  const options: Record<string, { type: "string" | "boolean" }> = {
    json: { type: "boolean" },
    cores: { type: "string" },
    ours: { type: "string" },
  };
  for (const name of names) options[name] = { type: "string" };
  try {
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function numbers(name: string, text: string): number[] {
  const list = text.split(",").map(Number);
  if (text === "" || list.some((number) => !Number.isFinite(number) || number < 0)) {
    throw new UsageError(`--${name} ${text}: not a number, nor numbers with commas between`);
  }
  return list;
}
