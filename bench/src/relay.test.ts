import { describe, expect, test } from "bun:test";

import { measureRelay } from "./relay.ts";

const WORK = { pairs: 5, window: 4, payload: 80, warmup: 0.1, seconds: 0.5 };

// CPU is read from /proc. No time is asserted, nor that nothing was held: other tests run on the same cores.
describe.if(process.platform === "linux")("relay", () => {
  test.each(["floor", "beckon"] as const)(
    "the load and the %s acknowledge each message",
    async (target) => {
      const result = await measureRelay(target, WORK);
      expect(result.messages).toBeGreaterThan(WORK.pairs * WORK.window);
      expect(result.p99).toBeGreaterThanOrEqual(result.p50);
    },
  );
});
