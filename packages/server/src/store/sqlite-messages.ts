import type { Statement } from "bun:sqlite";

import type { Millis } from "@beckon/protocol";

import { isRinging, mayRing } from "./call.ts";
import type { Call } from "./call.ts";
import { coalesces } from "./holder.ts";
import { doesWake } from "./quiet.ts";
import { endingOf, firstIdOf, markMissed, sidesOf } from "./rules.ts";
import type { Holder, Holders } from "./sqlite-holders.ts";
import type { Rows } from "./sqlite-rows.ts";
import { ROWS_PER_MESSAGE } from "./sqlite-schema.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import type {
  Ending,
  HoldRequest,
  HoldResult,
  PendingRow,
  RowRef,
  StoreLimits,
  StorePosition,
  TailEntry,
} from "./store.ts";
import { endCall, forgetOutlived, rememberEnd, wakeFor } from "./waking.ts";

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
  readonly #holdersOf: Statement<
    { id: number; device: string; calls: string | null },
    [string, string]
  >;
  readonly #first: Statement<PendingColumns, [number, number]>;
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
      "SELECT id, device, calls FROM holder WHERE user = ? AND device IN ('', ?) AND held > 0",
    );
    const columns = `SELECT held.row, redelivered, id, sender, sender_device, body
       FROM held JOIN message ON mid = held.row / ${ROWS_PER_MESSAGE}`;
    this.#first = file.prepare(`${columns} WHERE held.row = ? AND holder = ? AND n = 0`);
    this.#pending = file.prepare(
      `${columns} WHERE holder = ? ORDER BY urgency, lane, n, held.row LIMIT ?`,
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
    const coalesced = isHeard && !mayRing(request.wake) ? takers.filter(coalesces).length : 0;
    for (const holder of takers) if (holder.held === 0) forgetOutlived(holder);
    const rows = old.map(({ row, holder }) => {
      const { device } = this.#holders.byId(holder)!;
      if (request.sent.includes(device)) this.#rows.markSent(row);
      return { device, row, isNew: false };
    });
    if (takers.length > 0) {
      const refs = this.#rows.insert(request, takers);
      const over = user.own?.calls ?? [];
      const { retentionMs } = this.#limits;
      takers.forEach((holder, at) => {
        const { device } = holder;
        const row = refs[at]!;
        rows.push({ device, row, isNew: true });
        const fell = isHeard && wakeFor(holder, request, row, over, retentionMs, now);
        if (fell && device !== "") due.push(device);
      });
    }
    const ending = endingOf(request);
    if (ending !== undefined) this.end([ending], now);
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

  /** A row of the holder is dropped, or was never made. Where it was the user's own there is nobody to tell. */
  #dropFor(holder: Holder): void {
    if (holder.device === "") return;
    markMissed(holder);
    this.#holders.heldChanged(holder);
  }

  /** A device and its user alone never both have rows: the first durable device takes over the user's. */
  pending(user: string, device: string, limit: number, now: Millis): PendingRow[] {
    return this.#holdersOf.all(user, device).flatMap(({ id, device, calls }) => {
      const first = calls === null ? [] : this.#ringing(JSON.parse(calls) as Call[], id, now);
      const rest = this.#pending.all(id, limit);
      const rows = first.length === 0 ? rest : [...first, ...rest.filter(isNotIn(first))];
      return rows.slice(0, limit).map((row) => ({
        row: row.row,
        device,
        key: { from: row.sender, fromDevice: row.sender_device, id: row.id },
        body: row.body,
        redelivered: row.redelivered === 1,
      }));
    });
  }

  #ringing(calls: readonly Call[], holder: number, now: Millis): PendingColumns[] {
    return calls
      .filter((call) => isRinging(call, now))
      .flatMap(({ row }) => this.#first.get(Number(row), holder) ?? [])
      .sort((a, b) => a.row - b.row);
  }

  end(endings: readonly Ending[], now: Millis): void {
    for (const ending of endings) {
      const id = ending.call.toHex();
      for (const { user: name, from } of sidesOf(ending)) {
        const user = this.#holders.user(name);
        const holders = user.own === undefined ? [] : [user.own];
        for (const holder of [...holders, ...user.devices.values()]) {
          if (endCall(holder, id, from, now)) this.#holders.heldChanged(holder);
        }
        if (user.devices.size === 0) continue;
        const own = this.#holders.own(user);
        rememberEnd(own, id, from, now);
        this.#holders.heldChanged(own);
      }
    }
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

function isNotIn(rows: readonly PendingColumns[]): (row: PendingColumns) => boolean {
  return ({ row }) => !rows.some((other) => other.row === row);
}
