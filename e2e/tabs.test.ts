/** Tabs of a real browser, with a real server. */
import { afterAll, afterEach, beforeAll, expect } from "bun:test";

import { type Beckon, connect } from "@beckon/client";
import type { Page } from "playwright-core";

import type { ChatTab } from "./pages/tab.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

const MS = 60_000;
const browser = useBrowser();

let system: System;
let bob: Beckon;
/** What bob was given, by user. */
const got = new Map<string, string[]>();
let tests = 0;
let user = "";

beforeAll(async () => {
  system = await startSystem(1);
  const token = await system.token("bob");
  bob = connect({ servers: [system.servers[0]!.url], token: () => token });
  bob.on("message", (message) => {
    const texts = got.get(message.from) ?? [];
    got.set(message.from, [...texts, message.text()]);
  });
  await until(() => bob.state.name === "connected", "bob's connection");
});

afterEach(async () => {
  for (const page of browser.context?.pages() ?? []) await page.close();
  await until(() => connections() === 0, "the tabs' connections to end");
});

afterAll(async () => {
  await bob.close();
  await system.stop();
});

/** Without bob's. */
const connections = (): number => system.servers[0]!.node.gateway.size - 1;

interface Shown {
  readonly chat: ChatTab;
}

const state = (page: Page): Promise<string | undefined> =>
  page.evaluate(() => (globalThis as Partial<Shown>).chat?.state);
const shown = (page: Page): Promise<readonly string[]> =>
  page.evaluate(() => (globalThis as unknown as Shown).chat.shown);
const sent = (page: Page): Promise<Readonly<Record<string, string>>> =>
  page.evaluate(() => (globalThis as unknown as Shown).chat.sent);

const send = (page: Page, ...texts: string[]): Promise<void> =>
  page.evaluate((all) => {
    for (const text of all) (globalThis as unknown as Shown).chat.send(text);
  }, texts);

async function connected(...pages: readonly Page[]): Promise<void> {
  for (const page of pages) {
    await until(async () => (await state(page)) === "connected", "a tab to be connected");
  }
}

/** The first one leads. */
async function tabs(count: number): Promise<Page[]> {
  user = `ann-${++tests}`;
  const query = { server: system.servers[0]!.url, token: await system.token(user), user };
  const pages: Page[] = [];
  for (let i = 0; i < count; i++) {
    const page = await browser.page("tab", query);
    await connected(page);
    pages.push(page);
  }
  return pages;
}

/** What bob says is shown by each of the tabs once, in this order, after what was shown before. */
async function showing(pages: readonly Page[], expected: readonly string[]): Promise<void> {
  for (const page of pages) {
    await until(async () => (await shown(page)).length >= expected.length, "bob's messages");
    expect(await shown(page)).toEqual(expected);
  }
}

/** What is sent from these pages has come to bob once, in the order of each page, and each knows it. */
async function arrived(pages: readonly Page[]): Promise<void> {
  for (const page of pages) {
    const open = async (): Promise<string[]> =>
      Object.entries(await sent(page)).flatMap(([text, id]) => (id === "…" ? [text] : []));
    await until(async () => (await open()).length === 0, "each message's acknowledgement");
    const texts = Object.keys(await sent(page));
    const ofPage = (got.get(user) ?? []).filter((text) => texts.includes(text));
    expect(ofPage).toEqual(texts);
    for (const id of Object.values(await sent(page))) expect(id).toMatch(/^[\da-f-]{36}$/);
  }
}

