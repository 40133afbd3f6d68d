import { expect, test } from "bun:test";

import { History } from "./history.ts";

const HOUR = 3_600_000;

test("deliveries are of the time since the point before, devices of that moment", () => {
  const history = new History(0, 96 * HOUR, ["s1", "s2"]);
  history.sample(HOUR / 2, new Map([["s1", 1]]), 1, 0);
  history.sample(HOUR, new Map([["s1", 2]]), 3, 1);
  history.sample(2 * HOUR, new Map([["s2", 4]]), 3, 3);
  expect(history.points).toEqual([
    { hours: 1, deliveries: 4, local: 3, devices: [2, 0] },
    { hours: 2, deliveries: 2, local: 0, devices: [0, 4] },
  ]);
});

test("L10: however long a trace is, and wherever it has gaps, there are at most 96 points", () => {
  const history = new History(0, 1_000 * HOUR, ["s1"]);
  for (let hours = 0; hours <= 1_000; hours += hours < 500 ? 1 : 40) {
    history.sample(hours * HOUR, new Map(), hours, 0);
  }
  expect(history.points.length).toBeGreaterThan(48);
  expect(history.points.length).toBeLessThanOrEqual(96);
});
