import { describe, expect, test } from "bun:test";

import { formatUuid } from "@beckon/protocol";

import type { Beckon } from "../beckon.ts";
import type { Ack, Message } from "../message.ts";
import { accept } from "../test-support/accepting.ts";
import { type FakeConnection, FakeNetwork, type FakeServer } from "../test-support/fake-server.ts";
import { collect, marks, outcome, seededRandom } from "../test-support/setup.ts";
import { VirtualClock } from "../test-support/virtual-clock.ts";
import { FakeBrowser, type Page } from "./test-support/fake-browser.ts";

interface Start {
  readonly clock: VirtualClock;
  readonly browser: FakeBrowser;
  readonly a: FakeServer;
  /** Connections that are open. */
  open(): number;
}

function start(): Start {
  const clock = new VirtualClock();
  const network = new FakeNetwork(clock);
  const a = network.add("a");
  const open = (): number => a.connections.filter((connection) => connection.open).length;
  return { clock, browser: new FakeBrowser(clock, network), a, open };
}

const texts = (messages: readonly { text(): string }[]): string[] =>
  messages.map((message) => message.text());

function settled<T>(clock: VirtualClock, promise: Promise<T>, ms = 1_000): T {
  const result = outcome(promise);
  clock.run(ms);
  if (result.error !== undefined) throw result.error;
  return result.value as T;
}

const names = (tabs: readonly Beckon[]): string[] => tabs.map(({ state }) => state.name);

describe("tabs of one origin", () => {
  test("share one device and one connection, and each hands over every message once", () => {
    const { clock, browser, a, open } = start();
    const tabs = [browser.page().connect(), browser.page().connect(), browser.page().connect()];
    const shown = tabs.map(collect);
    clock.run(100);
    expect(names(tabs)).toEqual(["connected", "connected", "connected"]);
    expect([a.connections.length, open()]).toEqual([1, 1]);
    a.last.deliver({ n: 1 });
    a.last.deliver({ n: 2 });
    clock.run(100);
    expect(shown.map(texts)).toEqual(tabs.map(() => ["ann 1", "ann 2"]));
    expect(new Set(a.last.received)).toEqual(new Set([1, 2]));
    expect([...browser.values.keys()].filter((key) => key.startsWith("i/"))).toEqual([]);
  });

  test("each sends, in its order, and hears of its own ACKs", () => {
    const { clock, browser, a } = start();
    const taken = accept([a], () => undefined);
    const [first, second] = [browser.page().connect(), browser.page().connect()];
    const acks = [1, 2, 3].map((n) => second.send("bob", `second ${n}`));
    const own = first.send("bob", "first");
    const { id } = settled(clock, own);
    expect(id).toMatch(/^[\da-f-]{36}$/);
    expect(acks.map((ack) => settled(clock, ack).status)).toEqual(Array(3).fill("delivered"));
    const sent = taken.map(({ payload }) => new TextDecoder().decode(payload));
    expect(sent.filter((text) => text.startsWith("second"))).toEqual([
      "second 1",
      "second 2",
      "second 3",
    ]);
    expect(sent).toHaveLength(4);
  });
});

/** What ends the lead of the first page. */
const ENDS = {
  crash: (page: Page) => page.crash(),
  freeze: (page: Page) => page.freeze(),
  close: (_: Page, beckon: Beckon) => void beckon.close(),
} as const;

