import { InvalidArgumentError } from "commander";

/** A server that is killed, drained or started in the middle of a trace. */
export interface ServerChange {
  /** Milliseconds since the first message, by the trace's clock. */
  readonly after: number;
  readonly kind: "kill" | "drain" | "add";
  /** From 0. */
  readonly server: number;
}

const KINDS = ["kill", "drain", "add"] as const;

/** `30d:kill:s2`, with the reader of its time; one more for those `before`. */
export function changed(
  text: string,
  before: readonly ServerChange[],
  parseDuration: (text: string) => number | undefined,
): ServerChange[] {
  const [when = "", what = "", server = ""] = text.split(":");
  const after = parseDuration(when);
  const kind = KINDS.find((known) => known === what);
  const nth = /^s[1-9]\d{0,3}$/.test(server) ? Number(server.slice(1)) - 1 : undefined;
  if (after === undefined || kind === undefined || nth === undefined) {
    throw new InvalidArgumentError("Write it as 30d:kill:s2 (or drain, or add).");
  }
  return [...before, { after, kind, server: nth }];
}
