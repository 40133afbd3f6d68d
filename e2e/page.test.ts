/**
 * The development page, as its visitor goes through it: six steps, two clicks to the third. What a caption says of a server is
 * compared with what that server's own admin API says.
 */
import { afterAll, beforeAll, expect } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { DEV_API_TOKEN } from "@beckon/server";
import type { Page } from "playwright-core";

import { browserTest, useBrowser } from "./support/browser.ts";
import { DevProcess } from "./support/dev.ts";
import { until } from "./support/until.ts";

const browser = useBrowser();
/** `BECKON_PICTURES=docs/pictures` keeps what the README shows. */
const PICTURES = process.env["BECKON_PICTURES"];
const TEST_MS = 120_000;

let dev: DevProcess;
let admins: ReadonlyMap<string, string>;
beforeAll(async () => {
  dev = await DevProcess.start();
  admins = new Map((await dev.stage()).servers.map(({ name, admin }) => [name, admin]));
}, TEST_MS);
afterAll(() => dev.stop());

interface Size {
  readonly width: number;
  readonly height: number;
}

const DESKTOP: Size = { width: 1280, height: 720 };
const PHONE: Size = { width: 390, height: 844 };

async function open(size: Size, scheme: "light" | "dark" = "light"): Promise<Page> {
  const page = await browser.context.newPage();
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
  await page.goto(dev.url);
  await page
    .getByRole("button", { name: "Send Ann’s message" })
    .and(page.locator(".glow"))
    .waitFor();
  return page;
}

const caption = (page: Page): Promise<string> => page.locator("#caption").innerText();

async function says(page: Page, what: RegExp): Promise<string> {
  let text = "";
  await until(
    async () => what.test((text = await caption(page))),
    `${what} in the caption; it says: ${text}`,
    30_000,
  ).catch(async (error: unknown) => {
    throw new Error(`${String(error)}\nthe caption says: ${await caption(page)}`);
  });
  return text;
}

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  await mkdir(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `${name}.png`) });
}

/** No scrolling sideways. */
async function fits(page: Page): Promise<void> {
  const [wide, seen] = await page.evaluate(
    () => [document.documentElement.scrollWidth, innerWidth] as const,
  );
  expect(wide).toBeLessThanOrEqual(seen);
}

/** Where a user's phone is connected, by the table of a server. */
async function whereIs(user: string): Promise<string | null | undefined> {
  const response = await fetch(new URL(`/v1/users/${user}/devices`, admins.get("s2")), {
    headers: { authorization: `Bearer ${DEV_API_TOKEN}` },
  });
  const { devices } = (await response.json()) as {
    devices: { device: string; server: string | null }[];
  };
  return devices.find(({ device }) => device === `${user}-phone`)?.server;
}

