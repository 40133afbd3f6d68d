import type { ConnectionErrorCode } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { Log, LogFields } from "../lib/log.ts";

/** A connection that is closed for an error. */
export interface ConnectionFailure {
  readonly code: ConnectionErrorCode;
  /** Address. */
  readonly remote: string;
  /** Undefined: it was refused, before any WELCOME. */
  readonly session: { readonly user: string; readonly device: string } | undefined;
}

/** Lines of each kind in this time, ms; whoever knocks more often is counted. */
const LINES = 20;
const WINDOW_MS = 10_000;

/**
 * One line a connection, so that an operator can find out who is knocking. Those that had been welcomed are no strangers, and
 * silence is how phones leave: they, and who they are, are for `debug`.
 */
export function failureLog(log: Log, clock: Clock): (failure: ConnectionFailure) => void {
  const refused = bounded(clock, (event, fields) => log.info(event, fields));
  const closed = bounded(clock, (event, fields) => log.debug(event, fields));
  return ({ code, remote, session }) => {
    if (session === undefined) refused("connection.refused", { code, address: remote });
    else closed("connection.closed", { code, address: remote, ...session });
  };
}

/** A trusted proxy that does not say where a device is; within the same bounds. */
export function proxyLog(log: Log, clock: Clock): (proxy: string, why: string) => void {
  const refused = bounded(clock, (event, fields) => log.warn(event, fields));
  return (address, reason) => refused("proxy.refused", { address, reason });
}

type Write = (event: string, fields: LogFields) => void;

function bounded(clock: Clock, write: Write): Write {
  let lines = 0;
  return (event, fields) => {
    if (++lines <= LINES) write(event, fields);
    if (lines > 1) return;
    clock.after(WINDOW_MS, () => {
      if (lines > LINES) write(`${event}.more`, { count: lines - LINES, ms: WINDOW_MS });
      lines = 0;
    });
  };
}
