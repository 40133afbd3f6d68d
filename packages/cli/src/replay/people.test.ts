import { expect, test } from "bun:test";

import { People } from "./people.ts";
import { Random } from "./xoshiro.ts";

/** Always the mean. */
const even = { exponential: (mean: number): number => mean };
const HOUR = 3_600_000;

test("a device that is always on stays for 6 h in the mean, and is gone for a minute", () => {
  const people = new People(2, "always-on", even);
  expect(people.next).toBe(Infinity);
  people.connected(1, 0);
  expect([people.first, people.next, people.isOn(1)]).toEqual([1, 6 * HOUR, true]);
  people.active(1, HOUR);
  expect(people.next).toBe(6 * HOUR);
  people.gone(1, 6 * HOUR);
  expect([people.next, people.isOn(1)]).toEqual([6 * HOUR + 60_000, false]);
});

test("a push wakes one that is gone after 2 s, and puts nothing off", () => {
  const people = new People(1, "always-on", even);
  people.pushed(0, 1_000);
  expect(people.next).toBe(3_000);
  people.pushed(0, 2_000);
  expect(people.next).toBe(3_000);
});

test.each([
  ["long", 6 * HOUR],
  ["short", 300_000],
] as const)("mode %s: it stays until so long after the last message", (mode, idle) => {
  const people = new People(1, mode, even);
  people.connected(0, 0);
  people.active(0, 1_000);
  expect(people.next).toBe(1_000 + idle);
  people.gone(0, people.next);
  expect(people.next).toBe(Infinity);
});

test("the same seed gives the same comings and goings", () => {
  const run = (seed: number): number[] => {
    const people = new People(3, "always-on", new Random(seed).fork("people"));
    for (let device = 0; device < 3; device++) people.connected(device, 0);
    return Array.from({ length: 50 }, () => {
      const { first, next } = people;
      if (people.isOn(first)) people.gone(first, next);
      else people.connected(first, next);
      return next;
    });
  };
  expect(run(1)).toEqual(run(1));
  expect(run(2)).not.toEqual(run(1));
});
