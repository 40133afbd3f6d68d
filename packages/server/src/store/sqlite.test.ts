import { describe, test } from "bun:test";

import { storeSuite } from "./store.suite.ts";
import { openSqliteHarness } from "./test-support/harness.ts";

describe("handles that share a thread", () => {
  storeSuite(test, openSqliteHarness);
});

describe("handles with a thread each", () => {
  storeSuite(test, (limits) => openSqliteHarness(limits, { shareThread: false }));
});
