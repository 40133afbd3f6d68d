/** Whom rows are held for, as transactions see and change them: read when first asked for, written at the end. */
import type { Statement } from "bun:sqlite";

import type { Millis, PushRegistration, WakeClass } from "@beckon/protocol";

import type { Call } from "./call.ts";
import { newHolder } from "./holder.ts";
import type { Holder as Kept } from "./holder.ts";
import type { Intent } from "./intent.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import { callsDueOf } from "./waking.ts";

export interface Holder extends Kept {
  readonly id: number;
  /** `intent.due` as it is in the file: an index hangs on it, so it is only written where it differs. */
  storedDue: Millis | undefined;
  /** The same of its calls; and whether there are any in the file. */
  storedCallsDue: Millis | undefined;
  hasStoredCalls: boolean;
}

/** All holders of one user. */
export interface User {
  readonly name: string;
  own: Holder | undefined;
  readonly devices: Map<string, Holder>;
}

const COLUMNS = [
  "id, user, device, set_version, dormant, protocols, provider, token, key_id, wake_key, seen, gone_at",
  "missed, told_epoch, held, generation, class, attempts, activity, conversation, server, preview",
  "expires, due, owner, again, quiet_until, mixed, pushed_at, named, calls, calls_due",
].join(", ");

/** Holders, and users, that are kept over transactions: some 20 MB. */
const MAX_KEPT = 40_000;

/** One row of `holder`, as the driver gives it. */
export interface HolderRow {
  readonly id: number;
  readonly user: string;
  readonly device: string;
  readonly set_version: number;
  readonly dormant: number;
  readonly protocols: string;
  readonly provider: string | null;
  readonly token: string | null;
  readonly key_id: number | null;
  readonly wake_key: Uint8Array | null;
  readonly seen: number;
  readonly gone_at: number | null;
  readonly missed: number;
  readonly told_epoch: number | null;
  readonly held: number;
  readonly generation: number;
  readonly class: WakeClass | null;
  readonly attempts: number | null;
  readonly activity: number | null;
  readonly conversation: string | null;
  readonly server: string | null;
  readonly preview: string | null;
  readonly expires: number | null;
  readonly due: number | null;
  readonly owner: string | null;
  readonly again: number | null;
  readonly quiet_until: number;
  /** Null also where the intent is older than the column: taken for one of several conversations, which no mute takes away. */
  readonly mixed: number | null;
  readonly pushed_at: number | null;
  readonly named: string | null;
  readonly calls: string | null;
  readonly calls_due: number | null;
}

export class Holders {
  readonly #byUser: Statement<HolderRow, [string]>;
  readonly #byId: Statement<HolderRow, [number]>;
  readonly #byToken: Statement<{ id: number }, [string, string]>;
  readonly #insert: Statement;
  readonly #update: Statement;
  readonly #updateHeld: Statement;
  readonly #updateDue: Statement;
  readonly #updateCalls: Statement;
  readonly #updateCallsDue: Statement;
  readonly #delete: Statement;
  readonly #version: Statement<{ data_version: number }, []>;
  /** Both are kept over transactions, for as long as nobody else writes to the file. */
  readonly #users = new Map<string, User>();
  readonly #holders = new Map<number, Holder>();
  #readAt: number | undefined;
  /** To be written; true: not only what a hold changes. */
  readonly #changed = new Map<Holder, boolean>();

