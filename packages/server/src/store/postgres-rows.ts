/** Held rows, as one transaction finds and changes them: what it reads comes first, what it writes is sent at its end, in order. */
import { uuidTime } from "@beckon/protocol";

import type { Holder } from "./holder.ts";
import { laneOf } from "./lane.ts";
import { arrayOf, bytesArray } from "./postgres-link.ts";
import type { Row, Statement } from "./postgres-link.ts";
import { DAY_MS, OTHER_DAY, ROWS_PER_TRANSACTION } from "./postgres-schema.ts";
import type { HoldRequest, MessageKey, RowRef } from "./store.ts";

const ID_BYTES = 16;

/** A row that is there. */
export interface Kept {
  readonly day: number;
  readonly seq: number;
  readonly user: string;
  device: string;
  readonly digest: string;
}

interface Inserted {
  readonly kept: Kept;
  readonly request: HoldRequest;
}

export function dayOf(id: Uint8Array): number {
  return Math.floor(uuidTime(id) / DAY_MS);
}

export function refOf({ day, seq }: { readonly day: number; readonly seq: number }): RowRef {
  return `${day}.${seq}`;
}

/** As two arrays; what is no row of ours is passed over. */
export function daysAndSeqs(refs: readonly RowRef[]): [days: string, seqs: string] {
  const days = new Set<number>();
  const seqs: number[] = [];
  for (const ref of refs) {
    const [, day, seq] = /^(\d+)\.(\d+)$/.exec(String(ref)) ?? [];
    if (day === undefined) continue;
    days.add(Number(day));
    seqs.push(Number(seq));
  }
  return [arrayOf([...days]), arrayOf(seqs)];
}

/** A message is in the partition of its day, or in the one for all other days where its day had none when it came. */
export function readKept(requests: readonly HoldRequest[]): Statement {
  const days = new Set(requests.map(({ key }) => dayOf(key.id)));
  return [
    `SELECT day, seq::float8, account, device, digest, id, sender, sender_device FROM held
     WHERE day = ANY($1::integer[]) AND id = ANY($2::bytea[])`,
    [arrayOf([OTHER_DAY, ...days]), bytesArray(requests.map(({ key }) => key.id))],
  ];
}

const INSERT = `INSERT INTO held
  (day, seq, account, device, urgency, lane, n, redelivered, id, sender, sender_device, digest, body)
  SELECT day, seq, account, device, 1, lane, n, redelivered, substring($11::bytea FROM at FOR ${ID_BYTES}), sender, sender_device, digest,
    substring($11::bytea FROM at + ${ID_BYTES} FOR size)
  FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[],
    $8::text[], $9::text[], $10::text[], $12::integer[], $13::integer[])
  AS x (day, seq, account, device, lane, n, redelivered, sender, sender_device, digest, at, size)`;

export class Rows {
  readonly #kept = new Map<string, Kept[]>();
  readonly #known: ReadonlySet<number>;
  #nextSeq: number;
  /** Written in this order. */
  readonly #statements: Statement[] = [];
  #inserted: Inserted[] = [];
  #sent: Kept[] = [];