describe.each(Object.keys(ENDS) as (keyof typeof ENDS)[])("the leader's %s", (end) => {
  test("L3: at any moment: another leads, nothing that followers sent is lost, doubled or out of order", () => {
    for (let at = 0; at < 30; at++) {
      const { clock, browser, a, open } = start();
      const taken = accept([a], () => undefined);
      const pages = [browser.page(), browser.page(), browser.page()];
      const tabs = pages.map((page) => page.connect());
      clock.run(5);
      const acks: Promise<Ack>[] = [];
      const written: string[] = [];
      const write = (n: number): void => {
        for (const tab of [1, 2]) {
          written.push(`${tab} ${n}`);
          acks.push(tabs[tab]!.send("bob", `${tab} ${n}`));
        }
      };
      for (let n = 1; n <= 10; n++) {
        clock.after(n, () => write(n));
        clock.after(at + n, () => write(10 + n));
      }
      clock.after(at, () => ENDS[end](pages[0]!, tabs[0]!));
      clock.run(5_000);
      expect(open()).toBe(1);
      expect(names(tabs.slice(1))).toEqual(["connected", "connected"]);
      const sent = taken.map(({ payload }) => new TextDecoder().decode(payload));
      for (const tab of ["1", "2"]) {
        const of = (texts: string[]): string[] => texts.filter((text) => text.startsWith(tab));
        expect(of(sent)).toEqual(of(written));
      }
      const outcomes = acks.map((ack) => outcome(ack));
      clock.settle();
      const told = new Set(outcomes.map(({ value }) => value?.id));
      expect(told).toEqual(new Set(taken.map(({ id }) => formatUuid(id))));
      expect(told.size).toBe(40);
    }
  });
});

test("a frozen tab hears what became of its messages, though two others led meanwhile", () => {
  const { clock, browser, a } = start();
  const taken = accept([a], () => undefined);
  const [first, second, third] = [browser.page(), browser.page(), browser.page()];
  const [tab, next] = [first, second, third].map((page) => page.connect());
  clock.run(100);
  a.onSend = () => {};
  const ack = outcome(tab!.send("bob", "hello"));
  clock.run(10);
  accept([a], () => undefined);
  first.freeze();
  clock.run(100);
  expect(a.last.sends).toHaveLength(1);
  void next!.close();
  clock.run(100);
  expect(ack.value).toBeUndefined();
  first.resume();
  clock.run(100);
  expect(a.connections).toHaveLength(3);
  expect(a.connections.map(({ sends }) => sends.length)).toEqual([1, 1, 0]);
  expect(ack.value?.id).toBe(formatUuid(a.connections[1]!.sends[0]!.id));
  expect(taken).toEqual([]);
  // It is remembered until it was told, and goes with the next write.
  const remembered = [...browser.values.keys()].filter((key) => key.startsWith("a/"));
  expect(remembered).toHaveLength(1);
  settled(clock, tab!.send("bob", "again"));
  expect(browser.values.has(remembered[0]!)).toBe(false);
});

describe("messages", () => {
  test("L2: when the leader crashes at any moment, each tab that stays hands over each of them once", () => {
    for (let at = 0; at < 12; at++) {
      const { clock, browser, a } = start();
      const pages = [browser.page(), browser.page(), browser.page()];
      const tabs = pages.map((page) => page.connect());
      const shown = tabs.map(collect);
      clock.run(20);
      /** What the server has no acknowledgement of comes again. */
      a.onHello = (connection) => {
        const acknowledged = a.connections[0]!.received;
        connection.welcome();
        for (let n = 1; n <= 3; n++) {
          if (!acknowledged.includes(n)) connection.deliver({ n, redelivered: true });
        }
      };
      for (let n = 1; n <= 3; n++) a.last.deliver({ n });
      clock.run(at);
      pages[0]!.crash();
      clock.run(5_000);
      const all = ["ann 1", "ann 2", "ann 3"];
      expect(shown.slice(1).map(texts)).toEqual([all, all]);
      expect([...browser.values.keys()].filter((key) => key.startsWith("i/"))).toEqual([]);
    }
  });

  test("a handler that fails is asked again in its tab, and the others go on", () => {
    const { clock, browser, a } = start();
    const [first, second] = [browser.page().connect(), browser.page().connect()];
    const failures: string[] = [];
    const tries: boolean[] = [];
    first.on("error", ({ code }) => failures.push(code));
    first.on("message", ({ redelivered }) => {
      tries.push(redelivered);
      if (tries.length === 1) throw new Error("not now");
    });
    const shown = collect(second);
    clock.run(20);
    a.last.deliver({ n: 1 });
    clock.run(20);
    expect([texts(shown), failures, tries]).toEqual([["ann 1"], ["handler-failed"], [false]]);
    clock.run(5_000);
    expect(tries).toEqual([false, true]);
  });

  test("stay stored until one tab has handled them", () => {
    const { clock, browser, a } = start();
    const [leader, page] = [browser.page(), browser.page()];
    leader.connect();
    page.connect();
    clock.run(20);
    a.last.deliver({ n: 1 });
    clock.run(20);
    expect(a.last.received).toEqual([1]);
    leader.crash();
    page.crash();
    const shown = collect(browser.page().connect());
    clock.run(1_000);
    expect(shown.map(marks)).toEqual(["1 redelivered"]);
  });

  test("that came while a tab was frozen are handed over there when it goes on", () => {
    const { clock, browser, a } = start();
    const [leader, page] = [browser.page(), browser.page()];
    leader.connect();
    const shown = collect(page.connect());
    clock.run(20);
    page.freeze();
    a.last.deliver({ n: 1 });
    clock.run(1_000);
    page.resume();
    clock.run(20);
    expect(texts(shown)).toEqual(["ann 1"]);
  });

  test("L10: beyond the bound a tab that takes none leaves some out, and says so", () => {
    const { clock, browser, a } = start();
    const [leader, idle] = [browser.page().connect(), browser.page().connect()];
    collect(leader);
    clock.run(20);
    for (let n = 1; n <= 4_100; n++) {
      a.last.deliver({ n });
      if (n % 100 === 0) clock.run(200);
    }
    clock.run(1_000);
    const shown: string[] = [];
    idle.on("message", (message) => void shown.push(marks(message)));
    clock.run(1_000);
    a.last.deliver({ n: 4_101 });
    clock.run(1_000);
    expect([shown.length, shown.at(-2), shown.at(-1)]).toEqual([4_097, "4096", "4101 gap"]);
  });
});

