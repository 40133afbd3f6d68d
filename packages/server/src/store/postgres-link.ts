/** One connection, and what its errors mean. The only file that names the driver. */
import { SQL } from "bun";
import type { ReservedSQL } from "bun";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { StoreUnavailable } from "./store.ts";

// oxlint-disable-next-line typescript/no-explicit-any -- a row is what its statement says
export type Row = Record<string, any>;
export type Statement = readonly [sql: string, params?: readonly unknown[]];

export interface LinkOptions {
  readonly url: string;
  /** Where the tables are; an identifier of lower case letters, digits and "_". */
  readonly schema: string;
  readonly ca: string | undefined;
  readonly connectTimeoutMs: Millis;
  /** Of one statement, told to the server. */
  readonly statementTimeoutMs: Millis;
  /** Of one round trip: a link that drops what it is given is noticed by this alone. */
  readonly answerTimeoutMs: Millis;
}

/**
 * A transaction is two round trips. Who says nothing for so long in the middle of one is a process that stands still: the database
 * ends it, and whoever waits for the users that it has locked goes on before its own wait (a statement's) is over.
 */
const IDLE_IN_TRANSACTION_MS: Millis = 2_000;

/** SQLSTATEs after which the same transaction may well succeed: serialization failure, deadlock, a partition that has gone. */
const AGAIN = /^(40001|40P01|23514)$/;

/** SQLSTATEs that blame what was asked: data exceptions, constraints, what is too long. */
const OF_THE_CALL = /^(22|23|54)/;

/** SQLSTATEs after which the connection is of no use: it may lead to a server that has become a standby, or is about to end. */
const OF_NO_USE = /^(25006|57P|08|58|XX)/;

/** SQLSTATE; "" where the server said nothing. */
export function stateOf(error: unknown): string {
  return error instanceof SQL.PostgresError ? (error.errno ?? "") : "";
}

export function mayBeRepeated(error: unknown): boolean {
  return AGAIN.test(stateOf(error));
}

/** A lock was not to be had in the time given for it. */
export function isLockTimeout(error: unknown): boolean {
  return stateOf(error) === "55P03";
}

/** The call is to blame, not the database. */
export function isOfCall(error: unknown): boolean {
  if (mayBeRepeated(error)) return false;
  return OF_THE_CALL.test(stateOf(error)) || (error instanceof Error && !isOfDatabase(error));
}

function isOfDatabase(error: Error): boolean {
  return error instanceof SQL.PostgresError || error instanceof StoreUnavailable;
}

/** What operators meet, by SQLSTATE or the driver's code. */
const REASONS: Readonly<Record<string, string>> = {
  "28000": "it refuses this user",
  "28P01": "it refuses the password",
  "3D000": "there is no such database",
  "42501": "this user may not make tables in it",
  "53300": "it has no connection left for us",
  "57P03": "it is starting or stopping",
  ERR_POSTGRES_CONNECTION_REFUSED: "nobody answers at its address",
  ERR_POSTGRES_CONNECTION_TIMEOUT: "it does not answer",
  ERR_POSTGRES_TLS_NOT_AVAILABLE: "it offers no TLS",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is from nobody that is trusted",
};

/** Without any value of a statement: PostgreSQL's own message may quote one. */
export function unavailable(error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  const state = stateOf(error);
  const { code } = error as { readonly code?: unknown };
  const name = state !== "" || typeof code !== "string" ? state : code;
  const reason = REASONS[name];
  const words = reason === undefined ? name : `${reason} (${name})`;
  return new StoreUnavailable(`the database cannot be used: ${words}`);
}

export class Link {
  readonly #sql: SQL;
  readonly #reserved: ReservedSQL;
  readonly #clock: Clock;
  readonly #answerTimeoutMs: Millis;
  #isOpen = true;

  private constructor(sql: SQL, reserved: ReservedSQL, clock: Clock, answerTimeoutMs: Millis) {
    this.#sql = sql;
    this.#reserved = reserved;
    this.#clock = clock;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  static async connect(options: LinkOptions, clock: Clock, onClose: () => void): Promise<Link> {
    let link: Link | undefined;
    const closed = (): void => {
      if (link === undefined || !link.#isOpen) return;
      link.#isOpen = false;
      onClose();
    };
    const sql = new SQL(options.url, {
      adapter: "postgres",
      ...(options.ca === undefined ? {} : { tls: { ca: options.ca } }),
      max: 1,
      idleTimeout: 0,
      maxLifetime: 0,
      connectionTimeout: Math.max(1, Math.ceil(options.connectTimeoutMs / 1_000)),
      onclose: closed,
    });
    try {
      link = new Link(sql, await sql.reserve(), clock, options.answerTimeoutMs);
      // All that is asked for goes by an index; without statistics, as of the new day's partition, a planner would not know.
      const [row] = await link.one(
        `SELECT pg_is_in_recovery() AS is_standby, set_config('search_path', $1, false), set_config('statement_timeout', $2, false),
             set_config('lock_timeout', $2, false), set_config('idle_in_transaction_session_timeout', $3, false),
             set_config('application_name', 'beckon', false), set_config('enable_seqscan', 'off', false)`,
        [options.schema, String(options.statementTimeoutMs), String(IDLE_IN_TRANSACTION_MS)],
      );
      if (row!["is_standby"] === true) throw new StoreUnavailable("the database is a standby");
      return link;
    } catch (error) {
      void sql.close({ timeout: 0 }).catch(() => undefined);
      throw unavailable(error);
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * In one round trip: all are sent, then all are answered. Rejects with the first error, when everything has been answered.
   * `answerTimeoutMs`: for what takes longer than others.
   */
  async run(
    statements: readonly Statement[],
    answerTimeoutMs: Millis = this.#answerTimeoutMs,
  ): Promise<Row[][]> {
    const cancel = this.#clock.after(answerTimeoutMs, () => this.close());
    try {
      const answers = statements.map((statement) => this.#send(statement));
      const outcomes = await Promise.allSettled(answers);
      return outcomes.map((outcome) => {
        if (outcome.status === "fulfilled") return outcome.value;
        if (OF_NO_USE.test(stateOf(outcome.reason))) this.close();
        throw outcome.reason;
      });
    } finally {
      cancel();
    }
  }

  #send([sql, params = []]: Statement): Promise<Row[]> {
    if (params.length > 0) return this.#reserved.unsafe(sql, params as unknown[]);
    // As a template: the driver waits for each answer where `unsafe` has no parameters.
    return this.#reserved(templateOf(sql));
  }

  async one(sql: string, params?: readonly unknown[]): Promise<Row[]> {
    return (await this.run([[sql, params ?? []]]))[0]!;
  }

  /** What has not been answered is rejected. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    void this.#sql.close({ timeout: 0 }).catch(() => undefined);
  }
}

function templateOf(sql: string): TemplateStringsArray {
  return Object.defineProperty([sql], "raw", { value: [sql] }) as unknown as TemplateStringsArray;
}

/** An array as PostgreSQL writes it: the driver need not know its type. */
export function arrayOf(items: readonly (string | number | boolean | null)[]): string {
  return `{${items.map((item) => (item === null ? "NULL" : typeof item === "string" ? quote(item) : String(item))).join()}}`;
}

export function bytesArray(items: readonly Uint8Array[]): string {
  return `{${items.map((bytes) => `"\\\\x${bytes.toHex()}"`).join()}}`;
}

function quote(text: string): string {
  return `"${text.replaceAll(/[\\"]/g, "\\$&")}"`;
}
