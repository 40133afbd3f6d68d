/** The file: how it is laid out, opened, checked and brought up to date. */
import { Database, SQLiteError } from "bun:sqlite";
import type { SQLQueryBindings, Statement } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";

import { StoreUnavailable } from "./store.ts";

/** "Bckn": tells our files from others'. */
const APPLICATION_ID = 0x42636b6e;

/** Rows of one message are numbered from `mid * ROWS_PER_MESSAGE` on; more devices than this one message cannot have. */
export const ROWS_PER_MESSAGE = 256;

/**
 * Each entry brings the schema one version up; one that was released is never changed.
 *
 * `holder` is whom rows are held for: a device, or ("") the user alone, whose row also has the version of the user's set. Its last
 * columns are its wake intent (`class` null: none), and `calls`, JSON (null: none), that ring, with the time at which the first is due.
 * `tie` is what one user has exchanged with another, see `TieSums`; the same of the pair is in the other's, where that has not dropped it.
 * `mute` is a conversation that wakes none of the user's devices until then.
 * `message` has what is the same for all devices of a user. A number is given to each hold that adds rows, in the order of
 * commits; so the order of `held.row` is the order of commits, and the rows of a message need no index.
 * `held_order` is the order of `pending`; `lane` is a hash: two lanes that share one are read interleaved, each still in order. `urgency`
 * is 1, or 0 in rows that come first.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
  INSERT INTO counter VALUES (0);

  CREATE TABLE holder (
    id INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    device TEXT NOT NULL,
    set_version INTEGER NOT NULL,
    dormant INTEGER NOT NULL,
    protocols TEXT NOT NULL,
    provider TEXT,
    token TEXT,
    key_id INTEGER,
    wake_key BLOB,
    seen INTEGER NOT NULL,
    gone_at INTEGER,
    missed INTEGER NOT NULL,
    told_epoch INTEGER,
    held INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    class TEXT,
    attempts INTEGER,
    activity INTEGER,
    conversation TEXT,
    server TEXT,
    preview TEXT,
    expires INTEGER,
    due INTEGER,
    owner TEXT,
    again INTEGER,
    UNIQUE (user, device)
  ) STRICT;
  CREATE INDEX holder_due ON holder (due) WHERE due IS NOT NULL AND token IS NOT NULL;

  CREATE TABLE message (
    mid INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    sender TEXT NOT NULL,
    sender_device TEXT NOT NULL,
    user TEXT NOT NULL,
    digest TEXT NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX message_id ON message (id);

  CREATE TABLE held (
    row INTEGER PRIMARY KEY,
    holder INTEGER NOT NULL,
    urgency INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    n INTEGER NOT NULL,
    redelivered INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX held_order ON held (holder, urgency, lane, n);
  `,
  `
  ALTER TABLE holder ADD COLUMN quiet_until INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE holder ADD COLUMN mixed INTEGER;
  CREATE INDEX holder_token ON holder (provider, token) WHERE token IS NOT NULL;

  CREATE TABLE mute (
    user TEXT NOT NULL,
    conversation TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (user, conversation)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE holder ADD COLUMN pushed_at INTEGER;
  ALTER TABLE holder ADD COLUMN named TEXT;
  `,
  `
  ALTER TABLE holder ADD COLUMN calls TEXT;
  ALTER TABLE holder ADD COLUMN calls_due INTEGER;
  CREATE INDEX holder_calls_due ON holder (calls_due) WHERE calls_due IS NOT NULL AND token IS NOT NULL;
  `,
  `
  CREATE TABLE tie (
    user TEXT NOT NULL,
    peer TEXT NOT NULL,
    long REAL NOT NULL,
    short REAL NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (user, peer)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tie_peer ON tie (peer);
  `,
];

export interface FileOptions {
  /** How long a transaction waits for one of another process. */
  readonly busyTimeoutMs: number;
  /** Bound of the file; what would make it larger is refused as if the disk were full. 0: none. */
  readonly maxBytes: number;
}

/** An open file and its statements. */
export class SqliteFile {
  readonly #database: Database;
  readonly #statements: Statement[] = [];

