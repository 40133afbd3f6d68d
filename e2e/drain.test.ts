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

import { connect } from "@beckon/client";
import type { Beckon, Message } from "@beckon/client";

import { type NatsProcess, startNats } from "../packages/server/src/cluster/test-support/nats.ts";
import {
  type PostgresProcess,
  startPostgres,
} from "../packages/server/src/store/test-support/postgres.ts";
import { hasEngines, sequentialTest } from "./support/cluster.ts";
import { API_TOKEN, Installation, type ServerProcess } from "./support/process.ts";
import { RawDevice } from "./support/raw-device.ts";
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

/** A device that writes to its peer as fast as it is answered, and keeps what it gets. */
class Talker {
  readonly peer: string;
  readonly beckon: Beckon;
  readonly got: Message[] = [];
  readonly sent: string[] = [];
  /** Name of the server that it was welcomed by last. */
  server = "";
  readonly #user: string;
  #isTalking = true;
  #done: Promise<void> | undefined;

  constructor(user: string, peer: string, token: string, url: string) {
    this.#user = user;
    this.peer = peer;
    this.beckon = connect({ servers: [url], token: () => token, device: "phone", durable: true });
    this.beckon.on("message", (message) => void this.got.push(message));
    this.beckon.on("state", ({ server }) => {
      if (server !== undefined) this.server = server;
    });
  }

  talk(): void {
    this.#done = this.#talk();
  }

  async #talk(): Promise<void> {
    const unanswered: Promise<unknown>[] = [];
    while (this.#isTalking) {
      const text = `${this.#user} ${this.sent.length + 1}`;
      this.sent.push(text);
      unanswered.push(this.beckon.send(this.peer, text));
      if (unanswered.length === 4) await unanswered.shift();
    }
    await Promise.all(unanswered);
  }

  /** Resolves when all that it sent was acknowledged. */
  async quiet(): Promise<void> {
    this.#isTalking = false;
    await this.#done;
  }
}

async function talk(pairs: number, servers: readonly ServerProcess[]): Promise<void> {
  const users = Array.from({ length: 2 * pairs }, (_, at) => `user-${at}`);
  const tokens = await Promise.all(users.map((user) => installation.token(user)));
  for (const [at, user] of users.entries()) {
    // Some pairs are on one server, some on two.
    const server = servers[(at + Math.floor(at / 4)) % servers.length]!;
    talkers.push(new Talker(user, users[at ^ 1]!, tokens[at]!, server.url));
  }
  await until(() => talkers.every(({ server }) => server !== ""), "all to be connected");
  for (const talker of talkers) talker.talk();
  await until(() => talkers.every(({ got }) => got.length > 5), "all to hear from each other");
}

/** Everybody goes on for a while, then all that was said has arrived: once, in order, and nothing was missing meanwhile. */
async function expectWhole(): Promise<void> {
  const before = talkers.map(({ got }) => got.length);
  await until(() => talkers.every(({ got }, at) => got.length > before[at]! + 20), "more messages");
  await Promise.all(talkers.map((talker) => talker.quiet()));
  for (const [at, { peer, got }] of talkers.entries()) {
    const { sent } = talkers[at ^ 1]!;
    await until(() => got.length >= sent.length, `all that ${peer} has sent`);
    const marked = got.filter(({ gap, late }) => gap || late);
    expect(marked.map((message) => ({ ...message, payload: message.text() }))).toEqual([]);
    expect(got.map((message) => message.text())).toEqual(sent);
  }
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
      await talk(9, servers);
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
      await expectWhole();
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
    await talk(5, servers);
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
    await expectWhole();
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
