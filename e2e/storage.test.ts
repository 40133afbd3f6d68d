/** What a storage must do, in the database of a real browser. */
import { expect } from "bun:test";
import type { Page } from "playwright-core";

import { storageSuite } from "../packages/client/src/storage.suite.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { until } from "./support/until.ts";

const browser = useBrowser();

interface Suite {
  check?(law: string): Promise<string | undefined>;
}

let opened: Promise<Page> | undefined;

async function open(): Promise<Page> {
  const page = await browser.page("storage");
  const isReady = (): Promise<boolean> =>
    page.evaluate(() => (globalThis as Suite).check !== undefined);
  await until(isReady, "the page's script");
  return page;
}

const names: string[] = [];
storageSuite(
  (name) => void names.push(name),
  () => Promise.reject(new Error("in the page")),
);

for (const name of names) {
  browserTest(
    `in Chromium: ${name}`,
    async () => {
      opened ??= open();
      const page = await opened;
      const failure = await page.evaluate((law) => (globalThis as Suite).check!(law), name);
      expect(failure).toBeUndefined();
      expect(browser.problems).toEqual([]);
    },
    30_000,
  );
}
