/** PostgreSQL restarts, crashes and stays away, under people who talk. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";

import { startPostgres } from "../packages/server/src/store/test-support/postgres.ts";
import type { PostgresProcess } from "../packages/server/src/store/test-support/postgres.ts";
import { Cluster, hasEngines, sequentialTest } from "./support/cluster.ts";
import type { ClusterServer } from "./support/cluster-server.ts";
import { FLAWLESS, People } from "./support/people.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(150_000);

let postgres: PostgresProcess;
let cluster: Cluster;
if (hasEngines) {
  beforeAll(async () => {
    postgres = await startPostgres();
    cluster = await Cluster.start({ postgres });
  }, 60_000);
  afterAll(async () => {
    await cluster?.stop();
    await postgres?.remove();
  }, 60_000);
}

const TALKERS = [0, 1, 2, 3];
const SLEEPERS = [4, 5];
const HOMES = ["s1", "s1", "s2", "s3", "s2", "s3"];

let people: People | undefined;
afterEach(() => people?.close());

/** What was acknowledged as held when the store went away may come later than it would. */
const { late: _, problems: __, ...SAFE } = FLAWLESS;

async function refusals(): Promise<number> {
  const name = 'beckon_refusals_total{code="store-unavailable"}';
  const counts = await Promise.all(cluster.servers.map((server) => server.metric(name)));
  return counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
}

async function storeIs(up: boolean): Promise<void> {
  for (const server of cluster.servers) {
    const isSo = async (): Promise<boolean> =>
      (await server.metric("beckon_store_up")) === (up ? 1 : 0);
    await until(isSo, `${server.name} to see the store ${up ? "up" : "down"}`, 20_000);
    expect(await server.ready()).toMatchObject({
      status: up ? 200 : 503,
      checks: { store: up, bus: true },
    });
  }
}

describe("L8, L1: PostgreSQL", () => {
  sequentialTest(
    "stops and crashes in the middle of commits: all that was said arrives once, in order",
    async () => {
      people = await People.at(cluster, HOMES);
      for (const sleeper of SLEEPERS) await people.sleep(sleeper);
      // Nobody is woken, so that all that is said to them has to be held.
      cluster.pushes.treat = () => "lose";
      const talk = people;
      let said = 0;
      const timer = setInterval(() => {
        said++;
        talk.say(TALKERS[said % TALKERS.length]!, SLEEPERS[said % 3 === 0 ? 0 : 1]!);
      }, 5);
      try {
        await talk.chat(
          async () => {
            for (const mode of ["fast", "immediate", "immediate", "fast"] as const) {
              const goal = talk.acks.size + 150;
              await until(() => talk.acks.size >= goal, "acknowledgements", 40_000);
              await postgres.stop(mode);
              await postgres.start();
            }
          },
          20,
          TALKERS,
        );
      } finally {
        clearInterval(timer);
        cluster.pushes.treat = () => "take";
      }
      await talk.settled(90_000);
      expect(await talk.verdict()).toMatchObject(SAFE);
      await storeIs(true);
    },
  );

  sequentialTest(
    "is away for 20 s: who is connected talks on, what has to be held is refused and said again",
    async () => {
      people = await People.at(cluster, HOMES);
      for (const sleeper of SLEEPERS) await people.sleep(sleeper);
      const talk = people;
      const before = await refusals();
      const since = performance.now();
      await talk.chat(
        async () => {
          await postgres.stop("immediate");
          const held = [talk.say(0, 4), talk.say(2, 5)];
          await until(async () => (await refusals()) >= before + 2, "the refusals");
          await storeIs(false);
          for (const [from, to] of [
            [0, 1],
            [0, 2],
            [3, 1],
          ] as const) {
            expect((await talk.tell(from, to)).ack.status).toBe("delivered");
          }
          expect(held.some((message) => talk.acks.has(message))).toBe(false);
          await until(() => performance.now() - since > 20_000, "the 20 s", 30_000);
          await postgres.start();
          await storeIs(true);
          for (const message of held) await talk.done(message, 60_000);
        },
        50,
        TALKERS,
      );
      await talk.settled(90_000);
      expect(await talk.verdict()).toMatchObject(SAFE);
    },
  );

  sequentialTest("is not there when a server starts: it says so in a line, and ends", async () => {
    const [s1] = cluster.servers as [ClusterServer];
    await s1.terminate();
    await postgres.stop("fast");
    const before = s1.log.length;
    const child = await s1.launch();
    expect(await child.exited).not.toBe(0);
    const said = s1.log.slice(before).trim().split("\n");
    expect(said.filter((line) => line.includes("cannot start"))).toEqual([
      expect.stringContaining("nobody answers at its address"),
    ]);
    expect(said.length).toBeLessThanOrEqual(2);
    await postgres.start();
    await s1.start();
    await cluster.complete();
  });
});
