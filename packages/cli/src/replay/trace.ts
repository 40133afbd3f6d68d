import { createReadStream } from "node:fs";
import { basename } from "node:path";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

import { validUserId } from "@beckon/protocol";

import { Failure } from "../failure.ts";

/** One message that somebody wrote to somebody. */
export interface Row {
  /** Unix seconds. */
  readonly at: number;
  readonly from: string;
  readonly to: string;
}

/** Messages in ascending order of time, which can be read any number of times. */
export interface Trace {
  readonly name: string;
  rows(): AsyncIterable<Row>;
}

/** Characters; a line holds two user ids of at most 128 bytes. */
const LINE = 1024;

/**
 * Lines of `seconds <TAB> sender <TAB> recipient`, plain or gzipped (by the file's name). Empty lines and those that begin with `#`
 * are passed over. Reading fails with the number of the line that is wrong.
 */
export function traceFile(path: string, limit: number = Infinity): Trace {
  const name = basename(path);
  return { name, rows: () => parse(name, lines(name, open(path)), limit) };
}

/** Who takes part, in order of first appearance, and what a run can know of the messages beforehand. */
export interface Survey {
  readonly users: readonly string[];
  readonly messages: number;
  /** Times of the first and the last, unix seconds; 0 in an empty trace. */
  readonly begins: number;
  readonly ends: number;
  /** The sender and recipient with most messages; undefined in an empty trace. */
  readonly busiest:
    | { readonly from: string; readonly to: string; readonly messages: number }
    | undefined;
}

export async function survey(trace: Trace): Promise<Survey> {
  const users = new Set<string>();
  const lanes = new Map<string, { from: string; to: string; messages: number }>();
  let busiest: Survey["busiest"];
  let messages = 0;
  let begins = 0;
  let ends = 0;
  for await (const { at, from, to } of trace.rows()) {
    users.add(from).add(to);
    if (messages++ === 0) begins = at;
    ends = at;
    const key = `${from}\t${to}`;
    const lane = lanes.get(key) ?? { from, to, messages: 0 };
    lane.messages++;
    lanes.set(key, lane);
    if (lane.messages > (busiest?.messages ?? 0)) busiest = lane;
  }
  return { users: [...users], messages, begins, ends, busiest };
}

function open(path: string): Readable {
  const file = createReadStream(path);
  if (!path.endsWith(".gz")) return file;
  const plain = createGunzip();
  file.on("error", (error) => plain.destroy(error));
  plain.on("close", () => file.destroy());
  return file.pipe(plain);
}

async function* lines(name: string, bytes: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  let count = 0;
  try {
    for await (const chunk of bytes) {
      const parts = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      count += parts.length;
      if (rest.length > LINE) throw tooLong(name, count + 1);
      yield* parts;
    }
    if (rest !== "") yield rest;
  } catch (error) {
    throw unreadable(name, error, count);
  } finally {
    bytes.destroy();
  }
}

async function* parse(
  name: string,
  from: AsyncIterable<string>,
  limit: number,
): AsyncGenerator<Row> {
  if (limit <= 0) return;
  let number = 0;
  let found = 0;
  let before = 0;
  for await (const line of from) {
    number++;
    const text = line.endsWith("\r") ? line.slice(0, -1) : line;
    if (text === "" || text.startsWith("#")) continue;
    const row = parseRow(name, number, text);
    if (row.at < before) {
      throw wrong(name, number, `is earlier than the one before it`, `sort it: sort -n -s -k1,1`);
    }
    before = row.at;
    yield row;
    if (++found >= limit) return;
  }
}

function parseRow(name: string, number: number, text: string): Row {
  if (text.length > LINE) throw tooLong(name, number);
  const [seconds = "", from = "", to = "", ...more] = text.split("\t");
  if (to === "" || more.length > 0) {
    const found = `${text.split("\t").length}`;
    throw wrong(name, number, `has ${found} fields`, "write: seconds <TAB> sender <TAB> recipient");
  }
  if (!/^\d{1,12}(\.\d+)?$/.test(seconds)) {
    throw wrong(name, number, "does not begin with a time", "write it as unix seconds: 1082040961");
  }
  for (const user of [from, to]) {
    if (!validUserId(user)) {
      const rule = "1 to 128 bytes without control characters";
      throw wrong(name, number, "has a user id that cannot be one", `write it as ${rule}`);
    }
  }
  if (from === to) {
    throw wrong(name, number, "has one user as sender and recipient", "leave such lines out");
  }
  return { at: Number(seconds), from, to };
}

const wrong = (name: string, line: number, what: string, hint: string): Failure =>
  new Failure(`${name}: line ${line} ${what}`, hint);

const tooLong = (name: string, line: number): Failure =>
  wrong(
    name,
    line,
    `is longer than ${LINE} characters`,
    "is it a trace? See: beckon replay --help",
  );

function unreadable(name: string, error: unknown, lines: number): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  const code = "code" in error ? String(error.code) : "";
  if (code === "ENOENT") {
    return new Failure(
      `${name}: there is no such file`,
      "name a .tsv or .tsv.gz file, or --generate community",
    );
  }
  if (code.startsWith("Z_")) {
    const hint = "gunzip -t FILE says whether it is whole; a plain file's name must not end in .gz";
    return new Failure(`${name}: not whole gzip data after line ${lines} (${error.message})`, hint);
  }
  return new Failure(`${name}: cannot be read (${error.message})`);
}
