import { test } from "bun:test";

import { storeSuite } from "./store.suite.ts";
import { openMemoryHarness } from "./test-support/harness.ts";

storeSuite(test, openMemoryHarness);
