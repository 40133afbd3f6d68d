/** The server that is measured, as it ships; only the limit on a device's SENDs a second is lifted. */
import { createAuthenticate, createMemoryBus, startServer, systemClock } from "@beckon/server";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { standBy } from "./stand-by.ts";
import { secret } from "./token.ts";

const UNLIMITED = 1_000_000_000;
/** By how much clocks may differ, ms. */
const TOLERANCE = 5000;
/** Between two looks at whether it is ready, ms. */
const LOOK = 50;

type Parts = Parameters<typeof startServer>[0];

/** Where an SQLite store can be, in a directory that is removed at the end. */
export function storePath(): string {
  const directory = mkdtempSync(join(tmpdir(), "beckon-bench-"));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "store.sqlite");
}

/** Starts it, and stands by when it can be measured. */
export async function runMeasured({
  store,
  providers,
}: Pick<Parts, "store" | "providers">): Promise<void> {
  const server = startServer({
    name: "measured",
    listen: { hostname: "127.0.0.1", port: 0 },
    bus: createMemoryBus({ clock: systemClock }).connect(),
    store,
    authenticate: createAuthenticate(
      {
        keys: { kind: "secret", secret: Buffer.from(secret()) },
        deviceClaim: "device",
        toClaim: "to",
        tolerance: TOLERANCE,
      },
      systemClock,
    ),
    authorize: () => true,
    clusterKey: randomBytes(32),
    providers,
    limits: { rate: UNLIMITED, burst: UNLIMITED },
  });
  // One that has just been started may have missed what others announced: until it knows, it asks the store about each message.
  while (!server.node.table.trusted) await Bun.sleep(LOOK);
  standBy({ port: Number(new URL(server.url).port) });
}
