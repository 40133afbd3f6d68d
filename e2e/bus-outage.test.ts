/** NATS goes away for a while, or takes what it is given and says nothing, under people who talk. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";

import { startPostgres } from "../packages/server/src/store/test-support/postgres.ts";
import type { PostgresProcess } from "../packages/server/src/store/test-support/postgres.ts";
import { Cluster, clusterTest, hasEngines } from "./support/cluster.ts";
import type { ClusterServer } from "./support/cluster-server.ts";
import { FLAWLESS, People } from "./support/people.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(180_000);

let postgres: PostgresProcess;
if (hasEngines) {
  beforeAll(async () => void (postgres = await startPostgres()), 60_000);
}

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await postgres?.remove();
}, 60_000);

/** Two at each server, so that some talk locally. */
const HOMES = ["s1", "s1", "s2", "s2", "s3", "s3"];
/** One only listens: who closes the application over a message would not hear what became of it. */
const SLEEPER = 1;
const TALKERS = [0, 2, 3, 4, 5];

async function start(): Promise<{ cluster: Cluster; people: People }> {
  const cluster = await Cluster.start({ postgres });
  cleanups.push(() => cluster.stop());
  return { cluster, people: await People.at(cluster, HOMES) };
}

/** How often each server had to read another one's table whole. */
async function snapshots(cluster: Cluster): Promise<number[]> {
  const all = cluster.servers.map((server) => server.metric("beckon_table_snapshots_total"));
  return (await Promise.all(all)).map((one) => one ?? Number.NaN);
}

interface Outage {
  readonly cluster: Cluster;
  readonly people: People;
  /** Servers that hear nobody meanwhile. */
  readonly deaf: readonly ClusterServer[];
  readonly begin: () => Promise<void> | void;
  readonly end: () => Promise<void> | void;
  readonly ms: number;
}

/** Everybody talks before, during and after it, and `meanwhile` happens. */
async function outage(parts: Outage, meanwhile: () => Promise<void>): Promise<void> {
  const { cluster, people, deaf } = parts;
  await people.chat(
    async () => {
      const since = performance.now();
      await parts.begin();
      for (const server of deaf) {
        const isDown = async (): Promise<boolean> => (await server.metric("beckon_bus_up")) === 0;
        await until(isDown, `${server.name} to notice`);
        expect(await server.ready()).toMatchObject({ status: 200, checks: { bus: false } });
      }
      // Neighbours go on live, but for those who are reading what others left in the store for them.
      await until(async () => (await people.tell(4, 5)).ack.route === "local", "a local message");
      const across = await people.tell(2, 4);
      expect(across.ack).toMatchObject({ status: "held", route: "wake", server: "s2" });
      expect(across.message).toMatchObject({ held: true, server: "s3" });
      await meanwhile();
      await until(() => performance.now() - since >= parts.ms, "its end", parts.ms + 1_000);
      // Past every lease they know what they knew.
      for (const server of deaf)
        expect(await server.metric("beckon_servers")).toBe(HOMES.length / 2);
      await cluster.placed("u0", "s1", deaf);
      await cluster.placed("u5", "s3", deaf);
      await parts.end();
      await cluster.complete();
      await until(async () => (await people.tell(2, 4)).ack.route === "remote", "a live message");
    },
    50,
    TALKERS,
  );
  await people.settled();
  expect(await people.verdict()).toMatchObject(FLAWLESS);
}

describe("L8, L3, L4: nothing is lost, late, twice or out of order while", () => {
  clusterTest(
    "NATS is stopped for 5 s: what has not changed meanwhile is not told again",
    async () => {
      const { cluster, people } = await start();
      const { nats, servers } = cluster;
      const before = await snapshots(cluster);
      const parts = { begin: () => nats.stop(), end: () => nats.start(), ms: 5_000 };
      await outage({ cluster, people, deaf: servers, ...parts }, () => Promise.resolve());
      expect(await snapshots(cluster)).toEqual(before);
    },
  );

  clusterTest("NATS is stopped for 60 s, and people go and are woken", async () => {
    const { cluster, people } = await start();
    const { nats, servers } = cluster;
    const parts = { begin: () => nats.stop(), end: () => nats.start(), ms: 60_000 };
    await outage({ cluster, people, deaf: servers, ...parts }, () => goAndComeBack(people));
  });

  clusterTest("all links to NATS drop what they are given for 20 s", async () => {
    const { cluster, people } = await start();
    const { servers } = cluster;
    const begin = (): void => servers.forEach(({ wire }) => wire.swallow());
    const end = (): void => servers.forEach(({ wire }) => wire.restore());
    const parts = { begin, end, ms: 20_000 };
    await outage({ cluster, people, deaf: servers, ...parts }, () => goAndComeBack(people));
  });

  clusterTest("the link of one server to NATS drops what it is given for 20 s", async () => {
    const { cluster, people } = await start();
    const [, , s3] = cluster.servers as [ClusterServer, ClusterServer, ClusterServer];
    const others = cluster.servers.filter((server) => server !== s3);
    const parts = { begin: () => s3.wire.swallow(), end: () => s3.wire.restore(), ms: 20_000 };
    await outage({ cluster, people, deaf: [s3], ...parts }, async () => {
      // To the others it is dead.
      await cluster.complete(others, 2);
      await cluster.placed("u5", null, others);
    });
  });
});

/** Who goes meanwhile is woken by who writes to him, and comes to that one's server. */
async function goAndComeBack(people: People): Promise<void> {
  await people.sleep(SLEEPER, []);
  const woken = await people.tell(2, SLEEPER, 30_000);
  expect(woken.message.held).toBe(true);
}
