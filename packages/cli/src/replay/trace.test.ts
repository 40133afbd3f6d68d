import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { Failure } from "../failure.ts";
import { survey, traceFile, type Row } from "./trace.ts";

const folder = mkdtempSync(join(tmpdir(), "beckon-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function read(path: string, limit?: number): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of traceFile(path, limit).rows()) rows.push(row);
  return rows;
}

async function failure(path: string): Promise<Failure> {
  const error = await read(path).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(Failure);
  return error as Failure;
}

const TEXT = "1\tann\tbob\n2\tbob\tann\n2\tann\tcem\n";
const ROWS: Row[] = [
  { at: 1, from: "ann", to: "bob" },
  { at: 2, from: "bob", to: "ann" },
  { at: 2, from: "ann", to: "cem" },
];

test("reads plain and gzipped traces, any number of times", async () => {
  expect(await read(file("a.tsv", TEXT))).toEqual(ROWS);
  const trace = traceFile(file("a.tsv.gz", gzipSync(TEXT)));
  for (let i = 0; i < 2; i++) expect(await Array.fromAsync(trace.rows())).toEqual(ROWS);
});

test("passes over empty lines and comments, and takes CRLF and a last line without an end", async () => {
  const text = "# seconds, sender, recipient\r\n\r\n1\tann\tbob\r\n\n2\tbob\tann\r\n2\tann\tcem";
  expect(await read(file("b.tsv", text))).toEqual(ROWS);
});

test("stops at the limit, also before a line that is wrong", async () => {
  const path = file("c.tsv", `${TEXT}rubbish\n`);
  expect(await read(path, 3)).toEqual(ROWS);
  expect(await read(path, 1)).toEqual(ROWS.slice(0, 1));
  expect(await read(path, 0)).toEqual([]);
});

test("reads across the borders of chunks, characters of several bytes included", async () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => ({ at: i, from: `ö${i}`, to: "☃" }));
  const text = rows.map(({ at, from, to }) => `${at}\t${from}\t${to}`).join("\n");
  expect(await read(file("d.tsv", text))).toEqual(rows);
});

test.each([
  ["1\ta\tb\n2\ta\n", "line 2 has 2 fields"],
  ["1 a b\n", "line 1 has 1 fields"],
  ["1\ta\tb\tc\n", "line 1 has 4 fields"],
  ["1\ta\tb\nnoon\ta\tb\n", "line 2 does not begin with a time"],
  ["-1\ta\tb\n", "line 1 does not begin with a time"],
  [`1\t${"x".repeat(129)}\tb\n`, "line 1 has a user id that cannot be one"],
  ["1\ta\u0007\tb\n", "line 1 has a user id that cannot be one"],
  ["1\ta\ta\n", "line 1 has one user as sender and recipient"],
  ["5\ta\tb\n\n4\ta\tb\n", "line 3 is earlier than the one before it"],
  [`1\ta\tb\n${"x".repeat(100_000)}`, "line 2 is longer than 1024 characters"],
])("names the line that is wrong (%#)", async (text, message) => {
  const error = await failure(file("wrong.tsv", text));
  expect(error.message).toBe(`wrong.tsv: ${message}`);
  expect(error.hint).toBeString();
});

test("says what is wrong with the file itself", async () => {
  const path = join(folder, "none.tsv");
  expect((await failure(path)).message).toBe("none.tsv: there is no such file");
  const whole = gzipSync(TEXT);
  const cut = file("cut.tsv.gz", whole.subarray(0, whole.length - 10));
  expect((await failure(cut)).message).toStartWith("cut.tsv.gz: not whole gzip data");
  const plain = file("plain.tsv.gz", TEXT);
  expect((await failure(plain)).message).toStartWith("plain.tsv.gz: not whole gzip data");
  expect((await failure(folder)).message).toContain("cannot be read");
});

test("surveys who takes part", async () => {
  const path = file("e.tsv", `${TEXT}3\tbob\tann\n`);
  expect(await survey(traceFile(path))).toMatchObject({
    users: ["ann", "bob", "cem"],
    messages: 4,
    busiest: { from: "bob", to: "ann", messages: 2 },
  });
});
