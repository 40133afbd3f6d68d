/** The transactions: each reads under the locks of its users, decides in memory, and writes all of it with the commit. */
import type { Millis, PushRegistration } from "@beckon/protocol";

import { Decisions, look } from "./postgres-decisions.ts";
import { deviceRecordOf, setOf } from "./holder.ts";
import {
  Holders,
  lockTokens,
  lockUsers,
  makeUsers,
  readHolders,
  readRegistered,
} from "./postgres-holders.ts";
import { arrayOf, isOfCall, mayBeRepeated, stateOf, unavailable } from "./postgres-link.ts";
import type { Link, Row, Statement } from "./postgres-link.ts";
import { StoredMutes, readMutesFor, readMutesOf } from "./postgres-mutes.ts";
import type { Partitions } from "./postgres-partitions.ts";
import type { Pool } from "./postgres-pool.ts";
import {
  Rows,
  daysAndSeqs,
  lockUsersOf,
  markSent,
  readCallRows,
  readKept,
} from "./postgres-rows.ts";
import {
  circleOf,
  endOfSlice,
  eraseTies,
  fadeTies,
  readCircle,
  strengthenTies,
  thinTies,
} from "./postgres-ties.ts";
import { doesWake, mutesOf } from "./quiet.ts";
import { endingOf } from "./rules.ts";
import { StoreUnavailable } from "./store.ts";
import type {
  Arrival,
  ArrivalResult,
  DeviceRecord,
  DurableSet,
  HoldRequest,
  Mute,
  PendingRow,
  RowRef,
  StoreLimits,
  StoredTie,
  TieChange,
  WakeIntent,
} from "./store.ts";
import { latest } from "./ties.ts";
import type { Operation, Transactions } from "./transactions.ts";

/** A call that changes users which it names. */
export type UserOperation =
  | "hold"
  | "arrive"
  | "register"
  | "unregister"
  | "forget"
  | "done"
  | "clear"
  | "leave"
  | "quiet"
  | "end";

export type UserCall = {
  [Name in UserOperation]: {
    readonly operation: Name;
    readonly args: Parameters<Transactions[Name]>;
  };
}[UserOperation];

/** What became of one call. */
export type Outcome = { readonly value: unknown } | { readonly error: Error };

/** Attempts of one transaction that others keep from happening. */
const ATTEMPTS = 5;

const RETIRE_SLICE = 1_000;

/** At least as many calls as ring at a device and at its user alone. */
const RINGING = 16;

/**
 * What may be lost with the power is committed without waiting for the disk: a row comes back and is delivered again, an intent
 * comes back and its device is woken again, which the laws allow after a crash.
 */
const RELAXED: ReadonlySet<Operation> = new Set<Operation>(["done", "clear", "leave", "end"]);
const RELAX: Statement = ["SET LOCAL synchronous_commit TO off"];

const BEGIN: Statement = ["BEGIN"];
const COMMIT: Statement = ["COMMIT"];

/** The store's time: the database's, or the test's. */
const NOW = "coalesce($1::float8, floor(extract(epoch FROM clock_timestamp()) * 1000)::float8)";

/** In the order of the index, which one query for both holders would not be. */
const ofHolder = (device: string): string => `(
  SELECT day, seq, device, id, sender, sender_device, body, redelivered, urgency, lane, n FROM held
  WHERE account = $1 AND device = ${device} ORDER BY urgency, lane, n, seq LIMIT $3
)`;

/** Calls that ring come twice: first, and where they would stand as messages. */
const PENDING = `SELECT day, seq::float8, device, id, sender, sender_device, body, redelivered FROM (
    (SELECT held.day, held.seq, held.device, id, sender, sender_device, body, redelivered, -1 AS urgency, 0 AS lane, n
      FROM holder, json_to_recordset(holder.calls::json) AS ring (row text, expires float8, ended boolean)
      JOIN held ON held.day = split_part(ring.row, '.', 1)::integer AND held.seq = split_part(ring.row, '.', 2)::bigint
      WHERE holder.account = $1 AND holder.device IN ($2, '') AND holder.calls IS NOT NULL
        AND ring.row <> '' AND NOT ring.ended AND ring.expires > ${NOW.replace("$1", "$4")}
        AND held.account = $1 AND held.device = holder.device AND n = 0)
    UNION ALL ${ofHolder("$2")} UNION ALL ${ofHolder("''")}
  ) AS of_all
  ORDER BY urgency, lane, n, of_all.seq LIMIT $3`;

