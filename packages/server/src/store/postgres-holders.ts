/** Whom rows are held for: read under the lock of their users, changed in memory, written in bulk. */
import type { PushRegistration, WakeClass } from "@beckon/protocol";

import type { Call } from "./call.ts";
import { newHolder } from "./holder.ts";
import type { Holder } from "./holder.ts";
import type { Intent } from "./intent.ts";
import { arrayOf } from "./postgres-link.ts";
import type { Row, Statement } from "./postgres-link.ts";
import { callsDueOf } from "./waking.ts";

/** All holders of one user. */
export interface User {
  readonly name: string;
  readonly own: Holder;
  readonly devices: Map<string, Holder>;
}

const COLUMNS = `account, device, set_version::float8, dormant, protocols, provider, token, key_id::float8, wake_key, seen::float8,
  gone_at::float8, missed, told_epoch::float8, held, generation::float8, class, attempts, activity, conversation, server, preview,
  expires::float8, due::float8, owner, again, quiet_until::float8, mixed, pushed_at::float8, named, calls`;

/** Always in the order of their names, so that no two transactions wait for each other. */
export function lockUsers(users: readonly string[]): Statement {
  return [
    `SELECT account FROM holder WHERE account = ANY($1::text[]) AND device = ''
     ORDER BY account FOR NO KEY UPDATE`,
    [arrayOf(users)],
  ];
}

export function makeUsers(users: readonly string[]): Statement {
  return [
    `INSERT INTO holder (account, device) SELECT unnest($1::text[]), '' ON CONFLICT DO NOTHING`,
    [arrayOf(users)],
  ];
}

/** Slots of the locks that keep two transactions from registering one token without seeing each other. */
const TOKEN_SLOTS = 64;
const TOKEN_LOCK = 0x42636c00;

/** Before any user, and in one order: nobody who has a user waits for a token. Until the transaction's end. */
export function lockTokens(pushes: readonly PushRegistration[]): Statement {
  return [
    `SELECT pg_advisory_xact_lock(slot, hashtext(current_schema()))::text FROM (
       SELECT DISTINCT ${TOKEN_LOCK} + (hashtext(token) & ${TOKEN_SLOTS - 1}) AS slot FROM unnest($1::text[]) AS token ORDER BY slot
     ) AS slots`,
    [arrayOf(pushes.map(({ token }) => token))],
  ];
}

/** Users whose devices are registered with these. */
export function readRegistered(pushes: readonly PushRegistration[]): Statement {
  return [
    `SELECT DISTINCT account FROM unnest($1::text[], $2::text[]) AS x (provider, token)
     JOIN holder ON holder.token = x.token AND holder.provider = x.provider`,
    [arrayOf(pushes.map(({ provider }) => provider)), arrayOf(pushes.map(({ token }) => token))],
  ];
}

export function readHolders(users: readonly string[]): Statement {
  return [`SELECT ${COLUMNS} FROM holder WHERE account = ANY($1::text[])`, [arrayOf(users)]];
}

export class Holders {
  readonly #users = new Map<string, User>();
  /** True: not only what a hold changes. */
  readonly #changed = new Map<Holder, boolean>();

  constructor(users: readonly string[], rows: readonly Row[]) {
    for (const name of users) {
      this.#users.set(name, { name, own: newHolder(name, ""), devices: new Map() });
    }
    for (const row of rows) {
      const holder = holderOf(row);
      const user = this.#users.get(holder.user)!;
      if (holder.device === "") Object.assign(user.own, holder);
      else user.devices.set(holder.device, holder);
    }
  }

  user(name: string): User {
    return this.#users.get(name)!;
  }

  all(): Iterable<User> {
    return this.#users.values();
  }

  create(user: User, device: string): Holder {
    const holder = newHolder(user.name, device);
    user.devices.set(device, holder);
    this.changed(holder);
    return holder;
  }

  delete(user: User, holder: Holder): void {
    this.#changed.delete(holder);
    user.devices.delete(holder.device);
  }

