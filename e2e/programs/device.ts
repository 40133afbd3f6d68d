/**
 * A device that keeps what it must in a file, in Bun or in plain Node. It is told what to do line by line, as JSON, and says
 * what happens in the same way. The message that HOLD names keeps its handler for ever.
 */
import { createInterface } from "node:readline";

import { connect } from "@beckon/client";
import { file } from "@beckon/client/file";
import type { Storage } from "@beckon/client/storage";

import type { Command, Report } from "./device-lines.ts";

const { URL: server = "", TOKEN = "", STORAGE = "", HOLD } = process.env;

const stored = file(STORAGE);
let writing = 0;
const storage: Storage = {
  ...stored,
  async write(changes) {
    writing++;
    try {
      await stored.write(changes);
    } finally {
      writing--;
    }
  },
};

// Node 20 has no WebSocket of its own.
const { WebSocket } = globalThis as { readonly WebSocket?: typeof globalThis.WebSocket };
const webSocket = WebSocket ?? (await import("ws")).WebSocket;
const beckon = connect({ servers: [server], token: () => TOKEN, storage, webSocket });

beckon.on("error", ({ message }) => report({ error: message }));
beckon.on("state", ({ name }) => report({ state: name }));
void beckon.outbox().then((left) => report({ left: left.map((one) => one.text()) }));
beckon.on("message", (message) => {
  report({ got: message.text(), redelivered: message.redelivered });
  return message.text() === HOLD ? new Promise<void>(() => {}) : undefined;
});

createInterface(process.stdin)
  .on("line", (line) => obey(JSON.parse(line) as Command))
  // Whoever told it what to do is gone.
  .on("close", () => process.exit());

function obey(command: Command): void {
  if ("send" in command) {
    void beckon.send(command.to, command.send).then(
      () => report({ acked: command.send }),
      (error: unknown) => report({ error: String(error) }),
    );
  } else if ("settle" in command) settle();
  else void beckon.close().then(() => report({ closed: true }));
}

/** Says when nothing is left to write for several turns. */
function settle(quiet = 0): void {
  if (quiet === 20) report({ settled: true });
  else setTimeout(settle, 1, writing === 0 ? quiet + 1 : 0);
}

function report(what: Report): void {
  console.log(JSON.stringify(what));
}
