/**
 * The backend for many machines: one PostgreSQL, version 15 or later, that all servers share. Durable means that PostgreSQL has
 * committed; calls of one turn share a commit, and several commits are under way at once.
 */
import type { Millis } from "@beckon/protocol";

import { systemClock } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import { holdInParts } from "./hold-parts.ts";
import { PostgresDatabase } from "./postgres-database.ts";
import type { UserCall } from "./postgres-database.ts";
import { Link, unavailable } from "./postgres-link.ts";
import { Partitions } from "./postgres-partitions.ts";
import { Pool } from "./postgres-pool.ts";
import { BatchQueue } from "./postgres-queue.ts";
import {
  ROWS_PER_TRANSACTION,
  isSchemaName,
  migrate,
  numberingBase,
  settingsAgainstL1,
} from "./postgres-schema.ts";
import { TailReader } from "./postgres-tail.ts";
import { checkRequest } from "./rules.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { DurableSet, HoldRequest, HoldResult, RowRef, Store, StoreLimits } from "./store.ts";
import { strengthenInParts } from "./ties.ts";

export interface PostgresOptions {
  /** Where the tables are. */
  readonly schema?: string;
  readonly connections?: number;
  /** PEM, of whom the database's certificate has to come: TLS then, and nothing else. */
  readonly ca?: string | undefined;
  /** Transactions that write at the same time; less than `connections`, so that reads go on. */
  readonly commitsInFlight?: number;
  readonly connectTimeoutMs?: Millis;
  readonly statementTimeoutMs?: Millis;
  /** What has not been answered by then is StoreUnavailable, and its connection is closed. */
  readonly answerTimeoutMs?: Millis;
  /** Hold requests and other calls that may wait; one more is refused. */
  readonly maxWaiting?: number;
  /** Bytes of message bodies that may wait. */
  readonly maxWaitingBytes?: number;
  /** Is told at the start what in the database's settings lets messages be lost. */
  readonly warn?: (message: string) => void;
  /** The store's time; without it the database's clock, which all servers share. */
  readonly now?: () => Millis;
  readonly clock?: Clock;
}

export interface PostgresStore extends Store {
  /** Transactions that wrote calls, since the start. */
  readonly batches: number;
  /** What was asked is answered first. */
  close(): Promise<void>;
}

/** Rows settled or marked in one transaction. */
const SETTLED_AT_ONCE = 2_000;

/** Changes of ties in one transaction. */
const CHANGES_AT_ONCE = 1_000;

/** Rejects with StoreUnavailable, saying why, where the database cannot be used. */
export async function openPostgres(
  url: string,
  limits: StoreLimits = DEFAULT_STORE_LIMITS,
  options: PostgresOptions = {},
): Promise<PostgresStore> {
  const clock = options.clock ?? systemClock;
  const schema = options.schema ?? "beckon";
  const connections = options.connections ?? 8;
  const maxWaiting = options.maxWaiting ?? 65_536;
  const statementTimeoutMs = options.statementTimeoutMs ?? 5_000;
  const link = {
    url,
    schema,
    ca: options.ca,
    connectTimeoutMs: options.connectTimeoutMs ?? 3_000,
    statementTimeoutMs,
    answerTimeoutMs: options.answerTimeoutMs ?? 2 * statementTimeoutMs,
  };
  const pool = new Pool(link, { connections, maxWaiting }, clock);
  const partitions = new Partitions(limits);
  let base: number;
  try {
    base = await pool.with(async (first) => {
      await migrate(first, schema);
      await partitions.refresh(first);
      for (const warning of await settingsAgainstL1(first)) options.warn?.(warning);
      return numberingBase(first);
    });
  } catch (error) {
    pool.close();
    throw error instanceof TypeError ? error : unavailable(error);
  }
  const database = new PostgresDatabase(pool, limits, partitions, base, options.now);
  return openHandle(database, new TailReader(pool, base), pool, partitions, limits, clock, {
    maxWaiting,
    maxWaitingBytes: options.maxWaitingBytes ?? 128 * 1024 * 1024,
    inFlight: options.commitsInFlight ?? 3,
  });
}

