/** Web Push in a page of a real browser. It has no push service: what ours opened is handed to the service worker by the browser's own tools. */
import { afterEach, beforeEach, expect } from "bun:test";

import { type Beckon, connect } from "@beckon/client";
import { generateVapidKey, processLog, systemClock } from "@beckon/server";
import type { Page, Worker } from "playwright-core";

import { WebPushService } from "../packages/server/src/push/test-support/web-push-service.ts";
import { webPushProvider } from "../packages/server/src/push/webpush.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { clickShown, deliverPush, shown, watchShown } from "./support/service-worker.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

const MS = 60_000;
const browser = useBrowser();
const key = generateVapidKey();

let service: WebPushService;
let system: System;
let ann: Beckon | undefined;

beforeEach(async () => {
  service = await WebPushService.start();
  const provider = webPushProvider({
    key,
    subject: "mailto:push@example.com",
    isAllowed: (address) => address === "127.0.0.1",
    clock: systemClock,
    log: processLog("error"),
  });
  system = await startSystem(2, { providers: [provider] });
});

afterEach(async () => {
  for (const page of browser.context?.pages() ?? []) await page.close();
  await ann?.close();
  await system.stop();
  await service.close();
});

interface Globals {
  readonly beckon: Beckon;
  readonly registered: Promise<unknown>;
  readonly woken: readonly string[];
  readonly got: readonly string[];
}

const serverOf = (page: Page): Promise<string | undefined> =>
  page.evaluate(() => (globalThis as unknown as Globals).beckon.state.server);

const deliver = (page: Page, data: string): Promise<void> =>
  deliverPush(browser, page, browser.origin, data);

browserTest(
  "M7, M8, M9: the worker shows the preview that was sealed, and the click opens the page at the sender's server",
  async () => {
    const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
    const phone = service.subscribe(key.publicKey);
    const query = { server: s2, token: await system.token("bob"), user: "bob" };
    await browser.context.grantPermissions(["notifications"], { origin: browser.origin });
    const first = await browser.page("webpush", { ...query, subscription: phone.token });
    await until(async () => (await serverOf(first)) === "s2", "the page to be at s2");
    await first.evaluate(async () => {
      const { beckon, registered } = globalThis as unknown as Globals;
      await registered;
      await navigator.serviceWorker.ready;
      await beckon.close();
    });

    ann = connect({ servers: [s1], token: () => system.token("ann") });
    await ann.send("bob", "Are you there?", { preview: "Are you there?" });
    await until(() => phone.received.length > 0, "the push");
    await until(() => browser.context.serviceWorkers().length > 0, "the service worker");
    const [worker] = browser.context.serviceWorkers() as [Worker];
    await watchShown(worker);
    await deliver(first, phone.received[0]!);
    const data = JSON.parse(phone.received[0]!) as { beckon: string };
    expect(await shown(worker)).toEqual({
      title: "ann",
      body: "Are you there?",
      data: { ...data, page: "/" },
    });
    await first.close();
    const url = new URL(await clickShown(worker), browser.origin);
    expect(JSON.parse(decodeURIComponent(url.hash.slice(1)))).toEqual(data);

    const opened = await browser.context.newPage();
    const search = new URLSearchParams({ ...query, subscription: phone.token });
    await opened.goto(`${browser.origin}/webpush?${search}${url.hash}`);
    const seen = (): Promise<Pick<Globals, "woken" | "got">> =>
      opened.evaluate(() => {
        const { woken, got } = globalThis as unknown as Globals;
        return { woken, got };
      });
    await until(async () => (await seen()).got.length > 0, "the message");
    await until(async () => (await seen()).woken.length > 0, "the wake's end");
    expect(await seen()).toEqual({ woken: ["connected"], got: ["Are you there?"] });
    expect(await serverOf(opened)).toBe("s1");
    // The worker has opened it, and the page has.
    const third = await opened.evaluate(
      (again) => (globalThis as unknown as Globals).beckon.onWake(again),
      data,
    );
    expect(third).toBe("ignored");
    await watchShown(worker);
    await deliver(opened, phone.received[0]!);
    expect(await shown(worker)).toMatchObject({ title: "Something new" });
    expect((await seen()).woken).toEqual(["connected"]);
    expect(browser.problems).toEqual([]);
  },
  MS,
);

browserTest(
  "L5: a subscription that the browser replaces while no page is open is registered by the worker, and what comes there opens",
  async () => {
    const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
    const [old, fresh] = [service.subscribe(key.publicKey), service.subscribe(key.publicKey)];
    const query = { server: s2, token: await system.token("eve"), user: "eve" };
    const page = await browser.page("webpush", { ...query, subscription: old.token });
    await until(async () => (await serverOf(page)) === "s2", "the page to be at s2");
    await page.evaluate(async () => {
      const { beckon, registered } = globalThis as unknown as Globals;
      await registered;
      await navigator.serviceWorker.ready;
      await beckon.close();
    });
    const token = encodeURIComponent(query.token);
    const isActive = (): Promise<boolean> =>
      page.evaluate(async (part) => {
        const { active } = await navigator.serviceWorker.ready;
        return active?.state === "activated" && active.scriptURL.includes(part);
      }, token);
    await until(isActive, "the service worker to be active");
    const ours = (worker: Worker): boolean => worker.url().includes(token);
    await until(() => browser.context.serviceWorkers().some(ours), "the service worker");
    const worker = browser.context.serviceWorkers().find(ours)!;
    await worker.evaluate(async (subscription) => {
      const scope = globalThis as unknown as { dispatchEvent(event: unknown): void };
      let done: Promise<unknown> | undefined;
      const waitUntil = (work: Promise<unknown>): void => void (done = work);
      const newSubscription = JSON.parse(subscription) as unknown;
      const event = new Event("pushsubscriptionchange");
      scope.dispatchEvent(Object.assign(event, { newSubscription, waitUntil }));
      await done;
    }, fresh.token);

    ann = connect({ servers: [s1], token: () => system.token("ann") });
    await ann.send("eve", "Where are you?", { preview: "Where are you?" });
    await until(() => fresh.received.length > 0, "a push to the new subscription", 20_000);
    expect(old.received).toEqual([]);
    await watchShown(worker);
    await deliver(page, fresh.received.at(-1)!);
    expect(await shown(worker)).toMatchObject({ title: "ann", body: "Where are you?" });
    expect(browser.problems).toEqual([]);
  },
  MS,
);
