/**
 * examples/cluster: what its compose file says, as processes, and what its README says, as a user does it. `support/compose/places.ts` says
 * what differs from containers: hosts, ports and paths, and nothing else.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test as anyTest } from "bun:test";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { connect } from "@beckon/client";

import serverPackage from "../packages/server/package.json" with { type: "json" };
import { natsTest } from "../packages/server/src/cluster/test-support/nats.ts";
import {
  giveToPostgres,
  postgresPrograms,
} from "../packages/server/src/store/test-support/postgres-process.ts";
import { postgresTest } from "../packages/server/src/store/test-support/postgres.ts";
import { testWith } from "../packages/server/src/lib/test-support/engine.ts";
import { parseCompose } from "./support/compose/file.ts";
import { ComposeProject, EXAMPLE } from "./support/compose/project.ts";
import { Running } from "./support/dev.ts";
import { ROOT } from "./support/package.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(180_000);

const TOOLS = ["curl", "openssl", "wget"];
const toolsTest = testWith(
  TOOLS.join(", "),
  TOOLS.every((tool) => Bun.which(tool) !== null),
  `apt-get install -y ${TOOLS.join(" ")}`,
);
/** With all of them, or skipped. */
const test = [natsTest, postgresTest, toolsTest].find((each) => each !== anyTest) ?? anyTest;
const isHere = test === anyTest;

const readme = await Bun.file(join(EXAMPLE, "README.md")).text();
const composeText = await Bun.file(join(EXAMPLE, "compose.yaml")).text();
const runText = await Bun.file(join(EXAMPLE, "run.sh")).text();

let project: ComposeProject;
let folder: string;

beforeAll(async () => {
  if (!isHere) return;
  folder = await mkdtemp(join(tmpdir(), "beckon-cluster-"));
  project = await ComposeProject.create();
  await project.up();
});

afterAll(async () => {
  if (!isHere) return;
  await project.remove();
  await rm(folder, { recursive: true, force: true });
});

/** The arguments of a command that the README shows. */
function shown(pattern: RegExp): string[] {
  const [line] = pattern.exec(readme) ?? [];
  if (line === undefined) throw new Error(`the README does not say ${pattern}`);
  return line.split(" ");
}

/** As the README starts it: with a token that a server's own command has made. */
async function device(user: string): Promise<Running> {
  const [, , , , from, , ...mint] = shown(
    new RegExp(`docker compose exec -T s1 beckon token --user ${user}`),
  );
  const file = join(folder, `${user}.token`);
  await writeFile(file, await project.exec(from!, ...mint));
  const [, , ...args] = shown(new RegExp(`npx beckon device ${user} .*`));
  return new Running(
    args.map((word) => (word === `${user}.token` ? file : project.places.outside(word))),
  );
}

/** What a server's admin address, as the host sees it, answers to this path. */
async function admin(port: number, path: string): Promise<string> {
  const url = project.places.outside(`http://127.0.0.1:${port}`);
  return (await fetch(new URL(path, url))).text();
}

async function allKnowEachOther(): Promise<void> {
  for (const port of [9091, 9092, 9093]) {
    await until(
      async () => (await admin(port, "/metrics")).includes("\nbeckon_servers 3\n"),
      `three servers, as ${port} has it`,
      30_000,
    );
  }
}

/** Until the first server has heard where the user's devices are: nothing is sent to them before. */
async function whereabouts(user: string, ...servers: readonly string[]): Promise<void> {
  const token = await project.secret("s1", "api-token");
  const url = new URL(`/v1/users/${user}/devices`, project.places.outside("http://127.0.0.1:9091"));
  const there = async (): Promise<unknown[]> => {
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const { devices } = (await response.json()) as { devices: { server?: string }[] };
    return devices.map(({ server }) => server).filter((server) => typeof server === "string");
  };
  await until(async () => Bun.deepEquals(await there(), servers), `${user} at ${servers.join()}`);
}

test("M6, M7, M8, L1: two devices on two servers, a wake that leads to the sender's, and a server that is killed", async () => {
  await allKnowEachOther();
  const ann = await device("ann");
  await ann.line(/^connected to s1$/);
  const bob = await device("bob");
  await bob.line(/^connected to s2$/);

  await whereabouts("bob", "s2");
  let hellos = 0;
  // A device that has just come reads what is held for it first, so that the first ones may come from there.
  await until(async () => {
    ann.type(`bob: hello ${++hellos}`);
    const heard = await bob.line(new RegExp(`^ann: hello ${hellos} .*crossed from s1 to s2`));
    return heard.includes("(live, ");
  }, "a message that is delivered live");
  await ann.line(/bob: delivered, remote, by s1/);
  bob.type("/sleep");
  await bob.line(/^asleep/);
  ann.type("are you awake?");
  await ann.line(/bob: held by s1/);
  await bob.line(/a push has come/);
  bob.type("/wake");
  await bob.line(/^connected to s1$/);
  await bob.line(/^ann: are you awake\? .*from the store, local at s1/);
  bob.type("ann: yes");
  await bob.line(/ann: delivered, local, by s1/);

  const before = { ann: ann.lines.length, bob: bob.lines.length };
  await project.kill("s1");
  await ann.line(/^connected to s[23]$/, before.ann, 30_000);
  await bob.line(/^connected to s[23]$/, before.bob, 30_000);
  ann.type("bob: still there?");
  await bob.line(/^ann: still there\?/, before.bob, 30_000);
  await project.up(["s1"]);
  await allKnowEachOther();
  expect(JSON.parse(await admin(9091, "/readyz"))).toMatchObject({ server: "s1" });

  for (const phone of [ann, bob]) {
    phone.type("/quit");
    expect(await phone.child.exited).toBe(0);
  }
});

