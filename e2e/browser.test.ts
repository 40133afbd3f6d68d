import { expect } from "bun:test";

import { browserTest, useBrowser } from "./support/browser.ts";
import { until } from "./support/until.ts";

const browser = useBrowser();

browserTest("a page runs a bundle in a secure context, and what it throws is seen", async () => {
  const page = await browser.page("hello", { throw: "on purpose" });
  await until(async () => (await page.title()) === "secure, function", "the page's script");
  await until(() => browser.problems.length > 0, "what the page throws");
  expect(browser.problems.splice(0)).toEqual(["Error: on purpose"]);
});

browserTest("what a page wrote to disk is there after a crash of the browser", async () => {
  const before = await browser.page("hello");
  await before.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open("kept");
        opening.onupgradeneeded = () => opening.result.createObjectStore("values");
        opening.onsuccess = () => {
          const strict = { durability: "strict" } as const;
          const writing = opening.result.transaction("values", "readwrite", strict);
          writing.objectStore("values").put("yes", "key");
          writing.addEventListener("complete", resolve);
          writing.addEventListener("error", reject);
        };
      }),
  );
  await browser.crash();
  const after = await browser.page("hello");
  const found = after.evaluate(
    () =>
      new Promise((resolve) => {
        const opening = indexedDB.open("kept");
        opening.onsuccess = () => {
          const reading = opening.result.transaction("values").objectStore("values").get("key");
          reading.onsuccess = () => resolve(reading.result);
        };
      }),
  );
  expect(await found).toBe("yes");
});
