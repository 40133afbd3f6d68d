import { expect, test } from "bun:test";

import { IdleQueue } from "./idle.ts";

test("a device sleeps when the trace is past its last activity by the idle time", () => {
  const idle = new IdleQueue(300);
  const asleep: number[] = [];
  const sleep = (device: number): boolean => asleep.push(device) > 0;
  idle.advance(1_000, sleep);
  idle.touch(1);
  idle.touch(2);
  idle.advance(1_100, sleep);
  idle.touch(1);
  idle.advance(1_300, sleep);
  expect(asleep).toEqual([]);
  idle.advance(1_301, sleep);
  expect(asleep).toEqual([2]);
  idle.advance(9_999, sleep);
  expect(asleep).toEqual([2, 1]);
});

test("a busy device is asked again, and does not keep the others awake", () => {
  const idle = new IdleQueue(300);
  idle.advance(0, () => true);
  idle.touch(1);
  idle.touch(2);
  const asked: number[] = [];
  idle.advance(301, (device) => asked.push(device) > 0 && device !== 1);
  expect(asked).toEqual([1, 2]);
  idle.advance(302, (device) => asked.push(device) > 0);
  idle.advance(303, (device) => asked.push(device) > 0);
  expect(asked).toEqual([1, 2, 1]);
});
