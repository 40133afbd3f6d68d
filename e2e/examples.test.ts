/** The examples, as their READMEs start them, on one development system. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { connect } from "@beckon/client";
import { generateVapidKey } from "@beckon/server";

import { browserTest, useBrowser } from "./support/browser.ts";
import { installPackage, ROOT } from "./support/package.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const EXAMPLES = join(ROOT, "examples");

let dev: Program;
/** An empty Node project with the SDK's tarball. */
let project: string | undefined;
let backend: Program;
let bot: Program;

interface Program {
  readonly child: Bun.Subprocess;
  text(): string;
}

/** The newest first. */
const started: Program[] = [];

function start(command: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const child = Bun.spawn([...command], {
    cwd: project ?? ROOT,
    env: { PATH: process.env["PATH"], ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  let text = "";
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) text += decoder.decode(chunk, { stream: true });
  };
  void read();
  const program = { child, text: () => text };
  started.unshift(program);
  return program;
}

const addressIn = async ({ text }: Program): Promise<string> => {
  const address = /http:\/\/[\w.]+:\d+/;
  await until(() => address.test(text()), "an address", 30_000);
  return address.exec(text())![0];
};

/** Of the first server: for devices, and its admin API. */
const S1 = /s1 +(ws:\S+) +admin (http:\S+)/;
const serverUrl = (): string => S1.exec(dev.text())![1]!;

const startBot = async (): Promise<Program> => {
  const program = start(["node", "bot.mjs"], {
    SERVERS: serverUrl(),
    BACKEND: await addressIn(backend),
  });
  await until(() => program.text().includes("connected"), "the bot to connect", 30_000);
  return program;
};

beforeAll(async () => {
  dev = start([process.execPath, join(ROOT, "packages/cli/src/main.ts"), "dev", "--port", "0"]);
  project = await installPackage(["ws", "jose"]);
  await until(() => S1.test(dev.text()), "the development system", 30_000);
  for (const file of ["bot/bot.mjs", "backend/backend.mjs"]) {
    await cp(join(EXAMPLES, file), join(project, basename(file)));
  }
  backend = start(["node", "backend.mjs"], { PORT: "0", BECKON_ADMIN: S1.exec(dev.text())![2]! });
  bot = await startBot();
});

afterAll(async () => {
  for (const { child } of started) {
    child.kill("SIGTERM");
    await child.exited;
  }
  if (project !== undefined) await rm(dirname(project), { recursive: true, force: true });
});

test("the bot answers on plain Node, also what came while it was away, and the backend writes", async () => {
  const url = await addressIn(backend);
  const received: string[] = [];
  const zoe = connect({
    servers: [serverUrl()],
    token: async () => (await fetch(`${url}/beckon-token?user=zoe`)).text(),
  });
  zoe.on("message", (message) => void received.push(`${message.from}: ${message.text()}`));
  await zoe.send("bot", "one");
  await until(() => received.includes("bot: You said: one"), "the answer");
  await until(() => bot.text().includes("answered zoe"), "the bot to know");
  bot.child.kill("SIGTERM");
  expect(await bot.child.exited).toBe(0);
  expect(await zoe.send("bot", "two")).toMatchObject({ status: "held" });
  bot = await startBot();
  await until(() => received.includes("bot: You said: two"), "the late answer");
  const order = await fetch(`${url}/orders?user=zoe`, { method: "POST" });
  expect([order.status, await order.text()]).toEqual([200, "delivered"]);
  await until(() => received.includes("shop: Thank you for your order!"), "the shop's message");
  expect((await fetch(`${url}/beckon-token`)).status).toBe(400);
  await zoe.close();
});

describe("in the browser", () => {
  const browser = useBrowser();

  browserTest("the backend writes to the chat, and the bot answers it", async () => {
    const bun = process.execPath;
    const chat = start([bun, join(EXAMPLES, "chat/index.html"), "--port=0"]);
    const query = new URLSearchParams({ server: serverUrl(), backend: await addressIn(backend) });
    const page = await browser.context.newPage();
    await page.goto(`${await addressIn(chat)}/?${query}`);
    await page.getByText("eve: connected s1").waitFor();
    await page.getByLabel("Text").fill("hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("bot: You said: hello").waitFor();
    await page.getByText("to bot: hello (delivered, ").waitFor();
    await page.getByRole("button", { name: "Order something" }).click();
    await page.getByText("shop: Thank you for your order!").waitFor();
    expect(browser.problems).toEqual([]);
    await page.close();
    chat.child.kill("SIGTERM");
    await chat.child.exited;
  });

  browserTest(
    "a page that asks to be pushed to works where the browser has no push service, and says so",
    async () => {
      const serve = start([process.execPath, join(EXAMPLES, "push-browser/serve.mjs")], {
        PORT: "0",
      });
      const origin = await addressIn(serve);
      await browser.context.grantPermissions(["notifications"], { origin });
      const query = new URLSearchParams({
        server: serverUrl(),
        backend: await addressIn(backend),
        user: "pia",
        key: generateVapidKey().publicKey,
      });
      const page = await browser.context.newPage();
      await page.goto(`${origin}/?${query}`);
      await page.getByText("pia: connected s1").waitFor();
      await page.getByRole("button", { name: "Notify me" }).click();
      await page.getByText(/Asking the push service|You are not notified/).waitFor();
      const scripts = await page.evaluate(async () => {
        const { active } = await navigator.serviceWorker.ready;
        return new URL(active!.scriptURL).pathname;
      });
      expect(scripts).toBe("/worker.js");
      await fetch(`${await addressIn(backend)}/orders?user=pia`, { method: "POST" });
      await page.getByText("shop: Thank you for your order!").waitFor();
      expect(browser.problems).toEqual([]);
      await page.close();
      serve.child.kill("SIGTERM");
      await serve.child.exited;
    },
  );
});
