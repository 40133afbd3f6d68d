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
const SLEEPER = 1;

async function begin(): Promise<{ cluster: Cluster; people: People }> {
  const cluster = await Cluster.start({ postgres });
  cleanups.push(() => cluster.stop());
  return { cluster, people: await People.at(cluster, HOMES) };
}

async function noticed(servers: readonly ClusterServer[]): Promise<void> {
  for (const server of servers) {
    const isDown = async (): Promise<boolean> => (await server.metric("beckon_bus_up")) === 0;
    await until(isDown, `${server.name} to notice`);
    expect(await server.ready()).toMatchObject({ status: 503, checks: { bus: false } });
  }
}

/** What a server has of the other ones' tables, and how often it had to have a table again. */
async function snapshots(cluster: Cluster): Promise<number[]> {
  const all = cluster.servers.map((server) => server.metric("beckon_table_snapshots_total"));
  return Promise.all(all.map(async (one) => (await one) ?? Number.NaN));
}

/** What people see while servers do not hear each other: nobody but the neighbours live, and all of them soon. */
async function talk(people: People): Promise<void> {
  const local = await people.tell(2, 3);
  expect(local.ack).toMatchObject({ server: "s2", route: "local" });
  const across = await people.tell(2, 4);
  expect(across.ack).toMatchObject({ status: "held", route: "wake", server: "s2" });
  expect(across.message).toMatchObject({ held: true, server: "s3" });
}

/** `away`: from when the bus is away until it is back. */
async function outage(
  { cluster, people }: { cluster: Cluster; people: People },
  cutOff: readonly ClusterServer[],
  stop: () => Promise<void> | void,
  resume: () => Promise<void> | void,
  ms: number,
): Promise<void> {
  const before = await snapshots(cluster);
  await people.chat(async () => {
    const since = performance.now();
    await stop();
    await noticed(cutOff);
    // What they know of the others stays.
    for (const server of cutOff) expect(await server.metric("beckon_servers")).toBe(3);
    await cluster.placed("u5", "s3", cutOff);
    if (cutOff.length === cluster.servers.length) await talk(people);
    await people.sleep(SLEEPER, []);
    const woken = await people.tell(2, SLEEPER, 30_000);
    expect(woken.message).toMatchObject({ held: true });
    await until(() => performance.now() - since >= ms, "the end of the outage", ms + 1_000);
    for (const server of cutOff) expect(await server.metric("beckon_servers")).toBe(3);
    await resume();
    await cluster.complete();
  });
  await people.settled();
  // Nothing passed them by in the bus: nobody needed more than a word to know that a table is as it was.
  const after = await snapshots(cluster);
  console.log(before, after);
  await until(async () => (await people.tell(2, 4)).ack.route === "remote", "a live message");
  expect(await people.verdict()).toMatchObject(FLAWLESS);
}

describe("L8: nothing is lost, late, twice or out of order", () => {
  for (const seconds of [5, 60]) {
    clusterTest(`NATS is stopped for ${seconds} s`, async () => {
      const system = await begin();
      const { nats, servers } = system.cluster;
      await outage(
        system,
        servers,
        () => nats.stop(),
        () => nats.start(),
        seconds * 1_000,
      );
    });
  }

  clusterTest("all links to NATS drop what they are given, for 15 s", async () => {
    const system = await begin();
    const { servers } = system.cluster;
    await outage(
      system,
      servers,
      () => servers.forEach(({ wire }) => wire.swallow()),
      () => servers.forEach(({ wire }) => wire.restore()),
      15_000,
    );
  });
});
