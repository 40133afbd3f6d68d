import { expect, test } from "bun:test";

import { EventQueue } from "./event-queue.ts";

test("what was put is taken, in order and at once where it waits", async () => {
  const queue = new EventQueue<number>(10);
  queue.put(1);
  queue.put(2);
  expect(await queue.take()).toEqual([1, 2]);
  const next = queue.take();
  queue.put(3);
  expect(await next).toEqual([3]);
});

test("an end is heard by who waits, and by who asks later", async () => {
  const queue = new EventQueue<number>(10);
  const next = queue.take();
  queue.end();
  expect(await next).toBeUndefined();
  expect(await queue.take()).toBeUndefined();
});

test("a reader that is too slow is told to begin anew", async () => {
  const queue = new EventQueue<number>(2);
  for (let i = 0; i < 3; i++) queue.put(i);
  expect(await queue.take()).toBeUndefined();
});