  /** `known`: days that have a partition. */
  constructor(transaction: number, kept: readonly Row[], known: ReadonlySet<number>) {
    this.#nextSeq = transaction * ROWS_PER_TRANSACTION;
    this.#known = known;
    for (const row of kept) {
      const key = {
        id: row["id"] as Uint8Array,
        from: row["sender"] as string,
        fromDevice: row["sender_device"] as string,
      };
      this.#keptOf(key).push({
        day: row["day"] as number,
        seq: row["seq"] as number,
        user: row["account"] as string,
        device: row["device"] as string,
        digest: row["digest"] as string,
      });
    }
  }

  of(key: MessageKey): readonly Kept[] {
    return this.#keptOf(key);
  }

  insert(request: HoldRequest, holder: Holder): Kept {
    const day = dayOf(request.key.id);
    const kept: Kept = {
      day: this.#known.has(day) ? day : OTHER_DAY,
      seq: this.#nextSeq++,
      user: holder.user,
      device: holder.device,
      digest: request.digest,
    };
    this.#keptOf(request.key).push(kept);
    this.#inserted.push({ kept, request });
    holder.held++;
    return kept;
  }

  markSent(kept: Kept): void {
    this.#sent.push(kept);
  }

  removeAll({ user, device, held }: Holder): void {
    if (held === 0) return;
    this.#settleOrder();
    this.#statements.push(["DELETE FROM held WHERE account = $1 AND device = $2", [user, device]]);
    for (const [name, kept] of this.#kept) {
      this.#kept.set(
        name,
        kept.filter((row) => row.user !== user || row.device !== device),
      );
    }
  }

  /** The user's own rows become the device's. */
  move(user: string, device: string): void {
    this.#settleOrder();
    this.#statements.push([
      "UPDATE held SET device = $2 WHERE account = $1 AND device = ''",
      [user, device],
    ]);
    for (const kept of this.#kept.values()) {
      for (const row of kept) if (row.user === user && row.device === "") row.device = device;
    }
  }

  forget(user: string, device: string): void {
    this.#statements.push([
      "DELETE FROM holder WHERE account = $1 AND device = $2",
      [user, device],
    ]);
  }

  flush(): Statement[] {
    this.#settleOrder();
    return this.#statements;
  }

  #keptOf({ from, fromDevice, id }: MessageKey): Kept[] {
    const name = `${from}\0${fromDevice}\0${id.toHex()}`;
    const kept = this.#kept.get(name) ?? [];
    this.#kept.set(name, kept);
    return kept;
  }

  /** What was inserted and marked so far comes before what is said next. */
  #settleOrder(): void {
    if (this.#inserted.length > 0) this.#statements.push(insert(this.#inserted));
    if (this.#sent.length > 0) this.#statements.push(markSent(this.#sent.map(refOf)));
    this.#inserted = [];
    this.#sent = [];
  }
}

/** Rows of calls that are there yet. */
export function readCallRows(users: readonly string[]): Statement {
  return [
    `SELECT ring.row FROM holder, json_to_recordset(holder.calls::json) AS ring (row text)
     JOIN held ON held.day = split_part(ring.row, '.', 1)::integer AND held.seq = split_part(ring.row, '.', 2)::bigint
     WHERE holder.account = ANY($1::text[]) AND holder.calls IS NOT NULL AND ring.row <> ''`,
    [arrayOf(users)],
  ];
}

/** In the order of `lockUsers`; one by one, whatever the planner knows of the tables. */
export function lockUsersOf(refs: readonly RowRef[]): Statement {
  return [
    `SELECT locked.account FROM (
       SELECT DISTINCT account FROM held WHERE day = ANY($1::integer[]) AND seq = ANY($2::bigint[]) ORDER BY account
     ) AS wanted CROSS JOIN LATERAL (
       SELECT account FROM holder WHERE account = wanted.account AND device = '' FOR NO KEY UPDATE
     ) AS locked`,
    daysAndSeqs(refs),
  ];
}

export function markSent(refs: readonly RowRef[]): Statement {
  return [
    `UPDATE held SET redelivered = true
     WHERE day = ANY($1::integer[]) AND seq = ANY($2::bigint[]) AND NOT redelivered`,
    daysAndSeqs(refs),
  ];
}

function insert(rows: readonly Inserted[]): Statement {
  // One buffer for all ids and bodies; a message for many devices is in it once.
  const places = new Map<HoldRequest, number>();
  let size = 0;
  for (const { request } of rows) {
    if (places.has(request)) continue;
    places.set(request, size);
    size += ID_BYTES + request.body.length;
  }
  const bytes = Buffer.allocUnsafe(size);
  for (const [{ key, body }, at] of places) {
    bytes.set(key.id, at);
    bytes.set(body, at + ID_BYTES);
  }
  const column = (value: (row: Inserted) => string | number | boolean): string =>
    arrayOf(rows.map(value));
  return [
    INSERT,
    [
      column(({ kept }) => kept.day),
      column(({ kept }) => kept.seq),
      column(({ kept }) => kept.user),
      // As it was then: a row that was moved since is moved by the next statement.
      column(({ kept }) => kept.device),
      column(({ request }) => laneOf(request)),
      column(({ request }) => request.n),
      column(({ request, kept }) => request.sent.includes(kept.device)),
      column(({ request }) => request.key.from),
      column(({ request }) => request.key.fromDevice),
      column(({ request }) => request.digest),
      bytes,
      column(({ request }) => places.get(request)! + 1),
      column(({ request }) => request.body.length),
    ],
  ];
}
