import { expect, test } from "bun:test";

import { Breaker } from "./breaker.ts";

test("it says how long to wait in whole milliseconds: stores keep no part of one", () => {
  const breaker = new Breaker();
  for (let i = 0; i < 5; i++) breaker.failed(1_000.25);
  expect(breaker.admit(1_000.5)).toBe(10_000);
  expect(breaker.admit(11_000.1)).toBe(1);
  expect(breaker.admit(11_000.25)).toBe(0);
});
