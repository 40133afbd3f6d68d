import { expect, test } from "bun:test";

import { parseOptions, UsageError } from "./options.ts";

const DEFAULTS = { pairs: [100, 1000], runs: 3 };

test("what is not given has its default", () => {
  expect(parseOptions([], DEFAULTS)).toEqual({
    json: false,
    cores: { server: 0, load: 1 },
    ours: "beckon",
    chosen: DEFAULTS,
  });
});

test("numbers and lists are read", () => {
  const args = ["--pairs", "5,6", "--runs", "1", "--json", "--cores", "2,3", "--ours", "floor"];
  expect(parseOptions(args, DEFAULTS)).toEqual({
    json: true,
    cores: { server: 2, load: 3 },
    ours: "floor",
    chosen: { pairs: [5, 6], runs: 1 },
  });
});

test.each([
  [["--runs", "many"], "--runs many"],
  [["--runs", "1,2"], "one number"],
  [["--cores", "1"], "--cores takes two"],
  [["--ours", "theirs"], "--ours is"],
  [["--fast"], "--fast"],
])("%p is refused", (args, reason) => {
  expect(() => parseOptions(args, DEFAULTS)).toThrow(UsageError);
  expect(() => parseOptions(args, DEFAULTS)).toThrow(reason);
});
