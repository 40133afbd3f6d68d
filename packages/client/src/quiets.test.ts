import { expect, test } from "bun:test";

import type { Frame, QuietFrame } from "@beckon/protocol";

import { memory } from "./storage.ts";
import type { FakeConnection } from "./test-support/fake-server.ts";
import { outcome, setup } from "./test-support/setup.ts";

const said = ({ frames }: FakeConnection): [string, number][] =>
  frames
    .filter((frame: Frame): frame is QuietFrame => frame.type === "quiet")
    .map(({ conversation, until }) => [conversation, until]);

const HOUR = 3_600_000;

test("[P-4.10] resolves when the server has stored it, and not before", () => {
  const { clock, a, start } = setup();
  const unanswered: FakeConnection[] = [];
  a.onQuiet = (connection) => void unanswered.push(connection);
  const beckon = start();
  clock.run(10);
  const until = clock.now() + HOUR;
  const quiet = outcome(beckon.quiet({ conversation: "eve", until: new Date(until) }));
  clock.run(1_000);
  expect(said(a.last)).toEqual([["eve", expect.closeTo(until, -1)]]);
  expect(quiet).toEqual({});
  unanswered[0]!.write({ type: "quieted", count: 1 });
  clock.run(10);
  expect(quiet).toHaveProperty("value");
});

test("one at a time, of each conversation the last word, in the order first said", () => {
  const { clock, a, start } = setup();
  const beckon = start();
  const outcomes = [
    beckon.quiet({ conversation: "eve", until: Infinity }),
    beckon.quiet({ until: 0 }),
    beckon.quiet({ conversation: "dan", until: -5 }),
    beckon.quiet({ conversation: "eve", until: 0 }),
  ].map((promise) => outcome(promise));
  clock.run(100);
  expect(said(a.last)).toEqual([
    ["eve", 0],
    ["", 0],
    ["dan", 0],
  ]);
  for (const one of outcomes) expect(one).toHaveProperty("value");
});

test("a word that comes while the one before is under way is told after it", () => {
  const { clock, a, start } = setup();
  const beckon = start();
  clock.run(10);
  const first = outcome(beckon.quiet({ conversation: "eve", until: Infinity }));
  clock.run(1);
  const second = outcome(beckon.quiet({ conversation: "eve", until: 0 }));
  clock.run(100);
  expect(said(a.last)).toEqual([
    ["eve", Number.MAX_SAFE_INTEGER],
    ["eve", 0],
  ]);
  expect(first).toHaveProperty("value");
  expect(second).toHaveProperty("value");
});

test("waits while offline, and is said again where the answer was lost", () => {
  const { clock, a, start } = setup();
  a.state = "refuses";
  const beckon = start();
  const quiet = outcome(beckon.quiet({ conversation: "eve", until: Infinity }));
  clock.run(10_000);
  expect(quiet).toEqual({});
  a.state = "up";
  a.onQuiet = (connection) => connection.close(1006);
  clock.until(() => a.connections.length > 0);
  clock.run(10);
  expect([said(a.connections[0]!).length, quiet]).toEqual([1, {}]);
  a.onQuiet = (connection, _, count) => connection.write({ type: "quieted", count });
  clock.run(60_000);
  expect(said(a.last)).toEqual([["eve", Number.MAX_SAFE_INTEGER]]);
  expect(quiet).toHaveProperty("value");
});

test("times are the server's, for ever is none", () => {
  const { clock, a, start } = setup();
  a.onHello = (connection) => connection.welcome({ time: clock.now() + HOUR });
  const beckon = start();
  clock.run(10);
  const until = clock.now() + HOUR;
  void beckon.quiet({ until });
  void beckon.quiet({ conversation: "eve", until: Infinity });
  clock.run(10);
  const [[, time], [, forEver]] = said(a.last) as [[string, number], [string, number]];
  expect(Math.abs(time - until - HOUR)).toBeLessThan(100);
  expect(forEver).toBe(Number.MAX_SAFE_INTEGER);
});

test("L8: what the store could not keep is said again after a while; nobody is bothered", () => {
  const { clock, a, errors, start } = setup();
  const beckon = start();
  clock.run(10);
  a.onQuiet = (connection) => connection.refuse("not-quieted");
  const quiet = outcome(beckon.quiet({ until: Infinity }));
  clock.run(100);
  a.onQuiet = (connection, _, count) => connection.write({ type: "quieted", count });
  clock.run(4_000);
  expect(quiet).toEqual({});
  clock.run(2_000);
  expect(quiet).toHaveProperty("value");
  expect([said(a.last).length, errors]).toEqual([2, []]);
});

test("[P-13.3] a server that does not know it says so to the caller", () => {
  const { clock, a, errors, start } = setup();
  a.onQuiet = (connection) => connection.refuse("unsupported");
  const beckon = start();
  clock.run(10);
  const quiet = outcome(beckon.quiet({ until: Infinity }));
  clock.run(10);
  expect(quiet).toMatchObject({ error: { code: "unsupported" } });
  expect(errors).toEqual([]);
});

test.each([
  ["no time", { until: Number.NaN }],
  ["no date", { until: new Date("tomorrow") }],
  ["a conversation that is no user", { conversation: "a\nb", until: 0 }],
])("%s is a bad argument", (_, wanted) => {
  const { clock, start } = setup();
  const quiet = outcome(start().quiet(wanted));
  clock.run(0);
  expect(quiet).toMatchObject({ error: { code: "bad-argument" } });
});

test("L10: as many wait as the outbox takes; what waits at the end is told", () => {
  const { clock, a, start } = setup({ storage: memory(), outboxLimit: 2 });
  a.state = "refuses";
  const beckon = start();
  clock.run(10);
  const quiets = ["x", "y", "x", "z"].map((conversation) =>
    outcome(beckon.quiet({ conversation, until: 0 })),
  );
  clock.run(10);
  expect(quiets).toEqual([{}, {}, {}, { error: expect.objectContaining({ code: "outbox-full" }) }]);
  void beckon.close();
  clock.run(2_000);
  expect(quiets[0]).toMatchObject({ error: { code: "closed" } });
  const late = outcome(beckon.quiet({ until: 0 }));
  clock.run(10);
  expect(late).toMatchObject({ error: { code: "closed" } });
});
