import { describe, expect, test } from "bun:test";

import type { Clock } from "../lib/clock.ts";
import {
  AuthorizerUnavailable,
  createAuthorize,
  embeddedAuthorize,
  type Fetch,
  type Sender,
} from "./authorize.ts";

const ann: Sender = { user: "ann", mayWriteTo: ["bob"] };
const URL_ = new URL("https://app.example.com/may-send");

/** Stands still until it is moved. */
function manualClock() {
  const timers = new Set<{ at: number; task: () => void }>();
  let time = 0;
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    after(ms, task) {
      const timer = { at: time + ms, task };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    defer: (task) => queueMicrotask(task),
  };
  const advance = (ms: number): void => {
    time += ms;
    for (const timer of timers) {
      if (timer.at > time) continue;
      timers.delete(timer);
      timer.task();
    }
  };
  return { clock, advance, timers };
}

const unused: Fetch = () => Promise.reject(new Error("asked"));

test("anyone: everybody may write to everybody", () => {
  const authorize = createAuthorize({ kind: "anyone" }, manualClock().clock, unused);
  expect(authorize({ user: "ann", mayWriteTo: undefined }, "bob")).toBe(true);
});

test("claim: only to those that the token lists; no list, nobody", () => {
  const authorize = createAuthorize({ kind: "claim" }, manualClock().clock, unused);
  expect(authorize(ann, "bob")).toBe(true);
  expect(authorize(ann, "cem")).toBe(false);
  expect(authorize({ user: "ann", mayWriteTo: [] }, "bob")).toBe(false);
  expect(authorize({ user: "ann", mayWriteTo: undefined }, "bob")).toBe(false);
});

describe("embedded", () => {
  test("asks the application's function, and takes true alone for yes", async () => {
    const { clock } = manualClock();
    const friends = embeddedAuthorize(({ from, to }) => from === "ann" && to === "bob", clock);
    expect(friends(ann, "bob")).toBe(true);
    expect(friends(ann, "cem")).toBe(false);
    const truthy = embeddedAuthorize((() => "yes") as never, clock);
    expect(truthy(ann, "bob")).toBe(false);
    const later = embeddedAuthorize(({ to }) => Promise.resolve(to === "bob"), clock);
    expect(await later(ann, "bob")).toBe(true);
    expect(await later(ann, "cem")).toBe(false);
  });

  test("a failure and a silence are no answer", async () => {
    const { clock, advance, timers } = manualClock();
    const failing = embeddedAuthorize(() => Promise.reject(new Error("no database")), clock);
    await expect(failing(ann, "bob") as Promise<boolean>).rejects.toThrow("no database");
    expect(timers.size).toBe(0);
    const silent = embeddedAuthorize(() => new Promise(() => {}), clock);
    const answer = silent(ann, "bob") as Promise<boolean>;
    advance(2000);
    await expect(answer).rejects.toBeInstanceOf(AuthorizerUnavailable);
  });
});

