/** The memory backend beside another one: what was asked of the other is answered alike by both. */
import { expect } from "bun:test";

import type { Millis } from "@beckon/protocol";

import { MemoryDatabase } from "../memory-database.ts";
import type { SqliteCall } from "../sqlite-database.ts";
import type {
  HoldRequest,
  HoldResult,
  PendingRow,
  RowRef,
  StorePosition,
  StoredTie,
} from "../store.ts";
import { SUITE_LIMITS } from "../store.suite.ts";
import { START } from "./requests.ts";
import { DEVICES, USERS, circleOf, devicesOf, mutesOf, nextDue, pending, tail } from "./steps.ts";
import type { Step } from "./steps.ts";

/** One step, as it is called in each. */
export interface Asked {
  readonly memory: SqliteCall;
  readonly other: SqliteCall;
}

/** Both backends, and what the same things are called in each. */
export class Pair {
  #now = START;
  readonly #memory = new MemoryDatabase({ now: () => this.#now }, SUITE_LIMITS);
  readonly #rows: Named[] = [];
  readonly #positions: { readonly memory: StorePosition; readonly other: StorePosition }[] = [
    { memory: 0, other: 0 },
  ];

  get now(): Millis {
    return this.#now;
  }

  wait(ms: Millis): void {
    this.#now += ms;
  }

  /** What is asked of both next; `compare` each, in this order, with what the other has answered. */
  calls(steps: readonly Step[]): Asked[] {
    return steps.map((step) => ({
      memory: this.#callOf(step, "memory"),
      other: this.#callOf(step, "other"),
    }));
  }

  /** As many reads as show all there is. */
  everything(): Step[] {
    return [
      ...USERS.flatMap((user) => [...DEVICES, "tab"].map((device) => pending(user, device))),
      ...USERS.map(devicesOf),
      ...USERS.map(mutesOf),
      ...USERS.map(circleOf),
      ...this.#positions.map((_, at) => tail(at)),
      nextDue,
    ];
  }

  #callOf(step: Step, backend: "memory" | "other"): SqliteCall {
    return step.call({
      now: () => this.#now,
      row: (number) => this.#rows[number]?.[backend],
      position: (number) => this.#positions[number % this.#positions.length]![backend],
    });
  }

  compare({ memory: call }: Asked, actual: unknown): void {
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
        this.#positions.push({ memory: expected.now, other: now });
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
      case "circle":
        expect((actual as StoredTie[]).map(rounded)).toEqual(
          this.#memory.circle(...call.args).map(rounded),
        );
        break;
      case "erase":
        // Some go slice by slice.
        this.#memory.erase(...call.args);
        break;
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
      const other = theirs.get(device)?.row ?? "none";
      if (isNew) {
        const isCall = request.wake.class === "call" && request.n === 0;
        this.#rows.push({ memory: row, other, lane: laneOf(request), isCall });
      }
      expect(theirs.get(device)).toEqual({ device, row: this.#otherRow(row), isNew });
    }
    const rest = ({ rows, due, ...rest }: typeof expected): object => ({
      ...rest,
      rows: rows.length,
      due: due.toSorted(),
    });
    expect(rest(actual)).toEqual(rest(expected));
  }

  /** Calls that ring come first; after that lanes may follow each other in any order. */
  #comparePending(expected: readonly PendingRow[], actual: readonly PendingRow[]): void {
    const named = new Map(this.#rows.map((row) => [row.other, row]));
    const laneOfRow = ({ row }: PendingRow): string => named.get(row)!.lane;
    const inLanes = (rows: readonly PendingRow[]): PendingRow[] =>
      rows.toSorted((a, b) => compareText(laneOfRow(a), laneOfRow(b)));
    const ours = expected.map((row) => ({ ...row, row: this.#otherRow(row.row) }));
    expect(inLanes(actual)).toEqual(inLanes(ours));
    // Memory has its lanes in the order of their names: what stands before a lesser one rings.
    const ringing = ours.filter((row, at) =>
      ours.slice(at + 1).some((later) => laneOfRow(later) < laneOfRow(row)),
    );
    for (const { row } of ringing) {
      const before = actual.slice(
        0,
        actual.findIndex((other) => other.row === row),
      );
      expect(before.filter((other) => !named.get(other.row)!.isCall)).toEqual([]);
    }
  }

  #otherRow(memory: RowRef): RowRef {
    return this.#rows.findLast((row) => row.memory === memory)!.other;
  }
}

interface Named {
  readonly memory: RowRef;
  readonly other: RowRef;
  readonly lane: string;
  /** It comes first while it rings. */
  readonly isCall: boolean;
}

function laneOf({ key, outbox, to }: HoldRequest): string {
  return `${key.from} ${outbox} ${to}`;
}

/** A database has its own way to raise to a power. */
function rounded({ long, short, ...tie }: StoredTie): object {
  return { ...tie, long: long.toPrecision(6), short: short.toPrecision(6) };
}

function sorted(items: readonly object[]): object[] {
  return items.toSorted((a, b) => compareText(JSON.stringify(a), JSON.stringify(b)));
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