describe("the end", () => {
  test("of a follower leaves the others connected, and what it sent goes out", () => {
    const { clock, browser, a, open } = start();
    const [leader, follower] = [browser.page().connect(), browser.page().connect()];
    clock.run(20);
    a.onSend = () => {};
    const ack = outcome(follower.send("bob", "last words"));
    settled(clock, follower.close());
    expect([ack.error?.code, follower.state.name]).toEqual(["closed", "closed"]);
    expect([leader.state.name, open(), a.last.sends.length]).toEqual(["connected", 1, 1]);
    const left = settled(clock, leader.outbox());
    expect(left.map((unsent) => unsent.text())).toEqual(["last words"]);
  });

  test("by forget in one tab is the end in all, and nothing is left on disk", () => {
    const { clock, browser, open } = start();
    const tabs = [browser.page().connect(), browser.page().connect(), browser.page().connect()];
    clock.run(20);
    expect(settled(clock, tabs[2]!.forget(), 20)).toBe("forgotten");
    expect(names(tabs)).toEqual(["closed", "closed", "closed"]);
    expect([open(), browser.values.size]).toEqual([0, 0]);
    // Once all have heard of it.
    browser.page().connect();
    clock.run(20);
    expect(open()).toBe(1);
  });

  test("by the server is told in all tabs, with the reason", () => {
    const { clock, browser, a, open } = start();
    const tabs = [browser.page().connect(), browser.page().connect()];
    const errors: string[] = [];
    for (const tab of tabs) tab.on("error", ({ code }) => errors.push(code));
    clock.run(20);
    a.last.refuse("revoked");
    clock.run(5_000);
    expect(tabs.map(({ state }) => [state.name, state.error?.code])).toEqual([
      ["closed", "revoked"],
      ["closed", "revoked"],
    ]);
    expect([open(), errors]).toEqual([0, ["revoked", "revoked"]]);
  });
});

test("each says who is quiet, and the next leader is told what the last one was not answered", () => {
  const { clock, browser, a } = start();
  const pages = [browser.page(), browser.page()];
  const [, second] = pages.map((page) => page.connect());
  clock.run(20);
  settled(clock, second!.quiet({ until: 0 }), 20);
  a.onQuiet = () => {};
  const quiet = outcome(second!.quiet({ conversation: "eve", until: Infinity }));
  clock.run(20);
  a.onQuiet = (connection, _, count) => connection.write({ type: "quieted", count });
  pages[0]!.crash();
  clock.run(5_000);
  expect(quiet).toHaveProperty("value");
  const said = a.last.frames.filter(({ type }) => type === "quiet");
  expect(said).toEqual([{ type: "quiet", conversation: "eve", until: Number.MAX_SAFE_INTEGER }]);
  const bad = outcome(second!.quiet({ until: Number.NaN }));
  clock.run(20);
  expect(bad).toMatchObject({ error: { code: "bad-argument" } });
});

