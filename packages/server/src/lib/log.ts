/**
 * Structured logs, one line an event. What may be said is a closed set of fields, none of which takes a token, a payload or a
 * preview, so that nothing has to be redacted afterwards (L11).
 */

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Everything that a line can say besides the event itself. A new field is a decision: can it ever carry a secret? */
export interface LogFields {
  readonly server?: string;
  /** Another server. */
  readonly peer?: string;
  readonly connection?: string;
  readonly user?: string;
  readonly device?: string;
  /** Of the error catalogue, or a close code. */
  readonly code?: string | number;
  /** In our own words; never a copy of something received. */
  readonly reason?: string;
  /** Name, message and stack are written. */
  readonly error?: unknown;
  readonly count?: number;
  readonly bytes?: number;
  readonly ms?: number;
  readonly address?: string;
  readonly path?: string;
  readonly method?: string;
  readonly status?: number;
  readonly provider?: string;
  readonly key?: string;
  readonly version?: string;
  /** Of a certificate, which is no secret: SHA-256, its number, and when it expires. */
  readonly fingerprint?: string;
  readonly serial?: string;
  readonly expires?: string;
}

export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A log whose every line says `fields` too. */
  with(fields: LogFields): Log;
}

/** Takes a line with its end. */
export type LogSink = (line: string) => void;

export type LogFormat = "json" | "text";

export interface LogOptions {
  /** Lines below it are not written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly sink: LogSink;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Characters of one value, so that one line is bounded. */
const VALUE = 512;
const STACK = 4096;

export function createLog(options: LogOptions): Log {
  return logWith(options, {});
}

export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => silentLog,
};

function logWith(options: LogOptions, context: LogFields): Log {
  const lowest = RANK[options.level];
  const render = options.format === "json" ? renderJson : renderText;
  const write =
    (level: LogLevel) =>
    (event: string, fields?: LogFields): void => {
      if (RANK[level] < lowest) return;
      options.sink(render(options.now(), level, event, { ...context, ...fields }));
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    with: (fields) => logWith(options, { ...context, ...fields }),
  };
}

function renderJson(now: number, level: LogLevel, event: string, fields: LogFields): string {
  const { error, ...plain } = fields;
  const line: Record<string, unknown> = { time: new Date(now).toISOString(), level, event };
  for (const [key, value] of Object.entries(plain)) line[key] = cut(value);
  if (error !== undefined) {
    const { summary, stack } = explain(error);
    line["error"] = summary;
    if (stack !== undefined) line["stack"] = stack;
  }
  return `${JSON.stringify(line)}\n`;
}

function renderText(now: number, level: LogLevel, event: string, fields: LogFields): string {
  const { error, ...plain } = fields;
  const time = new Date(now).toISOString().slice(11, 23);
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${event}`;
  for (const [key, value] of Object.entries(plain)) {
    if (value !== undefined) line += ` ${key}=${quote(String(cut(value)))}`;
  }
  if (error === undefined) return `${line}\n`;
  const { summary, stack } = explain(error);
  line += ` error=${quote(summary)}`;
  // The first line of a stack repeats the summary.
  const frames = stack?.split("\n").filter((frame) => frame.trimStart().startsWith("at ")) ?? [];
  return `${[line, ...frames].join("\n")}\n`;
}

/** A value with a space or a control character in it cannot be told from the next field, or from a line of its own. */
function quote(text: string): string {
  return /^[\w.:/@+\-[\]]+$/.test(text) ? text : JSON.stringify(text);
}

function cut(value: unknown): unknown {
  return typeof value === "string" && value.length > VALUE ? `${value.slice(0, VALUE)}…` : value;
}

function explain(error: unknown): { summary: string; stack?: string } {
  if (!(error instanceof Error)) return { summary: String(cut(String(error))) };
  const summary = String(cut(`${error.name}: ${error.message}`));
  return error.stack === undefined ? { summary } : { summary, stack: error.stack.slice(0, STACK) };
}

/** A stream as far as a sink needs it: standard error, or another. */
export interface LogStream {
  write(text: string): unknown;
  /** Bytes that were written and have not left. */
  readonly writableLength: number;
}

/** Bytes that may wait for a reader of the log that has stopped reading. */
const BACKLOG = 1024 * 1024;

/** Drops lines rather than keep more than 1 MiB for a reader that has stopped, and says how many when it goes on. */
export function streamSink(stream: LogStream): LogSink {
  let dropped = 0;
  return (line) => {
    if (stream.writableLength > BACKLOG) {
      dropped++;
      return;
    }
    if (dropped > 0) {
      stream.write(`${JSON.stringify({ level: "warn", event: "log.dropped", count: dropped })}\n`);
      dropped = 0;
    }
    stream.write(line);
  };
}

/** Of a server process: to standard error, as text for a person at a terminal, else as JSON. */
export function processLog(level: LogLevel): Log {
  const format = process.stderr.isTTY ? "text" : "json";
  // Who reads the log may go away; the server stays.
  process.stderr.on("error", () => undefined);
  return createLog({ level, format, sink: streamSink(process.stderr), now: () => Date.now() });
}
