/** The days that have a partition of their own, and what expires with them. */
import type { Millis } from "@beckon/protocol";

import { lockUsers } from "./postgres-holders.ts";
import { arrayOf } from "./postgres-link.ts";
import type { Link, Statement } from "./postgres-link.ts";
import { dayOf } from "./postgres-rows.ts";
import {
  DAY_MS,
  OTHER_DAY,
  createPartition,
  detachPartition,
  detached,
  exclusively,
  partitions,
} from "./postgres-schema.ts";
import { firstIdOf } from "./rules.ts";
import type { HoldRequest, StoreLimits } from "./store.ts";

/** Users, or rows, of one transaction. */
const SLICE = 1_000;

/** Days beyond now, and beyond the time that messages are kept, for which a partition is made: clocks differ. */
const SPARE_DAYS = 2;

export class Partitions {
  readonly #limits: StoreLimits;
  #known: ReadonlySet<number> = new Set();

  constructor(limits: StoreLimits) {
    this.#limits = limits;
  }

  get known(): ReadonlySet<number> {
    return this.#known;
  }

  async refresh(link: Link): Promise<void> {
    this.#known = new Set(await partitions(link));
  }

  /** Makes those that are missing; a message of some other time goes to the partition for all other days. */
  async provideFor(link: Link, requests: readonly HoldRequest[], now: Millis): Promise<void> {
    const today = Math.floor(now / DAY_MS);
    const first = today - Math.ceil(this.#limits.retentionMs / DAY_MS) - SPARE_DAYS;
    const days = new Set(requests.map(({ key }) => dayOf(key.id)));
    const missing = [...days].filter(
      (day) => !this.#known.has(day) && day >= first && day <= today + SPARE_DAYS,
    );
    if (missing.length === 0) return;
    await exclusively(link, "create", async () => {
      await this.refresh(link);
      for (const day of missing) if (!this.#known.has(day)) await createPartition(link, day);
      await this.refresh(link);
    });
  }

  /** Whole days are dropped; of the day that `before` is in, and of those without a partition, rows are deleted. */
  async expire(link: Link, before: Millis): Promise<number> {
    const expired = await exclusively(link, "expire", async () => {
      for (const name of await detached(link)) await finish(link, name);
      const today = Math.floor(before / DAY_MS);
      let dropped = 0;
      for (const day of await partitions(link)) {
        if (day === OTHER_DAY || day === today) dropped += await deleteOlder(link, day, before);
        else if (day < today) {
          await markAll(link, day);
          dropped += await finish(link, await detachPartition(link, day));
        }
      }
      await this.refresh(link);
      await sweepUsers(link);
      return dropped;
    });
    return expired ?? 0;
  }
}

/** Of the slice of users after the one named, in the order of their names. */
async function usersIn(link: Link, table: string, after: string): Promise<string[]> {
  const rows = await link.one(
    `SELECT DISTINCT account FROM ${table} WHERE account > $1 ORDER BY account LIMIT ${SLICE}`,
    [after],
  );
  return rows.map(({ account }) => account as string);
}

async function forAllUsers(
  link: Link,
  table: string,
  statement: (users: string) => Statement,
): Promise<void> {
  for (let after = ""; ;) {
    const users = await usersIn(link, table, after);
    if (users.length === 0) return;
    await link.run([["BEGIN"], lockUsers(users), statement(arrayOf(users)), ["COMMIT"]]);
    after = users.at(-1)!;
  }
}

/** A device that has a row of the day will miss it. Before the drop, and safe to repeat: a crash between the two tells too much, never too little. */
function markAll(link: Link, day: number): Promise<void> {
  return forAllUsers(link, `held_${day}`, (users) => [
    `UPDATE holder SET missed = true, told_epoch = NULL
     FROM (SELECT DISTINCT account, device FROM held_${day} WHERE account = ANY($1::text[]) AND device <> '') AS x
     WHERE holder.account = x.account AND holder.device = x.device`,
    [users],
  ]);
}

/** Counts anew what those have whose rows went with the day, and drops it. Safe to repeat. */
async function finish(link: Link, table: string): Promise<number> {
  await forAllUsers(link, table, (users) => [
    `UPDATE holder SET held = (
       SELECT count(*) FROM held WHERE held.account = holder.account AND held.device = holder.device
     ) WHERE account = ANY($1::text[])`,
    [users],
  ]);
  const [row] = await link.one(`SELECT count(*)::float8 AS rows FROM ${table}`);
  await link.one(`DROP TABLE ${table}`);
  return row!["rows"] as number;
}

async function deleteOlder(link: Link, day: number, before: Millis): Promise<number> {
  let dropped = 0;
  for (;;) {
    const rows = await link.one(
      `SELECT seq::float8, account FROM held WHERE day = $1 AND id < $2 LIMIT ${SLICE}`,
      [day, Buffer.from(firstIdOf(before))],
    );
    if (rows.length === 0) return dropped;
    const [, , gone] = await link.run([
      ["BEGIN"],
      lockUsers([...new Set(rows.map(({ account }) => account as string))]),
      [
        `WITH gone AS (DELETE FROM held WHERE day = $1 AND seq = ANY($2::bigint[]) RETURNING account, device),
         counted AS (SELECT account, device, count(*)::integer AS rows FROM gone GROUP BY account, device),
         told AS (
           UPDATE holder SET held = held - counted.rows, missed = missed OR holder.device <> '', told_epoch = NULL FROM counted
           WHERE holder.account = counted.account AND holder.device = counted.device
         ) SELECT count(*)::integer AS rows FROM gone`,
        [day, arrayOf(rows.map(({ seq }) => seq as number))],
      ],
      ["COMMIT"],
    ]);
    dropped += gone![0]!["rows"] as number;
  }
}

/** A user without rows who never had a device: nothing is left to know. What a transaction has locked is left for another time. */
async function sweepUsers(link: Link): Promise<void> {
  await link.one(
    `DELETE FROM holder WHERE device = '' AND account IN (
       SELECT account FROM holder WHERE device = '' AND held = 0 AND set_version = 0
       LIMIT 10000 FOR UPDATE SKIP LOCKED
     ) AND held = 0 AND set_version = 0`,
  );
}
