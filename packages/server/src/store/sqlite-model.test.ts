/** Whatever is asked of it, and however it is grouped, SQLite answers as the memory backend does. */
import { expect, test } from "bun:test";
import { join } from "node:path";

import * as fc from "fast-check";

import { MemoryDatabase } from "./memory-database.ts";
import { SqliteDatabase, isRead } from "./sqlite-database.ts";
import type { SqliteAnswer, SqliteCall } from "./sqlite-database.ts";
import type { HoldRequest, HoldResult, PendingRow, RowRef, StorePosition } from "./store.ts";
import { SUITE_LIMITS } from "./store.suite.ts";
import { temporaryFolder } from "./test-support/harness.ts";
import { DAY, HOUR, START } from "./test-support/requests.ts";
import {
  DEVICES,
  USERS,
  batch,
  claim,
  devicesOf,
  nextDue,
  pending,
  tail,
} from "./test-support/steps.ts";
import type { Step } from "./test-support/steps.ts";

const RUNS = 150;

test("SQLite answers as memory does", () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 12 }), (batches) => {
      const folder = temporaryFolder();
      const path = join(folder.path, "beckon.db");
      const sqlite = new SqliteDatabase(path, SUITE_LIMITS, { busyTimeoutMs: 1_000, maxBytes: 0 });
      try {
        const pair = new Pair(sqlite);
        for (const { wait, steps } of batches) pair.run(wait, steps);
        pair.lookAtEverything();
      } finally {
        sqlite.close();
        folder.remove();
      }
    }),
    { numRuns: RUNS },
  );
}, 60_000);

/** Both backends, and what the same things are called in each. */
class Pair {
  #now = START;
  readonly #memory = new MemoryDatabase({ now: () => this.#now }, SUITE_LIMITS);
  readonly #sqlite: SqliteDatabase;
  readonly #rows: { readonly memory: RowRef; readonly sqlite: RowRef; readonly lane: string }[] =
    [];
  readonly #positions: { readonly memory: StorePosition; readonly sqlite: StorePosition }[] = [
    { memory: 0, sqlite: 0 },
  ];

  constructor(sqlite: SqliteDatabase) {
    this.#sqlite = sqlite;
  }

  run(wait: number, steps: readonly Step[]): void {
    this.#now += wait;
    const asked = steps.map((step) => this.#callOf(step, "sqlite"));
    const expected = steps.map((step) => this.#callOf(step, "memory"));
    const answers = isRead(asked[0]!) ? this.#sqlite.read(asked) : this.#sqlite.write(asked);
    expected.forEach((call, at) => this.#compare(call, valueOf(answers[at]!)));
  }

  lookAtEverything(): void {
    this.run(0, [
      ...USERS.flatMap((user) => [...DEVICES, "tab"].map((device) => pending(user, device))),
      ...USERS.map(devicesOf),
      ...this.#positions.map((_, at) => tail(at)),
      nextDue,
    ]);
    this.run(DAY, [claim("last", HOUR)]);
  }

  #callOf(step: Step, backend: "memory" | "sqlite"): SqliteCall {
    return step.call({
      now: () => this.#now,
      row: (number) => this.#rows[number]?.[backend],
      position: (number) => this.#positions[number % this.#positions.length]![backend],
    });
  }

  #compare(call: SqliteCall, actual: unknown): void {
    switch (call.operation) {
      case "hold": {
        const [requests] = call.args;
        this.#memory
          .hold(requests)
          .forEach((result, at) =>
            this.#compareHeld(requests[at]!, result, (actual as HoldResult[])[at]!),
          );
        break;
      }
      case "pending":
        this.#comparePending(this.#memory.pending(...call.args), actual as PendingRow[]);
        break;
      case "tail": {
        const expected = this.#memory.tail(...call.args);
        const { devices, now } = actual as typeof expected;
        expect(sorted(devices)).toEqual(sorted(expected.devices));
        this.#positions.push({ memory: expected.now, sqlite: now });
        break;
      }
      case "claim":
        expect(sorted(actual as object[])).toEqual(sorted(this.#memory.claim(...call.args)));
        break;
      case "retire": {
        const { changed } = actual as { changed: object[] };
        expect(sorted(changed)).toEqual(sorted(this.#memory.retire(call.args[0])));
        break;
      }
      default: {
        const run = this.#memory[call.operation] as (...args: unknown[]) => unknown;
        expect(actual).toEqual(run.apply(this.#memory, call.args));
      }
    }
  }

  #compareHeld(request: HoldRequest, expected: HoldResult, actual: HoldResult): void {
    if (expected.outcome !== "held" || actual.outcome !== "held") {
      expect(actual).toEqual(expected);
      return;
    }
    const theirs = new Map(actual.rows.map((row) => [row.device, row]));
    for (const { device, row, isNew } of expected.rows) {
      const sqlite = theirs.get(device)?.row ?? "none";
      if (isNew) this.#rows.push({ memory: row, sqlite, lane: laneOf(request) });
      expect(theirs.get(device)).toEqual({ device, row: this.#sqliteRow(row), isNew });
    }
    const rest = ({ rows, due, ...rest }: typeof expected): object => ({
      ...rest,
      rows: rows.length,
      due: due.toSorted(),
    });
    expect(rest(actual)).toEqual(rest(expected));
  }

  /** Calls come first; after that lanes may follow each other in any order. */
  #comparePending(expected: readonly PendingRow[], actual: readonly PendingRow[]): void {
    const lanes = new Map(this.#rows.map(({ sqlite, lane }) => [sqlite, lane]));
    const inLanes = (rows: readonly PendingRow[]): PendingRow[] =>
      rows.toSorted((a, b) => compareText(lanes.get(a.row)!, lanes.get(b.row)!));
    const ours = expected.map((row) => ({ ...row, row: this.#sqliteRow(row.row) }));
    expect(inLanes(actual)).toEqual(inLanes(ours));
    const isCall = (row: PendingRow): boolean => lanes.get(row.row)!.startsWith("call");
    expect(actual.map(isCall)).toEqual(ours.map(isCall));
  }

  #sqliteRow(memory: RowRef): RowRef {
    return this.#rows.findLast((row) => row.memory === memory)!.sqlite;
  }
}

function laneOf({ key, outbox, to, wake }: HoldRequest): string {
  return `${wake.class === "call" ? "call" : "other"} ${key.from} ${outbox} ${to}`;
}

function valueOf(answer: SqliteAnswer): unknown {
  if ("value" in answer) return answer.value;
  throw new Error(answer.error);
}

function sorted(items: readonly object[]): object[] {
  return items.toSorted((a, b) => compareText(JSON.stringify(a), JSON.stringify(b)));
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
