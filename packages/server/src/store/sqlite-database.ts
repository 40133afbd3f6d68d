/**
 * The database on its own thread: runs calls in batches, the reads of a batch on one snapshot, its writes in one transaction
 * that is one commit (group commit).
 */
import type { Millis } from "@beckon/protocol";

import { Devices } from "./sqlite-devices.ts";
import { Holders } from "./sqlite-holders.ts";
import { Messages } from "./sqlite-messages.ts";
import { Rows } from "./sqlite-rows.ts";
import { codeOf, openFile, reasonOf } from "./sqlite-schema.ts";
import type { FileOptions, SqliteFile } from "./sqlite-schema.ts";
import { Ties } from "./sqlite-ties.ts";
import { Wakes } from "./sqlite-wakes.ts";
import { StoreUnavailable } from "./store.ts";
import type { StoreLimits } from "./store.ts";
import type { Transactions } from "./transactions.ts";

/** As the ports, but `expire`, `retire` and `erase` go slice by slice. */
export type SqliteTransactions = Omit<Transactions, "retire" | "erase"> & {
  retire: (...args: Parameters<Devices["retire"]>) => ReturnType<Devices["retire"]>;
  erase: (...args: Parameters<Ties["erase"]>) => ReturnType<Ties["erase"]>;
};

export type SqliteOperation = keyof SqliteTransactions;

/** One call of a port. */
export type SqliteCall = {
  [Name in SqliteOperation]: {
    readonly id: number;
    readonly operation: Name;
    /** The time of the store. */
    readonly now: Millis;
    readonly args: Parameters<SqliteTransactions[Name]>;
  };
}[SqliteOperation];

export type SqliteAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string; readonly isUnavailable: boolean };

const READS: ReadonlySet<SqliteOperation> = new Set<SqliteOperation>([
  "pending",
  "tail",
  "devices",
  "sets",
  "nextDue",
  "mutes",
  "circle",
]);

/**
 * What may be lost with the power (never with the process) is committed without waiting for the disk: a row comes back and is
 * delivered again, an intent comes back and its device is woken again, which the laws allow after a crash.
 */
const RELAXED: ReadonlySet<SqliteOperation> = new Set<SqliteOperation>([
  "settle",
  "markSent",
  "claim",
  "done",
  "clear",
  "leave",
  "end",
]);

export function isRead({ operation }: SqliteCall): boolean {
  return READS.has(operation);
}

interface Open {
  readonly file: SqliteFile;
  readonly holders: Holders;
  readonly rows: Rows;
  readonly messages: Messages;
  readonly devices: Devices;
  readonly wakes: Wakes;
  readonly ties: Ties;
}

export class SqliteDatabase {
  readonly #path: string;
  readonly #limits: StoreLimits;
  #options: FileOptions;
  #open: Open | undefined;
  #isRelaxed = false;

  constructor(path: string, limits: StoreLimits, options: FileOptions) {
    this.#path = path;
    this.#limits = limits;
    this.#options = options;
  }

  /** @throws {StoreUnavailable} */
  open(): void {
    if (this.#open !== undefined) return;
    const file = openFile(this.#path, this.#options);
    const holders = new Holders(file);
    const rows = new Rows(file, holders);
    this.#open = {
      file,
      holders,
      rows,
      messages: new Messages(file, this.#limits, holders, rows),
      devices: new Devices(file, this.#limits, holders, rows),
      wakes: new Wakes(file, this.#limits, holders, rows),
      ties: new Ties(file),
    };
    this.#isRelaxed = false;
  }

  /** Bounds the file from now on; one that is larger already stays as it is, and takes what fits into it. */
  bound(maxBytes: number): void {
    this.#options = { ...this.#options, maxBytes };
    this.#open?.file.bound(maxBytes);
  }

  close(): void {
    this.#open?.file.close();
    this.#open = undefined;
  }

  /** All of them see the same snapshot. */
  read(calls: readonly SqliteCall[]): SqliteAnswer[] {
    return this.#guard(calls, (open) => {
      open.file.run("BEGIN");
      open.holders.refresh();
      const answers = calls.map((call) => {
        try {
          return { id: call.id, value: perform(open, call) };
        } catch (error) {
          if (isOfDatabase(error)) throw error;
          return failure(call, error);
        }
      });
      open.file.run("COMMIT");
      return answers;
    });
  }

  /** All of them in one commit. One that fails by itself fails alone. */
  write(calls: readonly SqliteCall[]): SqliteAnswer[] {
    return this.#guard(calls, (open) => {
      this.#relax(calls.every(({ operation }) => RELAXED.has(operation)));
      try {
        return commit(open, () =>
          calls.map((call) => ({ id: call.id, value: perform(open, call) })),
        );
      } catch (error) {
        if (isOfDatabase(error)) throw error;
        return commit(open, () => calls.map((call) => performAlone(open, call)));
      }
    });
  }

