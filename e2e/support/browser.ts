import { afterAll, beforeAll, test } from "bun:test";
import { mkdtemp, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { type BrowserContext, type CDPSession, chromium, type Page } from "playwright-core";

import { testWith } from "../../packages/server/src/lib/test-support/engine.ts";

/** `BECKON_CHROMIUM` names another build of it. */
const EXECUTABLE = process.env["BECKON_CHROMIUM"] ?? Bun.which("chromium");
const INSTALL = "apt-get install -y chromium";
/** On a machine that has more to do. */
const START_MS = 60_000;

/** On top of what playwright gives; the aim is a browser that talks to loopback alone. */
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A camera and a microphone that everybody may use, and calls between pages of one machine without a network.
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--allow-loopback-in-peer-connection",
];
/** Playwright's own, left out: tests that need pages to sleep as they do for people. */
const NOT_ARGS = ["--disable-back-forward-cache"];

const PAGES = fileURLToPath(new URL("../pages/", import.meta.url));

export const browserTest: typeof test = testWith("browser", EXECUTABLE !== null, INSTALL);

/** Chromium with a profile of its own, and one origin on loopback with bundles of `e2e/pages`. */
export interface Browser {
  /** All tabs of it share cookies, storage and locks. */
  readonly context: BrowserContext;
  /** `http://localhost:PORT`: a secure context. */
  readonly origin: string;
  /** What pages threw, and what they wrote to `console.error`. */
  readonly problems: string[];
  /** A new tab with `e2e/pages/NAME.ts`, which finds `query` in `location.search`. */
  page(name: string, query?: Readonly<Record<string, string>>): Promise<Page>;
  /** The DevTools protocol of a tab, for what playwright has no name for. */
  devtools(page: Page): Promise<CDPSession>;
  /** As the browser does with a tab that was in the background for long, and when it is shown again. */
  lifecycle(page: Page, state: "frozen" | "active"): Promise<void>;
  /** As kill -9 of the browser; it is started again on the same profile and origin, without tabs. */
  crash(): Promise<void>;
}

/**
 * One browser for the tests of a file, from before the first to after the last. If the process dies before
 * that, the browser ends too, as its pipe breaks.
 */
export function useBrowser(): Browser {
  const problems: string[] = [];
  let profile: string;
  let server: Bun.Server<undefined>;
  let context: BrowserContext;

  if (browserTest === test) {
    beforeAll(async () => {
      profile = await mkdtemp(join(tmpdir(), "beckon-chromium-"));
      server = Bun.serve({ hostname: "localhost", port: 0, fetch: answer });
      context = await launch(profile, problems);
    }, START_MS);
    afterAll(async () => {
      await context?.close();
      await server?.stop(true);
      await rm(profile, { recursive: true, force: true, maxRetries: 3 });
    }, START_MS);
  }

  const browser: Browser = {
    get context() {
      return context;
    },
    get origin() {
      return `http://localhost:${server.port}`;
    },
    problems,
    async page(name, query = {}) {
      const page = await context.newPage();
      await page.goto(`${browser.origin}/${name}?${new URLSearchParams(query)}`);
      return page;
    },
    devtools: (page) => context.newCDPSession(page),
    async lifecycle(page, state) {
      await setShown(page, state === "active");
      const devtools = await context.newCDPSession(page);
      await devtools.send("Page.setWebLifecycleState", { state });
      await devtools.detach();
    },
    async crash() {
      const over = new Promise((resolve) => context.once("close", resolve));
      // The lock of a profile is a link that names the host and the process.
      const owner = await readlink(join(profile, "SingletonLock"));
      process.kill(Number(owner.split("-").at(-1)), "SIGKILL");
      await over;
      context = await launch(profile, problems);
    },
  };
  return browser;
}

interface Internals {
  readonly _connection: {
    toImpl(page: unknown): {
      readonly delegate: {
        readonly _mainFrameSession: {
          readonly _client: { send(method: string, parameters: unknown): Promise<unknown> };
        };
      };
    };
  };
}

/** Playwright makes each page believe that it has the focus, and such a page is never frozen. Only its own session can change that. */
async function setShown(page: Page, enabled: boolean): Promise<void> {
  const { delegate } = (page as unknown as Internals)._connection.toImpl(page);
  await delegate._mainFrameSession._client.send("Emulation.setFocusEmulationEnabled", { enabled });
}

async function launch(profile: string, problems: string[]): Promise<BrowserContext> {
  if (EXECUTABLE === null) throw new Error(`no browser: ${INSTALL}`);
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE,
    args: ARGS,
    ignoreDefaultArgs: NOT_ARGS,
  });
  context.on("weberror", (error) => void problems.push(String(error.error())));
  context.on("console", (line) => {
    if (line.type() === "error") problems.push(line.text());
  });
  return context;
}

/** `/NAME` is a page with the bundle of `e2e/pages/NAME.ts`, `/NAME.js` the bundle. */
async function answer(request: Request): Promise<Response> {
  const name = basename(new URL(request.url).pathname);
  if (name === "favicon.ico") return new Response(null, { status: 204 });
  if (!name.endsWith(".js")) {
    const html = `<!doctype html><title>${name}</title><script type="module" src="/${name}.js"></script>`;
    return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
  }
  const code = await bundle(join(PAGES, name.replace(/js$/, "ts")));
  return new Response(code, { headers: { "content-type": "text/javascript; charset=utf-8" } });
}

const bundles = new Map<string, Promise<string>>();

function bundle(entry: string): Promise<string> {
  const made = bundles.get(entry) ?? build(entry);
  bundles.set(entry, made);
  return made;
}

async function build(entry: string): Promise<string> {
  const { outputs } = await Bun.build({ entrypoints: [entry], target: "browser", format: "esm" });
  return (outputs[0] as Blob).text();
}
