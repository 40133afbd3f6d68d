import { expect, test } from "bun:test";
import { type SetBatch, SetReading } from "./set-reading.ts";

test("a pass reads every own user once, also those that come while it runs", () => {
  const users = new Set(["a", "b", "c"]);
  const reading = new SetReading(() => users);
  expect(reading.isDone).toBe(true);
  reading.begin();
  expect(reading.next(2)?.users).toEqual(["a", "b"]);
  users.add("d");
  expect(reading.next(2)?.users).toEqual(["c", "d"]);
  expect(reading.isDone).toBe(false);
  expect(reading.next(2)).toBeUndefined();
  expect(reading.isDone).toBe(true);
});

test("what could not be read is read again (L8)", () => {
  const reading = new SetReading(() => ["a", "b", "c"]);
  reading.begin();
  reading.failed(reading.next(2) as SetBatch);
  expect(reading.next(2)?.users).toEqual(["a", "b"]);
  expect(reading.next(2)?.users).toEqual(["c"]);
  expect(reading.next(2)).toBeUndefined();
});

test("a failure of a pass that is over does not count: the next one reads all", () => {
  const reading = new SetReading(() => ["a"]);
  reading.begin();
  const batch = reading.next(2) as SetBatch;
  reading.begin();
  reading.failed(batch);
  expect(reading.next(2)?.users).toEqual(["a"]);
  expect(reading.next(2)).toBeUndefined();
});

test("users that were added are read too, and the pass does not wait for them", () => {
  const reading = new SetReading(() => ["a"]);
  reading.begin();
  expect(reading.next(1)?.users).toEqual(["a"]);
  reading.add("x");
  expect(reading.next(1)?.users).toEqual(["x"]);
  expect(reading.isDone).toBe(true);
  expect(reading.next(1)).toBeUndefined();
});
