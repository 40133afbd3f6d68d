/** B3: servers that are emptied while their devices write to each other: real processes, on a real NATS and a real PostgreSQL. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";

import { type NatsProcess, startNats } from "../packages/server/src/cluster/test-support/nats.ts";
import {
  type PostgresProcess,
  startPostgres,
} from "../packages/server/src/store/test-support/postgres.ts";
import { hasEngines, sequentialTest } from "./support/cluster.ts";
import { API_TOKEN, Installation, type ServerProcess } from "./support/process.ts";
import { RawDevice } from "./support/raw-device.ts";
import { expectWhole, talk, Talker } from "./support/talker.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(120_000);

const DEADLINE_MS = 8_000;
/** For a machine that does other things as well: the server's own clock keeps the deadline. */
const SLACK_MS = 10_000;

let nats: NatsProcess;
let postgres: PostgresProcess;
let installation: Installation;
beforeAll(async () => {
  installation = await Installation.create();
  if (!hasEngines) return;
  [nats, postgres] = await Promise.all([startNats(), startPostgres()]);
});
afterAll(async () => {
  await Promise.all([installation.remove(), nats?.stop(), postgres?.remove()]);
});

const started: ServerProcess[] = [];
const talkers: Talker[] = [];
afterEach(async () => {
  await Promise.all(talkers.splice(0).map(({ beckon }) => beckon.close()));
  for (const { child } of started.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

async function serve(name: string, schema: string): Promise<ServerProcess> {
  const server = await installation.serve({
    BECKON_NAME: name,
    BECKON_BUS: `nats://127.0.0.1:${nats.port}`,
    BECKON_STORE: postgres.url,
    BECKON_POSTGRES_SCHEMA: schema,
    BECKON_POSTGRES_CONNECTIONS: "4",
    BECKON_CLUSTER_KEY: `a key of 32 bytes or more: ${schema}`,
    BECKON_LOG: "warn",
    BECKON_DRAIN_BATCH: "2",
    BECKON_DRAIN_INTERVAL: "150ms",
    BECKON_DRAIN_DEADLINE: `${DEADLINE_MS}ms`,
  });
  started.push(server);
  return server;
}

async function ready(servers: readonly ServerProcess[]): Promise<void> {
  for (const { admin } of servers) {
    await until(async () => {
      const text = await (await fetch(new URL("/metrics", admin))).text();
      const isTrusted = text.includes("beckon_table_trusted 1\n");
      return isTrusted && text.includes(`beckon_servers ${servers.length}\n`);
    }, "the servers to know each other");
  }
}

async function converse(pairs: number, servers: readonly ServerProcess[]): Promise<void> {
  const users = Array.from({ length: 2 * pairs }, (_, at) => `user-${at}`);
  const tokens = await Promise.all(users.map((user) => installation.token(user)));
  for (const [at, user] of users.entries()) {
    // Some pairs are on one server, some on two.
    const server = servers[(at + Math.floor(at / 4)) % servers.length]!;
    const token = tokens[at]!;
    const options = { servers: [server.url], token: () => token, device: "phone", durable: true };
    talkers.push(new Talker(user, users[at ^ 1]!, options));
  }
  await talk(talkers);
}

async function gone({ child }: ServerProcess, since: number): Promise<void> {
  expect(await child.exited).toBe(0);
  expect(performance.now() - since).toBeLessThan(DEADLINE_MS + SLACK_MS);
}

describe("B3: devices go on with their conversation while their server is emptied", () => {
  sequentialTest(
    "by beckon drain: nothing is lost, repeated or out of order (L1, L2, L3)",
    async () => {
      const servers = await Promise.all(
        ["eu-1", "eu-2", "eu-3"].map((name) => serve(name, "drained")),
      );
      await ready(servers);
      const [eu1, eu2] = servers as [ServerProcess, ServerProcess, ServerProcess];
      await converse(9, servers);
      const there = talkers.filter(({ server }) => server === "eu-2");
      expect(there.length).toBeGreaterThan(4);

      const began = performance.now();
      const command = ["drain", "eu-2", "--admin", eu1.admin, "--token", API_TOKEN];
      const drained = installation.output(...command);
      const isDraining = async (): Promise<boolean> =>
        (await fetch(new URL("/readyz", eu2.admin))).status === 503;
      await until(isDraining, "eu-2 to say that it takes no more devices");
      expect((await fetch(new URL("/healthz", eu2.admin))).status).toBe(200);
      await gone(eu2, began);
      expect(await drained).toContain("eu-2 has gone");
      await expectWhole(talkers);
      const places = new Set(there.map(({ server }) => server));
      expect(places).toEqual(new Set(["eu-1", "eu-3"]));
      const status = await installation.output(
        "status",
        "--admin",
        eu1.admin,
        "--token",
        API_TOKEN,
      );
      expect(status).toMatch(/^eu-1 +up .*\neu-3 +up [^\n]*$/m);
    },
  );

  sequentialTest("one server after the other, by SIGTERM, and back again", async () => {
    const names = ["eu-1", "eu-2"];
    const servers = await Promise.all(names.map((name) => serve(name, "rolled")));
    await ready(servers);
    await converse(5, servers);
    for (const [at, name] of names.entries()) {
      const began = performance.now();
      servers[at]!.child.kill("SIGTERM");
      await gone(servers[at]!, began);
      const other = names[1 - at];
      const isThere = (): boolean => talkers.every(({ beckon }) => beckon.state.server === other);
      await until(isThere, `all to be on ${other}`);
      servers[at] = await serve(name, "rolled");
      await ready(servers);
    }
    await expectWhole(talkers);
  });
});

test("a second signal ends a server at once, whoever is still there", async () => {
  const server = await installation.serve({
    BECKON_DRAIN_BATCH: "1",
    BECKON_DRAIN_DEADLINE: "1h",
    BECKON_DRAIN_INTERVAL: "1m",
  });
  started.push(server);
  const token = await installation.token("ann");
  const devices = await Promise.all(
    ["one", "two", "three"].map((device) => new RawDevice(server.url).hello({ token, device })),
  );
  server.child.kill("SIGTERM");
  await until(() => devices.some(({ closed }) => closed !== undefined), "the first to be closed");
  const again = setInterval(() => server.child.kill("SIGTERM"), 50);
  expect(await server.child.exited).toBe(1);
  clearInterval(again);
  expect(devices.filter(({ errors }) => errors.includes("stopping"))).toHaveLength(1);
});
