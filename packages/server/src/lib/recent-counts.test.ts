import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { RecentCounts } from "./recent-counts.ts";

test("B4: what was counted goes when its time is over, and not before", () => {
  let now = 995;
  const counts = new RecentCounts(2, 10, 60, () => now);
  counts.add(0);
  counts.add(0);
  counts.add(1);
  now = 1_004;
  counts.add(1);
  expect(counts.within(60)).toEqual([2, 2]);
  now = 1_055;
  expect(counts.within(60)).toEqual([2, 2]);
  // Of ten before it none is left, of the last five one is.
  expect(counts.within(50)).toEqual([0, 1]);
  expect(counts.within(40)).toEqual([0, 0]);
  now = 1_060;
  expect(counts.within(60)).toEqual([0, 1]);
  now = 1_000_000;
  expect(counts.within(60)).toEqual([0, 0]);
});

test("whatever passes between them, all of the time asked for is counted, and at most one span more", () => {
  const step = fc.record({ wait: fc.nat({ max: 150 }), kind: fc.nat({ max: 2 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat({ max: 10 }), (steps, spans) => {
      const ms = 10 * spans;
      let now = 0;
      const counts = new RecentCounts(3, 10, 100, () => now);
      const log: { at: number; kind: number }[] = [];
      for (const { wait, kind } of steps) {
        now += wait;
        counts.add(kind);
        log.push({ at: now, kind });
      }
      for (const [kind, count] of counts.within(ms).entries()) {
        const since = (from: number): number =>
          log.filter((one) => one.kind === kind && one.at > from).length;
        expect(count).toBeGreaterThanOrEqual(since(now - ms));
        expect(count).toBeLessThanOrEqual(since(now - ms - 10));
      }
    }),
  );
});
