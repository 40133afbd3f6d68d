import { describe, expect, test } from "bun:test";

import { systemClock } from "../lib/clock.ts";
import { devHttpProvider } from "./dev-http.ts";
import { devProvider, DevPushService } from "./dev.ts";
import { listenDevPush } from "./listen-dev.ts";
import type { PushItem } from "./provider.ts";
import { type ProviderFixture, providerSuite } from "./provider.suite.ts";

const item = (token: string, body: string, expires = Date.now() + 60_000): PushItem => ({
  token,
  body,
  class: "message",
  expires,
});

/** Turns pass when the test says so. */
function turns() {
  const tasks: (() => void)[] = [];
  const clock = { ...systemClock, defer: (task: () => void) => void tasks.push(task) };
  return {
    service: new DevPushService(clock),
    turn: () => tasks.splice(0).forEach((run) => run()),
  };
}

/** Bodies as they come, by token. */
function inbox() {
  const bodies = new Map<string, string[]>();
  const waiting = new Set<() => void>();
  const received = (token: string): string[] => bodies.get(token) ?? [];
  return {
    received,
    take: (token: string) => (body: string) => {
      bodies.set(token, [...received(token), body]);
      for (const check of waiting) check();
    },
    arrived: (token: string, count: number) =>
      new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${received(token).length} came`)), 4000);
        const check = (): void => {
          if (received(token).length < count) return;
          clearTimeout(timer);
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
  };
}

/** A phone on the other end of HTTP. */
async function phone(url: URL, token: string, take: (body: string) => void): Promise<() => void> {
  const abort = new AbortController();
  const response = await fetch(new URL(`v1/phones/${encodeURIComponent(token)}`, url), {
    signal: abort.signal,
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) if (event.startsWith("data: ")) take(event.slice(6));
    }
  };
  read().catch(() => undefined);
  return () => abort.abort();
}

describe("in this process", () => {
  providerSuite(test, () => {
    const service = new DevPushService(systemClock);
    const { received, take, arrived } = inbox();
    for (const token of ["a", "b", "old"]) service.register(token, take(token));
    service.forget("old");
    const fixture: ProviderFixture = {
      provider: devProvider(service),
      known: ["a", "b"],
      gone: "old",
      received,
      arrived,
      close: () => Promise.resolve(),
    };
    return Promise.resolve(fixture);
  });
});

describe("over HTTP", () => {
  providerSuite(test, async () => {
    const listener = listenDevPush(new DevPushService(systemClock), 0);
    const { received, take, arrived } = inbox();
    const phones = await Promise.all(
      ["a/ü", "b", "old"].map((token) => phone(listener.url, token, take(token))),
    );
    await fetch(new URL("v1/phones/old", listener.url), { method: "DELETE" });
    return {
      provider: devHttpProvider(listener.url, fetch),
      known: ["a/ü", "b"],
      gone: "old",
      received,
      arrived,
      close: async () => {
        for (const stop of phones) stop();
        await listener.close();
      },
    };
  });

  test("a service that is not there: try later, each", async () => {
    const listener = listenDevPush(new DevPushService(systemClock), 0);
    await listener.close();
    const provider = devHttpProvider(listener.url, fetch);
    expect(await provider.send([item("a", "1"), item("b", "2")])).toEqual([
      { kind: "retry", after: 5000 },
      { kind: "retry", after: 5000 },
    ]);
  });

  test("what waits for a phone that had no network comes when it is back", async () => {
    const service = new DevPushService(systemClock);
    const listener = listenDevPush(service, 0);
    const { received, take, arrived } = inbox();
    const stop = await phone(listener.url, "a", take("a"));
    service.send(item("a", "1"));
    await arrived("a", 1);
    stop();
    // The service hears of the lost phone a moment later; until then a push is lost with the phone, as it would be with a vendor.
    const again = await phone(listener.url, "a", take("a"));
    service.send(item("a", "2"));
    await arrived("a", 2);
    expect(received("a")).toEqual(["1", "2"]);
    again();
    await listener.close();
  });

  test("garbage is refused", async () => {
    const listener = listenDevPush(new DevPushService(systemClock), 0);
    for (const body of ["", "[]", '{"items":[{"token":""}]}']) {
      const response = await fetch(new URL("v1/push", listener.url), { method: "POST", body });
      expect(response.status).toBe(400);
    }
    await listener.close();
  });
});

describe("the service", () => {
  test("a handler runs in a later turn, never within send", () => {
    const { service, turn } = turns();
    const bodies: string[] = [];
    service.register("a", (body) => bodies.push(body));
    expect(service.send(item("a", "1"))).toEqual({ kind: "sent" });
    expect(bodies).toEqual([]);
    turn();
    expect(bodies).toEqual(["1"]);
  });

  test("an unknown token is gone, also after it was forgotten with pushes on their way", () => {
    const { service, turn } = turns();
    const bodies: string[] = [];
    expect(service.send(item("a", "0"))).toEqual({ kind: "gone" });
    service.register("a", (body) => bodies.push(body));
    service.send(item("a", "1"));
    service.forget("a");
    service.forget("a");
    turn();
    expect(bodies).toEqual([]);
    expect(service.send(item("a", "2"))).toEqual({ kind: "gone" });
  });

  test("pushes wait for a phone that does not listen, the last 32 of them, if they are not over", () => {
    const { service, turn } = turns();
    const bodies: string[] = [];
    service.register("a", () => undefined)();
    for (let i = 0; i < 40; i++) service.send(item("a", String(i)));
    service.send(item("a", "over", Date.now() - 1));
    turn();
    service.register("a", (body) => bodies.push(body));
    turn();
    expect(bodies).toEqual(Array.from({ length: 31 }, (_, i) => String(i + 9)));
  });

  test("a second listener takes over; the first one's end does not end it", () => {
    const { service, turn } = turns();
    const bodies: string[] = [];
    const stop = service.register("a", () => bodies.push("first"));
    service.register("a", () => bodies.push("second"));
    stop();
    service.send(item("a", "1"));
    turn();
    expect(bodies).toEqual(["second"]);
  });
});
