import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { Timers } from "./timers.ts";

test("what is due first comes first, however often it was put off or brought forward", () => {
  const set = fc.record({ thing: fc.nat({ max: 9 }), time: fc.nat({ max: 50 }) });
  fc.assert(
    fc.property(fc.array(set), (sets) => {
      const timers = new Timers(10);
      const due = new Map<number, number>();
      for (const { thing, time } of sets) {
        timers.set(thing, time);
        due.set(thing, time);
        const [first, at] = [...due].toSorted((a, b) => a[1] - b[1] || a[0] - b[0])[0]!;
        expect([timers.first, timers.next]).toEqual([first, at]);
      }
    }),
  );
});
