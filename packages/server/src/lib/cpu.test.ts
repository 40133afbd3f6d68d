import { expect, test } from "bun:test";

import { createCpuMeter } from "./cpu.ts";

test("the share of one CPU since a second ago at least", () => {
  let [used, now] = [500, 10_000];
  const meter = createCpuMeter(
    () => used,
    () => now,
  );
  expect(meter()).toBe(0);
  [used, now] = [1_000, 12_000];
  expect(meter()).toBe(250);
  [used, now] = [1_900, 12_999];
  expect(meter()).toBe(250);
  [used, now] = [4_000, 14_000];
  expect(meter()).toBe(1_500);
});
