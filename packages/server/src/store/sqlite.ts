/**
 * The embedded backend: one SQLite file, for one machine. Durable means synced to the disk (WAL, synchronous=FULL); the calls that
 * arrive while one commit is under way share the next one. Handles on one file in one process share a thread, and so
 * their commits; other processes may have the file open as well.
 */
import { resolve } from "node:path";

import { systemClock } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import { checkRequest } from "./rules.ts";
import type { SqliteCall } from "./sqlite-database.ts";
import { ROWS_PER_MESSAGE } from "./sqlite-schema.ts";
import { SqliteThread } from "./sqlite-thread.ts";
import type { QueueLimits, SqliteStats } from "./sqlite-thread.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { DurableSet, HoldRequest, Store, StoreLimits } from "./store.ts";
import { strengthenInParts } from "./ties.ts";
import { storeOf } from "./transactions.ts";
import type { Run } from "./transactions.ts";

export interface SqliteOptions extends Partial<QueueLimits> {
  /** The store's time is its `now`. */
  readonly clock?: Clock;
  /** How long a transaction waits for one of another process, before it is StoreUnavailable. */
  readonly busyTimeoutMs?: number;
  /** Bound of the file; what would make it larger is StoreUnavailable, as when the disk is full. 0: none. */
  readonly maxBytes?: number;
  /** False: a thread of its own, as if the handle were in another process. */
  readonly shareThread?: boolean;
}

export interface SqliteStore extends Store {
  /** Of the thread, so of all handles that share it. */
  readonly stats: SqliteStats;
  /**
   * Bounds the file from now on, for all handles that share its thread: as when the disk is full, or has room again (0). One that is larger
   * already stays so, and takes what fits into it.
   */
  bound(maxBytes: number): void;
  /** What was asked is answered first. */
  close(): Promise<void>;
}

/** Changes of ties in one transaction: 20 to 40 ms of CPU, for which the others wait. */
const CHANGES_AT_ONCE = 500;

interface Shared {
  readonly thread: SqliteThread;
  handles: number;
}

/** Threads that handles share, by file and options. */
const shared = new Map<string, Shared>();

/** Rejects with StoreUnavailable, saying why, where the file cannot be used. */
export async function openSqlite(
  path: string,
  limits: StoreLimits = DEFAULT_STORE_LIMITS,
  options: SqliteOptions = {},
): Promise<SqliteStore> {
  if (limits.durableDevicesPerUser > ROWS_PER_MESSAGE) {
    throw new RangeError(`durableDevicesPerUser: at most ${ROWS_PER_MESSAGE}`);
  }
  const clock = options.clock ?? systemClock;
  const file = {
    path: resolve(path),
    limits,
    busyTimeoutMs: options.busyTimeoutMs ?? 2_000,
    maxBytes: options.maxBytes ?? 0,
  };
  const queue: QueueLimits = {
    maxWaiting: options.maxWaiting ?? 65_536,
    maxWaitingBytes: options.maxWaitingBytes ?? 128 * 1024 * 1024,
    answerTimeoutMs: options.answerTimeoutMs ?? 30_000,
  };
  const start = (): SqliteThread => new SqliteThread(clock, queue, { kind: "open", ...file });
  const lent =
    options.shareThread === false
      ? ownThread(start)
      : sharedThread(JSON.stringify([file, queue]), start);
  try {
    await lent.thread.opened;
  } catch (error) {
    await lent.release();
    throw error;
  }
  return openHandle(lent, clock);
}

interface Lent {
  readonly thread: SqliteThread;
  release(): Promise<void>;
}

function ownThread(start: () => SqliteThread): Lent {
  const thread = start();
  return { thread, release: () => thread.close() };
}

function sharedThread(name: string, start: () => SqliteThread): Lent {
  const entry = shared.get(name) ?? { thread: start(), handles: 0 };
  shared.set(name, entry);
  entry.handles++;
  const release = async (): Promise<void> => {
    entry.handles--;
    if (entry.handles > 0) return;
    shared.delete(name);
    await entry.thread.close();
  };
  return { thread: entry.thread, release };
}

function openHandle(lent: Lent, clock: Clock): SqliteStore {
  const { thread } = lent;
  let closing: Promise<void> | undefined;

  const call = (operation: string, args: readonly unknown[]): Promise<unknown> => {
    if (closing !== undefined) return Promise.reject(new StoreUnavailable("the store is closed"));
    return thread.call({ operation, args, now: clock.now() } as SqliteCall);
  };
  const run = call as Run;
  const close = (): Promise<void> => (closing ??= lent.release());
  const store = storeOf(run, close);
  return {
    messages: {
      ...store.messages,
      async hold(requests: readonly HoldRequest[]) {
        for (const request of requests) checkRequest(request);
        return run("hold", [requests]);
      },
      async expire(before) {
        let all = 0;
        for (;;) {
          const dropped = await run("expire", [before]);
          if (dropped === 0) return all;
          all += dropped;
        }
      },
    },
    devices: {
      ...store.devices,
      async retire(now) {
        const all: DurableSet[] = [];
        for (let after: string | undefined = ""; after !== undefined;) {
          const slice = (await call("retire", [now, after])) as {
            changed: DurableSet[];
            next: string | undefined;
          };
          all.push(...slice.changed);
          after = slice.next;
        }
        return all;
      },
    },
    wakes: store.wakes,
    associates: {
      ...store.associates,
      strengthen: (changes) =>
        strengthenInParts(changes, CHANGES_AT_ONCE, (part) => run("strengthen", [part])),
      async erase(user) {
        while ((await call("erase", [user])) !== 0);
      },
    },
    get stats() {
      return thread.stats;
    },
    bound: (maxBytes) => thread.bound(maxBytes),
    close,
  };
}
