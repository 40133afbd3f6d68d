/** A device that keeps what it must in a file, in Bun or in plain Node; it is told what to do line by line, as JSON, and answers so. */
import { createInterface } from "node:readline";

import { connect } from "@beckon/client";
import { file } from "@beckon/client/file";
import type { Storage } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";

import { type Command, drive } from "./drive.ts";

const { URL: server = "", TOKEN = "", STORAGE = "", HOLD = "", CA } = process.env;

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
const beckon = connect({
  servers: [server],
  token: () => TOKEN,
  storage,
  webSocket,
  transports: { tcp: tcp(CA === undefined ? {} : { ca: CA }) },
});
const obey = drive(
  beckon,
  HOLD,
  () => writing > 0,
  (what) => console.log(JSON.stringify(what)),
);

createInterface(process.stdin)
  .on("line", (line) => obey(JSON.parse(line) as Command))
  // Whoever told it what to do is gone.
  .on("close", () => process.exit());
