/**
 * The server that is measured, as it ships: tokens and tickets checked, messages that cannot be
 * delivered held in SQLite, in a directory that is removed at the end; the bus in memory.
 */
import { openSqlite } from "@beckon/server";

import { runMeasured, storePath } from "./measured.ts";

await runMeasured({ store: await openSqlite(storePath()), providers: [] });
