/**
 * The server whose wakes are measured, as `beckon.ts`, but that it pushes, and that it knows devices that are asleep: they registered and
 * never connected. `wake-server.ts PUSH SLEEPERS [POSTGRES]`: the port of the push service, devices of each kind, and where the database is.
 */
import { createAuthenticate, createMemoryBus, startServer, systemClock } from "@beckon/server";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { devHttpProvider } from "../../packages/server/src/push/dev-http.ts";
import { openPostgres } from "../../packages/server/src/store/postgres.ts";
import { openSqlite } from "../../packages/server/src/store/sqlite.ts";
import { SLEEPERS } from "./load/task.ts";
import { standBy } from "./stand-by.ts";
import { secret } from "./token.ts";

const UNLIMITED = 1_000_000_000;
/** By how much clocks may differ, ms. */
const TOLERANCE = 5000;
/** Between two looks at whether it is ready, ms. */
const LOOK = 50;
/** Devices that are registered at once. */
const AT_ONCE = 500;

const [push = "", sleepers = "", postgres] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "beckon-bench-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

const store =
  postgres === undefined
    ? await openSqlite(join(directory, "store.sqlite"))
    : await openPostgres(postgres);

for (const kind of SLEEPERS) {
  for (let first = 0; first < Number(sleepers); first += AT_ONCE) {
    const count = Math.min(AT_ONCE, Number(sleepers) - first);
    await Promise.all(
      Array.from({ length: count }, (_, at) => {
        const user = `${kind}-${first + at}`;
        const key = { id: 1, key: crypto.getRandomValues(new Uint8Array(32)) };
        return store.devices.register(user, "phone", ["ws"], { provider: "dev", token: user, key });
      }),
    );
  }
}

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
  providers: [devHttpProvider(new URL(`http://127.0.0.1:${push}`), fetch)],
  limits: { rate: UNLIMITED, burst: UNLIMITED },
});

while (!server.node.table.trusted) await Bun.sleep(LOOK);
standBy({ port: Number(new URL(server.url).port) });