test("L9: a server takes any path, as behind a balancer that tells servers apart by it", async () => {
  const url = `${project.places.outside("ws://127.0.0.1:8082")}/eu-2`;
  const zoe = connect({
    servers: [url],
    token: async () => (await project.exec("s1", "token", "--user", "zoe")).trim(),
  });
  await until(() => zoe.state.server === "s2", "zoe at s2", 30_000);
  await zoe.close();
});

test("stop: each ends by itself, within the time that the file gives it, and what is held is there after the next start", async () => {
  const ann = await device("ann");
  await ann.line(/^connected to s1$/);
  await whereabouts("bob");
  ann.type("bob: for later");
  await ann.line(/bob: held by s1/);
  const codes = await project.stop();
  expect(codes).toEqual(
    Object.fromEntries(
      // nats-server ends with 1 when it is told to end.
      Object.keys(project.services).map((name) => [name, name === "nats" ? 1 : 0]),
    ),
  );
  expect(await ann.stop()).toBe(0);
  await project.up();
  const bob = await device("bob");
  await bob.line(/^ann: for later .*from the store/);
  bob.type("/quit");
  expect(await bob.child.exited).toBe(0);
});

anyTest("without its secrets it says what to run; a key that is not known is refused", () => {
  expect(() => parseCompose(composeText, {})).toThrow("run ./make-secrets.sh first");
  const wrong = composeText.replace("restart: unless-stopped", "privileged: true");
  expect(() => parseCompose(wrong, { SECRETS: "." })).toThrow("privileged");
});

anyTest(
  "a server has more time to stop than it takes to drain, and the version of this tree",
  () => {
    const { services } = parseCompose(composeText, { SECRETS: "." });
    for (const name of ["s1", "s2", "s3"]) {
      const { environment, stop_grace_period: grace, image } = services[name]!;
      expect(grace).toBeGreaterThan(Number.parseInt(environment["BECKON_DRAIN_DEADLINE"]!));
      expect(environment["BECKON_NAME"]).toBe(name);
      expect(image).toBe(`beckon:${serverPackage.version}`);
    }
  },
);

anyTest("run.sh tells its servers what the compose file tells them", () => {
  const { services } = parseCompose(composeText, { SECRETS: "." });
  const told = [...runText.matchAll(/ (BECKON_\w+)=(\S+)/g)].map(([, name, value]) => [
    name,
    value,
  ]);
  expect(new Set(told.map(([name]) => name))).toEqual(
    new Set(Object.keys(services["s1"]!.environment)),
  );
  for (const [, value] of told) expect(value).toMatch(/\$|^secrets\/|^anyone$|^10s$/);
  const [, ...settings] = services["postgres"]!.command;
  expect(runText.replaceAll(/\s*\\\n\s*/g, " ")).toContain(settings.join(" "));
});

test("run.sh: all of it as processes, and Ctrl-C ends it", async () => {
  // As a clone, so that its files are here, and PostgreSQL, which is not root, gets at its data.
  const clone = join(folder, "clone");
  await mkdir(join(clone, "examples"), { recursive: true });
  await cp(EXAMPLE, join(clone, "examples/cluster"), {
    recursive: true,
    filter: (path) => !/\/(secrets|\.env)$/.test(path),
  });
  for (const name of ["node_modules", "packages"])
    await symlink(join(ROOT, name), join(clone, name));
  const data = await mkdtemp(join(tmpdir(), "beckon-cluster-data-"));
  giveToPostgres(data);
  const port = (name: string): string => String(project.places.port("run.sh", name));
  const admins = ["a1", "a2", "a3"].map(port);
  const child = Bun.spawn([join(clone, "examples/cluster/run.sh")], {
    env: {
      PATH: `${postgresPrograms}:${process.env["PATH"]}`,
      DATA: data,
      NATS_PORT: port("nats"),
      MONITOR_PORT: port("monitor"),
      POSTGRES_PORT: port("postgres"),
      PUSH_PORT: port("push"),
      DEVICE_PORTS: ["d1", "d2", "d3"].map(port).join(" "),
      ADMIN_PORTS: admins.join(" "),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let said = "";
  const read = async (from: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of from) said += decoder.decode(chunk, { stream: true });
  };
  const all = Promise.all([read(child.stdout), read(child.stderr)]);
  try {
    await until(
      () => said.includes("All three are ready") || child.exitCode !== null,
      () => said,
      90_000,
    );
    for (const at of admins) {
      await until(
        async () => {
          const metrics = await (await fetch(`http://127.0.0.1:${at}/metrics`)).text();
          return metrics.includes("\nbeckon_servers 3\n");
        },
        () => `three servers:\n${said}`,
        30_000,
      );
    }
  } finally {
    child.kill("SIGINT");
  }
  expect(await child.exited).toBe(0);
  await all;
  for (const name of ["s1", "s2", "s3"]) {
    expect(said).toMatch(new RegExp(`"event":"server.stopped","server":"${name}"`));
  }
  await rm(data, { recursive: true, force: true });
});
