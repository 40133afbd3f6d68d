/** The lines of a log: each is a checksum and the changes of one write. */
import { crc32 } from "node:zlib";

import type { Change, Stored } from "../storage.ts";
import { fromJson, toJson } from "./json.ts";

/** The first line of every file of ours. */
export const HEADER: Buffer = Buffer.from("beckon storage 1\n");
const NEWLINE = 10;
/** Eight hexadecimal digits, and a space. */
const CHECKSUM = 9;

export function toRecord(changes: readonly Change[]): Buffer {
  const text = toJson(
    changes.map(({ key, value }) => (value === undefined ? [key] : [key, value])),
  );
  return Buffer.from(`${checksum(Buffer.from(text))} ${text}\n`);
}

export interface Replay {
  readonly values: Map<string, Stored>;
  /** Where the whole records end. What follows is at most one that was torn. */
  readonly end: number;
}

/**
 * What the log says; undefined: it is none of ours. Throws where a record is damaged and whole ones follow it: no crash does
 * that.
 */
export function replay(log: Buffer): Replay | undefined {
  if (!log.subarray(0, HEADER.length).equals(HEADER)) return undefined;
  const values = new Map<string, Stored>();
  let end = HEADER.length;
  for (const { line, next } of lines(log)) {
    const changes = fromRecord(line);
    if (changes === undefined) break;
    apply(values, changes);
    end = next;
  }
  for (const { line, next } of lines(log)) {
    if (next <= end || fromRecord(line) === undefined) continue;
    throw new Error(`damaged at byte ${end}`);
  }
  return { values, end };
}

export function apply(values: Map<string, Stored>, changes: readonly Change[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) values.delete(key);
    else values.set(key, value);
  }
}

function* lines(log: Buffer): Generator<{ readonly line: Buffer; readonly next: number }> {
  let at = HEADER.length;
  for (;;) {
    const newline = log.indexOf(NEWLINE, at);
    if (newline < 0) return;
    yield { line: log.subarray(at, newline), next: newline + 1 };
    at = newline + 1;
  }
}

function fromRecord(line: Buffer): Change[] | undefined {
  const text = line.subarray(CHECKSUM);
  if (line.toString("latin1", 0, CHECKSUM) !== `${checksum(text)} `) return undefined;
  const changes = fromJson(text.toString()) as readonly (readonly [string, Stored?])[];
  return changes.map(([key, value]) => ({ key, value }));
}

function checksum(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}
