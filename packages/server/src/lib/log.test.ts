import { expect, test } from "bun:test";
import { createLog, type LogFormat, type LogLevel, silentLog, streamSink } from "./log.ts";

function capture(format: LogFormat, level: LogLevel = "debug") {
  const lines: string[] = [];
  const log = createLog({
    level,
    format,
    sink: (line) => lines.push(line),
    now: () => 1_700_000_000_123,
  });
  return { log, lines };
}

test("JSON: one line an event, fields of the context and of the call", () => {
  const { log, lines } = capture("json");
  log.with({ server: "eu-1" }).info("gateway.welcome", { user: "ann", device: "phone", ms: 3 });
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toEqual({
    time: "2023-11-14T22:13:20.123Z",
    level: "info",
    event: "gateway.welcome",
    server: "eu-1",
    user: "ann",
    device: "phone",
    ms: 3,
  });
});

test("text: readable, and a value cannot forge a field or a line", () => {
  const { log, lines } = capture("text");
  log.warn("gateway.refused", { user: "ann", reason: "x\n12:00 ERROR forged user=bob" });
  expect(lines).toEqual([
    '22:13:20.123 WARN  gateway.refused user=ann reason="x\\n12:00 ERROR forged user=bob"\n',
  ]);
});

test("an error is written with name, message and stack", () => {
  const error = new TypeError("no such thing");
  const json = capture("json");
  json.log.error("store.failed", { error });
  const line = JSON.parse(json.lines[0]!) as { error: string; stack: string };
  expect(line.error).toBe("TypeError: no such thing");
  expect(line.stack).toContain("log.test.ts");

  const text = capture("text");
  text.log.error("store.failed", { error });
  expect(text.lines[0]).toContain('error="TypeError: no such thing"\n    at ');
  text.log.error("store.failed", { error: "not an Error" });
  expect(text.lines[1]).toContain('error="not an Error"\n');
});

test("lines below the level are not written", () => {
  const { log, lines } = capture("json", "warn");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  expect(lines).toHaveLength(2);
  silentLog.with({ server: "x" }).error("nobody hears");
});

test("a line is bounded", () => {
  const { log, lines } = capture("json");
  log.info("x", { reason: "r".repeat(10_000) });
  expect(lines[0]!.length).toBeLessThan(700);
});

test("L11: tokens, payloads and unknown fields have no place in a line", () => {
  const { log } = capture("json");
  // @ts-expect-error -- no field takes a token
  log.info("x", { token: "secret" });
  // @ts-expect-error -- no field takes bytes
  log.info("x", { reason: new Uint8Array(3) });
});

test("L10: a reader that has stopped costs lines, not memory, and learns how many", () => {
  const written: string[] = [];
  const stream = { writableLength: 0, write: (text: string) => written.push(text) };
  const sink = streamSink(stream);
  sink("1\n");
  stream.writableLength = 2 * 1024 * 1024;
  sink("2\n");
  sink("3\n");
  stream.writableLength = 0;
  sink("4\n");
  expect(written).toEqual(["1\n", '{"level":"warn","event":"log.dropped","count":2}\n', "4\n"]);
});
