/** Ties, as one transaction sees and changes them. They decay in code: not every SQLite can raise to a power. */
import type { Statement } from "bun:sqlite";

import type { Millis } from "@beckon/protocol";

import type { Call } from "./call.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import type { StoredTie, TieChange, TieSums } from "./store.ts";
import {
  CROWD,
  FADE_SLICE,
  FAINT,
  TIES_PER_USER,
  added,
  byWeight,
  circleSize,
  latest,
  sidesOfChanges,
  weightAt,
} from "./ties.ts";
import { namedBy } from "./waking.ts";
import type { Pushed } from "./waking.ts";

/** Ties that one `erase` deletes, of the user and of others each. */
const ERASE_SLICE = 2_000;

interface WokenRow {
  readonly user: string;
  readonly pushed_at: number | null;
  readonly named: string | null;
  readonly calls: string | null;
}

interface PeerTie extends TieSums {
  readonly peer: string;
}

interface UserTie extends PeerTie {
  readonly user: string;
}

export class Ties {
  readonly #find: Statement<TieSums, [string, string]>;
  readonly #insert: Statement;
  readonly #update: Statement;
  readonly #delete: Statement;
  readonly #count: Statement<{ ties: number }, [string]>;
  readonly #ofUser: Statement<PeerTie, [string]>;
  readonly #woken: Statement<WokenRow, [string]>;
  readonly #last: Statement<{ user: string }, [string]>;
  readonly #between: Statement<UserTie, [string, string]>;
  readonly #after: Statement<UserTie, [string]>;
  readonly #eraseOwn: Statement;
  readonly #eraseOthers: Statement;

  constructor(file: SqliteFile) {
    const all = "SELECT user, peer, long, short, at FROM tie";
    this.#find = file.prepare("SELECT long, short, at FROM tie WHERE user = ? AND peer = ?");
    this.#insert = file.prepare(
      "INSERT INTO tie (user, peer, long, short, at) VALUES (?, ?, ?, ?, ?)",
    );
    this.#update = file.prepare(
      "UPDATE tie SET long = ?, short = ?, at = ? WHERE user = ? AND peer = ?",
    );
    this.#delete = file.prepare("DELETE FROM tie WHERE user = ? AND peer = ?");
    this.#count = file.prepare("SELECT count(*) AS ties FROM tie WHERE user = ?");
    this.#ofUser = file.prepare("SELECT peer, long, short, at FROM tie WHERE user = ?");
    this.#woken = file.prepare(
      `SELECT user, pushed_at, named, calls FROM holder WHERE user IN (SELECT value FROM json_each(?))
         AND device <> '' AND (pushed_at IS NOT NULL OR calls IS NOT NULL)`,
    );
    this.#last = file.prepare(
      `SELECT user FROM tie WHERE user > ? ORDER BY user LIMIT 1 OFFSET ${FADE_SLICE - 1}`,
    );
    this.#between = file.prepare(`${all} WHERE user > ? AND user <= ?`);
    this.#after = file.prepare(`${all} WHERE user > ?`);
    this.#eraseOwn = file.prepare("DELETE FROM tie WHERE user = ?");
    this.#eraseOthers = file.prepare(
      `DELETE FROM tie WHERE (user, peer) IN (SELECT user, peer FROM tie WHERE peer = ? LIMIT ${ERASE_SLICE})`,
    );
  }

  strengthen(changes: readonly TieChange[]): void {
    const joined = new Set<string>();
    for (const { user, peer, ...come } of sidesOfChanges(changes)) {
      const known = this.#find.get(user, peer);
      if (known === null) {
        this.#insert.run(user, peer, come.long, come.short, come.at);
        joined.add(user);
      } else {
        const { long, short, at } = added(known, come);
        this.#update.run(long, short, at, user, peer);
      }
    }
    const now = latest(changes);
    for (const user of joined) {
      if (this.#count.get(user)!.ties <= CROWD) continue;
      const weakest = byWeight(this.#ofUser.all(user), now).slice(TIES_PER_USER);
      for (const { peer } of weakest) this.#delete.run(user, peer);
    }
  }

  circle(user: string, k: number, now: Millis): StoredTie[] {
    const ties = byWeight(this.#ofUser.all(user), now).slice(0, circleSize(k));
    const pushed = this.#pushed(ties.map(({ peer }) => peer));
    return ties.map((tie) => {
      const named = namedBy(pushed.get(tie.peer) ?? []);
      return named === undefined ? tie : { ...tie, named };
    });
  }

  #pushed(users: readonly string[]): Map<string, Pushed[]> {
    const pushed = new Map<string, Pushed[]>();
    if (users.length === 0) return pushed;
    for (const { user, pushed_at, named, calls } of this.#woken.all(JSON.stringify(users))) {
      const wakes = pushed.get(user) ?? [];
      wakes.push({ pushedAt: pushed_at ?? undefined, named: named ?? "" });
      if (calls !== null) wakes.push(...(JSON.parse(calls) as Call[]));
      pushed.set(user, wakes);
    }
    return pushed;
  }

  fade(after: string, now: Millis): string {
    const last = this.#last.get(after)?.user;
    const ties = last === undefined ? this.#after.all(after) : this.#between.all(after, last);
    for (const tie of ties) {
      if (weightAt(tie, now) < FAINT) this.#delete.run(tie.user, tie.peer);
    }
    return last ?? "";
  }

  /** A slice. Answers how many ties are gone; 0: nothing is left. */
  erase(user: string): number {
    return this.#eraseOwn.run(user).changes + this.#eraseOthers.run(user).changes;
  }
}
