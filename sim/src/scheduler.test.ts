import { expect, test } from "bun:test";

import { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import { EPOCH, Process, Scheduler } from "./scheduler.ts";

const make = (seed = 1): { scheduler: Scheduler; process: Process; log: string[] } => {
  const scheduler = new Scheduler(new Random(seed));
  return { scheduler, process: new Process(scheduler, { name: "p", skew: 500 }), log: [] };
};

test("events run in the order of their time, and of being scheduled", () => {
  const { scheduler, log } = make();
  const random = new Random(7);
  const times = Array.from({ length: 500 }, () => random.int(0, 50));
  for (const [index, time] of times.entries()) {
    scheduler.at(time, () => log.push(`${scheduler.now} ${index}`));
  }
  scheduler.run(100);
  const expected = times
    .map((time, index) => ({ time, index }))
    .toSorted((a, b) => a.time - b.time || a.index - b.index)
    .map(({ time, index }) => `${time} ${index}`);
  expect(log).toEqual(expected);
  expect(scheduler.now).toBe(100);
});

test("what is deferred runs after all else of its time; microtasks after each event", () => {
  const { scheduler, process, log } = make();
  process.input(5, () => {
    process.clock.defer(() => log.push("deferred"));
    void Promise.resolve().then(() => log.push("microtask"));
    log.push("first");
  });
  process.input(5, () => log.push("second"));
  scheduler.run(10);
  expect(log).toEqual(["first", "microtask", "second", "deferred"]);
});

test("a cancelled timer does not run, and the wall clock has its skew", () => {
  const { scheduler, process, log } = make();
  const cancel = process.clock.after(5, () => log.push("never"));
  process.clock.after(4, cancel);
  const before = process.clock.monotonic();
  process.clock.after(7, () => log.push(String(process.clock.monotonic() - before)));
  scheduler.run(10);
  expect(log).toEqual(["7"]);
  expect(process.clock.now()).toBe(EPOCH + 10 + 500);
});

test("a stalled process gets all that came due in one turn when it goes on", () => {
  const firsts = new Set<string>();
  for (let seed = 0; seed < 20; seed += 1) {
    const { scheduler, process, log } = make(seed);
    process.clock.after(20, () => log.push("timer 1"));
    process.clock.after(40, () => log.push("timer 2"));
    process.input(30, () => {
      log.push("input");
      process.clock.defer(() => log.push(`deferred at ${scheduler.now}`));
    });
    scheduler.at(10, () => process.stall());
    scheduler.at(1000, () => process.resume());
    scheduler.run(999);
    expect(log).toEqual([]);
    scheduler.run(2000);
    expect(log.at(-1)).toBe("deferred at 1000");
    expect(log.indexOf("timer 1")).toBeLessThan(log.indexOf("timer 2"));
    firsts.add(log[0]!);
  }
  expect([...firsts].toSorted()).toEqual(["input", "timer 1"]);
});

test("nothing of a killed process runs again", () => {
  const { scheduler, process, log } = make();
  process.clock.after(20, () => log.push("timer"));
  process.input(5, () => log.push("input"));
  scheduler.at(1, () => process.stall());
  scheduler.at(10, () => process.kill());
  scheduler.at(30, () => process.resume());
  scheduler.run(100);
  expect(log).toEqual([]);
});

test("the same seed gives the same numbers; forks do not depend on what was drawn", () => {
  const draw = (random: Random): number[] => Array.from({ length: 5 }, () => random.bits());
  const [one, two] = [new Random(42), new Random(42)];
  draw(one);
  expect(draw(one.fork("x"))).toEqual(draw(two.fork("x")));
  expect(draw(one.fork("x"))).not.toEqual(draw(one.fork("y")));
  const mean = Array.from({ length: 10_000 }, () => two.next()).reduce((a, b) => a + b) / 10_000;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.02);
});
