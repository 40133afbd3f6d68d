/** The tables: how they are laid out, brought up to date, and split by day. */
import type { Millis } from "@beckon/protocol";

import { isLockTimeout } from "./postgres-link.ts";
import type { Link, Row } from "./postgres-link.ts";
import { StoreUnavailable } from "./store.ts";

export const DAY_MS: Millis = 24 * 3_600_000;

/** Of messages whose id is of a time that no partition is made for. */
export const OTHER_DAY = 0;

/** Rows that one transaction inserts at most. A row's number is the transaction's times this, plus the row's place in it. */
export const ROWS_PER_TRANSACTION = 4_096;

/**
 * Each entry brings the schema one version up; one that was released is never changed.
 *
 * `holder` is whom rows are held for: a device, or ("") the user alone, whose row has the version of the user's set and is what a
 * transaction locks before it reads or changes anything of that user. Its last columns are its wake intent (`class` null: none), and `calls`,
 * JSON (null: none), that ring, with the time at which the first is due.
 * `tie` is what one user has exchanged with another, see `TieSums`; the same of the pair is in the other's, where that has not dropped it.
 * `mute` is a conversation that wakes none of the user's devices until then.
 * `held` is a message for one of them. `day` is of the id, so that who repeats a message after midnight finds it.
 * `numbering.base` is added to a transaction's number: what was restored into another cluster has greater numbers than that one gives.
 * `held_order` is the order of `pending`; `lane` is a hash: two lanes that share one are read interleaved, each still in order. `urgency`
 * is 1, or 0 in rows that come first.
 */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    "CREATE TABLE numbering (base bigint NOT NULL)",
    "INSERT INTO numbering VALUES (0)",
    `CREATE TABLE holder (
      account text COLLATE "C" NOT NULL,
      device text COLLATE "C" NOT NULL,
      set_version bigint NOT NULL DEFAULT 0,
      dormant boolean NOT NULL DEFAULT false,
      protocols text NOT NULL DEFAULT '[]',
      provider text,
      token text,
      key_id bigint,
      wake_key bytea,
      seen bigint NOT NULL DEFAULT 0,
      gone_at bigint,
      missed boolean NOT NULL DEFAULT false,
      told_epoch bigint,
      held integer NOT NULL DEFAULT 0,
      generation bigint NOT NULL DEFAULT 0,
      class text,
      attempts integer,
      activity integer,
      conversation text,
      server text,
      preview text,
      expires bigint,
      due bigint,
      owner text,
      again boolean,
      PRIMARY KEY (account, device)
    ) WITH (fillfactor = 70)`,
    "CREATE INDEX holder_due ON holder (due) WHERE due IS NOT NULL AND token IS NOT NULL",
    `CREATE TABLE held (
      day integer NOT NULL,
      seq bigint NOT NULL,
      account text COLLATE "C" NOT NULL,
      device text COLLATE "C" NOT NULL,
      urgency smallint NOT NULL,
      lane bigint NOT NULL,
      n bigint NOT NULL,
      redelivered boolean NOT NULL,
      id bytea NOT NULL,
      sender text COLLATE "C" NOT NULL,
      sender_device text COLLATE "C" NOT NULL,
      digest text COLLATE "C" NOT NULL,
      body bytea NOT NULL
    ) PARTITION BY LIST (day)`,
    "ALTER TABLE held ALTER body SET STORAGE EXTERNAL",
    "CREATE INDEX held_seq ON held (seq)",
    "CREATE INDEX held_id ON held (id)",
    "CREATE INDEX held_order ON held (account, device, urgency, lane, n, seq)",
    `CREATE TABLE held_${OTHER_DAY} PARTITION OF held FOR VALUES IN (${OTHER_DAY})`,
  ],
  [
    "ALTER TABLE holder ADD COLUMN quiet_until bigint NOT NULL DEFAULT 0, ADD COLUMN mixed boolean",
    // A token may be longer than what a tree takes.
    "CREATE INDEX holder_token ON holder USING hash (token) WHERE token IS NOT NULL",
    `CREATE TABLE mute (
      account text COLLATE "C" NOT NULL,
      conversation text COLLATE "C" NOT NULL,
      until bigint NOT NULL,
      PRIMARY KEY (account, conversation)
    )`,
  ],
  ["ALTER TABLE holder ADD COLUMN pushed_at bigint", "ALTER TABLE holder ADD COLUMN named text"],
  [
    "ALTER TABLE holder ADD COLUMN calls text, ADD COLUMN calls_due bigint",
    "CREATE INDEX holder_calls_due ON holder (calls_due) WHERE calls_due IS NOT NULL AND token IS NOT NULL",
  ],
  [
    // Room for a row's next version beside it: then no index is touched.
    `CREATE TABLE tie (
      account text COLLATE "C" NOT NULL,
      peer text COLLATE "C" NOT NULL,
      long float8 NOT NULL,
      short float8 NOT NULL,
      at float8 NOT NULL,
      PRIMARY KEY (account, peer)
    ) WITH (fillfactor = 70)`,
    "CREATE INDEX tie_peer ON tie (peer)",
  ],
];

/** Keys of the locks that only starting and the care of partitions take; beside them the schema's own oid. */
const MIGRATION_LOCK = 0x42636b6e;
const PARTITION_LOCK = 0x42636b70;
const EXPIRY_LOCK = 0x42636b78;

/** To bring the schema one version up: an index of some million holders takes many seconds. Who starts beside it waits for it. */
const MIGRATION_MS: Millis = 30 * 60_000;

/** A lock that all who use the tables wait behind is not waited for longer than they can be kept waiting. */
const DETACH_LOCK_MS: Millis = 500;
const DETACH_ATTEMPTS = 10;

