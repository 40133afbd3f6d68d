import { describe, expect, test } from "bun:test";

import { natsTest } from "../../packages/server/src/cluster/test-support/nats.ts";
import { postgresTest } from "../../packages/server/src/store/test-support/postgres.ts";
import { measureCross } from "./cross.ts";

const WORK = { pairs: 5, window: 4, payload: 80, warmup: 0.1, seconds: 0.5 };

const enginesTest = natsTest === test ? postgresTest : natsTest;

// CPU is read from /proc. No time is asserted, nor that nothing was held: other tests run on the same cores.
describe.if(process.platform === "linux")("cross", () => {
  test("two floors acknowledge each message to each other", async () => {
    const result = await measureCross("floor", WORK);
    expect(result.messages).toBeGreaterThan(WORK.pairs * WORK.window);
  });

  enginesTest(
    "M6: two servers do, over NATS",
    async () => {
      const result = await measureCross("beckon", WORK);
      expect(result.messages).toBeGreaterThan(WORK.pairs * WORK.window);
      expect(result.p99).toBeGreaterThanOrEqual(result.p50);
    },
    60_000,
  );
});
