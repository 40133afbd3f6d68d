/** Whatever is asked of it, and however it is grouped, SQLite answers as the memory backend does. */
import { test } from "bun:test";
import { join } from "node:path";

import * as fc from "fast-check";

import type { Millis } from "@beckon/protocol";

import { SqliteDatabase, isRead } from "./sqlite-database.ts";
import type { SqliteAnswer } from "./sqlite-database.ts";
import { SUITE_LIMITS } from "./store.suite.ts";
import { temporaryFolder } from "./test-support/harness.ts";
import { Pair } from "./test-support/pair.ts";
import { DAY, HOUR } from "./test-support/requests.ts";
import { batch, claim } from "./test-support/steps.ts";
import type { Step } from "./test-support/steps.ts";

const RUNS = 150;

test("SQLite answers as memory does", () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 12 }), (batches) => {
      const folder = temporaryFolder();
      const path = join(folder.path, "beckon.db");
      const sqlite = new SqliteDatabase(path, SUITE_LIMITS, { busyTimeoutMs: 1_000, maxBytes: 0 });
      const pair = new Pair();
      const run = (wait: Millis, steps: readonly Step[]): void => {
        pair.wait(wait);
        const asked = pair.calls(steps);
        const calls = asked.map(({ other }) => other);
        const answers = isRead(calls[0]!) ? sqlite.read(calls) : sqlite.write(calls);
        asked.forEach((step, at) => pair.compare(step, valueOf(answers[at]!)));
      };
      try {
        for (const { wait, steps } of batches) run(wait, steps);
        run(0, pair.everything());
        run(DAY, [claim("last", HOUR)]);
      } finally {
        sqlite.close();
        folder.remove();
      }
    }),
    { numRuns: RUNS },
  );
}, 60_000);

function valueOf(answer: SqliteAnswer): unknown {
  if ("value" in answer) return answer.value;
  throw new Error(answer.error);
}
