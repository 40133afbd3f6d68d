/**
 * What a PostgreSQL has committed: the rules of the store in memory, run in the order of commits; rows are numbered by their
 * transaction. Of what was committed without waiting for the disk a crash may take the last.
 */
import { MemoryDatabase } from "../../packages/server/src/store/memory-database.ts";
import { ROWS_PER_TRANSACTION } from "../../packages/server/src/store/postgres-schema.ts";
import type {
  HoldResult,
  PendingRow,
  RowRef,
  StoreLimits,
} from "../../packages/server/src/store/store.ts";
import type { Operation } from "../../packages/server/src/store/transactions.ts";
import type { Ledger, Settled } from "./ledger.ts";
import { EPOCH } from "./scheduler.ts";
import type { World } from "./world.ts";

export interface Call {
  readonly operation: Operation;
  readonly args: readonly unknown[];
}

interface Entry extends Call {
  readonly at: number;
  /** Whether it was on the disk before anybody was answered. */
  readonly isDurable: boolean;
  readonly settled: readonly Settled[];
}

interface Numbered {
  readonly seq: number;
  readonly row: RowRef;
}

/** After so long what was committed is on the disk, whether anybody waited for it or not: three rounds of the WAL writer. */
const WRITTEN_MS = 600;

export class PostgresLog {
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #limits: StoreLimits;
  #database: MemoryDatabase;
  #entries: Entry[] = [];
  /** While the log is read again: when an entry was committed. */
  #replaying: number | undefined;
  /** The rules' own names of rows, and the names that servers know. */
  readonly #toRow = new Map<RowRef, RowRef>();
  readonly #fromRow = new Map<RowRef, RowRef>();
  /** All rows ever, in the order of their numbers. */
  readonly #order: Numbered[] = [];

  constructor(world: World, ledger: Ledger, limits: StoreLimits) {
    this.#world = world;
    this.#ledger = ledger;
    this.#limits = limits;
    this.#database = this.#empty();
  }

  read({ operation, args }: Call): unknown {
    const result = this.#run(operation, args);
    if (operation !== "pending") return result;
    return (result as PendingRow[]).map((one) => ({ ...one, row: this.#toRow.get(one.row)! }));
  }

  /** Rows with a greater number, in their order. */
  after(from: number, limit: number): { seq: number; account: string; device: string }[] {
    const found: { seq: number; account: string; device: string }[] = [];
    for (let at = this.#placeOf(from + 1); at < this.#order.length && found.length < limit; at++) {
      const { seq, row } = this.#order[at]!;
      const there = this.#ledger.row(row);
      if (there !== undefined) found.push({ seq, account: there.user, device: there.device });
    }
    return found;
  }

  /** All of them at once, as the transaction of this number. */
  commit(
    server: string,
    transaction: number,
    calls: readonly Call[],
    isDurable: boolean,
  ): unknown[] {
    let seq = transaction * ROWS_PER_TRANSACTION;
    return calls.map(({ operation, args }) => {
      const expired = operation === "expire" ? this.#ledger.expired(args[0] as number) : [];
      const own = this.#ownArgs(operation, args);
      let result = this.#run(operation, own);
      if (operation === "hold") {
        result = (result as HoldResult[]).map((one) => {
          if (one.outcome !== "held") return one;
          for (const { row, isNew } of one.rows) if (isNew) this.#number(row, seq++);
          return { ...one, rows: one.rows.map((it) => ({ ...it, row: this.#toRow.get(it.row)! })) };
        });
      }
      const settled = this.#ledger.committed(server, operation, args, result);
      this.#ledger.drop(expired, "dropped");
      this.#entries.push({ at: this.#world.now, operation, args: own, isDurable, settled });
      return result;
    });
  }

  /** The database has crashed: it reads its log again, as far as that was written. */
  crash(): void {
    const written = this.#world.now - this.#world.random.between(0, WRITTEN_MS);
    const last = this.#entries.findLastIndex(({ isDurable, at }) => isDurable || at <= written);
    const undone = this.#entries.splice(last + 1);
    if (undone.length === 0) return;
    this.#database = this.#empty();
    for (const { at, operation, args } of this.#entries) {
      this.#replaying = at;
      this.#run(operation, args);
    }
    this.#replaying = undefined;
    this.#ledger.undo(undone.flatMap(({ settled }) => settled));
  }

  usersOf(rows: readonly RowRef[]): string[] {
    return rows.flatMap((row) => this.#ledger.row(row)?.user ?? []);
  }

  #empty(): MemoryDatabase {
    const now = (): number => Math.floor(EPOCH + (this.#replaying ?? this.#world.now));
    return new MemoryDatabase({ now }, this.#limits);
  }

  #run(operation: Operation, args: readonly unknown[]): unknown {
    const transaction = this.#database[operation] as (...given: readonly unknown[]) => unknown;
    return Reflect.apply(transaction, this.#database, args);
  }

  #ownArgs(operation: Operation, args: readonly unknown[]): readonly unknown[] {
    if (operation !== "settle" && operation !== "markSent") return args;
    return [(args[0] as readonly RowRef[]).flatMap((row) => this.#fromRow.get(row) ?? [])];
  }

  #number(row: RowRef, seq: number): void {
    const name = String(seq);
    this.#toRow.set(row, name);
    this.#fromRow.set(name, row);
    this.#order.splice(this.#placeOf(seq), 0, { seq, row: name });
  }

  /** Where a row of this number is, or would be. */
  #placeOf(seq: number): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order[middle]!.seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
