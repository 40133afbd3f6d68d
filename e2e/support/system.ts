import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { LIMITS } from "@beckon/protocol";
import { startServer } from "@beckon/server";
import type { Server, ServerParts } from "@beckon/server";
import { SignJWT } from "jose";

import { createMemoryBus } from "../../packages/server/src/cluster/memory-bus.ts";
import { createAuthenticate } from "../../packages/server/src/gateway/jwt.ts";
import { systemClock } from "../../packages/server/src/lib/clock.ts";
import { openSqlite } from "../../packages/server/src/store/sqlite.ts";
import type { SqliteOptions } from "../../packages/server/src/store/sqlite.ts";
import { until } from "./until.ts";

const SECRET = new TextEncoder().encode("a secret of 32 bytes, for tests.");

export interface System {
  readonly servers: readonly Server[];
  /** A token for a user, as the application's backend mints it. */
  token(user: string, claims?: Record<string, unknown>, expires?: string | number): Promise<string>;
  stop(): Promise<void>;
}

/** Real servers in this process, on one SQLite file; ready when each knows all. */
export async function startSystem(
  count: number,
  overrides: Partial<ServerParts> = {},
  sqlite: SqliteOptions = {},
): Promise<System> {
  const folder = await mkdtemp(join(tmpdir(), "beckon-e2e-"));
  const hub = createMemoryBus({ clock: systemClock });
  const stores = await Promise.all(
    Array.from({ length: count }, () => openSqlite(join(folder, "beckon.db"), undefined, sqlite)),
  );
  const authenticate = createAuthenticate(
    {
      keys: { kind: "secret", secret: SECRET },
      deviceClaim: "device",
      toClaim: "to",
      tolerance: 0,
    },
    systemClock,
  );
  const servers = stores.map((store, at) =>
    startServer({
      name: `s${at + 1}`,
      listen: { hostname: "127.0.0.1", port: 0 },
      bus: hub.connect(),
      store,
      authenticate,
      authorize: () => true,
      clusterKey: new Uint8Array(32),
      providers: [],
      limits: LIMITS,
      ...overrides,
    }),
  );
  await until(
    () => servers.every(({ node }) => node.table.trusted),
    "the servers to know each other",
  );
  return {
    servers,
    token: (user, claims = {}, expires = "1h") =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: "HS256" })
        .setSubject(user)
        .setExpirationTime(expires)
        .sign(SECRET),
    async stop() {
      await Promise.all(servers.map((server) => server.stop({ deadlineMs: 2_000 })));
      await Promise.all(stores.map((store) => store.close()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
