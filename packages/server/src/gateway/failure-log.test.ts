import { expect, test } from "bun:test";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createLog } from "../lib/log.ts";
import type { LogLevel } from "../lib/log.ts";
import { failureLog, proxyLog } from "./failure-log.ts";

function capture(level: LogLevel) {
  const clock = new VirtualClock();
  const lines: Record<string, unknown>[] = [];
  const sink = (line: string): void => {
    const { time: _, level: __, ...rest } = JSON.parse(line) as Record<string, unknown>;
    lines.push(rest);
  };
  const tell = failureLog(createLog({ level, format: "json", sink, now: () => 0 }), clock);
  return { clock, lines, tell };
}

const refused = (remote: string) => ({ code: "bad-token", remote, session: undefined }) as const;
const closed = {
  code: "silent",
  remote: "203.0.113.9",
  session: { user: "ann", device: "phone" },
} as const;

test("who was refused, and why; who was welcomed is named at debug alone", () => {
  const info = capture("info");
  info.tell(refused("203.0.113.9"));
  info.tell(closed);
  const line = { event: "connection.refused", code: "bad-token", address: "203.0.113.9" };
  expect(info.lines).toEqual([line]);
  const debug = capture("debug");
  debug.tell(closed);
  expect(debug.lines).toEqual([
    {
      event: "connection.closed",
      code: "silent",
      address: "203.0.113.9",
      user: "ann",
      device: "phone",
    },
  ]);
});

test("L10: a flood makes 20 lines in 10 s, and one that says how many more there were", async () => {
  const { clock, lines, tell } = capture("info");
  for (let at = 0; at < 5_000; at++) tell(refused(`203.0.113.${at % 250}`));
  // Those that nobody wants to read take no room from those that somebody does.
  for (let at = 0; at < 5_000; at++) tell(closed);
  expect(lines).toHaveLength(20);
  await clock.advance(10_000);
  expect(lines.slice(20)).toEqual([{ event: "connection.refused.more", count: 4_980, ms: 10_000 }]);
  tell(refused("203.0.113.9"));
  expect(lines).toHaveLength(22);
  await clock.advance(20_000);
  expect(lines).toHaveLength(22);
});

test("a trusted proxy that does not say where devices are is a warning; how often is bounded", async () => {
  const clock = new VirtualClock();
  const lines: Record<string, unknown>[] = [];
  const sink = (line: string): void => void lines.push(JSON.parse(line) as never);
  const tell = proxyLog(createLog({ level: "info", format: "json", sink, now: () => 0 }), clock);
  for (let i = 0; i < 30; i++) tell("10.0.0.1", "is cut off");
  expect(lines).toHaveLength(20);
  expect(lines[0]).toMatchObject({
    level: "warn",
    event: "proxy.refused",
    address: "10.0.0.1",
    reason: "is cut off",
  });
  await clock.advance(10_000);
  expect(lines.at(-1)).toMatchObject({ event: "proxy.refused.more", count: 10 });
});
