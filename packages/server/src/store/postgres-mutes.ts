/** Quiet conversations, as one transaction finds and changes them. */
import type { Millis } from "@beckon/protocol";

import { arrayOf } from "./postgres-link.ts";
import type { Row, Statement } from "./postgres-link.ts";
import type { Mutes } from "./quiet.ts";
import type { HoldRequest } from "./store.ts";

const COLUMNS = "account, conversation, until::float8";

export function readMutesOf(users: readonly string[]): Statement {
  return [`SELECT ${COLUMNS} FROM mute WHERE account = ANY($1::text[])`, [arrayOf(users)]];
}

/** Those that could keep these messages from waking somebody. */
export function readMutesFor(requests: readonly HoldRequest[]): Statement {
  return [
    `SELECT ${COLUMNS} FROM mute WHERE (account, conversation) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [
      arrayOf(requests.map(({ user }) => user)),
      arrayOf(requests.map(({ wake }) => wake.conversation)),
    ],
  ];
}

export class StoredMutes {
  readonly #users = new Map<string, Mutes>();
  /** Written in this order. */
  readonly #statements: Statement[] = [];

  constructor(rows: readonly Row[]) {
    for (const row of rows) {
      this.of(row["account"] as string).set(row["conversation"] as string, row["until"] as number);
    }
  }

  /** Of what was read. */
  of(user: string): Mutes {
    let mutes = this.#users.get(user);
    if (mutes === undefined) this.#users.set(user, (mutes = new Map()));
    return mutes;
  }

  remove(user: string, conversations: readonly string[]): void {
    if (conversations.length === 0) return;
    this.#statements.push([
      "DELETE FROM mute WHERE account = $1 AND conversation = ANY($2::text[])",
      [user, arrayOf(conversations)],
    ]);
  }

  set(user: string, conversation: string, until: Millis): void {
    this.#statements.push([
      `INSERT INTO mute VALUES ($1, $2, $3::bigint)
       ON CONFLICT (account, conversation) DO UPDATE SET until = excluded.until`,
      [user, conversation, until],
    ]);
  }

  flush(): Statement[] {
    return this.#statements;
  }
}
