import { test } from "bun:test";

import { INSTALL, isInstalled } from "./postgres-process.ts";

export { startPostgres } from "./postgres-process.ts";
export type { PostgresProcess } from "./postgres-process.ts";

/** A test that needs PostgreSQL: where there is none it is skipped and says so, but it fails under `CI=true`. */
export const postgresTest: typeof test =
  isInstalled || process.env["CI"] === "true" ? test : test.skip;

if (postgresTest !== test) console.log(`no PostgreSQL, its tests are skipped: ${INSTALL}`);