  constructor(file: SqliteFile) {
    this.#byUser = file.prepare(`SELECT ${COLUMNS} FROM holder WHERE user = ?`);
    this.#byId = file.prepare(`SELECT ${COLUMNS} FROM holder WHERE id = ?`);
    this.#byToken = file.prepare("SELECT id FROM holder WHERE provider = ? AND token = ?");
    this.#insert = file.prepare(
      `INSERT INTO holder (user, device, set_version, dormant, protocols, seen, missed, held, generation)
       VALUES (?, ?, 0, 0, '[]', 0, 0, 0, 0)`,
    );
    const held = `missed = ?, told_epoch = ?, held = ?, generation = ?, class = ?, attempts = ?, activity = ?,
      conversation = ?, server = ?, preview = ?, expires = ?, owner = ?, again = ?, mixed = ?,
      pushed_at = ?, named = ?`;
    this.#updateHeld = file.prepare(`UPDATE holder SET ${held} WHERE id = ?`);
    this.#updateDue = file.prepare("UPDATE holder SET due = ? WHERE id = ?");
    this.#updateCalls = file.prepare("UPDATE holder SET calls = ? WHERE id = ?");
    this.#updateCallsDue = file.prepare("UPDATE holder SET calls_due = ? WHERE id = ?");
    this.#update = file.prepare(
      `UPDATE holder SET set_version = ?, dormant = ?, protocols = ?, provider = ?, token = ?, key_id = ?,
        wake_key = ?, seen = ?, gone_at = ?, quiet_until = ?, ${held} WHERE id = ?`,
    );
    this.#delete = file.prepare("DELETE FROM holder WHERE id = ?");
    this.#version = file.prepare("PRAGMA data_version");
  }

  user(name: string): User {
    const known = this.#users.get(name);
    if (known !== undefined) return known;
    const user: User = { name, own: undefined, devices: new Map() };
    for (const row of this.#byUser.all(name)) this.#place(user, this.#take(row));
    this.#users.set(name, user);
    return user;
  }

  byId(id: number): Holder | undefined {
    const known = this.#holders.get(id);
    if (known !== undefined) return known;
    const row = this.#byId.get(id);
    return row === null ? undefined : this.#take(row);
  }

  /** Devices that are registered for push with this token. */
  withToken(provider: string, token: string): Holder[] {
    this.flush();
    return this.#byToken.all(provider, token).map(({ id }) => this.byId(id)!);
  }

  /** The user's own holder; made where there is none. */
  own(user: User): Holder {
    return user.own ?? this.create(user, "");
  }

  create(user: User, device: string): Holder {
    const id = Number(this.#insert.run(user.name, device).lastInsertRowid);
    const holder: Holder = {
      ...newHolder(user.name, device),
      id,
      storedDue: undefined,
      storedCallsDue: undefined,
      hasStoredCalls: false,
    };
    this.#holders.set(id, holder);
    this.#place(user, holder);
    return holder;
  }

  delete(user: User, holder: Holder): void {
    this.#delete.run(holder.id);
    this.#changed.delete(holder);
    this.#holders.delete(holder.id);
    user.devices.delete(holder.device);
  }

  /** Its count of rows, its debt or its intent has changed. */
  heldChanged(holder: Holder): void {
    if (!this.#changed.has(holder)) this.#changed.set(holder, false);
  }

  changed(holder: Holder): void {
    this.#changed.set(holder, true);
  }

  /** Writes what has changed, so that statements over all holders see it. */
  flush(): void {
    for (const [holder, isAll] of this.#changed) this.#write(holder, isAll);
    this.#changed.clear();
  }

  /** At the start of each transaction: forgets what others may have changed since it was read. */
  refresh(): void {
    const version = this.#version.get()!.data_version;
    const kept = this.#users.size + this.#holders.size;
    if (version !== this.#readAt || kept > MAX_KEPT) this.clear();
    this.#readAt = version;
  }

  /** Forgets everything, changes among it. */
  clear(): void {
    this.#users.clear();
    this.#holders.clear();
    this.#changed.clear();
  }

  #write(holder: Holder, isAll: boolean): void {
    const { push, intent } = holder;
    if (holder.device === "" && holder.held === 0 && holder.setVersion === 0) {
      // A user without rows who never had a device: nothing is left to know.
      this.#delete.run(holder.id);
      this.#holders.delete(holder.id);
      const user = this.#users.get(holder.user);
      if (user !== undefined) user.own = undefined;
      return;
    }
    const held = [
      Number(holder.missed),
      holder.toldEpoch ?? null,
      holder.held,
      holder.generation,
      intent?.class ?? null,
      intent?.attempts ?? null,
      intent?.activity ?? null,
      intent?.conversation ?? null,
      intent?.server ?? null,
      intent?.preview ?? null,
      intent?.expires ?? null,
      intent?.owner ?? null,
      intent === undefined ? null : Number(intent.again),
      intent === undefined ? null : Number(intent.isMixed),
      intent?.pushedAt ?? null,
      intent?.named ?? null,
      holder.id,
    ];
    this.#writeCalls(holder);
    if (holder.storedDue !== intent?.due) {
      this.#updateDue.run(intent?.due ?? null, holder.id);
      holder.storedDue = intent?.due;
    }
    if (!isAll) {
      this.#updateHeld.run(...held);
      return;
    }
    this.#update.run(
      holder.setVersion,
      Number(holder.dormant),
      JSON.stringify(holder.protocols),
      push?.provider ?? null,
      push?.token ?? null,
      push?.key.id ?? null,
      push?.key.key ?? null,
      holder.seen,
      holder.goneAt ?? null,
      holder.quietUntil,
      ...held,
    );
  }

  /** Few have any. */
  #writeCalls(holder: Holder): void {
    const { calls, id, hasStoredCalls, storedCallsDue } = holder;
    if (calls.length === 0 && !hasStoredCalls) return;
    this.#updateCalls.run(calls.length === 0 ? null : JSON.stringify(calls), id);
    holder.hasStoredCalls = calls.length > 0;
    const due = callsDueOf(holder);
    if (due === storedCallsDue) return;
    this.#updateCallsDue.run(due ?? null, id);
    holder.storedCallsDue = due;
  }

  #take(row: HolderRow): Holder {
    const known = this.#holders.get(row.id);
    if (known !== undefined) return known;
    const holder = holderOf(row);
    this.#holders.set(row.id, holder);
    return holder;
  }

  #place(user: User, holder: Holder): void {
    if (holder.device === "") user.own = holder;
    else user.devices.set(holder.device, holder);
  }
}

function holderOf(row: HolderRow): Holder {
  return {
    id: row.id,
    user: row.user,
    device: row.device,
    setVersion: row.set_version,
    dormant: row.dormant === 1,
    protocols: JSON.parse(row.protocols) as string[],
    push: pushOf(row),
    seen: row.seen,
    goneAt: row.gone_at ?? undefined,
    quietUntil: row.quiet_until,
    missed: row.missed === 1,
    toldEpoch: row.told_epoch ?? undefined,
    held: row.held,
    generation: row.generation,
    intent: intentOf(row),
    calls: row.calls === null ? [] : (JSON.parse(row.calls) as Call[]),
    storedDue: row.due ?? undefined,
    storedCallsDue: row.calls_due ?? undefined,
    hasStoredCalls: row.calls !== null,
  };
}

function pushOf({ provider, token, key_id, wake_key }: HolderRow): PushRegistration | undefined {
  if (token === null) return undefined;
  return { provider: provider!, token, key: { id: key_id!, key: wake_key! } };
}

function intentOf(row: HolderRow): Intent | undefined {
  if (row.class === null) return undefined;
  return {
    class: row.class,
    attempts: row.attempts!,
    activity: row.activity!,
    conversation: row.conversation!,
    isMixed: row.mixed !== 0,
    server: row.server!,
    preview: row.preview!,
    expires: row.expires!,
    due: row.due ?? undefined,
    owner: row.owner ?? undefined,
    again: row.again === 1,
    pushedAt: row.pushed_at ?? undefined,
    named: row.named ?? "",
  };
}
