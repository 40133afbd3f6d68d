import { randomBytes } from "node:crypto";
import { join } from "node:path";

import {
  createAuthenticate,
  createMemoryBus,
  DevPushService,
  devProvider,
  openSqlite,
  type Server,
  startServer,
  systemClock,
} from "@beckon/server";

import { mintToken } from "../token.ts";
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

const TOKEN_SECONDS = 24 * 3600;
const CLAIMS = { device: "device", to: "to" } as const;
/** A port that was just given back may be refused for a moment. */
const BIND_TRIES = 50;
const BIND_MS = 20;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const secret = randomBytes(32);
  const clusterKey = randomBytes(32);
  const names = Array.from({ length: options.servers }, (_, i) => `s${i + 1}`);
  const random = seeded(options.seed).fork("wakes");
  const hub = createMemoryBus({ clock: systemClock });
  const pushes = new DevPushService(systemClock);
  const providers = [devProvider(pushes)];
  const authenticate = createAuthenticate(
    {
      keys: { kind: "secret", secret },
      deviceClaim: CLAIMS.device,
      toClaim: CLAIMS.to,
      tolerance: 0,
    },
    systemClock,
  );
  const tokens = new Map<string, string>();
  const buried: Counted[] = [];

  const start = async (name: string, port: number): Promise<Running> => {
    const bus = hub.connect();
    const store = await openSqlite(join(options.folder, "beckon.db"));
    const server = startServer({
      name,
      listen: { hostname: "127.0.0.1", port },
      bus,
      store,
      authenticate,
      authorize: () => true,
      clusterKey,
      providers,
      ...(options.policy === "random" ? { wakeNames: () => random.pick(names) } : {}),
    });
    return { server, bus, store };
  };

  const running = await Promise.all(names.map((name) => start(name, 0)));
  const urls = running.map(({ server }) => server.url);
  const dead = new Set<number>();

  return {
    names,
    urls,
    pushes,
    token(user) {
      const known = tokens.get(user);
      if (known !== undefined) return known;
      const expires = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
      const token = mintToken({ user, expires }, secret, CLAIMS);
      tokens.set(user, token);
      return token;
    },
    counted() {
      const living = running.filter((_, i) => !dead.has(i)).map(({ server }) => countsOf(server));
      return [...buried, ...living].reduce(add, { local: 0, remote: 0 });
    },
    kill(i) {
      const { server, bus, store } = running[i]!;
      buried.push(countsOf(server));
      dead.add(i);
      server.kill();
      hub.kill(bus);
      void store.close();
    },
    async restart(i) {
      running[i] = await again(() => start(names[i]!, Number(new URL(urls[i]!).port)));
      dead.delete(i);
    },
    async stop() {
      for (const [i, { server, bus, store }] of running.entries()) {
        if (dead.has(i)) continue;
        server.kill();
        await bus.close();
        await store.close();
      }
    },
  };
}

interface Running {
  readonly server: Server;
  readonly bus: ReturnType<ReturnType<typeof createMemoryBus>["connect"]>;
  readonly store: Awaited<ReturnType<typeof openSqlite>>;
}

function countsOf({ node: { counters } }: Server): Counted {
  return {
    local: counters.deliveredLocal + counters.heldDeliveredLocal,
    remote: counters.deliveredRemote + counters.heldDeliveredRemote,
  };
}

const add = (a: Counted, b: Counted): Counted => ({
  local: a.local + b.local,
  remote: a.remote + b.remote,
});

async function again<T>(start: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === BIND_TRIES) throw error;
      await Bun.sleep(BIND_MS);
    }
  }
}
