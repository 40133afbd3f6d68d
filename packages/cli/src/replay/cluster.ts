import { join } from "node:path";

import { DEV_SECRET, DevPushService, devProvider, silentLog, systemClock } from "@beckon/server";

import { createHub, LocalServer } from "../local/server.ts";
import { mintDevToken } from "../token.ts";
import { seeded } from "./random.ts";
import type { Policy } from "./result.ts";

export interface ClusterOptions {
  readonly servers: number;
  readonly policy: Policy;
  readonly seed: number;
  /** For the database. */
  readonly folder: string;
}

/** Several real servers in this process: a bus in memory, one SQLite file, the dev push service. */
export interface Cluster {
  readonly names: readonly string[];
  /** They stay the same when a server starts again. */
  readonly urls: readonly string[];
  readonly pushes: DevPushService;
  token(user: string): string;
  /** What all servers have counted, those that were killed included. */
  counted(): Counted;
  /** No last word. */
  kill(server: number): void;
  restart(server: number): Promise<void>;
  stop(): Promise<void>;
}

export interface Counted {
  readonly local: number;
  readonly remote: number;
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const names = Array.from({ length: options.servers }, (_, i) => `s${i + 1}`);
  const random = seeded(options.seed).fork("wakes");
  const hub = createHub();
  const pushes = new DevPushService(systemClock);
  const tokens = new Map<string, string>();
  const servers = names.map(
    (name) =>
      new LocalServer({
        hub,
        name,
        port: 0,
        adminPort: 0,
        store: join(options.folder, "beckon.db"),
        secret: DEV_SECRET,
        embedding: {
          authorize: () => true,
          logger: silentLog,
          providers: [devProvider(pushes)],
          ...(options.policy === "random" ? { wakeNames: () => random.pick(names) } : {}),
        },
      }),
  );
  await Promise.all(servers.map((server) => server.start()));

  return {
    names,
    urls: servers.map(({ url }) => url),
    pushes,
    token(user) {
      const known = tokens.get(user);
      if (known !== undefined) return known;
      const token = mintDevToken(user);
      tokens.set(user, token);
      return token;
    },
    counted: () =>
      servers.reduce(
        (sum, { counts }) => ({
          local: sum.local + counts.local,
          remote: sum.remote + counts.remote,
        }),
        { local: 0, remote: 0 },
      ),
    kill: (i) => void servers[i]!.kill(),
    restart: (i) => servers[i]!.start(),
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
