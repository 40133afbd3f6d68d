/** Messages and their held rows, as one transaction sees and changes them. */
import type { Statement } from "bun:sqlite";

import { laneOf } from "./lane.ts";
import type { Holder, Holders } from "./sqlite-holders.ts";
import { ROWS_PER_MESSAGE } from "./sqlite-schema.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import type { HoldRequest, MessageKey, RowRef } from "./store.ts";

/** A message that has rows. */
export interface Kept {
  readonly mid: number;
  readonly user: string;
  readonly digest: string;
}

export class Rows {
  readonly #holders: Holders;
  readonly #byKey: Statement<Kept, [Uint8Array, string, string]>;
  readonly #ofMessage: Statement<{ row: number; holder: number }, [number, number]>;
  readonly #ofHolder: Statement<{ row: number }, [number]>;
  readonly #insertMessage: Statement;
  readonly #insertRow: Statement;
  readonly #deleteRows: Statement<unknown, [string]>;
  readonly #deleteMessages: Statement<unknown, [string]>;
  readonly #markSent: Statement;
  readonly #has: Statement<unknown, [number]>;
  readonly #move: Statement;
  readonly #older: Statement<{ row: number }, [Uint8Array, number]>;
  readonly #readCounter: Statement<{ last: number }, []>;
  readonly #writeCounter: Statement;
  /** Number of the last message that was held; undefined: not read yet. */
  #last: number | undefined;
  #isCounterChanged = false;

  constructor(file: SqliteFile, holders: Holders) {
    this.#holders = holders;
    this.#byKey = file.prepare(
      "SELECT mid, user, digest FROM message WHERE id = ? AND sender = ? AND sender_device = ?",
    );
    this.#ofMessage = file.prepare("SELECT row, holder FROM held WHERE row BETWEEN ? AND ?");
    this.#ofHolder = file.prepare("SELECT row FROM held WHERE holder = ?");
    this.#insertMessage = file.prepare(
      "INSERT INTO message (mid, id, sender, sender_device, user, digest, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    this.#insertRow = file.prepare(
      "INSERT INTO held (row, holder, urgency, lane, n, redelivered) VALUES (?, ?, 1, ?, ?, ?)",
    );
    this.#deleteRows = file.prepare(
      "DELETE FROM held WHERE row IN (SELECT value FROM json_each(?)) RETURNING row, holder",
    );
    this.#deleteMessages = file.prepare(
      `DELETE FROM message WHERE mid IN (SELECT value FROM json_each(?)) AND NOT EXISTS (
         SELECT 1 FROM held WHERE row BETWEEN mid * ${ROWS_PER_MESSAGE} AND mid * ${ROWS_PER_MESSAGE} + ${ROWS_PER_MESSAGE - 1}
       )`,
    );
    this.#has = file.prepare("SELECT 1 FROM held WHERE row = ?");
    this.#markSent = file.prepare("UPDATE held SET redelivered = 1 WHERE row = ?");
    this.#move = file.prepare("UPDATE held SET holder = ? WHERE holder = ?");
    this.#older = file.prepare(
      `SELECT held.row FROM (SELECT mid FROM message WHERE id < ? LIMIT ?) AS old
       JOIN held ON held.row BETWEEN old.mid * ${ROWS_PER_MESSAGE} AND old.mid * ${ROWS_PER_MESSAGE} + ${ROWS_PER_MESSAGE - 1}`,
    );
    this.#readCounter = file.prepare("SELECT last FROM counter");
    this.#writeCounter = file.prepare("UPDATE counter SET last = ?");
  }

  kept({ id, from, fromDevice }: MessageKey): Kept[] {
    return this.#byKey.all(id, from, fromDevice);
  }

  ofMessage({ mid }: Kept): { row: number; holder: number }[] {
    return this.#ofMessage.all(...rangeOf(mid));
  }

  /** One row for each holder; in their order. */
  insert(
    { key, user, outbox, to, n, digest, body, sent }: HoldRequest,
    holders: readonly Holder[],
  ): number[] {
    this.#last ??= this.#readCounter.get()!.last;
    const mid = ++this.#last;
    this.#isCounterChanged = true;
    this.#insertMessage.run(mid, key.id, key.from, key.fromDevice, user, digest, body);
    const lane = laneOf({ key, outbox, to });
    return holders.map((holder, at) => {
      const row = mid * ROWS_PER_MESSAGE + at;
      const isSent = sent.includes(holder.device);
      this.#insertRow.run(row, holder.id, lane, n, Number(isSent));
      holder.held++;
      this.#holders.heldChanged(holder);
      return row;
    });
  }

  has(row: RowRef): boolean {
    return this.#has.get(Number(row)) !== null;
  }

  markSent(row: number): void {
    this.#markSent.run(row);
  }

  /** Answers the holder of each row that was there. In bulk: two thirds of the cost of one by one. */
  remove(rows: readonly number[]): Holder[] {
    if (rows.length === 0) return [];
    const removed = this.#deleteRows.values(JSON.stringify(rows)) as [row: number, id: number][];
    const messages = new Set(removed.map(([row]) => Math.floor(row / ROWS_PER_MESSAGE)));
    if (messages.size > 0) this.#deleteMessages.run(JSON.stringify([...messages]));
    return removed.map(([, id]) => {
      const holder = this.#holders.byId(id)!;
      holder.held--;
      this.#holders.heldChanged(holder);
      return holder;
    });
  }

  removeAll(holder: Holder): void {
    if (holder.held > 0) this.remove(this.#ofHolder.all(holder.id).map(({ row }) => row));
  }

  /** The rows of one become another's. */
  move(from: Holder, to: Holder): void {
    this.#move.run(to.id, from.id);
    to.held += from.held;
    from.held = 0;
    this.#holders.heldChanged(from);
    this.#holders.heldChanged(to);
  }

  /** Rows of messages with lesser ids; of so many messages at most. */
  olderThan(id: Uint8Array, messages: number): number[] {
    return this.#older.all(id, messages).map(({ row }) => row);
  }

  flush(): void {
    if (this.#isCounterChanged) this.#writeCounter.run(this.#last!);
    this.#isCounterChanged = false;
  }

  clear(): void {
    this.#last = undefined;
    this.#isCounterChanged = false;
  }
}

function rangeOf(mid: number): [number, number] {
  return [mid * ROWS_PER_MESSAGE, mid * ROWS_PER_MESSAGE + ROWS_PER_MESSAGE - 1];
}
