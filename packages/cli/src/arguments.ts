import { parseDuration } from "@beckon/server";
import { InvalidArgumentError } from "commander";

/** Reads a whole number within bounds. */
export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Write a whole number from ${least} to ${most}.`);
  };
}

/** Milliseconds of a duration such as `30s`. */
export function duration(text: string): number {
  const value = parseDuration(text);
  if (value !== undefined && value > 0) return value;
  throw new InvalidArgumentError("Write a number and a unit: 30s, 10m, 6h, 30d.");
}

/** Names between commas. */
export function list(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.every((name) => name !== "")) return names;
  throw new InvalidArgumentError("Write names with commas between them: ann,bob.");
}
