import type { Statement } from "bun:sqlite";

import { uuidTime } from "@beckon/protocol";
import type { Millis } from "@beckon/protocol";

import { coalesces } from "./holder.ts";
import { isDue, newIntent, takeOn } from "./intent.ts";
import { doesWake, hush } from "./quiet.ts";
import { firstIdOf, markMissed } from "./rules.ts";
import type { Holder, Holders } from "./sqlite-holders.ts";
import type { Rows } from "./sqlite-rows.ts";
import { ROWS_PER_MESSAGE } from "./sqlite-schema.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import type {
  HoldRequest,
  HoldResult,
  PendingRow,
  RowRef,
  StoreLimits,
  StorePosition,
  TailEntry,
} from "./store.ts";

/** Messages that one `expire` drops at most, so that it does not hold up what waits behind it. */
export const EXPIRE_SLICE = 2_000;

/** Rows that `tail` reads at a time: three times as fast as one by one. */
const TAIL_CHUNK = 2_000;

interface PendingColumns {
  readonly row: number;
  readonly redelivered: number;
  readonly id: Uint8Array;
  readonly sender: string;
  readonly sender_device: string;
  readonly body: Uint8Array;
}

export class Messages {
  readonly #limits: StoreLimits;
  readonly #holders: Holders;
  readonly #rows: Rows;
  readonly #holdersOf: Statement<{ id: number; device: string }, [string, string]>;
  readonly #pending: Statement<PendingColumns, [number, number]>;
  readonly #after: Statement<unknown, [number, number]>;
  readonly #name: Statement<TailEntry, [number]>;
  readonly #last: Statement<{ last: number }, []>;
  readonly #mutedUntil: Statement<{ until: number }, [string, string]>;

