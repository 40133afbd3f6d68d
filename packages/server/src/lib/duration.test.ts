import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { formatDuration, parseDuration } from "./duration.ts";

test.each([
  ["0s", 0],
  ["250ms", 250],
  ["30s", 30_000],
  ["10m", 600_000],
  ["6h", 21_600_000],
  ["30d", 2_592_000_000],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "30", "s", "-1s", "1.5s", "1 s", "1w", "9999999999999s", "1s "])(
  "%p is none",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

test("what is written is read as the same", () => {
  fc.assert(
    fc.property(fc.nat(), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});