/**
 * Devices with a wake that is due, the longest due first. Its time is one for the whole statement, and of the column's type: so the indexes know
 * where what is due ends.
 */
export const DUE: string = `SELECT account, device FROM (${firstDue("due")} UNION ALL ${firstDue("calls_due")}) AS woken
  GROUP BY account, device ORDER BY min(at) LIMIT $2`;

const NEXT_DUE = `SELECT min(at)::float8 - ${NOW} AS wait FROM (
    SELECT min(due) AS at FROM holder WHERE due IS NOT NULL AND token IS NOT NULL
    UNION ALL SELECT min(calls_due) FROM holder WHERE calls_due IS NOT NULL AND token IS NOT NULL
  ) AS next`;

function firstDue(due: string): string {
  return `(SELECT account, device, ${due} AS at FROM holder
    WHERE ${due} <= (SELECT ${NOW}::bigint) AND ${due} IS NOT NULL AND token IS NOT NULL AND provider <> ALL($3::text[])
    ORDER BY ${due} LIMIT $2)`;
}

/** What a transaction is about: this is locked and read. */
interface Scope {
  readonly users: readonly string[];
  readonly requests?: readonly HoldRequest[];
  /** Whoever is registered so is locked and read as well. */
  readonly pushes?: readonly PushRegistration[];
  /** Which rows of the users' calls are there. */
  readonly callRows?: boolean;
  /** Users whose mutes change. */
  readonly muting?: readonly string[];
}

interface Work {
  readonly holders: Holders;
  readonly rows: Rows;
  readonly mutes: StoredMutes;
  readonly decisions: Decisions;
}

export class PostgresDatabase {
  readonly #pool: Pool;
  readonly #limits: StoreLimits;
  readonly #partitions: Partitions;
  readonly #base: number;
  readonly #now: (() => Millis) | undefined;

  /** `base`: of the numbering. */
  constructor(
    pool: Pool,
    limits: StoreLimits,
    partitions: Partitions,
    base: number,
    now: (() => Millis) | undefined,
  ) {
    this.#base = base;
    this.#pool = pool;
    this.#limits = limits;
    this.#partitions = partitions;
    this.#now = now;
  }

  /**
   * All of them in one commit. One that fails by itself fails alone, when it has failed twice: partitions that come and go meanwhile may
   * look like a fault of what was asked.
   */
  async write(calls: readonly UserCall[], isLast = false): Promise<Outcome[]> {
    try {
      const values = await this.#pool.with((link) => this.#write(link, calls));
      return values.map((value) => ({ value }));
    } catch (error) {
      if (!isOfCall(error)) {
        const reason = unavailable(error);
        return calls.map(() => ({ error: reason }));
      }
      if (calls.length === 1) {
        if (!isLast) return this.write(calls, true);
        const why = stateOf(error) || (error as Error).name;
        return [{ error: new Error(`the database refuses what was asked (${why})`) }];
      }
      const alone: Outcome[] = [];
      for (const call of calls) alone.push(...(await this.write([call])));
      return alone;
    }
  }

