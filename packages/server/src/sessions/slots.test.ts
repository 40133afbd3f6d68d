import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { Slots } from "./slots.ts";

/** All that a hash leads to. */
function found(slots: Slots, hash: number): number[] {
  const numbers: number[] = [];
  const count = slots.find(hash, numbers);
  return numbers.slice(0, count);
}

/** Hashes that are near each other, that are alike, that are at either end, and any. */
const hash = fc.oneof(
  fc.nat(20),
  fc.nat(20).map((n) => 2 ** 31 - 2 - n),
  fc.nat(20).map((n) => n * 2 ** 26),
  fc.nat(2 ** 31 - 2),
);
const step = fc.record({ kind: fc.constantFrom("insert", "insert", "replace", "delete"), hash });

test("a hash leads to the numbers that came with it, in their order, whatever came and went (M3)", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 600, size: "max" }),
      fc.constantFrom(4, 50, 1000),
      (steps, limit) => {
        const slots = new Slots(limit);
        const expected = new Map<number, number[]>();
        let next = -50;
        for (const { kind, hash: any } of steps) {
          const hashes = [...expected.keys()];
          // Mostly those that are there.
          const at = kind === "insert" ? any : (hashes[any % Math.max(hashes.length, 1)] ?? any);
          const numbers = expected.get(at) ?? [];
          const which = any % Math.max(numbers.length, 1);
          if (kind === "insert") {
            slots.insert(at, ++next);
            numbers.push(next);
          } else if (numbers.length > 0 && kind === "replace") {
            slots.replace(at, numbers[which]!, ++next);
            numbers[which] = next;
          } else if (numbers.length > 0) {
            slots.delete(at, numbers[which]!);
            numbers.splice(which, 1);
          }
          expected.set(at, numbers);
          expect(found(slots, any)).toEqual(expected.get(any) ?? []);
        }
        for (const [at, numbers] of expected) expect(found(slots, at)).toEqual(numbers);
      },
    ),
  );
});

test("thousands of one hash are all found, and cost the others nothing", () => {
  const slots = new Slots(1000);
  for (let i = 0; i < 5000; i++) slots.insert(2 ** 31 - 2, i);
  slots.insert(7, 1);
  expect(found(slots, 2 ** 31 - 2)).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  for (let i = 0; i < 5000; i++) slots.delete(2 ** 31 - 2, i);
  expect(found(slots, 2 ** 31 - 2)).toEqual([]);
  expect(found(slots, 7)).toEqual([1]);
});

test("memory follows the number of entries, up and down (L10)", () => {
  const slots = new Slots();
  const hashOf = (i: number): number => (Math.imul(i, 0x9e37_79b1) >>> 1) % (2 ** 31 - 1);
  const empty = slots.bytes;
  for (let i = 0; i < 300_000; i++) slots.insert(hashOf(i), i);
  expect(slots.bytes / 300_000).toBeLessThan(8 / 0.8);
  for (let i = 0; i < 300_000; i++) slots.delete(hashOf(i), i);
  expect(slots.bytes).toBeLessThan(16 * empty);
});