  #relax(isRelaxed: boolean): void {
    if (this.#isRelaxed === isRelaxed) return;
    this.#open!.file.run(`PRAGMA synchronous = ${isRelaxed ? "NORMAL" : "FULL"}`);
    this.#isRelaxed = isRelaxed;
  }

  #guard(calls: readonly SqliteCall[], run: (open: Open) => SqliteAnswer[]): SqliteAnswer[] {
    try {
      this.open();
      return run(this.#open!);
    } catch (error) {
      this.#recover(error);
      const message = error instanceof StoreUnavailable ? error.message : reasonOf(error);
      return calls.map(({ id }) => ({ id, error: message, isUnavailable: true }));
    }
  }

  /** After this the next batch finds a database without a transaction, opened anew where that may help. */
  #recover(error: unknown): void {
    if (this.#open === undefined) return;
    try {
      if (this.#open.file.inTransaction) this.#open.file.run("ROLLBACK");
      if (isPassing(error)) return;
    } catch {
      // It can only be closed.
    }
    try {
      this.close();
    } catch {
      this.#open = undefined;
    }
  }
}

/** @throws What made it impossible; then nothing was written. */
function commit(open: Open, work: () => SqliteAnswer[]): SqliteAnswer[] {
  open.file.run("BEGIN IMMEDIATE");
  try {
    open.holders.refresh();
    open.rows.clear();
    const answers = work();
    open.holders.flush();
    open.rows.flush();
    open.file.run("COMMIT");
    return answers;
  } catch (error) {
    if (open.file.inTransaction) open.file.run("ROLLBACK");
    open.holders.clear();
    open.rows.clear();
    throw error;
  }
}

function performAlone(open: Open, call: SqliteCall): SqliteAnswer {
  open.file.run("SAVEPOINT call");
  try {
    const value = perform(open, call);
    open.holders.flush();
    open.rows.flush();
    open.file.run("RELEASE call");
    return { id: call.id, value };
  } catch (error) {
    if (isOfDatabase(error)) throw error;
    open.file.run("ROLLBACK TO call");
    open.file.run("RELEASE call");
    open.holders.clear();
    open.rows.clear();
    return failure(call, error);
  }
}

const PERFORM: {
  readonly [Name in SqliteOperation]: (
    open: Open,
    args: Parameters<SqliteTransactions[Name]>,
    now: Millis,
  ) => ReturnType<SqliteTransactions[Name]>;
} = {
  hold: ({ messages }, [requests], now) => requests.map((request) => messages.hold(request, now)),
  pending: ({ messages }, args, now) => messages.pending(...args, now),
  settle: ({ messages }, args) => messages.settle(...args),
  markSent: ({ messages }, args) => messages.markSent(...args),
  tail: ({ messages }, args) => messages.tail(...args),
  expire: ({ messages }, args) => messages.expire(...args),
  arrive: ({ devices }, args, now) => devices.arrive(...args, now),
  register: ({ devices }, args, now) => devices.register(...args, now),
  unregister: ({ devices }, args, now) => devices.unregister(...args, now),
  forget: ({ devices }, args) => devices.forget(...args),
  devices: ({ devices }, args) => devices.devices(...args),
  sets: ({ devices }, args) => devices.sets(...args),
  retire: ({ devices }, args) => devices.retire(...args),
  claim: ({ wakes }, [owner, leaseMs, limit, except = []], now) =>
    wakes.claim(owner, leaseMs, limit, except, now),
  done: ({ wakes }, args, now) => wakes.done(...args, now),
  clear: ({ wakes }, args) => wakes.clear(...args),
  leave: ({ wakes }, args, now) => wakes.leave(...args, now),
  end: ({ messages }, args, now) => messages.end(...args, now),
  nextDue: ({ wakes }, _args, now) => wakes.nextDue(now),
  quiet: ({ wakes }, args, now) => wakes.quiet(...args, now),
  mutes: ({ wakes }, args, now) => wakes.mutes(...args, now),
  strengthen: ({ ties }, args) => ties.strengthen(...args),
  circle: ({ ties }, args) => ties.circle(...args),
  fade: ({ ties }, args) => ties.fade(...args),
  erase: ({ ties }, args) => ties.erase(...args),
};

function perform(open: Open, { operation, args, now }: SqliteCall): unknown {
  const run = PERFORM[operation] as (open: Open, args: unknown, now: Millis) => unknown;
  return run(open, args, now);
}

function failure({ id }: SqliteCall, error: unknown): SqliteAnswer {
  const message = error instanceof Error ? error.message : String(error);
  return { id, error: message, isUnavailable: false };
}

/** The database refuses, whatever was asked: full, read-only, locked, damaged. */
function isOfDatabase(error: unknown): boolean {
  const code = codeOf(error);
  return code.startsWith("SQLITE_") && !/^SQLITE_(CONSTRAINT|MISMATCH|TOOBIG|RANGE)/.test(code);
}

/** The file is as it was; to wait or to make room is enough. */
function isPassing(error: unknown): boolean {
  return /^SQLITE_(BUSY|FULL)/.test(codeOf(error));
}