const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}${at + 1}`);

async function crash(page: Page): Promise<void> {
  const crashed = page.waitForEvent("crash");
  // It has no answer.
  void (await browser.devtools(page)).send("Page.crash").catch(() => {});
  await crashed;
}

/** Which page leads, as the browser calls it. */
const leading = (page: Page): Promise<string | undefined> =>
  page.evaluate(async (name) => {
    const { held = [] } = await navigator.locks.query();
    return held.find((lock) => lock.name === name)?.clientId;
  }, `beckon/${user}`);

browserTest(
  "two tabs share one connection, both send, and both show every message",
  async () => {
    const pages = await tabs(2);
    expect(connections()).toBe(1);
    await bob.send(user, "hello");
    await showing(pages, ["hello"]);
    await Promise.all(pages.map((page, at) => send(page, ...numbered(`${at}: `, 20))));
    await arrived(pages);
    await bob.send(user, "again");
    await showing(pages, ["hello", "again"]);
    expect(connections()).toBe(1);
    expect(browser.problems).toEqual([]);
  },
  MS,
);

browserTest.each([
  ["is closed", (page: Page) => page.close()],
  ["crashes", crash],
  [
    "ends its client",
    (page: Page) => page.evaluate(() => (globalThis as unknown as Shown).chat.close()),
  ],
] as const)(
  "L3: the tab that leads %s: another one leads, and what others were sending arrives once and in order",
  async (_, end) => {
    const [leader, ...rest] = await tabs(3);
    await bob.send(user, "before");
    await showing(rest, ["before"]);
    await Promise.all(rest.map((page, at) => send(page, ...numbered(`${at} before `, 50))));
    const ending = end(leader!);
    for (let n = 1; n <= 20; n++) {
      await Promise.all(rest.map((page, at) => send(page, `${at} meanwhile ${n}`)));
    }
    await ending;
    await arrived(rest);
    await connected(...rest);
    await until(() => connections() === 1, "one connection");
    await bob.send(user, "after");
    await showing(rest, ["before", "after"]);
  },
  MS,
);

browserTest(
  "all tabs are reloaded in the middle of sending: what they had sent arrives once",
  async () => {
    const pages = await tabs(3);
    const texts = pages.map((_, at) => numbered(`${at}: `, 30));
    await Promise.all(pages.map((page, at) => send(page, ...texts[at]!)));
    await Promise.all(pages.map((page) => page.reload()));
    await connected(...pages);
    expect(connections()).toBe(1);
    await send(pages[0]!, "last");
    await arrived([pages[0]!]);
    const all = got.get(user) ?? [];
    expect(new Set(all).size).toBe(all.length);
    // Each had stored a part, from the first on.
    for (const own of texts) {
      const part = all.filter((text) => own.includes(text));
      expect(part).toEqual(own.slice(0, part.length));
    }
    await bob.send(user, "after");
    await showing(pages, ["after"]);
  },
  MS,
);

browserTest(
  "the tab that leads is frozen: another one leads; when it goes on it has missed nothing",
  async () => {
    const [leader, other] = await tabs(2);
    const first = await leading(other!);
    await send(leader!, ...numbered("mine ", 20));
    await browser.lifecycle(leader!, "frozen");
    const isAnother = async (): Promise<boolean> =>
      ![first, undefined].includes(await leading(other!));
    await until(isAnother, "another tab to lead");
    await send(other!, ...numbered("other ", 20));
    await arrived([other!]);
    expect(connections()).toBe(1);
    await bob.send(user, "while frozen");
    await showing([other!], ["while frozen"]);
    await browser.lifecycle(leader!, "active");
    await arrived([leader!]);
    await showing([leader!, other!], ["while frozen"]);
    await other!.close();
    await connected(leader!);
    await bob.send(user, "back");
    await showing([leader!], ["while frozen", "back"]);
    expect(connections()).toBe(1);
  },
  MS,
);

browserTest(
  "a tab that was frozen in the background shows what came meanwhile when it goes on",
  async () => {
    const [leader, other] = await tabs(2);
    const bystander = await browser.page("hello");
    await browser.lifecycle(other!, "frozen");
    await bob.send(user, "while frozen");
    await showing([leader!], ["while frozen"]);
    // It does not stand for the lead either.
    await leader!.close();
    await until(() => connections() === 0, "the end of the connection");
    expect(await leading(bystander)).toBeUndefined();
    await bob.send(user, "while nobody leads");
    await browser.lifecycle(other!, "active");
    await showing([other!], ["while frozen", "while nobody leads"]);
  },
  MS,
);

browserTest(
  "a tab that is left, kept by the browser and gone back to goes on where it was",
  async () => {
    const [page] = await tabs(1);
    await bob.send(user, "before");
    await showing([page!], ["before"]);
    await page!.goto(`${browser.origin}/hello`);
    await until(() => connections() === 0, "the end of the connection");
    await bob.send(user, "meanwhile");
    // A page that is as it was left does not load.
    await page!.goBack({ waitUntil: "commit" });
    await connected(page!);
    await bob.send(user, "after");
    await until(async () => (await shown(page!)).includes("after"), "bob's message");
    expect(await shown(page!)).toEqual(["before", "meanwhile", "after"]);
  },
  MS,
);

browserTest(
  "a log-out in one tab is one in all",
  async () => {
    const pages = await tabs(3);
    await pages[2]!.evaluate(() => (globalThis as unknown as Shown).chat.forget());
    for (const page of pages) {
      await until(async () => (await state(page)) === "closed", "each tab to be closed");
    }
    await until(() => connections() === 0, "the end of the connection");
    const held = (): Promise<number> =>
      pages[0]!.evaluate(async () => (await navigator.locks.query()).held!.length);
    await until(async () => (await held()) === 0, "the tabs to let go of their locks");
  },
  MS,
);
