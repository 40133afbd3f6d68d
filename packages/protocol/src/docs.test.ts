import { describe, expect, test } from "bun:test";
import { Glob } from "bun";
import { readFileSync } from "node:fs";

import type { ErrorCode, ErrorEntry } from "./index.ts";

import { CLOSE, ERRORS, LIMITS, MEANINGS, reconnectPolicy } from "./index.ts";
import { FrameType, messageType, schema } from "./test-support/reflection.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;
const text = readFileSync(`${ROOT}docs/protocol.md`, "utf8");

/** Cells of the rows of all tables between two headings, without code marks. */
function rowsOf(from: string, to?: string): string[][] {
  const start = text.indexOf(`\n${from}`);
  expect(start).toBeGreaterThan(0);
  const rest = text.slice(start + 1);
  const end = to === undefined ? rest.length : rest.indexOf(`\n${to}`);
  expect(end).toBeGreaterThan(0);
  return rest
    .slice(0, end)
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| |"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    );
}

/** Rows under the title row, whose first cell says which table it is. */
function table(title: string, from: string, to?: string): string[][] {
  return rowsOf(from, to).filter(([first]) => first !== title);
}

/** A meaning as a cell of a table shows it. */
const said = (code: ErrorCode): string => MEANINGS[code].replaceAll("`", "");
const yes = (is: boolean): string => (is ? "yes" : "no");

describe("docs/protocol.md and the code say the same", () => {
  const entries = Object.values<ErrorEntry>(ERRORS);
  const numbered = (first: number, last: number): ErrorEntry[] =>
    entries.filter(({ number }) => number >= first && number <= last);

  test("[P-10.2] errors of the connection", () => {
    expect(table("code", "**[P-10.2]**", "**[P-10.3]**")).toEqual(
      numbered(1, 99).map(({ code, number, retryable, closes }) => [
        code,
        String(number),
        yes(retryable),
        closes === undefined ? "–" : String(closes),
        said(code),
      ]),
    );
  });

  test("[P-10.3] errors of a SEND", () => {
    expect(table("code", "**[P-10.3]**", "**[P-10.4]**")).toEqual(
      numbered(101, 199).map(({ code, number, retryable }) => [
        code,
        String(number),
        yes(retryable),
        said(code),
      ]),
    );
  });

  test("[P-10.4] errors of the SDK", () => {
    expect(table("code", "**[P-10.4]**", "## 11.")).toEqual(
      numbered(0, 0).map(({ code, retryable }) => [code, yes(retryable), said(code)]),
    );
  });

  test("[P-11.2] close codes", () => {
    const rows = table("code", "**[P-11.2]**", "## 12.");
    expect(rows).toEqual(
      Object.entries<number>(CLOSE).map(([name, code]) => [
        String(code),
        name,
        code === CLOSE.bye ? "–" : reconnectPolicy(code),
      ]),
    );
  });

  test("[P-12.1] limits", () => {
    const stated = new Set([
      ...messageType("Limits").fieldsArray.map(({ name }) => name),
      ...messageType("Welcome").fieldsArray.map(({ name }) => name),
    ]);
    const rows = table("limit", "## 12.", "## 13.");
    expect(rows.map(([name, value, , inWelcome]) => [name, value, inWelcome])).toEqual(
      Object.entries<number>({ ...LIMITS }).map(([name, value]) => [
        name,
        String(value),
        yes(stated.has(name)),
      ]),
    );
  });

  test("[P-13.6] reserved numbers", () => {
    expect(FrameType.reserved).toEqual([[18, 22]]);
    const clause = text.slice(text.indexOf("**[P-13.6]**"), text.indexOf("## 14."));
    for (let number = 18; number <= 22; number++) expect(clause).toContain(`${number} `);
  });
});

describe("part 14 and beckon.proto say the same", () => {
  const headings = [...text.matchAll(/^### (\w+)(?: \((\d+), (up|down)\)| \(in a push\))?$/gm)];
  const messages = schema.lookup("beckon.v1");

  test("every message is there, each frame with its number", () => {
    const kinds = Object.fromEntries(FrameType.fieldsArray.map(({ type, id }) => [type, id]));
    const expected = (messages as unknown as { nestedArray: { name: string }[] }).nestedArray
      .map(({ name }) => (name in kinds ? `${name.toUpperCase()} ${kinds[name]}` : name))
      .filter((name) => name !== "Frame" && name !== "AckStatus" && name !== "Route");
    const found = headings.map(([, name, number]) =>
      number === undefined ? name! : `${name} ${number}`,
    );
    expect(found.toSorted()).toEqual(expected.toSorted());
  });

  for (const [index, heading] of headings.entries()) {
    const [line, title, number] = heading;
    if (title === "WakeClass") continue;
    test(line, () => {
      const name = number === undefined ? title! : title![0] + title!.slice(1).toLowerCase();
      const next = headings[index + 1]?.[0];
      const rows = rowsOf(line, next).filter(([first]) => /^\d+$/.test(first!));
      expect(rows.map((row) => row.slice(0, 3))).toEqual(
        messageType(name).fieldsArray.map((field) => [
          String(field.id),
          field.name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
          field.repeated ? `repeated ${field.type}` : field.type,
        ]),
      );
    });
  }
});

describe("clauses", () => {
  const clauses = [...text.matchAll(/^\*\*\[P-(\d+)\.(\d+)\]\*\*/gm)].map(([, part, number]) => ({
    part: Number(part),
    number: Number(number),
  }));

  test("are numbered without holes, in their parts", () => {
    let part = 0;
    let number = 0;
    for (const clause of clauses) {
      number = clause.part === part ? number + 1 : 1;
      ({ part } = clause);
      expect(clause).toEqual({ part, number });
    }
    expect([...new Set(clauses.map((clause) => clause.part))]).toEqual(
      Array.from({ length: 13 }, (_, index) => index + 1),
    );
  });

  test("that are named anywhere exist", async () => {
    const known = new Set(clauses.map(({ part, number }) => `P-${part}.${number}`));
    const unknown: string[] = [];
    const files = new Glob("{packages,e2e,sim,docs}/**/*.{ts,md,proto}");
    for await (const file of files.scan({ cwd: ROOT })) {
      if (file.includes("node_modules")) continue;
      const content = await Bun.file(`${ROOT}${file}`).text();
      for (const [tag] of content.matchAll(/\bP-\d+\.\d+\b/g)) {
        if (!known.has(tag)) unknown.push(`${file}: ${tag}`);
      }
    }
    expect(unknown).toEqual([]);
  });
});
