/** Harnesses of the conformance suite for the backends that need nothing but this process. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Millis } from "@beckon/protocol";

import { systemClock } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { createMemoryDatabase } from "../memory.ts";
import { openSqlite } from "../sqlite.ts";
import type { SqliteOptions } from "../sqlite.ts";
import type { StoreLimits } from "../store.ts";
import type { StoreHarness } from "../store.suite.ts";
import { START } from "./requests.ts";

/** The machine's timers, and a time that moves when told to. */
export interface SteppedClock extends Clock {
  advance(ms: Millis): void;
}

export function steppedClock(): SteppedClock {
  let now = START;
  return {
    ...systemClock,
    now: () => now,
    advance: (ms) => {
      now += ms;
    },
  };
}

export async function openMemoryHarness(limits: StoreLimits): Promise<StoreHarness> {
  const clock = steppedClock();
  const database = createMemoryDatabase(clock, limits);
  const [a, b] = [database.open(), database.open()];
  return {
    a,
    b,
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    close: async () => {
      await Promise.all([a.messages.close(), b.messages.close()]);
    },
  };
}

export async function openSqliteHarness(
  limits: StoreLimits,
  options: SqliteOptions = {},
): Promise<StoreHarness> {
  const clock = steppedClock();
  const folder = temporaryFolder();
  const path = join(folder.path, "beckon.db");
  const a = await openSqlite(path, limits, { clock, ...options });
  const b = await openSqlite(path, limits, { clock, ...options });
  return {
    a,
    b,
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    close: async () => {
      await Promise.all([a.close(), b.close()]);
      folder.remove();
    },
  };
}

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "beckon-store-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
