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
const ZERO: Counted = { local: 0, remote: 0 };

/** Each server is a child process, as `beckon serve` runs it; those of another run do not hear them. */
export async function startProcesses(
  { servers: count, protocols }: Pick<ClusterOptions, "servers" | "protocols">,
  { bus, store }: Engines,
): Promise<Cluster> {
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
          BECKON_BUS: bus,
          BECKON_STORE: store,
          BECKON_POSTGRES_SCHEMA: schema,
          BECKON_CLUSTER_KEY: run,
          BECKON_PUSH_DEV_URL: service.url.href,
          BECKON_PLACEMENT_POLICY: "wake",
        },
        onCrash: (what) => problems.push(what),
      }),
  );
  /** Of those that were killed. */
  const buried = new Map<ServerProcess, Counted>();

  async function countedBy(server: ServerProcess): Promise<Counted> {
    const before = buried.get(server) ?? ZERO;
    const metrics = server.isUp ? await server.metrics().catch(() => undefined) : undefined;
    const of = (route: string): number =>
      metrics?.("beckon_deliveries_total", `route="${route}"`) ?? 0;
    return { local: before.local + of("local"), remote: before.remote + of("remote") };
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
      };
    },
    async kill(i) {
      const server = servers[i]!;
      buried.set(server, await countedBy(server));
      await server.kill();
    },
    restart: (i) => servers[i]!.start(),
    stop,
  };
}
