import { expect, test } from "bun:test";

import { ratios, spread } from "./statistics.ts";

test("a spread is the median of its runs, and their limits", () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(spread([7])).toEqual({ median: 7, min: 7, max: 7 });
});

test("a ratio is of runs that followed each other", () => {
  expect(ratios([20, 60], [10, 20])).toEqual({ median: 2.5, min: 2, max: 3 });
});