export function isSchemaName(name: string): boolean {
  return /^[a-z_][a-z0-9_]{0,62}$/.test(name);
}

/** @throws {StoreUnavailable} */
export async function migrate(link: Link, schema: string): Promise<void> {
  if (!isSchemaName(schema)) throw new TypeError("schema: lower case letters, digits and _");
  await lockMigration(link, schema);
  try {
    const { version } = (
      await link.run([
        [`CREATE SCHEMA IF NOT EXISTS ${schema}`],
        [`CREATE TABLE IF NOT EXISTS ${schema}.migration (version integer PRIMARY KEY)`],
        [`SELECT coalesce(max(version), 0) AS version FROM ${schema}.migration`],
      ])
    )[2]![0]!;
    const newest = MIGRATIONS.length;
    if (version > newest) {
      throw new StoreUnavailable(
        `the database cannot be used: its schema has version ${version}, this server knows ${newest}`,
      );
    }
    for (let at = version as number; at < newest; at++) {
      const steps = MIGRATIONS[at]!.map((step) => [step] as const);
      // How long it waits for a lock stays as it is: behind it all others wait.
      await link.run(
        [
          ["BEGIN"],
          [`SET LOCAL statement_timeout TO ${MIGRATION_MS}`],
          ...steps,
          ["INSERT INTO migration VALUES ($1)", [at + 1]],
          ["COMMIT"],
        ],
        MIGRATION_MS,
      );
    }
  } finally {
    if (link.isOpen) {
      await link.one("SELECT pg_advisory_unlock($1, hashtext($2))", [MIGRATION_LOCK, schema]);
    }
  }
}

/** Until it is given back. */
async function lockMigration(link: Link, schema: string): Promise<void> {
  await link.run(
    [
      ["BEGIN"],
      [`SET LOCAL statement_timeout TO ${MIGRATION_MS}`],
      [`SET LOCAL lock_timeout TO ${MIGRATION_MS}`],
      ["SELECT pg_advisory_lock($1, hashtext($2))", [MIGRATION_LOCK, schema]],
      ["COMMIT"],
    ],
    MIGRATION_MS,
  );
}

/**
 * What is added to a transaction's number, so that it is greater than that of any row. While servers run it stays: their rows have
 * lesser numbers than the transaction that asks.
 */
export async function numberingBase(link: Link): Promise<number> {
  const [row] = await link.one(
    `UPDATE numbering SET base = greatest(
       base,
       (SELECT coalesce(max(seq), 0) / ${ROWS_PER_TRANSACTION} + 1 FROM held) - pg_current_xact_id()::text::bigint
     ) RETURNING base::float8`,
  );
  return row!["base"] as number;
}

/** What in its settings lets an acknowledged message be lost (L1); also for `synchronous_commit` as this role has it. */
export async function settingsAgainstL1(link: Link): Promise<string[]> {
  const rows = await link.one(
    `SELECT name FROM pg_settings
     WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off' ORDER BY name`,
  );
  return rows.map(
    ({ name }: Row) =>
      `PostgreSQL runs with ${name} = off: a crash can lose messages that were acknowledged (L1)`,
  );
}

/** Runs `care` while no other server does: `create` waits for its turn, `expire` answers undefined where one does. */
export async function exclusively<Result>(
  link: Link,
  what: "create" | "expire",
  care: () => Promise<Result>,
): Promise<Result | undefined> {
  const lock = what === "create" ? "pg_advisory_lock" : "pg_try_advisory_lock";
  const key = [what === "create" ? PARTITION_LOCK : EXPIRY_LOCK];
  const [row] = await link.one(
    `SELECT ${lock}($1, hashtext(current_schema()))::text AS locked`,
    key,
  );
  if (row!["locked"] === "false") return undefined;
  try {
    return await care();
  } finally {
    if (link.isOpen) {
      await link.one("SELECT pg_advisory_unlock($1, hashtext(current_schema()))", key);
    }
  }
}

export async function partitions(link: Link): Promise<number[]> {
  const rows = await link.one(
    `SELECT substring(relname FROM 6)::integer AS day FROM pg_inherits
     JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'held'::regclass`,
  );
  return rows.map(({ day }: Row) => day as number);
}

/** Attaching takes no lock that a hold or a read waits for. */
export async function createPartition(link: Link, day: number): Promise<void> {
  await link.run([
    ["BEGIN"],
    [`CREATE TABLE held_${day} (LIKE held INCLUDING DEFAULTS INCLUDING STORAGE)`],
    [`ALTER TABLE held ATTACH PARTITION held_${day} FOR VALUES IN (${day})`],
    ["COMMIT"],
  ]);
}

/** From here on nobody sees its rows. Answers the name of what is left. */
export async function detachPartition(link: Link, day: number): Promise<string> {
  const name = `expired_${day}_${Date.now()}`;
  for (let attempt = 1; ; attempt++) {
    try {
      await link.run([
        ["BEGIN"],
        [`SET LOCAL lock_timeout TO ${DETACH_LOCK_MS}`],
        [`ALTER TABLE held DETACH PARTITION held_${day}`],
        [`ALTER TABLE held_${day} RENAME TO ${name}`],
        ["COMMIT"],
      ]);
      return name;
    } catch (error) {
      if (!isLockTimeout(error) || attempt === DETACH_ATTEMPTS) throw error;
    }
  }
}

export async function detached(link: Link): Promise<string[]> {
  const rows = await link.one(
    `SELECT relname FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname LIKE 'expired\\_%'`,
  );
  return rows.map(({ relname }: Row) => relname as string);
}
