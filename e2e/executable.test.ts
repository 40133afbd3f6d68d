/** B8: Beckon as one file, where there is nothing else: no Node, no Bun, no packages. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { RawDevice, send } from "./support/raw-device.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const BUILD = fileURLToPath(new URL("../scripts/build.ts", import.meta.url));
let made: string;
let folder: string;

beforeAll(async () => {
  made = await mkdtemp(join(tmpdir(), "beckon-made-"));
  folder = await mkdtemp(join(tmpdir(), "beckon-empty-"));
  const build = Bun.spawn([process.execPath, BUILD, join(made, "beckon")], { stdout: "inherit" });
  expect(await build.exited).toBe(0);
}, 120_000);

afterAll(async () => {
  for (const path of [made, folder]) await rm(path, { recursive: true, force: true });
});

interface Running {
  readonly child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** Of output and notes, so far. */
  text(): string;
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = Bun.spawn([join(made, "beckon"), ...args], {
    cwd: folder,
    // Nothing can be found, and nothing is known.
    env: { PATH: "", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let text = "";
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
  };
  void read(child.stdout);
  void read(child.stderr);
  return { child, text: () => text };
}

async function found(running: Running, pattern: RegExp): Promise<string> {
  await until(() => pattern.test(running.text()), `${pattern} in:\n${running.text()}`, 30_000);
  return pattern.exec(running.text())![1]!;
}

async function output(args: readonly string[], env = {}): Promise<string> {
  const running = start(args, env);
  expect(await running.child.exited).toBe(0);
  return running.text().trim();
}

const SERVER = {
  BECKON_LISTEN: "127.0.0.1:0",
  BECKON_ADMIN: "127.0.0.1:0",
  BECKON_AUTH_SECRET: "a secret of 32 bytes, for tests.",
  BECKON_AUTH_SEND: "anyone",
};

test("B8: one file says what it can do", async () => {
  expect(await output(["--help"])).toContain("beckon serve beckon.toml");
});

test("B8: one file serves: holds in SQLite, sends, receives, and stops on SIGTERM", async () => {
  const server = start(["serve"], SERVER);
  const url = await found(server, /serves devices at (ws:\S+?),/);
  const [annsToken, bobsToken] = await Promise.all(
    ["ann", "bob"].map((user) => output(["token", "--user", user], SERVER)),
  );
  const ann = await new RawDevice(url).hello({ token: annsToken! });
  ann.write(send("bob", 1));
  await until(() => ann.of("ack").length === 1, "the ACK");
  expect(ann.of("ack")[0]).toMatchObject({ status: "held" });
  const bob = await new RawDevice(url).hello({ token: bobsToken! });
  await until(() => bob.of("deliver").length === 1, "the message");
  expect(bob.of("deliver")[0]).toMatchObject({ from: "ann", held: true });
  bob.write({ type: "received", ranges: [1, 1] });
  expect(await readdir(folder)).toContain("beckon.db");
  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
});

test("B8: one file has the page, and plays a day in processes of its own", async () => {
  const dev = start(["dev", "--port", "0", "--json"]);
  const url = await found(dev, /"url":"(http:[^"]+)"/);
  for (const path of ["/", "/chat"]) {
    const page = await (await fetch(new URL(path, url))).text();
    const [, script] = /<script[^>]* src="([^"]+)"/.exec(page) ?? [];
    const code = await fetch(new URL(script!, url));
    expect(code.headers.get("content-type")).toContain("javascript");
    const text = await code.text();
    expect(text.length).toBeGreaterThan(10_000);
    // The page shows the lines of an application as they are written, imports and all.
    expect(text.includes("@beckon/client")).toBe(path === "/");
  }
  const act = { method: "POST", body: JSON.stringify({ act: "day" }) };
  expect((await fetch(new URL("/dev/acts", url), act)).status).toBe(204);
  await found(dev, /"balanced":\{"done":([1-9]\d*)/);
  expect(dev.text()).not.toContain('"failed"');
  dev.child.kill("SIGTERM");
  expect(await dev.child.exited).toBe(0);
});
