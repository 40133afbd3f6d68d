import { describe, expect, test } from "bun:test";

import type { ServerAddresses } from "@beckon/protocol";
import * as fc from "fast-check";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { type DrainPace, drainCapacity, planDrain } from "./drain-plan.ts";
import { drainConnections, type Leaver } from "./drain.ts";

interface Happening {
  readonly at: number;
  readonly what: "told" | "left" | "draining" | "stopping";
  readonly first?: string | undefined;
}

interface Crowd {
  /** Share of the devices that follow DRAIN. */
  readonly follow: number;
  readonly others: readonly string[];
}

/** Devices that are sent elsewhere, and all that happens to them. */
class Drain {
  readonly clock = new VirtualClock();
  readonly happened: Happening[] = [];
  others: readonly string[];
  isOver = false;

  constructor(pace: DrainPace, count: number, { follow, others }: Crowd) {
    this.others = others;
    const leavers = Array.from({ length: count }, (_, at) => this.#device(at, at < count * follow));
    let turn = 0;
    const elsewhere = (): ServerAddresses[] =>
      this.others.map((_, at) => ({
        name: this.others[(at + turn) % this.others.length]!,
        addresses: [],
      }));
    void drainConnections(leavers, {
      plan: planDrain(pace),
      clock: this.clock,
      elsewhere: () => {
        turn++;
        return elsewhere();
      },
    }).then(() => (this.isOver = true));
  }

  #device(at: number, follows: boolean): Leaver {
    const device = {
      isClosed: false,
      drain: (within: number, servers: readonly ServerAddresses[]): void => {
        if (device.isClosed) return;
        this.#record("told", servers[0]?.name);
        if (!follows) return;
        this.clock.after(within * fraction(at), () => {
          if (device.isClosed) return;
          device.isClosed = true;
          this.#record("left");
        });
      },
      fail: (code: "draining" | "stopping"): void => {
        if (device.isClosed) return;
        device.isClosed = true;
        this.#record(code);
      },
    };
    return device;
  }

  #record(what: Happening["what"], first?: string): void {
    this.happened.push({ at: this.clock.monotonic(), what, first });
  }

  times(...what: readonly Happening["what"][]): number[] {
    return this.happened.filter((one) => what.includes(one.what)).map(({ at }) => at);
  }
}

/** Evenly spread, and the same in each run. */
function fraction(at: number): number {
  return (at * 0.618_033_988_75) % 1;
}

/** The most that happen within any `ms`. */
function most(times: readonly number[], ms: number): number {
  let [first, highest] = [0, 0];
  for (const [at, time] of times.entries()) {
    while (times[first]! <= time - ms) first++;
    highest = Math.max(highest, at - first + 1);
  }
  return highest;
}

const PACE: DrainPace = { batch: 20, intervalMs: 100, deadlineMs: 10_000 };

describe("B3: a server that is being emptied", () => {
  test("tells its devices at the pace, and each leaves at a moment of its own", async () => {
    const drain = new Drain(PACE, 500, { follow: 1, others: ["b"] });
    await drain.clock.advance(10_000);
    expect(drain.times("told")).toHaveLength(500);
    expect(most(drain.times("told"), 100)).toBe(20);
    expect(drain.times("left")).toHaveLength(500);
    // They are spread over more than a batch's time: no burst at the moment of being told.
    expect(most(drain.times("left"), 100)).toBeLessThan(50);
    expect(drain.times("draining", "stopping")).toEqual([]);
    expect(drain.isOver).toBe(true);
  });

  test("names the others by turns", async () => {
    const drain = new Drain(PACE, 300, { follow: 1, others: ["b", "c", "d"] });
    await drain.clock.advance(10_000);
    for (const name of ["b", "c", "d"]) {
      const named = drain.happened.filter(({ first }) => first === name).length;
      expect(named).toBeGreaterThan(80);
    }
  });

  test("closes those that do not go, at the pace, after their time", async () => {
    const { within, patience } = planDrain(PACE);
    const drain = new Drain(PACE, 200, { follow: 0, others: ["b"] });
    await drain.clock.advance(10_000);
    const closed = drain.times("draining");
    expect(closed).toHaveLength(200);
    expect(closed[0]).toBeGreaterThanOrEqual(patience);
    expect(patience).toBeGreaterThan(within);
    expect(most(closed, 100)).toBeLessThanOrEqual(20);
    expect(drain.isOver).toBe(true);
  });

  test("is done as soon as the last has gone", async () => {
    const drain = new Drain(PACE, 10, { follow: 1, others: ["b"] });
    const { within } = planDrain(PACE);
    await drain.clock.advance(within + 100);
    expect(drain.isOver).toBe(true);
    const empty = new Drain(PACE, 0, { follow: 1, others: ["b"] });
    await empty.clock.advance(0);
    expect(empty.isOver).toBe(true);
  });

  test("says that it stops where there is no other, at the pace", async () => {
    const drain = new Drain(PACE, 200, { follow: 1, others: [] });
    await drain.clock.advance(10_000);
    expect(drain.times("told", "left", "draining")).toEqual([]);
    expect(drain.times("stopping")).toHaveLength(200);
    expect(most(drain.times("stopping"), 100)).toBe(20);
  });

  test("says so from the moment on at which the last other one is gone", async () => {
    const drain = new Drain(PACE, 400, { follow: 0, others: ["b"] });
    await drain.clock.advance(450);
    drain.others = [];
    await drain.clock.advance(9_000);
    expect(drain.times("told")).toHaveLength(100);
    expect(drain.times("stopping")).toHaveLength(400);
    expect(drain.isOver).toBe(true);
  });

  test("tells more at once where the deadline would pass otherwise", async () => {
    const count = 3 * drainCapacity(PACE);
    const drain = new Drain(PACE, count, { follow: 0.5, others: ["b"] });
    const plan = planDrain(PACE);
    await drain.clock.advance(plan.gone + 100);
    expect(drain.isOver).toBe(true);
    expect(drain.times("told").at(-1)).toBeLessThanOrEqual(plan.told + 100);
    expect(most(drain.times("told"), 100)).toBeLessThan(4 * PACE.batch);
  });

  test("its capacity is what the pace gets done in time, and one more is not", async () => {
    const capacity = drainCapacity(PACE);
    expect(capacity).toBe(20 * 41);
    for (const [count, batch] of [
      [capacity, 20],
      [capacity + 41, 21],
    ] as const) {
      const drain = new Drain(PACE, count, { follow: 1, others: ["b"] });
      await drain.clock.advance(10_000);
      expect(most(drain.times("told"), 100)).toBe(batch);
    }
  });

  test("is over by its deadline, whatever the pace and the devices", async () => {
    const pace = fc.record({
      batch: fc.integer({ min: 1, max: 500 }),
      intervalMs: fc.constantFrom(0, 1, 100, 5_000, 60_000),
      deadlineMs: fc.constantFrom(0, 10, 500, 10_000, 60_000),
    });
    await fc.assert(
      fc.asyncProperty(
        pace,
        fc.nat(600),
        fc.constantFrom(0, 0.5, 1),
        fc.constantFrom<readonly string[]>([], ["b"]),
        async (pace, count, follow, others) => {
          const drain = new Drain(pace, count, { follow, others });
          await drain.clock.advance(pace.deadlineMs + 50);
          expect(drain.isOver).toBe(true);
          expect(drain.times("left", "draining", "stopping")).toHaveLength(count);
        },
      ),
      { numRuns: 60 },
    );
  }, 30_000);
});