  constructor(file: SqliteFile, limits: StoreLimits, holders: Holders, rows: Rows) {
    this.#limits = limits;
    this.#holders = holders;
    this.#rows = rows;
    this.#holdersOf = file.prepare(
      "SELECT id, device FROM holder WHERE user = ? AND device IN ('', ?) AND held > 0",
    );
    this.#pending = file.prepare(
      `SELECT held.row, redelivered, id, sender, sender_device, body
       FROM held JOIN message ON mid = held.row / ${ROWS_PER_MESSAGE}
       WHERE holder = ? ORDER BY urgency, lane, n, held.row LIMIT ?`,
    );
    this.#after = file.prepare("SELECT row, holder FROM held WHERE row > ? ORDER BY row LIMIT ?");
    this.#name = file.prepare("SELECT user, device FROM holder WHERE id = ?");
    this.#last = file.prepare("SELECT last FROM counter");
    this.#mutedUntil = file.prepare("SELECT until FROM mute WHERE user = ? AND conversation = ?");
  }

  hold(request: HoldRequest, now: Millis): HoldResult {
    const kept = this.#rows.kept(request.key);
    if (kept.some(({ digest }) => digest !== request.digest)) return { outcome: "conflict" };

    const user = this.#holders.user(request.user);
    const durable = [...user.devices.values()].filter(({ dormant }) => !dormant);
    let targets = durable.filter(({ device }) => !request.exclude.includes(device));
    if (durable.length === 0) targets = request.orUser ? [this.#holders.own(user)] : [];

    const old = kept
      .filter((message) => message.user === request.user)
      .flatMap((message) => this.#rows.ofMessage(message));
    const fresh = targets.filter(({ id }) => !old.some(({ holder }) => holder === id));
    const takers = fresh.filter(({ held }) => held < this.#limits.heldPerDevice);
    if (takers.length < fresh.length) {
      for (const holder of fresh) if (!takers.includes(holder)) this.#dropFor(holder);
    }
    const nobodyElse = old.length === 0 && targets.length >= durable.length;
    if (fresh.length > 0 && takers.length === 0 && nobodyElse) return { outcome: "full" };

    const due: string[] = [];
    const isHeard = takers.length > 0 && this.#isHeard(request, now);
    const coalesced = isHeard ? takers.filter(coalesces).length : 0;
    for (const holder of takers) {
      if (this.#wake(holder, request, isHeard, now)) due.push(holder.device);
    }
    const rows = old.map(({ row, holder }) => {
      const { device } = this.#holders.byId(holder)!;
      if (request.sent.includes(device)) this.#rows.markSent(row);
      return { device, row, isNew: false };
    });
    if (takers.length > 0) {
      const refs = this.#rows.insert(request, takers);
      takers.forEach(({ device }, at) => rows.push({ device, row: refs[at]!, isNew: true }));
    }
    return {
      outcome: "held",
      rows,
      setVersion: user.own?.setVersion ?? 0,
      setSize: durable.length,
      due,
      coalesced,
    };
  }

  #isHeard({ user, wake }: HoldRequest, now: Millis): boolean {
    return doesWake(wake.class, this.#mutedUntil.get(user, wake.conversation)?.until, now);
  }

  /** Takes the message on. Answers whether that made the device's intent due now. */
  #wake(holder: Holder, { key, wake }: HoldRequest, isHeard: boolean, now: Millis): boolean {
    // An intent that has outlived its rows has nothing to say; its attempts must not count against the new message.
    if (holder.held === 0) holder.intent = undefined;
    if (!isHeard) return false;
    const due = now + wake.delay;
    const expires = uuidTime(key.id) + this.#limits.retentionMs;
    const wasDue = isDue(holder.intent, now);
    holder.generation++;
    if (holder.intent === undefined) holder.intent = newIntent(wake, due, expires);
    else takeOn(holder.intent, wake, due, expires, now);
    hush(holder);
    this.#holders.heldChanged(holder);
    return holder.device !== "" && !wasDue && isDue(holder.intent, now);
  }

  /** A row of the holder is dropped, or was never made. Where it was the user's own there is nobody to tell. */
  #dropFor(holder: Holder): void {
    if (holder.device === "") return;
    markMissed(holder);
    this.#holders.heldChanged(holder);
  }

  /** A device and its user alone never both have rows: the first durable device takes over the user's. */
  pending(user: string, device: string, limit: number): PendingRow[] {
    return this.#holdersOf.all(user, device).flatMap(({ id, device }) =>
      this.#pending.all(id, limit).map((row) => ({
        row: row.row,
        device,
        key: { from: row.sender, fromDevice: row.sender_device, id: row.id },
        body: row.body,
        redelivered: row.redelivered === 1,
      })),
    );
  }

  settle(rows: readonly RowRef[]): void {
    this.#rows.remove(rows.map(Number));
  }

  markSent(rows: readonly RowRef[]): void {
    for (const row of rows) this.#rows.markSent(Number(row));
  }

  /** Commits happen one after the other and rows are numbered in their order, so nothing can turn up behind `now`. */
  tail(since: StorePosition, limit: number): { devices: TailEntry[]; now: StorePosition } {
    const last = (this.#last.get()!.last + 1) * ROWS_PER_MESSAGE - 1;
    const found = new Set<number>();
    const tell = (now: StorePosition): { devices: TailEntry[]; now: StorePosition } => ({
      devices: [...found].map((id) => this.#name.get(id)!),
      now,
    });
    for (let from = since; ;) {
      const rows = this.#after.values(from, TAIL_CHUNK) as [row: number, holder: number][];
      for (const [row, holder] of rows) {
        if (!found.has(holder) && found.size === limit) return tell(row - 1);
        found.add(holder);
        from = row;
      }
      if (rows.length < TAIL_CHUNK) return tell(last);
    }
  }

  /** One slice; answers 0 when there is nothing left. */
  expire(before: Millis): number {
    const rows = this.#rows.olderThan(firstIdOf(before), EXPIRE_SLICE);
    for (const holder of this.#rows.remove(rows)) this.#dropFor(holder);
    return rows.length;
  }
}
