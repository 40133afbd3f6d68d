import { closeSync, openSync, writeSync } from "node:fs";

/**
 * A line each: `milliseconds <TAB> what <TAB> user <TAB> server`, and for `accept` and `delivery` the number of the message in the trace.
 * `redirect` names the server that the device had reached, `connect` the one at which it stayed. `up`, `draining` and `down` have no user.
 */
export type Entry =
  | "connect"
  | "disconnect"
  | "redirect"
  | "move"
  | "drain"
  | "accept"
  | "delivery"
  | "up"
  | "draining"
  | "down";

export interface Journal {
  write(time: number, entry: Entry, user: string, server: number, message?: number): void;
  close(): void;
}

export const noJournal: Journal = { write: () => {}, close: () => {} };

const CHUNK = 1 << 20;

export const serverName = (server: number): string => `s${server + 1}`;

export function openJournal(path: string): Journal {
  const file = openSync(path, "w");
  let text = "";
  const flush = (): void => {
    writeSync(file, text);
    text = "";
  };
  return {
    write(time, entry, user, server, message) {
      const rest = message === undefined ? "" : `\t${message}`;
      text += `${time}\t${entry}\t${user}\t${serverName(server)}${rest}\n`;
      if (text.length >= CHUNK) flush();
    },
    close() {
      flush();
      closeSync(file);
    },
  };
}
