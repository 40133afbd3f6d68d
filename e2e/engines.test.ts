/** How a server reaches NATS and PostgreSQL: several of them, with names and passwords, under TLS. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { lastingPort } from "@beckon/server";

import { startNats } from "../packages/server/src/cluster/test-support/nats.ts";
import type { NatsProcess } from "../packages/server/src/cluster/test-support/nats.ts";
import { Authority } from "../packages/server/src/gateway/test-support/certificates.ts";
import { startPostgres } from "../packages/server/src/store/test-support/postgres.ts";
import type { PostgresProcess } from "../packages/server/src/store/test-support/postgres.ts";
import { Cluster, clusterTest, hasEngines } from "./support/cluster.ts";
import type { ClusterOptions } from "./support/cluster.ts";
import type { ClusterServer } from "./support/cluster-server.ts";
import { FLAWLESS, People } from "./support/people.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(90_000);

let postgres: PostgresProcess;
let folder: string;
/** Of NATS and PostgreSQL, and one that vouches for neither. */
let trusted: Files;
let foreign: Files;

interface Files {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** PEM files: of an authority, and of a server on loopback that it vouches for. */
function filesOf(name: string): Files {
  const authority = new Authority(name);
  const { cert, key } = authority.issue("server");
  const write = (end: string, text: string): string => {
    const path = join(folder, `${name}-${end}.pem`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return {
    ca: write("ca", authority.cert),
    cert: write("cert", cert),
    key: write("key", key),
  };
}

if (hasEngines) {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "beckon-tls-"));
    trusted = filesOf("trusted");
    foreign = filesOf("foreign");
    postgres = await startPostgres();
    await postgres.stop();
    ownedByPostgres(trusted);
    const files = { ssl_cert_file: trusted.cert, ssl_key_file: trusted.key };
    await postgres.start({ ssl: "on", ...files });
  }, 60_000);
}

/** PostgreSQL takes a key that is its own user's alone; as root nobody minds. */
function ownedByPostgres({ key, cert }: Files): void {
  if (process.getuid?.() !== 0) return;
  const id = (flag: string): number =>
    Number(Bun.spawnSync(["id", flag, "postgres"]).stdout.toString());
  for (const path of [folder, key, cert]) chownSync(path, id("-u"), id("-g"));
}

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await postgres?.remove();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function nats(...args: string[]): Promise<NatsProcess> {
  const started = await startNats(args);
  cleanups.push(() => started.stop());
  return started;
}

async function start(options: Omit<ClusterOptions, "postgres">): Promise<Cluster> {
  const cluster = await Cluster.start({ postgres, ...options });
  cleanups.push(() => cluster.stop());
  return cluster;
}

/** A server that is told this, and not started. */
async function alone(options: Omit<ClusterOptions, "postgres" | "servers">): Promise<Cluster> {
  return start({ ...options, servers: 1, isStarted: false });
}

async function busIsUp(options: Omit<ClusterOptions, "postgres">): Promise<void> {
  const cluster = await start(options);
  for (const server of cluster.servers) {
    expect(await server.ready()).toMatchObject({ status: 200 });
    expect(server.said("bus.unreachable")).toEqual([]);
  }
}

/** It serves its own devices alone, is not ready, and says why: once, however often it tries. */
async function busIsRefused(bus: string, toml: string, reason: string): Promise<ClusterServer> {
  const cluster = await alone({ bus, toml });
  const server = cluster.servers[0]!;
  await server.start();
  await until(() => server.said("bus.unreachable").length > 0, "the reason");
  const people = new People(cluster, ["s1", "s1"]);
  await Promise.all([people.arrive(0), people.arrive(1)]);
  const isLive = async (): Promise<boolean> => (await people.tell(0, 1)).ack.status === "delivered";
  await until(isLive, "a message between its own devices");
  await people.close();
  expect(await server.ready()).toMatchObject({ status: 503, checks: { bus: false, store: true } });
  expect(server.said("bus.unreachable")).toEqual([expect.stringContaining(reason)]);
  return server;
}

/** The last line that it says before it ends. */
async function startRefused(options: Omit<ClusterOptions, "postgres">): Promise<string> {
  const cluster = await alone(options);
  const server = cluster.servers[0]!;
  const child = await server.launch();
  expect(await child.exited).not.toBe(0);
  const lines = (): readonly string[] => server.said("cannot start");
  await until(
    () => lines().length > 0,
    () => `a reason: ${server.log}`,
  );
  expect(lines()).toHaveLength(1);
  return lines()[0]!;
}

