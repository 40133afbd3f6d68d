import type { test } from "bun:test";

import { testWith } from "../../lib/test-support/engine.ts";
import { INSTALL, isInstalled } from "./postgres-process.ts";

export { startPostgres } from "./postgres-process.ts";
export type { PostgresProcess } from "./postgres-process.ts";

export const postgresTest: typeof test = testWith("PostgreSQL", isInstalled, INSTALL);
