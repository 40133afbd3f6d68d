/** The development page makes this browser a phone, by real Web Push; and says so where the browser has no push service. */
import { afterAll, beforeAll, expect } from "bun:test";

import type { Page, Worker } from "playwright-core";

import { WebPushService } from "../packages/server/src/push/test-support/web-push-service.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { DevProcess } from "./support/dev.ts";
import { clickShown, deliverPush, shown, watchShown } from "./support/service-worker.ts";
import { until } from "./support/until.ts";

const browser = useBrowser();
const MS = 120_000;

let service: WebPushService;
let dev: DevProcess;
let origin: string;
beforeAll(async () => {
  service = await WebPushService.start();
  // Where the stand-in is; without that a server pushes to no address of this machine.
  dev = await DevProcess.startIn({ BECKON_PUSH_WEBPUSH_ALLOW_0: "127.0.0.1" });
  ({ origin } = new URL(dev.url));
}, MS);
afterAll(async () => {
  await dev.stop();
  await service.close();
});

/** The page as a tab of its own, which does `first` before all else. */
async function open(path: string, first?: (page: Page) => Promise<unknown>): Promise<Page> {
  await browser.context.grantPermissions(["notifications"], { origin });
  const page = await browser.context.newPage();
  await page.emulateMedia({ reducedMotion: "reduce" });
  await first?.(page);
  await page.goto(`${origin}${path}`);
  return page;
}

const card = (page: Page): ReturnType<Page["getByRole"]> =>
  page.getByRole("region", { name: "This browser as a phone" });

/** To the step that offers it. */
async function offer(page: Page): Promise<void> {
  await page.getByRole("button", { name: /^6/ }).and(page.locator(":enabled")).click();
}

const notify = (page: Page): Promise<void> =>
  card(page).getByRole("button", { name: "Notify this browser" }).click();

/** What it says of itself. */
const says = (page: Page, text: RegExp): Promise<void> =>
  card(page).getByRole("status").filter({ hasText: text }).waitFor();

/** The demo's own phones send, sleep and wake. */
async function phonesGoOn(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Start again" }).click();
  await page.locator(".glow", { hasText: "Send" }).click();
  await page.locator(".notification").click();
  await page.locator("#caption", { hasText: "Bob woke at s1" }).waitFor();
}

/** As a push service that gives this subscription, and takes the key that it is asked with. */
const subscribes = (token: string) => (page: Page) =>
  page.addInitScript((token) => {
    const subscription = { toJSON: () => JSON.parse(token) as unknown } as PushSubscription;
    PushManager.prototype.getSubscription = () => Promise.resolve(subscription);
    PushManager.prototype.subscribe = (options) => {
      (globalThis as unknown as { key: unknown }).key = options?.applicationServerKey;
      return Promise.resolve(subscription);
    };
  }, token);

browserTest(
  "M8: a push wakes this browser with no page open, and its click opens the page at the sender's server, where the message is",
  async () => {
    const { applicationServerKey } = await dev.stage();
    const phone = service.subscribe(applicationServerKey);
    const first = await open("/", subscribes(phone.token));
    await offer(first);
    await notify(first);
    await says(first, /^It is you, on s3\.$/);
    const asked = await first.evaluate(() => (globalThis as unknown as { key: unknown }).key);
    expect(asked).toBe(applicationServerKey);
    // In the first lines, too: as any device that is no phone of the demo's.
    await first.getByRole("group", { name: "you’s device" }).waitFor();
    await first.close();
    const isAway = async (): Promise<boolean> => {
      const { devices } = await dev.stage();
      return devices.some(({ user, server }) => user === "you" && server === undefined);
    };
    await until(isAway, "the servers to know that the page is closed");

    const eve = dev.device("eve");
    eve.type("you: Are you there?");
    await dev.line(/you .*pushed; the push names s1$/);
    await until(() => phone.received.length > 0, "the push");
    expect(service.refusals).toEqual([]);
    expect(phone.received[0]).toMatch(/^\{"beckon":"[\w-]+"\}$/);

    const elsewhere = await browser.context.newPage();
    const isOurs = (worker: Worker): boolean => worker.url() === `${origin}/worker.js`;
    await until(() => browser.context.serviceWorkers().some(isOurs), "the service worker");
    const worker = browser.context.serviceWorkers().find(isOurs)!;
    await watchShown(worker);
    await deliverPush(browser, elsewhere, origin, phone.received[0]!);
    expect(await shown(worker)).toEqual({
      title: "A new message",
      body: "Beckon has woken this browser.",
      data: phone.received[0]!,
    });
    const path = await clickShown(worker);

    const opened = await open(path, subscribes(phone.token));
    await card(opened).getByText("eve: Are you there?").waitFor();
    await says(opened, /^It is you, on s1\.$/);
    expect(new URL(opened.url()).hash).toBe("");
    await eve.line(/^ {2}you: held by s1/);
    await card(opened).getByRole("button", { name: "Forget this browser" }).click();
    await card(opened).getByRole("button", { name: "Notify this browser" }).waitFor();
    expect(await eve.end()).toBe(0);
    expect(browser.problems).toEqual([]);
    await opened.close();
    await elsewhere.close();
  },
  MS,
);

browserTest(
  "where the browser cannot reach a push service, the page says so in a line, and its phones go on",
  async () => {
    const page = await open("/");
    await offer(page);
    await notify(page);
    await says(
      page,
      /^This browser has no push service \(it does not answer\)\. The other phones need none\.$/,
    );
    await phonesGoOn(page);
    await page.close();
  },
  MS,
);

browserTest(
  "nor does a browser that has none, or knows no Web Push, stop them",
  async () => {
    const refuses = await open("/", (page) =>
      page.addInitScript(() => {
        PushManager.prototype.subscribe = () =>
          Promise.reject(new DOMException("Registration failed - push service not available"));
      }),
    );
    await offer(refuses);
    await notify(refuses);
    await says(refuses, /\(Registration failed - push service not available\)\. The other phones/);
    await refuses.close();

    const knowsNone = await open("/", (page) =>
      page.addInitScript(() => void delete (globalThis as { PushManager?: unknown }).PushManager),
    );
    await offer(knowsNone);
    await says(knowsNone, /^This browser has no push service \(it knows no Web Push\)\./);
    await phonesGoOn(knowsNone);
    await knowsNone.close();
  },
  MS,
);
