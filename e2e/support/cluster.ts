/** Processes of `beckon serve` on a real NATS and a real PostgreSQL. */
import { test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { natsTest, startNats } from "../../packages/server/src/cluster/test-support/nats.ts";
import type { NatsProcess } from "../../packages/server/src/cluster/test-support/nats.ts";
import { Wire } from "../../packages/server/src/cluster/test-support/wire.ts";
import { postgresTest } from "../../packages/server/src/store/test-support/postgres.ts";
import type { PostgresProcess } from "../../packages/server/src/store/test-support/postgres.ts";
import { ClusterServer } from "./cluster-server.ts";
import { PushStandIn } from "./push-stand-in.ts";
import { until } from "./until.ts";

export const hasEngines: boolean = natsTest === test && postgresTest === test;

/** A test that needs both. */
export const sequentialTest: typeof test = hasEngines ? test : test.skip;

/** The same; those of a file run at the same time, as they mostly wait. */
export const clusterTest: typeof test.concurrent = hasEngines ? test.concurrent : test.skip;

export interface ClusterOptions {
  readonly postgres: PostgresProcess;
  /** How many servers; started unless `isStarted` is false. Default 3. */
  readonly servers?: number;
  /** Default: `s1`, `s2` … */
  readonly names?: readonly string[];
  readonly isStarted?: boolean;
  /** By how much the clocks of the servers are ahead, ms; in order. Default: not at all. */
  readonly skewMs?: readonly number[];
  /** Instead of a NATS of its own over wires: `bus` of each. */
  readonly bus?: string;
  /** Instead of the one of `postgres`: `store` of each. */
  readonly store?: string;
  /** Appended to the configuration of each. */
  readonly toml?: string;
  /** Default `wake`: everybody stays where the test has put them. */
  readonly placement?: "wake" | "move";
}

let clusters = 0;

/** Servers `s1`, `s2` … with a NATS of their own, each over a wire, and with a schema of their own in the PostgreSQL that is given. */
export class Cluster {
  readonly nats: NatsProcess;
  readonly postgres: PostgresProcess;
  readonly servers: readonly ClusterServer[];
  readonly pushes: PushStandIn;
  readonly #folder: string;

  private constructor(
    nats: NatsProcess,
    postgres: PostgresProcess,
    servers: readonly ClusterServer[],
    pushes: PushStandIn,
    folder: string,
  ) {
    this.nats = nats;
    this.postgres = postgres;
    this.servers = servers;
    this.pushes = pushes;
    this.#folder = folder;
  }

  /** When it answers each server knows all others, and trusts what it knows. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { postgres, skewMs = [], toml = "", placement = "wake" } = options;
    const count = options.servers ?? 3;
    const names = options.names ?? Array.from({ length: count }, (_, at) => `s${at + 1}`);
    const folder = await mkdtemp(join(tmpdir(), "beckon-cluster-"));
    const nats = await startNats();
    const pushes = new PushStandIn();
    const schema = `cluster_${++clusters}`;
    const servers: ClusterServer[] = [];
    for (const [at, name] of names.entries()) {
      const wire = await Wire.to(nats.port);
      const config = join(folder, `${at}.toml`);
      const bus = options.bus ?? `nats://127.0.0.1:${wire.port}`;
      const store = options.store ?? postgres.url;
      const rest = { schema, push: pushes.urlFor(name), toml, placement };
      const write = (listen: number, admin: number): Promise<void> =>
        writeFile(config, configOf({ name, listen, admin, bus, store, ...rest }));
      servers.push(new ClusterServer({ name, config, write, wire, skewMs: skewMs[at] ?? 0 }));
    }
    const cluster = new Cluster(nats, postgres, servers, pushes, folder);
    try {
      if (options.isStarted !== false) await cluster.#startAll();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #startAll(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
    await this.complete();
  }

  server(name: string): ClusterServer {
    return this.servers.find((server) => server.name === name)!;
  }

  /** Until each of these servers knows `count` servers, and trusts what it knows of them. */
  async complete(
    servers: readonly ClusterServer[] = this.servers,
    count: number = this.servers.length,
    ms = 20_000,
  ): Promise<void> {
    for (const server of servers) {
      await until(
        async () => {
          const metrics = await server.metrics();
          return (
            metrics.get("beckon_servers") === count && metrics.get("beckon_table_trusted") === 1
          );
        },
        () => `${server.name} to know and trust ${count} servers`,
        ms,
      );
    }
  }

  /** Until all that is asked says that this device is connected to `server`; null: to none. */
  async placed(
    device: string,
    server: string | null,
    asked: readonly ClusterServer[] = this.servers,
    ms = 10_000,
  ): Promise<void> {
    for (const one of asked) {
      await until(
        async () => (await one.whereIs(device)) === server,
        () => `${one.name} to find ${device} at ${server}`,
        ms,
      );
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await Promise.all(this.servers.map(({ wire }) => wire.close()));
    await this.nats.stop();
    await this.pushes.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

interface Settings {
  readonly name: string;
  readonly listen: number;
  readonly admin: number;
  readonly bus: string;
  readonly store: string;
  readonly schema: string;
  readonly push: string;
  readonly toml: string;
  readonly placement: string;
}

/** Development secrets: all of it is on loopback. */
function configOf(settings: Settings): string {
  const { name, listen, admin, bus, store, schema, push, toml, placement } = settings;
  return `name = "${name}"
listen = "127.0.0.1:${listen}"
admin = "127.0.0.1:${admin}"
bus = "${bus}"
store = "${store}"
postgres.schema = "${schema}"
postgres.connections = 4
push.dev.url = "${push}"
auth.secret = "beckon dev secret, not a secret!"
auth.send = "anyone"
api.token = "beckon-dev-admin-token"
placement.policy = "${placement}"
${toml}`;
}
