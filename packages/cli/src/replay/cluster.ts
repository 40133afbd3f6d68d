import { join } from "node:path";

import { DEV_SECRET, DevPushService, devProvider, silentLog, systemClock } from "@beckon/server";

import { createHub, LocalServer } from "../local/server.ts";
import { mintDevToken } from "../token.ts";
import { seeded } from "./random.ts";
import type { Policy } from "./result.ts";

/** How a device connects. */
export const PROTOCOLS = ["ws", "tcp"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface ClusterOptions {
  readonly servers: number;
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly seed: number;
}

/** Several real servers, and a push service for development. */
export interface Cluster {
  readonly names: readonly string[];
  /** They stay the same when a server starts again. Of a protocol that no device speaks they lead nowhere. */
  readonly urls: Readonly<Record<Protocol, readonly string[]>>;
  readonly pushes: DevPushService;
  token(user: string): string;
  /** What all servers have counted, those that were killed included. */
  counted(): Promise<Counted>;
  /** No last word. */
  kill(server: number): Promise<void>;
  restart(server: number): Promise<void>;
  /** What went wrong with a server, in words. */
  readonly problems: readonly string[];
  stop(): Promise<void>;
}

export interface Counted {
  readonly local: number;
  readonly remote: number;
}

export const namesOf = (servers: number): string[] =>
  Array.from({ length: servers }, (_, i) => `s${i + 1}`);

/** Makes each user's token once. */
export function createTokens(): (user: string) => string {
  const tokens = new Map<string, string>();
  return (user) => {
    const token = tokens.get(user) ?? mintDevToken(user);
    tokens.set(user, token);
    return token;
  };
}

export function urlsOf(
  servers: readonly { readonly url: string; readonly tcpUrl: string }[],
): Cluster["urls"] {
  return { ws: servers.map(({ url }) => url), tcp: servers.map(({ tcpUrl }) => tcpUrl) };
}

/** In this process: a bus in memory, and one SQLite file in `folder`. */
export async function startCluster(options: ClusterOptions, folder: string): Promise<Cluster> {
  const names = namesOf(options.servers);
  const random = seeded(options.seed).fork("wakes");
  const hub = createHub();
  const pushes = new DevPushService(systemClock);
  const servers = names.map(
    (name) =>
      new LocalServer({
        hub,
        name,
        port: 0,
        adminPort: 0,
        tcp: options.protocols.includes("tcp"),
        store: join(folder, "beckon.db"),
        secret: DEV_SECRET,
        settings: { BECKON_PLACEMENT_POLICY: "wake" },
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
    urls: urlsOf(servers),
    pushes,
    token: createTokens(),
    problems: [],
    counted: () => {
      const counts = servers.map((server) => server.counts);
      return Promise.resolve({
        local: counts.reduce((sum, { local }) => sum + local, 0),
        remote: counts.reduce((sum, { remote }) => sum + remote, 0),
      });
    },
    kill: (i) => {
      servers[i]!.kill();
      return Promise.resolve();
    },
    restart: (i) => servers[i]!.start(),
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
