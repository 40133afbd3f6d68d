import { afterAll, beforeAll, describe, setDefaultTimeout, test } from "bun:test";

import { openPostgres } from "./postgres.ts";
import type { StoreLimits } from "./store.ts";
import { storeSuite } from "./store.suite.ts";
import type { StoreHarness } from "./store.suite.ts";
import { steppedClock } from "./test-support/harness.ts";
import { postgresTest, startPostgres } from "./test-support/postgres.ts";
import type { PostgresProcess } from "./test-support/postgres.ts";

setDefaultTimeout(30_000);

let postgres: PostgresProcess;
if (postgresTest === test) {
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.remove());
}

let schemas = 0;

async function openHarness(limits: StoreLimits): Promise<StoreHarness> {
  const clock = steppedClock();
  const options = { schema: `s${++schemas}`, now: () => clock.now(), connections: 4 };
  const a = await openPostgres(postgres.url, limits, options);
  const b = await openPostgres(postgres.url, limits, options);
  return {
    a,
    b,
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    close: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

describe("PostgreSQL keeps the laws of the store", () => {
  storeSuite(postgresTest, openHarness);
});