  constructor(database: Database) {
    this.#database = database;
  }

  get inTransaction(): boolean {
    return this.#database.inTransaction;
  }

  run(sql: string): void {
    this.#database.run(sql);
  }

  prepare<Row, Args extends SQLQueryBindings[]>(sql: string): Statement<Row, Args> {
    const statement = this.#database.prepare(sql);
    this.#statements.push(statement);
    return statement as Statement<Row, Args>;
  }

  bound(maxBytes: number): void {
    bound(this.#database, maxBytes);
  }

  /** A statement that is left would keep the file open behind our back. */
  close(): void {
    for (const statement of this.#statements.splice(0)) statement.finalize();
    this.#database.close();
  }
}

/** @throws {StoreUnavailable} */
export function openFile(path: string, { busyTimeoutMs, maxBytes }: FileOptions): SqliteFile {
  let database: Database | undefined;
  try {
    // Messages and wake keys are for the server alone; the files that SQLite puts beside this one take its mode.
    closeSync(openSync(path, "a", 0o600));
    database = new Database(path, { create: false, readwrite: true });
    database.run(`PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)}`);
    checkKind(database);
    setUp(database, maxBytes);
    migrate(database);
    return new SqliteFile(database);
  } catch (error) {
    database?.close();
    throw error instanceof StoreUnavailable ? error : new StoreUnavailable(reasonOf(error));
  }
}

/** SQLite's name of what went wrong, "SQLITE_FULL"; "" if it was not SQLite. */
export function codeOf(error: unknown): string {
  return error instanceof SQLiteError ? (error.code ?? "") : "";
}

/** What went wrong, without any value of a statement. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : "unknown";
  return `the database cannot be used: ${message}${code === "" ? "" : ` (${code})`}`;
}

function pragma(database: Database, name: string): unknown {
  return firstValue(database, `PRAGMA ${name}`);
}

function firstValue(database: Database, sql: string): unknown {
  const statement = database.prepare(sql);
  try {
    return statement.values()[0]?.[0];
  } finally {
    statement.finalize();
  }
}

function checkKind(database: Database): void {
  const kind = pragma(database, "application_id");
  const tables = firstValue(database, "SELECT count(*) FROM sqlite_schema");
  if (kind === APPLICATION_ID || (kind === 0 && tables === 0)) return;
  throw new StoreUnavailable("the database cannot be used: the file is not one of Beckon's");
}

function setUp(database: Database, maxBytes: number): void {
  // A commit is on the disk when it returns, also over a loss of power.
  const mode = pragma(database, "journal_mode = WAL");
  database.run("PRAGMA synchronous = FULL");
  if (mode !== "wal" || pragma(database, "synchronous") !== 2) {
    throw new StoreUnavailable(
      "the database cannot be used: its file system lacks what WAL with synchronous=FULL needs",
    );
  }
  database.run("PRAGMA wal_autocheckpoint = 4000");
  database.run("PRAGMA journal_size_limit = 67108864");
  database.run("PRAGMA cache_size = -32768");
  if (maxBytes > 0) bound(database, maxBytes);
}

/** What SQLite has without being told. */
const MAX_PAGES = 4_294_967_294;

function bound(database: Database, maxBytes: number): void {
  const pages = Math.floor(maxBytes / Number(pragma(database, "page_size")));
  database.run(`PRAGMA max_page_count = ${maxBytes === 0 ? MAX_PAGES : Math.max(1, pages)}`);
}

function migrate(database: Database): void {
  const newest = MIGRATIONS.length;
  if (pragma(database, "user_version") === newest) return;
  database
    .transaction(() => {
      // Another process may have done it while this one waited for the lock.
      const version = Number(pragma(database, "user_version"));
      if (version > newest) {
        throw new StoreUnavailable(
          `the database cannot be used: its schema has version ${version}, this server knows ${newest}`,
        );
      }
      for (const step of MIGRATIONS.slice(version)) database.run(step);
      database.run(`PRAGMA application_id = ${APPLICATION_ID}`);
      database.run(`PRAGMA user_version = ${newest}`);
    })
    .immediate();
}
