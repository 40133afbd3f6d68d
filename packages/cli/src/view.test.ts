import { expect, test } from "bun:test";

import { roughly, tableOf } from "./table.ts";
import { systemTerminal } from "./terminal.ts";
import { createView } from "./view.ts";

test("cells stand below each other", () => {
  const rows = [
    ["NAME", "COUNT", "WHAT"],
    ["ü", "12", "a long one"],
    ["eu-1", "1,234", ""],
  ];
  expect(tableOf(rows, [1])).toEqual([
    "NAME  COUNT  WHAT",
    "ü        12  a long one",
    "eu-1  1,234",
  ]);
});

test.each([
  [-5, "0.0s"],
  [440, "0.4s"],
  [9_999, "10.0s"],
  [59_999, "59s"],
  [60_000, "1m"],
  [3_599_999, "59m"],
  [7_300_000, "2h"],
  [86_400_000, "1d"],
  [3 * 86_400_000 + 4.5 * 3_600_000, "3d 4h"],
])("%d ms are %s", (ms, says) => {
  expect(roughly(ms)).toBe(says);
});

/** What a terminal shows after all that was written to it. */
function screenOf(text: string): string[] {
  const screen: string[] = [];
  let row = 0;
  // oxlint-disable-next-line no-control-regex
  for (const [part, up, clear] of text.matchAll(/\u001B\[(\d+)A|\u001B\[([KJ])|\n|[^\u001B\n]+/g)) {
    if (up !== undefined) row -= Number(up);
    else if (clear === "J") screen.length = row;
    else if (part === "\n") row++;
    else if (clear === undefined) screen[row] = part;
  }
  return screen;
}

test("what is shown takes the place of what was shown, and nothing is cleared before it is written over", () => {
  let written = "";
  const terminal = {
    ...systemTerminal,
    columns: 10,
    rows: 5,
    note: (text: string) => void (written += text),
  };
  const view = createView(terminal);
  view.show(["one", "two", "three"]);
  expect(screenOf(written)).toEqual(["one", "two", "three"]);
  view.show(["longer than the line", "2"]);
  expect(screenOf(written)).toEqual(["longer tha", "2"]);
  view.show(["1", "2", "3", "4", "5", "6"]);
  expect(screenOf(written)).toEqual(["1", "2", "3", "and 3 more"]);
  view.show([]);
  expect(screenOf(written)).toEqual([]);
  expect(written).not.toContain("\u001B[2J");
});
