import { expect, test } from "bun:test";
import { ExpiringMap } from "./expiring-map.ts";

test("an entry ends with its time", () => {
  let now = 0;
  const map = new ExpiringMap<number>(10, () => now);
  map.set("a", 1, 100);
  now = 99;
  expect(map.get("a")).toBe(1);
  now = 100;
  expect(map.get("a")).toBeUndefined();
  expect(map.size).toBe(0);
});

test("setting anew starts the time anew", () => {
  let now = 0;
  const map = new ExpiringMap<number>(10, () => now);
  map.set("a", 1, 100);
  now = 50;
  map.set("a", 2, 100);
  now = 149;
  expect(map.get("a")).toBe(2);
});

test("L10: at its bound the entry goes that was not asked for the longest", () => {
  const map = new ExpiringMap<number>(3, () => 0);
  for (const [i, key] of ["a", "b", "c"].entries()) map.set(key, i, 1);
  map.get("a");
  map.set("d", 3, 1);
  expect(["a", "b", "c", "d"].map((key) => map.get(key))).toEqual([0, undefined, 2, 3]);
  for (let i = 0; i < 1000; i++) map.set(`x${i}`, i, 1);
  expect(map.size).toBe(3);
});
