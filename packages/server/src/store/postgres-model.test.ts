/** Whatever is asked of it, and however it is grouped, PostgreSQL answers as the memory backend does. */
import { afterAll, beforeAll, test } from "bun:test";

import * as fc from "fast-check";

import { openPostgres } from "./postgres.ts";
import type { SqliteCall } from "./sqlite-database.ts";
import type { Store } from "./store.ts";
import { SUITE_LIMITS } from "./store.suite.ts";
import { Pair } from "./test-support/pair.ts";
import { postgresTest, startPostgres } from "./test-support/postgres.ts";
import type { PostgresProcess } from "./test-support/postgres.ts";
import { DAY, HOUR } from "./test-support/requests.ts";
import { batch, claim } from "./test-support/steps.ts";
import type { Step } from "./test-support/steps.ts";

const RUNS = 40;

/** These share a commit where nothing else comes between them. */
const SHARE: ReadonlySet<string> = new Set([
  "hold",
  "arrive",
  "register",
  "unregister",
  "forget",
  "done",
  "clear",
  "leave",
  "quiet",
  "end",
]);

let postgres: PostgresProcess;
if (postgresTest === test) {
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 30_000);
  afterAll(() => postgres.remove());
}

let schemas = 0;

postgresTest(
  "PostgreSQL answers as memory does",
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 12 }), async (batches) => {
        const pair = new Pair();
        const store = await openPostgres(postgres.url, SUITE_LIMITS, {
          schema: `s${++schemas}`,
          now: () => pair.now,
          connections: 2,
        });
        try {
          for (const { wait, steps } of batches) {
            pair.wait(wait);
            for (const together of inCommits(steps)) await run(store, pair, together);
          }
          for (const step of pair.everything()) await run(store, pair, [step]);
          pair.wait(DAY);
          await run(store, pair, [claim("last", HOUR)]);
        } finally {
          await store.close();
        }
      }),
      { numRuns: RUNS },
    );
  },
  120_000,
);

function inCommits(steps: readonly Step[]): Step[][] {
  const commits: Step[][] = [];
  for (const step of steps) {
    const last = commits.at(-1);
    if (last !== undefined && [...last, step].every(shares)) last.push(step);
    else commits.push([step]);
  }
  return commits;
}

/** A session device's arrival only reads, and waits for nothing. */
function shares({ operation, given }: Step): boolean {
  return SHARE.has(operation) && (given as { durable?: boolean }).durable !== false;
}

/** All are asked in one turn. */
async function run(store: Store, pair: Pair, steps: readonly Step[]): Promise<void> {
  const asked = pair.calls(steps);
  const answers = await Promise.all(asked.map(({ other }) => ask(store, other)));
  asked.forEach((step, at) => pair.compare(step, answers[at]));
}

async function ask(store: Store, { operation, args }: SqliteCall): Promise<unknown> {
  if (operation === "retire") return { changed: await store.devices.retire(args[0]) };
  const port = { ...store.messages, ...store.devices, ...store.wakes, ...store.associates };
  const method = port[operation] as (...given: readonly unknown[]) => Promise<unknown>;
  return method(...args);
}
