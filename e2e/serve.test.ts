import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";

import { API_TOKEN, Installation } from "./support/process.ts";
import { RawDevice, send } from "./support/raw-device.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

let installation: Installation;
let annsToken: string;
let bobsToken: string;

beforeAll(async () => {
  installation = await Installation.create();
  annsToken = await installation.output("token", "--config", "beckon.toml", "--user", "ann");
  bobsToken = await installation.output("token", "--config", "beckon.toml", "--user", "bob");
});

afterAll(() => installation.remove());

test("L1: kill -9 in the middle of a stream of holds: everything acknowledged is there after the restart", async () => {
  const first = await installation.serve();
  const registered = await new RawDevice(first.url).hello({ token: bobsToken });
  registered.write({ type: "bye" });
  await registered.end();
  const ann = await new RawDevice(first.url).hello({ token: annsToken });
  const acked = (): number => ann.of("ack").reduce((sum, { count }) => sum + count, 0);
  for (let n = 1; n <= 2_000; n++) {
    if (n - acked() > 100) await until(() => n - acked() <= 100, "acknowledgements");
    ann.write(send("bob", n));
    if (acked() > 500) break;
  }
  first.child.kill("SIGKILL");
  await first.child.exited;
  const promised = ann
    .of("ack")
    .flatMap(({ send: from, count }) => Array.from({ length: count }, (_, at) => from + at));
  expect(promised.length).toBeGreaterThan(100);

  const second = await installation.serve();
  const bob = await new RawDevice(second.url).hello({ token: bobsToken });
  const received = new Set<number>();
  await until(() => {
    const before = received.size;
    for (const { n } of bob.of("deliver")) received.add(n);
    if (received.size > before) {
      // Once more each time: that makes room for the rest, and repeats change nothing.
      bob.write({ type: "received", ranges: [1, bob.of("deliver").length] });
    }
    return promised.every((n) => received.has(n));
  }, "all that was acknowledged");
  bob.close();
  second.child.kill("SIGTERM");
  expect(await second.child.exited).toBe(0);
});

test("the backend sends over the admin API and the command line, and health and metrics follow", async () => {
  const server = await installation.serve();
  const bob = await new RawDevice(server.url).hello({ token: bobsToken });
  const answer = await fetch(new URL("/v1/messages", server.admin), {
    method: "POST",
    headers: { authorization: `Bearer ${API_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ from: "shop", to: "zoe", text: "for later" }),
  });
  expect(await answer.json()).toMatchObject({ status: "held", route: "wake" });
  const { admin } = server;
  const words = "Your parcel is here";
  const command = ["send", words, "--from", "shop", "--to", "bob", "--admin", admin];
  const sent = installation.output(...command, "--token", API_TOKEN);
  const fromShop = (): boolean => bob.of("deliver").some(({ from }) => from === "shop");
  await until(fromShop, "the message of the shop");
  bob.write({ type: "received", ranges: [1, bob.of("deliver").length] });
  expect(await sent).toMatch(/^(delivered|held) /);
  expect((await fetch(new URL("/readyz", server.admin))).status).toBe(200);
  const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
  expect(metrics).toContain("beckon_connections 1");
  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
  expect((await bob.end()).code).toBeGreaterThanOrEqual(4200);
});

test("a second server process is kept from the file of the first, until that has died", async () => {
  const first = await installation.serve();
  const second = installation.beckon("serve", "beckon.toml");
  expect(await second.exited).toBe(1);
  const notes = await new Response(second.stderr).text();
  expect(notes).toContain("another server process has");
  expect(notes).toContain("Stop it, or give this one another store.");
  first.child.kill("SIGKILL");
  await first.child.exited;
  const third = await installation.serve();
  third.child.kill("SIGTERM");
  expect(await third.child.exited).toBe(0);
});

test("--check prints the configuration without its secrets, and names each wrong key", async () => {
  const shown = await installation.output("serve", "--check", "beckon.toml");
  expect(shown).toContain('name = "eu-1"');
  expect(shown).not.toContain("for tests");
  const wrong = installation.beckon("serve", "--check", "missing.toml");
  expect(await wrong.exited).toBe(1);
  expect(await new Response(wrong.stderr).text()).toContain("missing.toml");
});

test("a port of the admin API that is taken ends the server, with what to do", async () => {
  const taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const child = Bun.spawn(
    ["node", `${import.meta.dir}/../packages/cli/bin/beckon.mjs`, "serve", "beckon.toml"],
    {
      cwd: installation.folder,
      env: { PATH: process.env["PATH"], BECKON_ADMIN: `127.0.0.1:${taken.port}` },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const notes = await new Response(child.stderr).text();
  expect(await child.exited).toBe(1);
  expect(notes).toContain("Another program has the port: stop it, or change listen or admin.");
  await taken.stop(true);
});
