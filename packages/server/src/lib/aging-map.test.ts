import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { AgingMap } from "./aging-map.ts";

const key = fc.constantFrom("a", "b", "c", "d", "e", "f");
const step = fc.record({ kind: fc.constantFrom("set", "set", "delete", "evict", "look"), key });

test("the oldest entry is the one that was set before all others, whatever came and went (L10)", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
      const aging = new AgingMap<number>();
      const plain = new Map<string, number>();
      for (const [i, { kind, key: any }] of steps.entries()) {
        const [first] = plain.keys();
        if (kind === "look") expect(aging.oldest).toBe(first);
        const gone = kind === "evict" ? aging.oldest : any;
        if (kind === "evict") expect(gone).toBe(first);
        if (gone === undefined || kind === "look") continue;
        plain.delete(gone);
        if (kind === "set") {
          aging.set(gone, i);
          plain.set(gone, i);
        } else {
          aging.delete(gone);
        }
        expect([aging.size, aging.get(any)]).toEqual([plain.size, plain.get(any)]);
      }
    }),
  );
});

test("at the bound the oldest goes (L10)", () => {
  const aging = new AgingMap<number>(2);
  for (const [i, name] of ["a", "b", "a", "c"].entries()) aging.set(name, i);
  expect(["a", "b", "c"].map((name) => aging.get(name))).toEqual([2, undefined, 3]);
  expect([aging.size, aging.oldest]).toEqual([2, "a"]);
});
