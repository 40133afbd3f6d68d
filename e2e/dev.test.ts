/** `beckon dev` and `beckon device`, as somebody in front of a terminal has them. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { DayView, StageEvent } from "@beckon/console/stage";
import { DEV_API_TOKEN, DEV_SECRET } from "@beckon/server";

import { Day } from "../packages/cli/src/dev/day.ts";
import { DevProcess, MAIN, Running, TEMPORARY } from "./support/dev.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

let dev: DevProcess;
beforeAll(async () => {
  dev = await DevProcess.start();
});
afterAll(async () => {
  await dev.stop();
  rmSync(TEMPORARY, { recursive: true });
});

const of = <T extends StageEvent["type"]>(
  events: readonly StageEvent[],
  type: T,
): Extract<StageEvent, { type: T }>[] =>
  events.filter((event): event is Extract<StageEvent, { type: T }> => event.type === type);

describe("the first lines", () => {
  test("say where to look, what to type, where the code is, and who is where", () => {
    const text = dev.lines.join("\n");
    expect(text).toContain(`npx beckon device eve --dev ${dev.url}`);
    expect(text).toContain("docs/architecture.md");
    expect(text).toMatch(/s1 +ws:\/\/127\.0\.0\.1:\d+ +admin http:\/\/127\.0\.0\.1:\d+ +ann$/m);
    expect(text).toMatch(/s2 .* cat, dan$/m);
    expect(text).toMatch(/s3 .* nobody$/m);
    expect(text).toContain("bob is asleep, and was last on s2");
    for (const path of ["docs/architecture.md", "packages/server/src/delivery/delivery.ts"]) {
      expect(existsSync(join(import.meta.dir, "..", path))).toBe(true);
    }
    expect(text).not.toContain("\u001B");
  });

  test("a port that is taken is passed over, and that is said", async () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const other = await DevProcess.start("--port", String(taken.port));
    try {
      expect(other.lines.join("\n")).toMatch(
        new RegExp(`Another program has .*: \\d+ instead of ${taken.port}`),
      );
      expect(Number(new URL(other.url).port)).toBeGreaterThan(taken.port);
      expect((await other.stage()).servers).toHaveLength(3);
    } finally {
      await other.stop();
      taken.stop(true);
    }
  });

  test("Ctrl-C ends it, and leaves nothing behind", async () => {
    const before = readdirSync(TEMPORARY);
    const other = await DevProcess.start();
    expect(readdirSync(TEMPORARY)).toHaveLength(before.length + 1);
    expect(await other.stop()).toBe(0);
    expect(other.notes.join("\n")).toBe("");
    expect(readdirSync(TEMPORARY)).toEqual(before);
    const folder = join(TEMPORARY, "kept");
    const kept = await DevProcess.start("--data", folder);
    await kept.stop();
    expect(readdirSync(folder)).toContain("beckon.db");
  });
});

describe("a message to one who sleeps", () => {
  test("M7: held, pushed, and he wakes at the sender's server, from where his answer stays", async () => {
    const eve = await dev.listener("eve");
    const { events, close } = await dev.watch();
    eve.type("bob: hello");
    await dev.line(/^eve → bob {2}asleep: held [\d.]+ ms, pushed; the push names s1$/);
    await dev.line(/^bob {2}woke at s1, \d+ ms after the tap; 1 delivered, local$/);
    await dev.line(/^bob → eve {2}delivered, local at s1$/);
    expect(await eve.line(/^ {2}bob: held by s1/)).toContain("ms");
    expect(await eve.line(/^bob: I am here/)).toContain("(live, local at s1)");
    const bobs = () => of(events, "delivered").find(({ to }) => to === "bob");
    await until(() => bobs() !== undefined, "the page to be told");
    expect(of(events, "pushed")).toMatchObject([{ user: "bob", names: "s1" }]);
    expect(of(events, "pushed")[0]!.sealed).toMatch(/^\{"beckon":"[\w-]+"\}$/);
    expect(bobs()).toMatchObject({
      accepted: "s1",
      server: "s1",
      stored: true,
    });
    close();
    expect(await eve.end()).toBe(0);
  });

  test("M3: the admin API says where he is", async () => {
    const { servers, devices } = await dev.stage();
    const bob = devices.find(({ user }) => user === "bob")!;
    expect(bob.server).toBe("s1");
    for (const { admin } of servers) {
      const response = await fetch(`${admin}/v1/users/bob/devices`, {
        headers: { authorization: `Bearer ${DEV_API_TOKEN}` },
      });
      expect(await response.json()).toMatchObject({
        devices: [{ device: bob.device, server: "s1", durable: true, background: false }],
      });
    }
  });

  test("a push that names the server with the fewest devices leads away from the sender", async () => {
    expect(await dev.act({ act: "wakes", wakes: "balanced" })).toBe(204);
    const from = dev.lines.length;
    // He sleeps again when nothing has come for a while.
    await dev.line(/^bob {2}asleep; was last on s1$/, 0, 40_000);
    const eve = await dev.listener("eve", "--device", "second");
    eve.type("bob: hello");
    await dev.line(/^eve → bob .* pushed; the push names s3$/, from);
    await dev.line(/^bob {2}woke at s3, .*; 1 delivered, crossed from s1$/, from);
    await dev.line(/^bob → eve {2}delivered, crossed from s3 to s1$/, from);
    await eve.line(/^bob: I am here.*\(live, crossed from s3 to s1\)$/);
    await eve.end();
    expect(await dev.act({ act: "wakes", wakes: "sender" })).toBe(204);
    await dev.line(/^pushes name the sender's server$/, from);
  });
});

describe("when something fails", () => {
  test("L1: a killed server loses nothing that is under way, and its counters go on", async () => {
    const count = 300;
    const fay = dev.device("fay");
    const gil = dev.device("gil");
    await Promise.all([fay.line(/^connected to s1/), gil.line(/^connected to s1/)]);
    const all = Array.from({ length: count }, (_, i) => `gil: message ${i} of ${count}`);
    fay.type(...all.slice(0, count / 2));
    await gil.line(/^fay: message 20 of/);
    const before = (await dev.stage()).servers[0]!;
    expect(before).toMatchObject({ name: "s1", state: "up" });
    expect(await dev.act({ act: "kill", server: "s1" })).toBe(204);
    fay.type(...all.slice(count / 2));
    await gil.line(new RegExp(`^fay: message ${count - 1} of`), 0, 30_000);
    expect(await fay.end()).toBe(0);
    const got = gil.lines.flatMap((line) => /^fay: (message \d+ of \d+)/.exec(line)?.[1] ?? []);
    expect(got).toEqual(all.map((line) => line.slice("gil: ".length)));
    await gil.end();
    await dev.line(/^s1 {2}killed/);
    await dev.line(/^ann {2}moved from s1 to s[23]$/);
    await dev.line(/^s1 {2}started again$/);
    const after = (await dev.stage()).servers[0]!;
    expect(after.state).toBe("up");
    expect(after.url).toBe(before.url);
    expect(after.acknowledged).toBeGreaterThanOrEqual(before.acknowledged);
  });

  test("L8: a full disk is said, the message waits with its sender, and goes when there is room", async () => {
    const { events, close } = await dev.watch();
    const from = dev.lines.length;
    expect(await dev.act({ act: "fault", fault: "disk-full", on: true })).toBe(204);
    const eve = dev.device("eve", "--device", "third");
    eve.type("nobody-yet: hello");
    const said = await dev.line(/^s\d cannot store: the disk is full.*switch the fault/, from);
    const told = (): boolean =>
      of(events, "trouble").some(({ what, text }) => what === "store" && text === said);
    await until(told, "the page to be told");
    expect(of(events, "faults")[0]!.faults).toEqual(["disk-full"]);
    expect(eve.lines.join("\n")).not.toContain("held");
    expect(await dev.act({ act: "fault", fault: "disk-full", on: false })).toBe(204);
    await eve.line(/^ {2}nobody-yet: held by/, 0, 40_000);
    await dev.line(/^s\d stores again$/, from);
    expect(await eve.end()).toBe(0);
    close();
  });

  test("a push service that does not answer is said, and the push comes when it does", async () => {
    const { events, close } = await dev.watch();
    const from = dev.lines.length;
    const hal = dev.device("hal");
    await hal.line(/^connected/);
    hal.type("/sleep");
    await hal.line(/^asleep/);
    await dev.line(/^hal {2}left/, from);
    await dev.act({ act: "fault", fault: "push-down", on: true });
    const eve = dev.device("eve", "--device", "fourth");
    eve.type("hal: hello");
    const said = await dev.line(/^the push service does not answer. hal sleeps on/, from);
    const told = (): boolean =>
      of(events, "trouble").some(({ what, text }) => what === "push" && text === said);
    await until(told, "the page to be told");
    await dev.act({ act: "fault", fault: "push-down", on: false });
    await hal.line(/^a push has come/, 0, 40_000);
    await dev.line(/^the push service answers again$/, from);
    hal.type("/wake");
    await hal.line(/^eve: hello .*from the store/);
    await Promise.all([hal.end(), eve.end()]);
    close();
  });
});

describe("a page that brings the phones", () => {
  test("gets them from the terminal, loses them to the next page, and gives them back", async () => {
    const from = dev.lines.length;
    const first = await dev.watch("?phones=one");
    const stage = of(first.events, "stage")[0]!;
    expect(stage.devices.filter(({ device }) => device === "ann-phone")).toHaveLength(1);
    await dev.line(/^the page brings the phones/, from);
    await until(async () => {
      const { devices } = await dev.stage();
      return devices.every(({ device, server }) => device !== "ann-phone" || server === undefined);
    }, "the terminal's phones to be put away");
    const second = await dev.watch("?phones=two");
    await until(() => of(first.events, "phones-taken").length === 1, "the older page to be told");
    expect(
      await dev.act({
        act: "report",
        report: { kind: "woke", user: "zoe", server: "s2", ms: 61.4 },
      }),
    ).toBe(204);
    await dev.line(/^zoe {2}woke at s2, 61 ms after the tap$/, from);
    second.close();
    first.close();
    await dev.line(/^the page has gone/, from);
    await until(async () => {
      const { devices } = await dev.stage();
      return devices.some(({ device, server }) => device === "ann-phone" && server === "s1");
    }, "the phones to be back");
  });
});

describe("who may ask", () => {
  const ask = (path: string, headers: Record<string, string>, body?: string): Promise<Response> =>
    fetch(`${dev.url}${path}`, {
      headers,
      ...(body === undefined ? {} : { method: "POST", body }),
    });
  const kill = JSON.stringify({ act: "kill", server: "s9" });

  test.each(["evil.example", "evil.example:4680", "127.0.0.1.evil.example", "10.0.0.5:4680"])(
    "not who was led here by the name %s",
    async (host) => {
      for (const path of [
        "/dev/events",
        "/dev/stage",
        "/dev/token?user=ann",
        "/push/v1/phones/x",
      ]) {
        expect((await ask(path, { host })).status).toBe(403);
      }
      expect((await ask("/dev/acts", { host }, kill)).status).toBe(403);
    },
  );

  test.each(["https://evil.example", "null", "http://localhost:1"])(
    "not a page of %s, to do something",
    async (origin) => {
      expect((await ask("/dev/acts", { origin }, kill)).status).toBe(403);
      expect((await ask("/push/v1/push", { origin }, '{"items":[]}')).status).toBe(403);
    },
  );

  test("its own page, and an application on this machine to read tokens", async () => {
    const refused = await ask("/dev/acts", { origin: dev.url }, kill);
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: { code: "bad-argument", message: "there is no server s9; there are s1, s2, s3" },
    });
    const token = await ask("/dev/token?user=ann", { origin: "http://localhost:5173" });
    expect(token.headers.get("access-control-allow-origin")).toBe("http://localhost:5173");
    expect(await token.text()).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    const evil = await ask("/dev/token?user=ann", { origin: "https://evil.example" });
    expect(evil.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("not in a wrong form", async () => {
    for (const body of [
      "",
      "[]",
      '{"act":"explode"}',
      '{"act":"fault","fault":"fire","on":true}',
    ]) {
      expect((await ask("/dev/acts", {}, body)).status).toBe(400);
    }
    expect((await ask("/dev/token", {})).status).toBe(400);
    expect((await ask("/dev/nothing", {})).status).toBe(404);
  });
});

describe("the secret that everybody knows", () => {
  test("is not served to others", async () => {
    const child = Bun.spawn([process.execPath, MAIN, "serve", "--check"], {
      env: {
        PATH: process.env["PATH"],
        BECKON_LISTEN: "0.0.0.0:8080",
        BECKON_AUTH_SECRET: DEV_SECRET,
        BECKON_AUTH_SEND: "anyone",
      },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [code, notes] = await Promise.all([child.exited, new Response(child.stderr).text()]);
    expect(code).toBe(1);
    expect(notes).toContain("auth.secret is that of development systems");
    expect(notes).toContain("listen on 127.0.0.1");
  });
});

describe("a device", () => {
  test("says so where no development system runs", async () => {
    const alone = new Running(["device", "eve", "--dev", "http://127.0.0.1:1"]);
    expect(await alone.child.exited).toBe(1);
    await until(() => alone.notes.length > 1, "what to do");
    expect(alone.notes.join("\n")).toContain("no development system answers at http://127.0.0.1:1");
    expect(alone.notes.join("\n")).toContain("npx beckon dev");
  });

  test("connects to servers of one's own with a token of one's own", async () => {
    const minted = new Running(["token", "--dev", "--user", "ivy"]);
    await minted.line(/^ey/);
    const { servers } = await dev.stage();
    const ivy = new Running([
      "device",
      "ivy",
      "--server",
      servers[1]!.url,
      "--token",
      minted.lines[0]!,
    ]);
    ivy.type("/help", "hello", "cat: hello", "and more");
    await ivy.line(/^to whom\?/);
    await ivy.line(/^ {2}cat: delivered, local, by s2/);
    ivy.type("/where");
    await ivy.line(/^connected to s2/);
    ivy.type("/quit");
    expect(await ivy.child.exited).toBe(0);
    expect(ivy.lines.filter((line) => line.startsWith("  cat: delivered"))).toHaveLength(2);
    expect(ivy.lines.join("\n")).not.toContain("\u001B");
  });
});

test("what was typed, and could not be sent, survives kill -9 where the device has a file", async () => {
  const storage = join(TEMPORARY, "jan.db");
  await dev.act({ act: "fault", fault: "disk-full", on: true });
  const first = dev.device("jan", "--storage", storage);
  await first.line(/^connected/);
  const from = dev.lines.length;
  first.type("nobody-else: hello");

  await until(
    () =>
      Bun.file(storage)
        .text()
        .then((text) => text.includes("nobody-else")),
    "the message in the file",
  );
  first.child.kill("SIGKILL");
  await first.child.exited;
  await dev.act({ act: "fault", fault: "disk-full", on: false });
  const second = dev.device("jan", "--storage", storage);
  await second.line(/^left from the last run, and sent now: 1$/);
  await second.line(/^ {2}nobody-else: held by/);
  await dev.line(/^jan → nobody-else {2}/, from);
  expect(await second.end()).toBe(0);
});

test("B4: a generated day keeps more on one server where pushes name the sender's", async () => {
  const told: DayView[] = [];
  new Day({ users: 60, messages: 300, command: [process.execPath, MAIN] }).play((day) => {
    told.push(day);
  });
  await until(() => told.at(-1)!.state !== "running", "the day to end", 50_000);
  const { state, balanced, sender, problem } = told.at(-1)!;
  expect({ state, problem }).toEqual({ state: "done", problem: undefined });
  for (const run of [balanced, sender]) {
    expect(run).toMatchObject({ done: 300, of: 300, lost: 0 });
    // What was repeated on the wire was delivered twice; at the device it counts once.
    expect(run.local + run.remote).toBeGreaterThanOrEqual(300);
  }
  expect(sender.local).toBeGreaterThan(balanced.local);
  expect(told.some(({ balanced }) => balanced.done > 0 && balanced.done < 300)).toBe(true);
});