describe("the application's answer", () => {
  /** An application that answers when it is told to. */
  function application(token?: string) {
    const { clock, advance, timers } = manualClock();
    const asked: { question: { from: string; to: string }; init: RequestInit }[] = [];
    let answer = (): Response | Promise<Response> => Response.json({ allow: true });
    const authorize = createAuthorize({ kind: "ask", url: URL_, token }, clock, (url, init) => {
      expect(url).toBe(URL_);
      asked.push({
        question: JSON.parse(init.body as string) as { from: string; to: string },
        init,
      });
      return new Promise((resolve, reject) => {
        init.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        Promise.resolve(answer()).then(resolve, reject);
      });
    });
    return {
      advance,
      timers,
      asked,
      ask: (from: string, to: string) => authorize({ user: from, mayWriteTo: undefined }, to),
      answerWith: (next: typeof answer) => void (answer = next),
    };
  }

  test("is asked by POST, and decides", async () => {
    const app = application("s3cret");
    expect(await app.ask("ann", "bob")).toBe(true);
    app.answerWith(() => Response.json({ allow: false }));
    expect(await app.ask("ann", "cem")).toBe(false);
    expect(app.asked.map(({ question }) => question)).toEqual([
      { from: "ann", to: "bob" },
      { from: "ann", to: "cem" },
    ]);
    expect(app.asked[0]!.init).toMatchObject({
      method: "POST",
      redirect: "error",
      headers: { "content-type": "application/json", authorization: "Bearer s3cret" },
    });
    expect(app.timers.size).toBe(0);
  });

  test("is remembered: a yes for a minute, a no for five seconds", async () => {
    const app = application();
    await app.ask("ann", "bob");
    app.advance(59_999);
    expect(app.ask("ann", "bob")).toBe(true);
    app.advance(1);
    app.answerWith(() => Response.json({ allow: false }));
    expect(await app.ask("ann", "bob")).toBe(false);
    app.advance(4999);
    expect(app.ask("ann", "bob")).toBe(false);
    app.advance(1);
    app.answerWith(() => Response.json({ allow: true }));
    expect(await app.ask("ann", "bob")).toBe(true);
    expect(app.asked).toHaveLength(3);
  });

  test("belongs to the pair in its direction, however the names are put together", async () => {
    const app = application();
    await app.ask("a", "bc");
    app.answerWith(() => Response.json({ allow: false }));
    expect(await app.ask("ab", "c")).toBe(false);
    expect(await app.ask("bc", "a")).toBe(false);
  });

  test("is asked for once, however many messages wait for it", async () => {
    const app = application();
    const answers = await Promise.all(Array.from({ length: 50 }, () => app.ask("ann", "bob")));
    expect(answers).toEqual(Array.from({ length: 50 }, () => true));
    expect(app.asked).toHaveLength(1);
  });

  test.each([
    ["a failure", () => Promise.reject(new Error("refused"))],
    ["status 500", () => new Response("no", { status: 500 })],
    ["status 204", () => new Response(null, { status: 204 })],
    ["no JSON", () => new Response("yes")],
    ["another shape", () => Response.json({ allowed: true })],
    ["a truthy allow", () => Response.json({ allow: "true" })],
    ["null", () => Response.json(null)],
    ["a long answer", () => new Response(`{"allow":true,"x":"${"x".repeat(10_000)}"}`)],
  ])("%s is no answer, and is not remembered", async (_, bad) => {
    const app = application();
    app.answerWith(bad);
    await expect(app.ask("ann", "bob") as Promise<boolean>).rejects.toBeInstanceOf(
      AuthorizerUnavailable,
    );
    app.answerWith(() => Response.json({ allow: true }));
    expect(await app.ask("ann", "bob")).toBe(true);
  });

  test("is waited for 2 seconds, then the request is given up", async () => {
    const app = application();
    app.answerWith(() => new Promise(() => {}));
    const answer = app.ask("ann", "bob") as Promise<boolean>;
    app.advance(2000);
    await expect(answer).rejects.toThrow("no answer within 2000 ms");
    expect(app.asked[0]!.init.signal?.aborted).toBe(true);
  });

  test("L10: 64 questions at once, 4,096 wait, and one more is refused at once", async () => {
    const app = application();
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    app.answerWith(() => released.then(() => Response.json({ allow: true })));
    const answers = Array.from({ length: 64 + 4096 }, (_, i) => app.ask("ann", `user-${i}`));
    expect(app.asked).toHaveLength(64);
    expect(() => app.ask("ann", "one more")).toThrow(AuthorizerUnavailable);
    release();
    expect(new Set(await Promise.all(answers))).toEqual(new Set([true]));
    expect(app.asked).toHaveLength(64 + 4096);
    expect(await app.ask("ann", "one more")).toBe(true);
  });

  test("those that wait in vain leave the queue, and later ones are asked", async () => {
    const app = application();
    app.answerWith(() => new Promise(() => {}));
    const lost = Array.from({ length: 200 }, (_, i) => app.ask("ann", `user-${i}`));
    const settled = Promise.allSettled(lost);
    app.advance(2000);
    expect(new Set((await settled).map(({ status }) => status))).toEqual(new Set(["rejected"]));
    app.answerWith(() => Response.json({ allow: true }));
    expect(await app.ask("ann", "bob")).toBe(true);
  });
});
