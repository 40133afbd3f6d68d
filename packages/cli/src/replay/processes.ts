import { constants } from "node:os";

import { DevPushService, listenDevPush, removePostgres, systemClock } from "@beckon/server";

import { Failure } from "../failure.ts";
import { ServerProcess } from "../local/server-process.ts";
import { within } from "../within.ts";
import {
  type Cluster,
  type ClusterOptions,
  type Counted,
  createTokens,
  namesOf,
  settingsOf,
  urlsOf,
} from "./cluster.ts";

/** What the servers stand on. */
export interface Engines {
  /** `nats://…`, several with commas between them. */
  readonly bus: string;
  /** `postgres://…`; a schema is made in the database for the run, and removed after it. */
  readonly store: string;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** For the database to forget a run that is ended. */
const FAREWELL_MS = 5_000;
const ZERO: Counted = { local: 0, remote: 0, cpuMs: 0, busBytes: 0 };

/** Each server is a child process, as `beckon serve` runs it; those of another run do not hear them. */
export async function startProcesses(
  options: ClusterOptions,
  { bus, store }: Engines,
): Promise<Cluster> {
  const { servers: count, protocols } = options;
  const pushes = new DevPushService(systemClock);
  const service = listenDevPush(pushes, 0);
  const run = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
  const schema = `replay_${run}`;
  const problems: string[] = [];
  const servers = namesOf(count).map(
    (name) =>
      new ServerProcess({
        name,
        tcp: protocols.includes("tcp"),
        env: {
          ...settingsOf(options),
          BECKON_BUS: bus,
          BECKON_STORE: store,
          BECKON_POSTGRES_SCHEMA: schema,
          BECKON_CLUSTER_KEY: run,
          BECKON_PUSH_DEV_URL: service.url.href,
        },
        onCrash: (what) => problems.push(what),
      }),
  );
  /** Of those that were killed. */
  const buried = new Map<ServerProcess, Counted>();

  async function countedBy(server: ServerProcess): Promise<Counted> {
    const before = buried.get(server) ?? ZERO;
    const metrics = server.isUp ? await server.metrics().catch(() => undefined) : undefined;
    const of = (name: string, label: string): number => metrics?.(name, label) ?? 0;
    return {
      local: before.local + of("beckon_deliveries_total", 'route="local"'),
      remote: before.remote + of("beckon_deliveries_total", 'route="remote"'),
      cpuMs: before.cpuMs + 1_000 * of("process_cpu_seconds_total", ""),
      busBytes: before.busBytes + of("beckon_bus_bytes_total", 'direction="in"'),
    };
  }

  const killAll = (): void => {
    for (const server of servers) void server.kill();
  };
  const stop = async (): Promise<void> => {
    process.off("exit", killAll);
    for (const signal of SIGNALS) process.off(signal, ended);
    await Promise.all(servers.map((server) => server.kill()));
    await service.close();
    await removePostgres(store, schema).catch((error: unknown) => {
      throw new Failure(`the schema ${schema} could not be removed: ${(error as Error).message}`);
    });
  };
  // Whoever ends this process ends them, too.
  const ended = (signal: NodeJS.Signals): void => {
    const code = 128 + constants.signals[signal];
    const exit = (): void => process.exit(code);
    void within(FAREWELL_MS, stop()).then(exit, exit);
  };
  process.on("exit", killAll);
  for (const signal of SIGNALS) process.on(signal, ended);

  try {
    await Promise.all(servers.map((server) => server.start()));
    await Promise.all(servers.map((server) => server.ready(count)));
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
  return {
    names: servers.map(({ name }) => name),
    urls: urlsOf(servers),
    pushes,
    problems,
    token: createTokens(),
    async counted() {
      const counts = await Promise.all(servers.map((server) => countedBy(server)));
      return {
        local: counts.reduce((sum, { local }) => sum + local, 0),
        remote: counts.reduce((sum, { remote }) => sum + remote, 0),
        cpuMs: counts.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
        busBytes: counts.reduce((sum, { busBytes }) => sum + busBytes, 0),
      };
    },
    isApart: true,
    agree: undefined,
    leaving: undefined,
    tell: undefined,
    async kill(i) {
      const server = servers[i]!;
      buried.set(server, await countedBy(server));
      await server.kill();
    },
    async drain(i) {
      const server = servers[i]!;
      // What it delivers in its last moments is not counted any more.
      buried.set(server, await countedBy(server));
      await server.drain();
    },
    restart: (i) => servers[i]!.start(),
    isUp: (i) => servers[i]!.isUp,
    async isWhole() {
      const up = servers.filter(({ isUp }) => isUp);
      const whole = await Promise.all(up.map((server) => server.isReady(up.length)));
      return !whole.includes(false);
    },
    stop,
  };
}