  /** Its count of rows, its debt or its intent has changed. */
  heldChanged(holder: Holder): void {
    if (!this.#changed.has(holder)) this.#changed.set(holder, false);
  }

  changed(holder: Holder): void {
    this.#changed.set(holder, true);
  }

  flush(): Statement[] {
    const all = [...this.#changed];
    const whole = all.filter(([, isAll]) => isAll).map(([holder]) => holder);
    const held = all.filter(([, isAll]) => !isAll).map(([holder]) => holder);
    return [
      ...(whole.length > 0 ? [writeWhole(whole)] : []),
      ...(held.length > 0 ? [writeHeld(held)] : []),
    ];
  }
}

type Value = string | number | boolean | null;

/** Name, type and value of what a hold changes, beside the key. */
const HELD: readonly (readonly [string, string, (holder: Holder) => Value])[] = [
  ["missed", "boolean", ({ missed }) => missed],
  ["told_epoch", "bigint", ({ toldEpoch }) => toldEpoch ?? null],
  ["held", "integer", ({ held }) => held],
  ["generation", "bigint", ({ generation }) => generation],
  ["class", "text", ({ intent }) => intent?.class ?? null],
  ["attempts", "integer", ({ intent }) => intent?.attempts ?? null],
  ["activity", "integer", ({ intent }) => intent?.activity ?? null],
  ["conversation", "text", ({ intent }) => intent?.conversation ?? null],
  ["server", "text", ({ intent }) => intent?.server ?? null],
  ["preview", "text", ({ intent }) => intent?.preview ?? null],
  ["expires", "bigint", ({ intent }) => intent?.expires ?? null],
  ["due", "bigint", ({ intent }) => intent?.due ?? null],
  ["owner", "text", ({ intent }) => intent?.owner ?? null],
  ["again", "boolean", ({ intent }) => intent?.again ?? null],
  ["mixed", "boolean", ({ intent }) => intent?.isMixed ?? null],
  ["pushed_at", "bigint", ({ intent }) => intent?.pushedAt ?? null],
  ["named", "text", ({ intent }) => intent?.named ?? null],
  ["calls", "text", ({ calls }) => (calls.length === 0 ? null : JSON.stringify(calls))],
  ["calls_due", "bigint", (holder) => callsDueOf(holder) ?? null],
];

/** What only arrivals and the like change. */
const REST: readonly (readonly [string, string, (holder: Holder) => Value])[] = [
  ["set_version", "bigint", ({ setVersion }) => setVersion],
  ["dormant", "boolean", ({ dormant }) => dormant],
  ["protocols", "text", ({ protocols }) => JSON.stringify(protocols)],
  ["provider", "text", ({ push }) => push?.provider ?? null],
  ["token", "text", ({ push }) => push?.token ?? null],
  ["key_id", "bigint", ({ push }) => push?.key.id ?? null],
  ["wake_key", "bytea", ({ push }) => (push === undefined ? null : `\\x${push.key.key.toHex()}`)],
  ["seen", "bigint", ({ seen }) => seen],
  ["gone_at", "bigint", ({ goneAt }) => goneAt ?? null],
  ["quiet_until", "bigint", ({ quietUntil }) => quietUntil],
];

const KEY: typeof HELD = [
  ["account", "text", ({ user }) => user],
  ["device", "text", ({ device }) => device],
];

const names = (columns: typeof HELD): string => columns.map(([name]) => name).join();
const arrays = (columns: typeof HELD): string =>
  columns.map(([, type], at) => `$${at + 1}::${type}[]`).join();
const assign = (columns: typeof HELD, from: string): string =>
  columns.map(([name]) => `${name} = ${from}.${name}`).join();

const WRITE_HELD = `UPDATE holder SET ${assign(HELD, "x")}
  FROM unnest(${arrays([...KEY, ...HELD])}) AS x (${names([...KEY, ...HELD])})
  WHERE holder.account = x.account AND holder.device = x.device`;

const ALL = [...KEY, ...REST, ...HELD];
const WRITE_WHOLE = `INSERT INTO holder (${names(ALL)}) SELECT * FROM unnest(${arrays(ALL)})
  ON CONFLICT (account, device) DO UPDATE SET ${assign([...REST, ...HELD], "excluded")}`;

function writeHeld(holders: readonly Holder[]): Statement {
  return [WRITE_HELD, valuesOf([...KEY, ...HELD], holders)];
}

function writeWhole(holders: readonly Holder[]): Statement {
  return [WRITE_WHOLE, valuesOf(ALL, holders)];
}

function valuesOf(columns: typeof HELD, holders: readonly Holder[]): string[] {
  return columns.map(([, , value]) => arrayOf(holders.map(value)));
}

function holderOf(row: Row): Holder {
  return {
    user: row["account"] as string,
    device: row["device"] as string,
    setVersion: row["set_version"] as number,
    dormant: row["dormant"] as boolean,
    protocols: JSON.parse(row["protocols"] as string) as string[],
    push: pushOf(row),
    seen: row["seen"] as number,
    goneAt: (row["gone_at"] as number | null) ?? undefined,
    quietUntil: row["quiet_until"] as number,
    missed: row["missed"] as boolean,
    toldEpoch: (row["told_epoch"] as number | null) ?? undefined,
    held: row["held"] as number,
    generation: row["generation"] as number,
    intent: intentOf(row),
    calls: row["calls"] === null ? [] : (JSON.parse(row["calls"] as string) as Call[]),
  };
}

function pushOf(row: Row): PushRegistration | undefined {
  if (row["token"] === null) return undefined;
  return {
    provider: row["provider"] as string,
    token: row["token"] as string,
    key: { id: row["key_id"] as number, key: new Uint8Array(row["wake_key"] as Uint8Array) },
  };
}

function intentOf(row: Row): Intent | undefined {
  if (row["class"] === null) return undefined;
  return {
    class: row["class"] as WakeClass,
    attempts: row["attempts"] as number,
    activity: row["activity"] as number,
    conversation: row["conversation"] as string,
    // An intent that is older than the column counts as one of several conversations, which no mute takes away.
    isMixed: row["mixed"] !== false,
    server: row["server"] as string,
    preview: row["preview"] as string,
    expires: row["expires"] as number,
    due: (row["due"] as number | null) ?? undefined,
    owner: (row["owner"] as string | null) ?? undefined,
    again: row["again"] as boolean,
    pushedAt: (row["pushed_at"] as number | null) ?? undefined,
    named: (row["named"] as string | null) ?? "",
  };
}