/** A counter of all servers together, by their metrics. */
async function counted(metric: RegExp): Promise<number> {
  const texts = await Promise.all(
    [...admins.values()].map(async (admin) => (await fetch(new URL("/metrics", admin))).text()),
  );
  return texts
    .flatMap((text) => text.split("\n").filter((line) => metric.test(line)))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const CROSSED = /^beckon_deliveries_total\{[^}]*route="remote"/;

browserTest(
  "M7 B4: six steps, each caption true",
  async () => {
    const page = await open(DESKTOP);
    await fits(page);
    expect(await caption(page)).toStartWith("Bob is asleep. He was last on s2. Ann is on s1.");
    expect(await whereIs("ann")).toBe("s1");
    expect(await whereIs("bob")).toBeNull();
    expect(await page.locator(".glow").count()).toBe(1);
    await picture(page, "1-asleep");

    // The first click.
    await page.getByRole("button", { name: "Send Ann’s message" }).click();
    const sent = await says(page, /names s1/);
    expect(sent).toMatch(/s1 stored it \(held, [\d.]+ m?s\)/);
    expect(await page.locator("#reads").innerText()).toBe("dial s1");
    expect(await page.locator(".opened .sealed").innerText()).not.toContain("Lunch");
    await picture(page, "2-send");

    // The second.
    await page.locator(".notification").click();
    const woke = await says(page, /never left the lane/);
    expect(woke).toMatch(/Bob woke at s1, [\d.]+ m?s after the tap/);
    expect(woke).toMatch(/[\d.]+ m?s, no disk, no hop/);
    expect(await whereIs("bob")).toBe("s1");
    expect(await counted(CROSSED)).toBe(0);
    await page.locator("#phone-bob").and(page.locator('[data-lane="0"]')).waitFor();
    await page.locator("#phone-ann .t2").waitFor();
    await picture(page, "3-tap");

    await page.getByRole("button", { name: "Next" }).click();
    await page.getByRole("switch").click();
    await says(page, /answer crossed/);
    expect(await whereIs("bob")).toBe("s3");
    await until(
      async () => (await counted(CROSSED)) === 2,
      "two crossed deliveries in the metrics",
    );
    await until(
      async () => (await page.locator("#crossed").innerText()) === "2",
      "the page's own counter",
    );
    await picture(page, "4-without");

    await page.getByRole("button", { name: /^Next/ }).click();
    await page.getByRole("button", { name: "Kill s1" }).click();
    const killed = await says(page, /starts again by itself/);
    expect(killed).toMatch(/s1 is dead\. Its phones were back after [\d.]+ m?s/);
    const [, acknowledged, lost] = /Acknowledged (\d+), lost (\d+)/.exec(killed)!;
    expect(Number(acknowledged)).toBeGreaterThan(40);
    expect(Number(lost)).toBe(0);
    expect(await whereIs("ann")).not.toBe("s1");
    await picture(page, "5-kill");

    await page.getByRole("button", { name: "Next" }).click();
    const code = await page.locator("#code").innerText();
    expect(code).toContain(`${new URL(dev.url).origin}/dev/token?user=`);
    const opening = browser.context.waitForEvent("page");
    await page.getByRole("link", { name: "Run it as Eve" }).click();
    const app = await opening;
    await app.locator("#badge", { hasText: "connected" }).waitFor();
    await page.getByRole("group", { name: "eve’s device" }).waitFor();
    await app.locator("#text").fill("Hello from an app");
    await app.getByRole("button", { name: "Send" }).click();
    await page.locator("#phone-ann", { hasText: "Hello from an app" }).waitFor();
    await fits(page);
    await picture(page, "6-app");
    await app.close();
    await page.close();
  },
  TEST_MS,
);

browserTest(
  "M7: a day through both ways, in gauges",
  async () => {
    const page = await open(DESKTOP);
    await page.getByRole("button", { name: /^4/ }).click();
    await page.getByRole("button", { name: "Play a day" }).click();
    await page.locator(".gauge.sender small", { hasText: "0 lost" }).waitFor({ timeout: 90_000 });
    const share = async (kind: string): Promise<number> =>
      Number.parseInt(await page.locator(`.gauge.${kind} b`).innerText(), 10);
    expect(await share("balanced")).toBeLessThan(40);
    expect(await share("sender")).toBeGreaterThan(60);
    await picture(page, "4-day");
    await page.close();
  },
  TEST_MS,
);

browserTest(
  "it works on a phone, in the dark, with the keyboard alone",
  async () => {
    const page = await open(PHONE, "dark");
    await fits(page);
    await page.getByRole("textbox", { name: "Ann writes" }).focus();
    await page.keyboard.press("Enter");
    await page.locator(".notification").focus();
    await page.keyboard.press("Enter");
    await says(page, /never left the lane/);
    await fits(page);
    await picture(page, "3-phone");
    await page.close();
  },
  TEST_MS,
);

browserTest(
  "of two pages the newer has the phones, and the other says so",
  async () => {
    const first = await open(DESKTOP);
    const second = await open(DESKTOP);
    await says(first, /on another page/);
    await first.getByRole("button", { name: "Bring them here" }).waitFor();
    expect(await caption(second)).toContain("Bob is asleep");
    await first.close();
    await second.close();
    await until(
      () => dev.lines.some((line) => line.includes("the phones are here again")),
      "the terminal's phones",
    );
  },
  TEST_MS,
);

browserTest(
  "L8: the page says when the disk is full, and when it is well again",
  async () => {
    const page = await open(DESKTOP);
    await page.getByRole("button", { name: /^5/ }).click();
    await page.getByText("Break something else").click();
    await page.getByLabel("The disk is full").check();
    await page.getByRole("textbox", { name: "Ann writes" }).fill("Are you there?");
    await page.getByRole("button", { name: "Send Ann’s message" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("The disk is full").uncheck();
    await page.locator("#phone-ann .t1").waitFor();
    await page.close();
  },
  TEST_MS,
);
