import { expect, test } from "bun:test";

import { Seats } from "./seats.ts";

test("a seat is kept for five seconds, or until its device is seen", () => {
  let now = 0;
  const seats = new Seats(() => now);
  seats.reserve("a", "s1");
  now = 2000;
  seats.reserve("b", "s1");
  seats.reserve("c", "s2");
  expect([seats.at("s1"), seats.at("s2"), seats.at("s3")]).toEqual([2, 1, 0]);
  seats.release("c");
  now = 4999;
  expect([seats.at("s1"), seats.at("s2")]).toEqual([2, 0]);
  now = 5000;
  expect(seats.at("s1")).toBe(1);
  now = 7000;
  expect(seats.at("s1")).toBe(0);
});

test("a device has one seat: the one that it was sent to last", () => {
  const seats = new Seats(() => 0);
  seats.reserve("a", "s1");
  seats.reserve("a", "s2");
  expect([seats.at("s1"), seats.at("s2")]).toEqual([0, 1]);
});

test("L10: of more seats than are kept the oldest is given up", () => {
  const seats = new Seats(() => 0, 2);
  for (const device of ["a", "b", "c"]) seats.reserve(device, device === "a" ? "s1" : "s2");
  expect([seats.at("s1"), seats.at("s2")]).toEqual([0, 2]);
});
