import type { Log, LogFields } from "@beckon/server";

/** What a server logs as an error or a warning, in one line; the rest is told by what happens. */
export function logTo(fail: (text: string) => void): Log {
  const say = (event: string, { error, reason }: LogFields = {}): void => {
    const why = error instanceof Error ? error.message : reason;
    fail(why === undefined ? event : `${event}: ${why}`);
  };
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: say,
    error: say,
    with: () => log,
  };
  return log;
}
