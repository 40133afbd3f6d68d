import type { Page } from "playwright-core";

import type { Command, Report } from "../programs/drive.ts";
import type { Browser } from "./browser.ts";
import { DeviceReports } from "./device-reports.ts";
import { until } from "./until.ts";

/** What `pages/device.ts` shows. */
interface Driven {
  readonly reports: readonly Report[];
  obey(command: Command): void;
}

const READ_MS = 20;

/** `pages/device.ts` in a tab. */
export class DevicePage extends DeviceReports {
  readonly page: Page;
  #isGone = false;

  private constructor(page: Page) {
    super();
    this.page = page;
  }

  static async open(
    browser: Browser,
    query: Readonly<Record<string, string>>,
  ): Promise<DevicePage> {
    const device = new DevicePage(await browser.page("device", query));
    await device.begun();
    return device;
  }

  /** The page's script has run; also after a reload, from when on only what the new run says is here. */
  async begun(): Promise<void> {
    const isThere = (): Promise<boolean> => this.page.evaluate(() => "obey" in globalThis);
    await until(isThere, "the page's script");
    this.reports = [];
    void this.#read();
  }

  async #read(): Promise<void> {
    const page = this.page;
    while (!this.#isGone && !page.isClosed()) {
      try {
        this.reports = await page.evaluate(() => (globalThis as unknown as Driven).reports);
      } catch {
        // Reloaded, closed or crashed; who waits for something says that it did not come.
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, READ_MS));
    }
  }

  async tell(command: Command): Promise<void> {
    await this.page.evaluate((what) => (globalThis as unknown as Driven).obey(what), command);
  }

  override async send(to: string, texts: readonly string[]): Promise<void> {
    const commands = texts.map((text) => ({ send: text, to }));
    await this.page.evaluate((all) => {
      for (const one of all) (globalThis as unknown as Driven).obey(one);
    }, commands);
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.begun();
  }

  /** As when the process that draws the page is killed. */
  async crash(browser: Browser): Promise<void> {
    const crashed = this.page.waitForEvent("crash");
    const devtools = await browser.devtools(this.page);
    // It has no answer.
    void devtools.send("Page.crash").catch(() => {});
    await crashed;
    this.#isGone = true;
    await this.page.close();
  }
}
