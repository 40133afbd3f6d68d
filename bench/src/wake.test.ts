import { describe, expect, test } from "bun:test";

import { measureWake } from "./wake.ts";

const WORK = {
  rate: 200,
  warmup: 0.1,
  seconds: 0.5,
  payload: 80,
  coalesced: 5,
  connects: 20,
  connectRate: 200,
};

// CPU is read from /proc. No time is asserted: other tests run on the same cores.
describe.if(process.platform === "linux")("wake", () => {
  test("every device is woken, and gets its message", async () => {
    const result = await measureWake("sqlite", WORK);
    for (const { p50, p99, max } of [result.wake, result.coalesce, result.hello]) {
      expect(p50).toBeGreaterThan(0);
      expect(p99).toBeGreaterThanOrEqual(p50);
      expect(max).toBeGreaterThanOrEqual(p99);
    }
    expect(result.repeated).toBe(0);
  }, 60_000);
});