test("what waits is listed in each tab, with what becomes of it", () => {
  const { clock, browser, a } = start();
  a.state = "refuses";
  const page = browser.page();
  const [leader, follower] = [page.connect(), browser.page().connect()];
  clock.run(20);
  void leader.send("bob", "hello").catch(() => {});
  const [unsent] = settled(clock, follower.outbox(), 20);
  expect(unsent).toMatchObject({ to: "bob", id: undefined });
  page.crash();
  a.state = "up";
  expect(settled(clock, unsent!.ack, 20_000)).toMatchObject({ status: "delivered" });
  expect(settled(clock, follower.outbox())).toEqual([]);
});

test("the device is in the background when all tabs are, also those that are gone", () => {
  const { clock, browser, a } = start();
  const pages = [browser.page(), browser.page(), browser.page()];
  const tabs = pages.map((page) => page.connect());
  clock.run(20);
  const said = (): unknown[] =>
    a.last.frames.flatMap((frame) => (frame.type === "state" ? [frame.background] : []));
  tabs[0]!.background(true);
  tabs[1]!.background(true);
  clock.run(20);
  expect(said()).toEqual([]);
  pages[2]!.crash();
  clock.run(20);
  expect(said()).toEqual([true]);
  tabs[1]!.background(false);
  clock.run(20);
  expect(said()).toEqual([true, false]);
});

test("a message is withdrawn from any tab, and errors are whole", () => {
  const { clock, browser, a } = start();
  a.state = "refuses";
  const [, follower] = [browser.page().connect(), browser.page().connect()];
  const withdrawal = new AbortController();
  const early = outcome(follower.send("bob", "1", { signal: withdrawal.signal }));
  clock.run(20);
  withdrawal.abort();
  const bad = outcome(follower.send("", "2"));
  clock.run(20);
  expect(early.error).toMatchObject({ name: "BeckonError", code: "aborted" });
  expect(bad.error).toMatchObject({ code: "bad-recipient", retryable: false });
  expect(settled(clock, follower.outbox())).toEqual([]);
});

test("L10: a tab that nobody leads takes as many messages as the outbox", () => {
  const { clock, browser } = start();
  const page = browser.page();
  page.connect();
  page.freeze();
  const other = browser.page().connect({ outboxLimit: 2 });
  const [, , third] = ["1", "2", "3"].map((text) => outcome(other.send("bob", text)));
  clock.settle();
  expect(third?.error).toMatchObject({ code: "outbox-full", retryable: true });
});

test("L10: tabs beyond the bound are served, and do not count for the background", () => {
  const { clock, browser, a } = start();
  const tabs = Array.from({ length: 65 }, () => browser.page().connect());
  clock.run(100);
  expect(new Set(names(tabs))).toEqual(new Set(["connected"]));
  const last = tabs.at(-1)!;
  expect(settled(clock, last.send("bob", "hello"), 20).status).toBe("delivered");
  for (const tab of tabs.slice(0, -1)) tab.background(true);
  clock.run(20);
  expect(a.last.frames.at(-1)).toMatchObject({ type: "state", background: true });
  const shown = collect(last);
  a.last.deliver({ n: 1 });
  clock.run(20);
  expect(texts(shown)).toEqual(["ann 1"]);
});

test("[P-5.14] a call and its end are sent from any tab", () => {
  const { clock, browser, a } = start();
  const [, follower] = [browser.page().connect(), browser.page().connect()];
  clock.run(100);
  void follower.send("bob", "ring", { wake: "call" });
  clock.run(100);
  const [call] = a.last.sends;
  expect(call).toMatchObject({ n: 0, wake: "call" });
  void follower.send("bob", "never mind", { ends: formatUuid(call!.id) });
  clock.run(100);
  expect(a.last.sends[1]).toMatchObject({ n: 1, ends: call!.id });
});

