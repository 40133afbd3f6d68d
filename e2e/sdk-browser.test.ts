/** The SDK in a page of a real browser, with a real server. */
import { afterEach, beforeEach, expect } from "bun:test";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";

import { DevPushService, lastingPort, systemClock } from "@beckon/server";

import { listenDevPush } from "../packages/server/src/push/listen-dev.ts";
import { browserTest, useBrowser } from "./support/browser.ts";
import { DevicePage } from "./support/device-page.ts";
import { Installation, type ServerProcess } from "./support/process.ts";
import { until } from "./support/until.ts";

const MS = 60_000;
const browser = useBrowser();

let installation: Installation;
let server: ServerProcess;
/** Where it is found again when it was away. */
const AT = { BECKON_LISTEN: `127.0.0.1:${lastingPort()}` };
let pushes: DevPushService;
let listener: ReturnType<typeof listenDevPush>;

beforeEach(async () => {
  pushes = new DevPushService(systemClock);
  listener = listenDevPush(pushes, 0);
  installation = await Installation.create();
  const file = join(installation.folder, "beckon.toml");
  await appendFile(file, `\n[push.dev]\nurl = "${listener.url.href}"\n`);
  server = await installation.serve(AT);
});

afterEach(async () => {
  for (const page of browser.context?.pages() ?? []) await page.close();
  server.child.kill("SIGKILL");
  await server.child.exited;
  await listener.close();
  await installation.remove();
});

/** Users of each test are others than those of the one before, as the browser is the same. */
let tests = 0;
beforeEach(() => void tests++);
const named = (user: string): string => `${user}-${tests}`;

async function device(user: string, query: Record<string, string> = {}): Promise<DevicePage> {
  const name = named(user);
  const token = await installation.token(name);
  return DevicePage.open(browser, { server: server.url, token, user: name, ...query });
}

const numbered = (prefix: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `${prefix}${from + at}`);

const problems = (...devices: readonly DevicePage[]): string[] =>
  devices.flatMap((one) => one.all("error").map(({ error }) => error));

browserTest(
  "L2: what a page had taken when it was reloaded is sent by the next one, once, by the same device",
  async () => {
    const bob = await (await device("bob")).connected();
    const ann = await (await device("ann")).connected();
    await ann.send(named("bob"), numbered("a", 1, 10));
    await ann.count("acked", 10);

    server.child.kill("SIGSTOP");
    await ann.send(named("bob"), numbered("b", 1, 10));
    await ann.settled();
    await ann.reload();
    await ann.count("left", 1);
    expect(ann.all("left")[0]!.left).toEqual(numbered("b", 1, 10));
    server.child.kill("SIGCONT");

    await bob.count("got", 20);
    await ann.send(named("bob"), ["c1"]);
    await ann.count("acked", 1);
    await bob.count("got", 21);
    expect(bob.got).toEqual([...numbered("a", 1, 10), ...numbered("b", 1, 10), "c1"]);
    expect(new Set(bob.all("got").map(({ fromDevice }) => fromDevice)).size).toBe(1);
    await ann.settled();
    await ann.reload();
    await ann.count("left", 1);
    expect(ann.all("left")[0]!.left).toEqual([]);
    expect(problems(ann, bob)).toEqual([]);
  },
  MS,
);

browserTest(
  "L2: a page that crashes in its handler gets that message again, marked, and the others once",
  async () => {
    const bob = await (await device("bob", { hold: "a5" })).connected();
    const ann = await (await device("ann")).connected();
    await ann.send(named("bob"), numbered("a", 1, 10));
    await ann.count("acked", 10);
    await bob.count("got", 5);
    await bob.settled();
    expect(bob.got).toEqual(numbered("a", 1, 5));
    await bob.crash(browser);
    await ann.send(named("bob"), numbered("b", 1, 3));
    await ann.count("acked", 13);

    const again = await device("bob");
    await again.count("got", 9);
    expect(again.got[0]).toBe("a5*");
    const texts = again.got.map((text) => text.replace("*", ""));
    expect(texts).toEqual([...numbered("a", 5, 10), ...numbered("b", 1, 3)]);
    await again.settled();
    await again.reload();
    await again.connected();
    await again.settled();
    expect(again.got).toEqual([]);
    expect(problems(ann, again)).toEqual([]);
  },
  MS,
);

browserTest(
  "L2: after kill -9 of the browser what it had taken is sent, once",
  async () => {
    const ann = await (await device("ann")).connected();
    await ann.send(named("bob"), numbered("a", 1, 5));
    await ann.count("acked", 5);
    server.child.kill("SIGSTOP");
    await ann.send(named("bob"), numbered("b", 1, 5));
    await ann.settled();
    await browser.crash();
    server.child.kill("SIGCONT");

    const again = await device("ann");
    await again.count("left", 1);
    expect(again.all("left")[0]!.left).toEqual(numbered("b", 1, 5));
    await again.connected();
    const bob = await device("bob");
    await again.send(named("bob"), ["last"]);
    await again.count("acked", 1);
    await bob.count("got", 11);
    const texts = bob.got.map((text) => text.replace("*", ""));
    expect(texts).toEqual([...numbered("a", 1, 5), ...numbered("b", 1, 5), "last"]);
  },
  MS,
);

browserTest(
  "what is sent while the browser is offline waits, and goes out when it is online",
  async () => {
    const bob = await (await device("bob")).connected();
    const ann = await (await device("ann")).connected();
    await browser.context.setOffline(true);
    server.child.kill("SIGKILL");
    await server.child.exited;
    await until(() => ann.all("state").at(-1)?.state !== "connected", "the loss to be seen");
    await ann.send(named("bob"), numbered("a", 1, 3));
    server = await installation.serve(AT);
    // A browser that is offline reaches nobody, however often it tries.
    const tries = ann.all("state").length;
    await until(() => ann.all("state").length > tries + 2, "tries in vain");
    expect(
      ann
        .all("state")
        .slice(tries)
        .map(({ state }) => state),
    ).not.toContain("connected");
    await browser.context.setOffline(false);
    await ann.count("acked", 3);
    await bob.count("got", 3);
    expect(bob.got).toEqual(numbered("a", 1, 3));
  },
  MS,
);

browserTest(
  "M8, B5: a wake is opened by WebCrypto with the key that the database kept, and a forged one is not",
  async () => {
    const bodies: string[] = [];
    pushes.register("bobs-phone", (body) => void bodies.push(body));
    const bob = await (await device("bob", { push: "bobs-phone" })).connected();
    await bob.settled();
    await bob.page.close();
    const ann = await (await device("ann")).connected();
    await ann.send(named("bob"), ["wake up"]);
    // A device that was here a moment ago has 5 s to come back.
    await until(() => bodies.length > 0, "a push", 20_000);

    const again = await device("bob", { push: "bobs-phone" });
    const sealed = JSON.parse(bodies[0]!) as { beckon: string };
    const forged = sealed.beckon.replace(/.$/, (last) => (last === "A" ? "B" : "A"));
    await again.tell({ wake: { beckon: forged } });
    await again.tell({ wake: sealed });
    await again.count("woken", 2);
    expect(
      again
        .all("woken")
        .map(({ woken }) => woken)
        .toSorted(),
    ).toEqual(["connected", "ignored"]);
    await again.count("got", 1);
  },
  MS,
);
