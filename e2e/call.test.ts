/** The example of a call, in a real browser with a camera that is none: the callee's devices sleep, and are woken to the caller's server. */
import { afterAll, beforeAll, expect } from "bun:test";
import { join } from "node:path";

import { connect } from "@beckon/client";
import type { Beckon, Wake } from "@beckon/client";
import { memory } from "@beckon/client/storage";
import { systemClock } from "@beckon/server";
import type { Page } from "playwright-core";

import { devProvider, DevPushService } from "../packages/server/src/push/dev.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { ROOT } from "./support/package.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

const MS = 120_000;
const browser = useBrowser();
const push = new DevPushService(systemClock);

let system: System;
let backend: Bun.Server<undefined>;
let example: Bun.Subprocess<"ignore", "pipe", "inherit">;
let origin: string;

beforeAll(async () => {
  system = await startSystem(2, { providers: [devProvider(push)] });
  backend = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch({ url }) {
      const user = new URL(url).searchParams.get("user")!;
      return new Response(await system.token(user), {
        headers: { "access-control-allow-origin": "*" },
      });
    },
  });
  example = Bun.spawn([process.execPath, join(ROOT, "examples/call/index.html"), "--port=0"], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  let text = "";
  for await (const chunk of example.stdout) {
    text += new TextDecoder().decode(chunk);
    const found = /http:\/\/[\w.]+:\d+/.exec(text);
    if (found === null) continue;
    [origin] = found;
    break;
  }
}, MS);

afterAll(async () => {
  example.kill("SIGTERM");
  await example.exited;
  await backend.stop(true);
  await system.stop();
});

/** `data`: the push that opens it. */
async function open(user: string, device: string, server: string, data = ""): Promise<Page> {
  const page = await browser.context.newPage();
  const query = { user, device, server, backend: `http://127.0.0.1:${backend.port}` };
  const search = new URLSearchParams({ ...query, push: `${user}-${device}` });
  await page.goto(`${origin}/?${search}#${encodeURIComponent(data)}`);
  return page;
}

const hasStatus = (page: Page, status: string): Promise<void> =>
  page.getByRole("status").getByText(status, { exact: true }).waitFor();

/** What comes for the device at its push service, while nobody runs there. */
function pushesOf(device: string): string[] {
  const pushes: string[] = [];
  push.register(`bob-${device}`, (body) => pushes.push(body));
  return pushes;
}

browserTest(
  "M7, M8: a sleeping callee is woken to the caller's server, answers, and media flows; elsewhere it stops ringing",
  async () => {
    const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
    // All three devices of Bob were at s2, and sleep.
    const [atPhone, atTablet, atLaptop] = ["phone", "tablet", "laptop"].map(pushesOf) as [
      string[],
      string[],
      string[],
    ];
    for (const device of ["phone", "tablet"]) {
      const page = await open("bob", device, s2);
      await page.getByText("connected s2").waitFor();
      await page.close();
    }
    const storage = memory();
    const startLaptop = (): Beckon =>
      connect({
        servers: [s2],
        device: "laptop",
        token: () => system.token("bob"),
        storage,
        push: { provider: "dev", token: "bob-laptop" },
      });
    const before = startLaptop();
    await until(() => before.state.name === "connected", "the laptop to be registered");
    await before.close();

    const ann = await open("ann", "page", s1);
    await ann.getByText("connected s1").waitFor();
    await ann.getByRole("button", { name: "Call" }).click();
    await until(
      () => [atPhone, atTablet, atLaptop].every(({ length }) => length > 0),
      "the pushes",
    );

    const phone = await open("bob", "phone", s2, atPhone[0]);
    const tablet = await open("bob", "tablet", s2, atTablet[0]);
    for (const page of [phone, tablet]) {
      await hasStatus(page, "ann is calling");
      await page.getByText("connected s1").waitFor();
    }
    await phone.getByRole("button", { name: "Answer" }).click();
    for (const page of [ann, phone]) await hasStatus(page, "connected");
    await hasStatus(tablet, "idle");
    for (const page of [ann, phone]) {
      await page.waitForFunction(() => document.querySelector("video")!.videoWidth > 0);
    }

    // The laptop has rung and was not opened: its next push takes that back.
    await until(() => atLaptop.length > 1, "the laptop's second push");
    const laptop = startLaptop();
    const told: Wake[] = [];
    laptop.on("wake", (wake) => void told.push(wake));
    for (const body of [atLaptop[0]!, atLaptop.at(-1)!]) void laptop.onWake(body);
    await until(() => told.length === 2, "what the pushes say");
    // Each is opened by itself, and one may be done before the other.
    const rings = told.find(({ ended }) => !ended)!;
    const ends = told.find(({ ended }) => ended)!;
    expect(rings).toMatchObject({ class: "call", from: "ann", preview: "ann is calling" });
    expect(ends).toMatchObject({ class: "silent", from: "ann", ended: true, call: rings.call! });
    await laptop.close();

    await ann.getByRole("button", { name: "Hang up" }).click();
    for (const page of [ann, phone]) await hasStatus(page, "idle");
    expect(browser.problems).toEqual([]);
    for (const page of [ann, phone, tablet]) await page.close();
  },
  MS,
);
