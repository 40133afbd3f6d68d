import type { Trace } from "../../../packages/cli/src/replay/trace.ts";

/** A trace in memory, users by their number. */
export interface Messages {
  readonly name: string;
  readonly users: readonly string[];
  /** Milliseconds. */
  readonly at: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly count: number;
}

export async function readMessages(trace: Trace): Promise<Messages> {
  const numbers = new Map<string, number>();
  const numberOf = (user: string): number => {
    let number = numbers.get(user);
    if (number === undefined) numbers.set(user, (number = numbers.size));
    return number;
  };
  const at: number[] = [];
  const from: number[] = [];
  const to: number[] = [];
  for await (const row of trace.rows()) {
    at.push(Math.round(row.at * 1000));
    from.push(numberOf(row.from));
    to.push(numberOf(row.to));
  }
  return {
    name: trace.name,
    users: [...numbers.keys()],
    at: Float64Array.from(at),
    from: Int32Array.from(from),
    to: Int32Array.from(to),
    count: at.length,
  };
}