test("what is no wake is ignored, from any tab", async () => {
  const { clock, browser } = start();
  const tabs = [browser.page().connect(), browser.page().connect()];
  clock.run(20);
  for (const tab of tabs) {
    for (const data of ["anything", { beckon: "forged" }, () => {}, undefined]) {
      const answer = tab.onWake(data);
      clock.run(20);
      expect(await answer).toBe("ignored");
    }
  }
});

/** Tabs open, close, crash, freeze and go on, while all send and the server delivers. */
test.each(Array.from({ length: 40 }, (_, seed) => seed + 1))(
  "L2, L3: in any order, seed %d",
  (seed) => {
    const { clock, browser, a } = start();
    const taken = accept([a], () => undefined);
    const random = seededRandom(seed);
    const below = (bound: number): number => {
      const bytes = new Uint8Array(4);
      random(bytes);
      return bytes[3]! % bound;
    };
    /** What the server has for this device: each is acknowledged on the connection that brought it, by its number there. */
    let delivered = 0;
    const brought = new Map<FakeConnection, number[]>();
    function deliver(connection: FakeConnection, n: number): void {
      brought.set(connection, [...(brought.get(connection) ?? []), n]);
      connection.deliver({ n });
    }
    a.onHello = (connection) => {
      const acknowledged = new Set(
        [...brought].flatMap(([{ received }, ns]) => received.map((number) => ns[number - 1])),
      );
      connection.welcome();
      for (let n = 1; n <= delivered; n++) if (!acknowledged.has(n)) deliver(connection, n);
    };

    interface Open {
      readonly page: Page;
      readonly tab: Beckon;
      readonly shown: Message[];
      readonly sent: string[];
      readonly acks: { value?: Ack }[];
      readonly from: number;
      frozen: boolean;
    }
    let count = 0;
    const open = new Map<number, Open>();
    function begin(): void {
      const page = browser.page();
      const tab = page.connect();
      const number = ++count;
      open.set(number, {
        page,
        tab,
        shown: collect(tab),
        sent: [],
        acks: [],
        from: delivered,
        frozen: false,
      });
    }
    begin();
    begin();
    for (let step = 0; step < 150; step++) {
      const numbers = [...open.keys()];
      const number = numbers[below(numbers.length)]!;
      const one = open.get(number)!;
      const what = below(20);
      if (what < 8 && !one.frozen) {
        const text = `${number}: ${one.sent.length + 1}`;
        one.sent.push(text);
        one.acks.push(outcome(one.tab.send("bob", text)));
      } else if (what < 12) {
        delivered++;
        const connection = a.connections.findLast((each) => each.open && each.hello !== undefined);
        if (connection !== undefined) deliver(connection, delivered);
      } else if (what < 14 && open.size < 5) begin();
      else if (what === 14 && open.size > 1) {
        open.delete(number);
        one.page.crash();
      } else if (what === 15 && open.size > 1 && !one.frozen) {
        open.delete(number);
        void one.tab.close();
      } else if (what === 16 && !one.frozen) {
        one.frozen = true;
        one.page.freeze();
      } else if (what === 17 && one.frozen) {
        one.frozen = false;
        one.page.resume();
      }
      clock.run(below(6));
    }
    for (const one of open.values()) if (one.frozen) one.page.resume();
    clock.run(60_000);

    const sent = taken.map(({ payload }) => new TextDecoder().decode(payload));
    expect(new Set(sent).size).toBe(sent.length);
    for (const [number, one] of open) {
      expect(one.acks.map(({ value }) => value?.status)).toEqual(one.sent.map(() => "delivered"));
      expect(sent.filter((text) => text.startsWith(`${number}:`))).toEqual(one.sent);
      const shown = one.shown.map(({ n }) => n);
      expect(new Set(shown).size).toBe(shown.length);
      expect(shown.filter((n) => n > one.from)).toEqual(
        Array.from({ length: delivered - one.from }, (_, at) => one.from + at + 1),
      );
    }
  },
);