/** Removes all that servers have kept there. Rejects with StoreUnavailable. */
export async function removePostgres(url: string, schema: string): Promise<void> {
  if (!isSchemaName(schema)) throw new TypeError("schema: lower case letters, digits and _");
  const options = {
    url,
    schema,
    ca: undefined,
    connectTimeoutMs: 3_000,
    statementTimeoutMs: 60_000,
    answerTimeoutMs: 60_000,
  };
  const link = await Link.connect(options, systemClock, () => undefined);
  try {
    await link.one(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  } catch (error) {
    throw unavailable(error);
  } finally {
    link.close();
  }
}

interface HandleLimits {
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
  readonly inFlight: number;
}

function openHandle(
  database: PostgresDatabase,
  tails: TailReader,
  pool: Pool,
  partitions: Partitions,
  limits: StoreLimits,
  clock: Clock,
  { inFlight, ...bounds }: HandleLimits,
): PostgresStore {
  const batch = Math.max(1, Math.floor(ROWS_PER_TRANSACTION / limits.durableDevicesPerUser));
  const writes = new BatchQueue<UserCall, unknown>(
    clock,
    { ...bounds, batch, inFlight, worthwhile: 32 },
    (calls) => database.write(calls),
  );
  const rowQueue = (
    change: (rows: readonly RowRef[]) => Promise<void>,
  ): BatchQueue<readonly RowRef[], void> =>
    new BatchQueue(
      clock,
      { ...bounds, batch: SETTLED_AT_ONCE, inFlight: 1, worthwhile: 1 },
      async (calls) => {
        await change(calls.flat());
        return calls.map(() => ({ value: undefined }));
      },
    );
  const settled = rowQueue((rows) => database.settle(rows));
  const sent = rowQueue((rows) => database.markSent(rows));

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= end());
  const end = async (): Promise<void> => {
    await Promise.all([writes.idle(), settled.idle(), sent.idle()]);
    pool.close();
  };

  /** What PostgreSQL could not keep as it is rejects its own call. */
  const ask = async <Result>(given: unknown, run: () => Promise<Result>): Promise<Result> => {
    if (closing !== undefined) throw new StoreUnavailable("the store is closed");
    checkTexts(given);
    return run();
  };
  const write = <Result>(call: UserCall, count = 1, bytes = 0): Promise<Result> =>
    ask(call.args, () => writes.add(call, count, bytes) as Promise<Result>);

  const holdPart = (requests: readonly HoldRequest[]): Promise<readonly HoldResult[]> => {
    const part = requests.map(withCleanPreview);
    const bytes = part.reduce((sum, { body }) => sum + body.length, 0);
    return write({ operation: "hold", args: [part] }, Math.max(1, part.length), bytes);
  };
  /** Each part is safe to repeat. */
  const hold = async (requests: readonly HoldRequest[]): Promise<readonly HoldResult[]> => {
    for (const request of requests) checkRequest(request);
    return holdInParts(requests, batch, holdPart);
  };

  return {
    messages: {
      hold,
      pending: (user, device, limit) =>
        ask([user, device], () => database.pending(user, device, limit)),
      settle: (rows) => ask(undefined, () => settled.add(rows, rows.length, 0)),
      markSent: (rows) => ask(undefined, () => sent.add(rows, rows.length, 0)),
      tail: (since, limit) => ask(undefined, () => tails.read(since, limit)),
      expire: (before) => ask(undefined, () => expire(pool, partitions, before)),
      close,
    },
    devices: {
      arrive: (arrival) =>
        arrival.durable
          ? write({ operation: "arrive", args: [arrival] })
          : ask([arrival.user, arrival.device], () => database.lookAt(arrival)),
      register: (...args) => write({ operation: "register", args }),
      unregister: (...args) => write({ operation: "unregister", args }),
      forget: (...args) => write({ operation: "forget", args }),
      devices: (user) => ask(user, () => database.devices(user)),
      sets: (users) => ask(users, () => database.sets(users)),
      retire: (now) =>
        ask(undefined, async () => {
          const all: DurableSet[] = [];
          for (let after: string | undefined = ""; after !== undefined;) {
            const slice = await database.retire(now, after);
            all.push(...slice.changed);
            after = slice.next;
          }
          return all;
        }),
    },
    wakes: {
      claim: (owner, leaseMs, limit, except = []) =>
        ask([owner, except], () => database.claim(owner, leaseMs, limit, except)),
      done: (...args) => write({ operation: "done", args }),
      clear: (...args) => write({ operation: "clear", args }),
      leave: (...args) => write({ operation: "leave", args }),
      end: (...args) => write({ operation: "end", args }),
      nextDue: () => ask(undefined, () => database.nextDue()),
      quiet: (...args) => write({ operation: "quiet", args }),
      mutes: (user) => ask(user, () => database.mutes(user)),
    },
    associates: {
      strengthen: (changes) =>
        ask(changes, () =>
          strengthenInParts(changes, CHANGES_AT_ONCE, (part) => database.strengthen(part)),
        ),
      circle: (user, k, now) => ask(user, () => database.circle(user, k, now)),
      fade: (after, now) => ask(after, () => database.fade(after, now)),
      erase: (user) => ask(user, () => database.erase(user)),
    },
    get batches() {
      return writes.batches;
    },
    close,
  };
}

async function expire(pool: Pool, partitions: Partitions, before: Millis): Promise<number> {
  try {
    return await pool.with((link) => partitions.expire(link, before));
  } catch (error) {
    throw unavailable(error);
  }
}

/** @throws {TypeError} PostgreSQL's text has no NUL, and UTF-8 no half of a surrogate pair. */
function checkTexts(given: unknown): void {
  if (typeof given === "string") {
    if (isClean(given)) return;
    throw new TypeError("a text that the database cannot keep");
  }
  if (typeof given !== "object" || given === null || ArrayBuffer.isView(given)) return;
  for (const value of Object.values(given)) checkTexts(value);
}

/** In a pattern with `u` a half of a pair is one that stands alone. */
function isClean(text: string): boolean {
  return !text.includes("\0") && !/\p{Surrogate}/u.test(text);
}

/** A preview is the sender's own text: what cannot be kept of it is shown as U+FFFD, and keeps no message from being held. */
function withCleanPreview(request: HoldRequest): HoldRequest {
  const { preview } = request.wake;
  if (isClean(preview)) return request;
  const clean = preview.replaceAll("\0", "\uFFFD").replaceAll(/\p{Surrogate}/gu, "\uFFFD");
  return { ...request, wake: { ...request.wake, preview: clean } };
}