  async #write(link: Link, calls: readonly UserCall[]): Promise<unknown[]> {
    const requests = calls.flatMap((call) => (call.operation === "hold" ? call.args[0] : []));
    await this.#partitions.provideFor(link, requests, this.#now?.() ?? Date.now());
    const relaxed = calls.every(({ operation }) => RELAXED.has(operation));
    const muting = calls.filter(({ operation }) => operation === "quiet");
    const scope: Scope = {
      users: usersOf(calls),
      requests,
      pushes: calls.flatMap(pushesOf),
      muting: usersOf(muting),
    };
    return this.#transaction(link, scope, relaxed, (decisions) =>
      calls.map((call) => perform(decisions, call)),
    );
  }

  /** Two round trips: one reads under the locks of the users, one writes and commits. Where somebody registers for push, one before them. */
  async #transaction<Result>(
    link: Link,
    scope: Scope,
    relaxed: boolean,
    decide: (decisions: Decisions) => Result,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        const work = await this.#begin(link, scope);
        if (work === undefined) {
          if (attempt < ATTEMPTS) continue;
          throw new StoreUnavailable("users come and go too fast");
        }
        const result = decide(work.decisions);
        const written = [...work.rows.flush(), ...work.holders.flush(), ...work.mutes.flush()];
        await link.run([...(relaxed ? [RELAX] : []), ...written, COMMIT]);
        return result;
      } catch (error) {
        if (!link.isOpen) throw error;
        // After this it is in no transaction, or it is of no more use.
        await link.one("ROLLBACK").catch(() => link.close());
        if (!mayBeRepeated(error) || attempt === ATTEMPTS) throw error;
        await this.#partitions.refresh(link);
      }
    }
  }

  /** Undefined: a user was not there yet, or not any more; now it is. */
  async #begin(
    link: Link,
    { users: named, requests = [], pushes = [], muting = [], callRows = false }: Scope,
  ): Promise<Work | undefined> {
    const waking = requests.filter(({ wake }) => doesWake(wake.class, undefined, 0));
    const users = pushes.length > 0 ? await this.#lockTokens(link, named, pushes) : named;
    const begin = pushes.length > 0 ? [] : [BEGIN];
    const answers = await link.run([
      ...begin,
      lockUsers(users),
      [
        `SELECT ${NOW} AS now, pg_current_xact_id()::text::float8 AS transaction`,
        [this.#now?.() ?? null],
      ],
      readHolders(users),
      ...(requests.length > 0 ? [readKept(requests)] : []),
      ...(callRows ? [readCallRows(users)] : []),
      ...(waking.length > 0 ? [readMutesFor(waking)] : []),
      ...(muting.length > 0 ? [readMutesOf(muting)] : []),
    ]);
    const [locked, clock, holderRows, ...more] = answers.slice(begin.length);
    const kept = requests.length > 0 ? more.shift()! : [];
    const calls = callRows ? more.shift()! : [];
    if (locked!.length < users.length) {
      await link.run([["ROLLBACK"], makeUsers(users)]);
      return undefined;
    }
    const { now, transaction } = clock![0]!;
    const holders = new Holders(users, holderRows!);
    const rows = new Rows(this.#base + transaction, kept, this.#partitions.known);
    const mutes = new StoredMutes(more.flat());
    const held = new Set(calls.map((row) => row["row"] as string));
    const decisions = new Decisions(this.#limits, now, holders, rows, mutes, held);
    return { holders, rows, mutes, decisions };
  }

  /** Begins the transaction. Answers whose users it is about: also those whose devices have one of the tokens. */
  async #lockTokens(
    link: Link,
    users: readonly string[],
    pushes: readonly PushRegistration[],
  ): Promise<string[]> {
    const [, , owners] = await link.run([BEGIN, lockTokens(pushes), readRegistered(pushes)]);
    return [...new Set([...users, ...owners!.map(({ account }) => account as string)])];
  }

  settle(refs: readonly RowRef[]): Promise<void> {
    const [days, seqs] = daysAndSeqs(refs);
    return this.#relaxed([
      lockUsersOf(refs),
      [
        `WITH gone AS (
           DELETE FROM held WHERE day = ANY($1::integer[]) AND seq = ANY($2::bigint[]) RETURNING account, device
         ), counted AS (SELECT account, device, count(*)::integer AS rows FROM gone GROUP BY account, device)
         UPDATE holder SET held = held - counted.rows FROM counted
         WHERE holder.account = counted.account AND holder.device = counted.device`,
        [days, seqs],
      ],
    ]);
  }

  markSent(refs: readonly RowRef[]): Promise<void> {
    return this.#relaxed([lockUsersOf(refs), markSent(refs)]);
  }

  async #relaxed(statements: readonly Statement[]): Promise<void> {
    await this.#guard(async (link) => {
      for (let attempt = 1; ; attempt++) {
        try {
          await link.run([BEGIN, RELAX, ...statements, COMMIT]);
          return;
        } catch (error) {
          if (!link.isOpen || !mayBeRepeated(error) || attempt === ATTEMPTS) throw error;
        }
      }
    });
  }

  pending(user: string, device: string, limit: number): Promise<PendingRow[]> {
    // Calls that ring are there twice.
    const most = limit + RINGING;
    return this.#read([PENDING, [user, device, most, this.#now?.() ?? null]], (rows) =>
      unique(rows.map(pendingRow)).slice(0, limit),
    );
  }

  lookAt(arrival: Arrival): Promise<ArrivalResult> {
    return this.#users([arrival.user], (holders) => look(arrival, holders.user(arrival.user)));
  }

  devices(user: string): Promise<{ setVersion: number; devices: DeviceRecord[] }> {
    return this.#users([user], (holders) => {
      const { own, devices } = holders.user(user);
      const inOrder = [...devices.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
      return {
        setVersion: own.setVersion,
        devices: inOrder.map((device) => deviceRecordOf(device)),
      };
    });
  }

  sets(users: readonly string[]): Promise<DurableSet[]> {
    return this.#users(users, (holders) =>
      users.map((user) => ({ user, ...setOf(holders.user(user)) })),
    );
  }

  #users<Result>(users: readonly string[], tell: (holders: Holders) => Result): Promise<Result> {
    return this.#read(readHolders(users), (rows) => tell(new Holders(users, rows)));
  }

  /** One slice of users, after the one named; `next` is undefined when it was the last. */
  retire(now: Millis, after: string): Promise<{ changed: DurableSet[]; next: string | undefined }> {
    const lostAt = now - this.#limits.dormantAfterMs;
    const goneAt = now - this.#limits.goneDormantAfterMs;
    return this.#guard(async (link) => {
      const found = await link.one(
        `SELECT DISTINCT account FROM holder WHERE account > $1 AND device <> '' AND NOT dormant
           AND (seen <= $2::bigint OR gone_at <= $3::bigint) ORDER BY account LIMIT ${RETIRE_SLICE}`,
        [after, lostAt, goneAt],
      );
      const users = found.map(({ account }) => account as string);
      if (users.length === 0) return { changed: [], next: undefined };
      const changed = await this.#transaction(link, { users }, false, (decisions) =>
        decisions.retire(now),
      );
      return { changed, next: users.length < RETIRE_SLICE ? undefined : users.at(-1) };
    });
  }

  claim(
    owner: string,
    leaseMs: Millis,
    limit: number,
    except: readonly string[],
  ): Promise<WakeIntent[]> {
    return this.#guard(async (link) => {
      const claimed: WakeIntent[] = [];
      for (;;) {
        const wanted = limit - claimed.length;
        if (wanted <= 0) return claimed;
        const found = await link.one(DUE, [this.#now?.() ?? null, wanted, arrayOf(except)]);
        if (found.length === 0) return claimed;
        const due = found.map((row) => ({
          user: row["account"] as string,
          device: row["device"] as string,
        }));
        const users = [...new Set(due.map(({ user }) => user))];
        claimed.push(
          ...(await this.#transaction(link, { users, callRows: true }, true, (decisions) =>
            decisions.claim(owner, leaseMs, wanted, due),
          )),
        );
        // A lease of no length would be found due again.
        if (found.length < wanted || leaseMs <= 0) return claimed;
      }
    });
  }

  nextDue(): Promise<Millis | undefined> {
    return this.#read([NEXT_DUE, [this.#now?.() ?? null]], ([row]) => {
      const wait = row!["wait"] as number | null;
      return wait === null ? undefined : Math.max(0, wait);
    });
  }

  mutes(user: string): Promise<Mute[]> {
    return this.#read(
      [
        `SELECT conversation, until::float8, ${NOW} AS now FROM mute WHERE account = $2`,
        [this.#now?.() ?? null, user],
      ],
      (rows) =>
        mutesOf(
          rows.map((row) => [row["conversation"] as string, row["until"] as number] as const),
          (rows[0]?.["now"] as number | undefined) ?? 0,
        ),
    );
  }

  /** All of them in one commit. */
  strengthen(changes: readonly TieChange[]): Promise<void> {
    return this.#repeated(async (link) => {
      const [, joined] = await link.run([BEGIN, strengthenTies(changes)]);
      const users = joined!.map(({ account }) => account as string);
      const thin = users.length > 0 ? [thinTies(users, latest(changes))] : [];
      await link.run([...thin, COMMIT]);
    });
  }

  circle(user: string, k: number, now: Millis): Promise<StoredTie[]> {
    return this.#read(readCircle(user, k, now), circleOf);
  }

  fade(after: string, now: Millis): Promise<string> {
    return this.#repeated(async (link) => {
      const [end] = await link.one(...endOfSlice(after));
      const last = end?.["account"] as string | undefined;
      await link.one(...fadeTies(after, last, now));
      return last ?? "";
    });
  }

  async erase(user: string): Promise<void> {
    for (let left = 1; left > 0;) {
      left = await this.#repeated(async (link) => {
        const [gone] = await link.one(...eraseTies(user));
        return gone!["ties"] as number;
      });
    }
  }

  /** Again, where others keep the transaction from happening. */
  #repeated<Result>(run: (link: Link) => Promise<Result>): Promise<Result> {
    return this.#guard(async (link) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await run(link);
        } catch (error) {
          if (!link.isOpen) throw error;
          // After this it is in no transaction, or it is of no more use.
          await link.one("ROLLBACK").catch(() => link.close());
          if (!mayBeRepeated(error) || attempt === ATTEMPTS) throw error;
        }
      }
    });
  }

  #read<Result>([sql, params]: Statement, tell: (rows: Row[]) => Result): Promise<Result> {
    return this.#guard(async (link) => tell(await link.one(sql, params)));
  }

  async #guard<Result>(run: (link: Link) => Promise<Result>): Promise<Result> {
    try {
      return await this.#pool.with(run);
    } catch (error) {
      throw error instanceof TypeError ? error : unavailable(error);
    }
  }
}

