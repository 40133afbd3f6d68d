import { describe, expect, test } from "bun:test";

import { natsTest } from "../../packages/server/src/cluster/test-support/nats.ts";
import { measureJoin } from "./join.ts";
import { measure } from "./sessions.ts";

const ENTRIES = 20_000;

test("every entry that was learnt is found, and those of a server that is dropped are gone (M3)", () => {
  const sample = measure(ENTRIES);
  expect(sample.fixedBytes).toBeGreaterThan(0);
  expect(sample.dropNanos).toBeGreaterThan(0);
}, 60_000);

// CPU is read from /proc.
describe.if(process.platform === "linux")("join", () => {
  natsTest(
    "M3: a server that joins learns all sessions over NATS, and trusts its table then",
    async () => {
      const sample = await measureJoin({ sessions: 3000, owners: 2 });
      expect(sample.completeSeconds).toBeGreaterThan(0);
      expect(sample.trustedSeconds).toBeGreaterThanOrEqual(sample.completeSeconds);
    },
    60_000,
  );
});