describe("NATS", () => {
  clusterTest(
    "L8: of two that form one, the one dies, and then the other: servers go on at the one that is left",
    async () => {
      const routes = [lastingPort(), lastingPort()];
      const member = (at: number): Promise<NatsProcess> =>
        nats(
          "--cluster_name=n",
          `--cluster=nats://127.0.0.1:${routes[at]}`,
          `--routes=nats://127.0.0.1:${routes[1 - at]}`,
        );
      const both = [await member(0), await member(1)] as const;
      const bus = both.map(({ port }) => `nats://127.0.0.1:${port}`).join(",");
      const cluster = await start({ bus });
      const people = await People.at(cluster, ["s1", "s2", "s3", "s1"]);
      await people.chat(async () => {
        for (const one of both) {
          await one.stop();
          await until(
            async () => {
              const up = await Promise.all(cluster.servers.map((server) => server.ready()));
              const across = await people.tell(0, 1);
              return up.every(({ status }) => status === 200) && across.ack.route === "remote";
            },
            "the servers to go on",
            20_000,
          );
          await one.start();
          await cluster.complete();
        }
      }, 50);
      await people.settled();
      expect(await people.verdict()).toMatchObject(FLAWLESS);
    },
  );

  clusterTest("takes a user with a password, and one without is told", async () => {
    const { port } = await nats("--user", "beckon", "--pass", "a pass word");
    const bus = `nats://beckon@127.0.0.1:${port}`;
    await busIsUp({ bus, toml: 'nats.password = "a pass word"', servers: 2 });
    const wrong = await busIsRefused(
      bus,
      'nats.password = "guessed"',
      "it refuses the credentials",
    );
    expect(wrong.log).not.toContain("guessed");
    await busIsRefused(`nats://127.0.0.1:${port}`, "", "it refuses the credentials");
  });

  clusterTest("takes a token, and not another one", async () => {
    const { port } = await nats("--auth", "a token of NATS");
    const bus = `nats://127.0.0.1:${port}`;
    await busIsUp({ bus, toml: 'nats.token = "a token of NATS"', servers: 2 });
    const wrong = await busIsRefused(bus, 'nats.token = "guessed"', "it refuses the credentials");
    expect(wrong.log).not.toContain("guessed");
  });

  clusterTest("is spoken to under TLS where that is asked for, and else not at all", async () => {
    const { cert, key } = trusted;
    const secure = await nats("--tls", "--tlscert", cert, "--tlskey", key);
    const ca = ({ ca: file }: Files): string => `nats.ca_file = "${file}"`;
    await busIsUp({ bus: `tls://127.0.0.1:${secure.port}`, toml: ca(trusted), servers: 2 });
    await busIsRefused(`tls://127.0.0.1:${secure.port}`, ca(foreign), "certificate");
    const plain = await nats();
    await busIsRefused(`tls://127.0.0.1:${plain.port}`, "", "it offers no TLS");
    await busIsRefused(`nats://127.0.0.1:${plain.port}`, ca(trusted), "it offers no TLS");
  });
});

describe("PostgreSQL", () => {
  clusterTest(
    "is spoken to under TLS where that is asked for, and to nobody else's certificate",
    async () => {
      const ca = ({ ca: file }: Files): string => `postgres.ca_file = "${file}"`;
      const cluster = await start({ toml: ca(trusted), servers: 2 });
      const sql = new Bun.SQL(postgres.url, { max: 1 });
      cleanups.push(() => sql.close({ timeout: 0 }));
      const links =
        (await sql`SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'beckon'`) as { ssl: boolean }[];
      expect(links.map(({ ssl }) => ssl)).toContain(true);
      expect(await cluster.servers[0]!.ready()).toMatchObject({ status: 200 });
      expect(await startRefused({ toml: ca(foreign) })).toContain("certificate");
    },
  );

  clusterTest(
    "that has no TLS is refused where TLS is asked for, and so is a wrong database",
    async () => {
      const plain = await startPostgres();
      cleanups.push(() => plain.remove());
      const toml = `postgres.ca_file = "${trusted.ca}"`;
      expect(await startRefused({ store: plain.url, toml })).toContain("it offers no TLS");
      const store = plain.url.replace(/postgres$/, "nobodys");
      expect(await startRefused({ store })).toContain("there is no such database");
    },
  );
});