function usersOf(calls: readonly UserCall[]): string[] {
  const users = new Set<string>();
  for (const call of calls) {
    switch (call.operation) {
      case "hold":
        for (const request of call.args[0]) {
          users.add(request.user);
          for (const user of endingOf(request)?.between ?? []) users.add(user);
        }
        break;
      case "end":
        for (const { between } of call.args[0]) for (const user of between) users.add(user);
        break;
      case "arrive":
        users.add(call.args[0].user);
        break;
      case "done":
        for (const { user } of call.args[1]) users.add(user);
        break;
      default:
        users.add(call.args[0]);
    }
  }
  return [...users];
}

function pushesOf(call: UserCall): PushRegistration[] {
  if (call.operation === "register") return [call.args[3]];
  return call.operation === "arrive" && call.args[0].push !== undefined ? [call.args[0].push] : [];
}

const PERFORM: {
  readonly [Name in UserOperation]: (
    decisions: Decisions,
    args: Parameters<Transactions[Name]>,
  ) => unknown;
} = {
  hold: (decisions, [requests]) => requests.map((request) => decisions.hold(request)),
  arrive: (decisions, args) => decisions.arrive(...args),
  register: (decisions, args) => decisions.register(...args),
  unregister: (decisions, args) => decisions.unregister(...args),
  forget: (decisions, args) => decisions.forget(...args),
  done: (decisions, args) => decisions.done(...args),
  clear: (decisions, args) => decisions.clear(...args),
  leave: (decisions, args) => decisions.leave(...args),
  quiet: (decisions, args) => decisions.quiet(...args),
  end: (decisions, args) => decisions.end(...args),
};

function perform(decisions: Decisions, { operation, args }: UserCall): unknown {
  const run = PERFORM[operation] as (decisions: Decisions, args: unknown) => unknown;
  return run(decisions, args);
}

function unique(rows: readonly PendingRow[]): PendingRow[] {
  const seen = new Set<RowRef>();
  return rows.filter(({ row }) => !seen.has(row) && seen.add(row));
}

function pendingRow(row: Row): PendingRow {
  return {
    row: `${row["day"]}.${row["seq"]}`,
    device: row["device"] as string,
    key: {
      from: row["sender"] as string,
      fromDevice: row["sender_device"] as string,
      id: new Uint8Array(row["id"] as Uint8Array),
    },
    body: new Uint8Array(row["body"] as Uint8Array),
    redelivered: row["redelivered"] as boolean,
  };
}
