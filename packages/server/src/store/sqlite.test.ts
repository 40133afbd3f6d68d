import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import { copyFileSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "../lib/clock.ts";
import { tellConformance } from "../lib/test-support/conformance.ts";
import { openSqlite } from "./sqlite.ts";
import type { SqliteOptions, SqliteStore } from "./sqlite.ts";
import { RETIRE_SLICE } from "./sqlite-devices.ts";
import { EXPIRE_SLICE } from "./sqlite-messages.ts";
import { SqliteThread, startSqliteWorker } from "./sqlite-thread.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { Store } from "./store.ts";
import { storeSuite } from "./store.suite.ts";
import { openSqliteHarness, steppedClock, temporaryFolder } from "./test-support/harness.ts";
import { DAY, START, arrival, held, newId, request } from "./test-support/requests.ts";

const ALL = 100_000;

/** For what starts processes, on a machine that has other work. */
const LONG_MS = 60_000;

describe("handles that share a thread", () => {
  tellConformance("SQLite", storeSuite(test, openSqliteHarness));
});

describe("handles with a thread each", () => {
  storeSuite(test, (limits) => openSqliteHarness(limits, { shareThread: false }));
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function newPath(): string {
  const folder = temporaryFolder();
  cleanups.push(() => folder.remove());
  return join(folder.path, "beckon.db");
}

async function open(path: string, options: SqliteOptions = {}): Promise<SqliteStore> {
  const store = await openSqlite(path, DEFAULT_STORE_LIMITS, options);
  cleanups.push(() => store.close());
  return store;
}

const hold = async (store: Store, ...[wanted]: Parameters<typeof request>) =>
  held((await store.messages.hold([request(wanted)]))[0]);

async function heldNumbers(store: Store): Promise<number[]> {
  const rows = await store.messages.pending("bob", "phone", ALL);
  return rows.map(({ body }) => new DataView(body.slice().buffer).getUint32(0));
}

/** A lock on the file, as another process has it while it writes. The answer gives it back. */
function lock(path: string): () => void {
  const other = new Database(path);
  other.run("BEGIN IMMEDIATE");
  cleanups.push(() => other.close());
  return () => other.run("COMMIT");
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (error) {
    return error instanceof StoreUnavailable ? error.message : String(error);
  }
}

test("what waits while a commit is under way shares the next one", async () => {
  const store = await open(newPath());
  await store.devices.arrive(arrival("bob", "phone"));
  const before = store.stats;
  const results = await Promise.all(Array.from({ length: 200 }, () => hold(store)));
  expect(results.every(({ rows }) => rows.length === 1)).toBe(true);
  expect(store.stats.calls - before.calls).toBe(200);
  expect(store.stats.batches - before.batches).toBeLessThanOrEqual(2);
  expect(await store.messages.pending("bob", "phone", ALL)).toHaveLength(200);
});

test("the event loop goes on while a commit waits", async () => {
  const path = newPath();
  const store = await open(path);
  await store.devices.arrive(arrival("bob", "phone"));
  const release = lock(path);
  const isOver = { value: false };
  const holding = hold(store).finally(() => (isOver.value = true));
  for (let turns = 0; turns < 100; turns++) await turn();
  expect(isOver.value).toBe(false);
  release();
  expect((await holding).rows).toHaveLength(1);
});

test("what another process has locked is unavailable, and then is not", async () => {
  const path = newPath();
  const store = await open(path, { busyTimeoutMs: 1 });
  await store.devices.arrive(arrival("bob", "phone"));
  const release = lock(path);
  expect(await outcomeOf(hold(store))).toContain("SQLITE_BUSY");
  // Reading needs no lock.
  expect(await store.messages.pending("bob", "phone", ALL)).toEqual([]);
  release();
  expect((await hold(store)).rows).toHaveLength(1);
});

test("L10: what is over the bound of the queue is refused at once", async () => {
  const path = newPath();
  const store = await open(path, { maxWaiting: 10, maxWaitingBytes: 1_000 });
  await store.devices.arrive(arrival("bob", "phone"));
  const release = lock(path);
  const first = hold(store);
  await turn();
  await turn();
  const waiting = Array.from({ length: 10 }, () => hold(store));
  expect(store.stats).toMatchObject({ waiting: 10, waitingBytes: 30 });
  expect(await outcomeOf(hold(store))).toBe("10 calls wait for the database");
  expect(await outcomeOf(store.devices.devices("bob"))).toBe("10 calls wait for the database");
  release();
  await Promise.all([first, ...waiting]);
  expect(store.stats).toMatchObject({ waiting: 0, waitingBytes: 0 });
  const large = Array.from({ length: 2 }, () => hold(store, { body: new Uint8Array(999) }));
  expect(await outcomeOf(large[1]!)).toBe("1000 bytes wait for the database");
  await large[0];
  expect(await store.messages.pending("bob", "phone", ALL)).toHaveLength(12);
});

test("a database that does not answer in time is unavailable until it does", async () => {
  const path = newPath();
  let expire = (): void => undefined;
  const clock: SqliteOptions["clock"] = {
    ...systemClock,
    after: (_ms, task) => {
      expire = task;
      return () => undefined;
    },
  };
  const store = await open(path, { clock, busyTimeoutMs: 60_000 });
  await store.devices.arrive(arrival("bob", "phone"));
  const release = lock(path);
  const first = outcomeOf(hold(store));
  await turn();
  await turn();
  const second = outcomeOf(hold(store));
  expire();
  expect(await first).toBe("the database does not answer");
  expect(await second).toBe("the database does not answer");
  expect(await outcomeOf(hold(store))).toBe("the database does not answer");
  release();
  const deadline = Date.now() + 5_000;
  while ((await outcomeOf(hold(store))) !== "done") {
    if (Date.now() > deadline) throw new Error("did not recover");
    await turn();
  }
  // The first has happened after all: each is safe to repeat.
  expect(await store.messages.pending("bob", "phone", ALL)).toHaveLength(2);
});

test("L8: on a full disk holds are unavailable, what was acknowledged stays, room helps", async () => {
  const path = newPath();
  const store = await open(path, { maxBytes: 300_000 });
  await store.devices.arrive(arrival("bob", "phone"));
  const body = new Uint8Array(5_000);
  const kept = [];
  let refusal = "";
  while (refusal === "") {
    try {
      kept.push((await hold(store, { n: kept.length, body })).rows[0]!.row);
    } catch (error) {
      expect(error).toBeInstanceOf(StoreUnavailable);
      refusal = (error as Error).message;
    }
  }
  expect(refusal).toContain("SQLITE_FULL");
  expect(kept.length).toBeGreaterThan(20);
  const rows = await store.messages.pending("bob", "phone", ALL);
  expect(rows.map(({ row }) => row)).toEqual(kept);
  expect(await outcomeOf(hold(store, { body }))).toContain("SQLITE_FULL");
  await store.messages.settle(kept.slice(0, 5));
  expect((await hold(store, { body })).rows).toHaveLength(1);
});

test("L8: a disk that becomes full refuses what finds no place in the file, until there is room", async () => {
  const store = await open(newPath());
  await store.devices.arrive(arrival("bob", "phone"));
  const { rows } = await hold(store, { n: 0 });
  store.bound(1);
  let refusal = "";
  let n = 1;
  for (; refusal === "" && n < 1_000; n++) {
    const outcome = await outcomeOf(hold(store, { n, body: new Uint8Array(2_000) }));
    if (outcome !== "done") refusal = outcome;
  }
  expect(refusal).toContain("SQLITE_FULL");
  expect(n).toBeLessThan(100);
  expect((await store.messages.pending("bob", "phone", ALL))[0]!.row).toBe(rows[0]!.row);
  store.bound(0);
  expect((await hold(store, { n, body: new Uint8Array(20_000) })).rows).toHaveLength(1);
});

test("what is in the file is there after a restart, the order of commits included", async () => {
  const path = newPath();
  const first = await open(path);
  await first.devices.arrive(arrival("bob", "phone"));
  const { rows } = await hold(first);
  const { now } = await first.messages.tail(Infinity, 1);
  await first.close();
  const second = await open(path);
  expect(await second.messages.pending("bob", "phone", ALL)).toMatchObject([{ row: rows[0]!.row }]);
  const later = await hold(second, { user: "carol" });
  expect(Number(later.rows[0]!.row)).toBeGreaterThan(Number(rows[0]!.row));
  const { devices } = await second.messages.tail(now, ALL);
  expect(devices).toEqual([{ user: "carol", device: "" }]);
});

test("a file of before there were ties is brought up to date, with all that is in it", async () => {
  const path = newPath();
  const first = await open(path);
  await first.devices.arrive(arrival("bob", "phone"));
  const { rows } = await hold(first);
  await first.close();
  const file = new Database(path);
  file.run("DROP TABLE tie");
  file.run("PRAGMA user_version = 4");
  file.close();
  const second = await open(path);
  expect(await second.messages.pending("bob", "phone", ALL)).toMatchObject([{ row: rows[0]!.row }]);
  const change = { a: "ann", b: "bob", long: 1, short: 1, at: START };
  await second.associates.strengthen([change]);
  expect(await second.associates.circle("bob", 9, START)).toMatchObject([{ peer: "ann" }]);
});

test("tail, expire and retire go on to the end, slice by slice", async () => {
  const limits = { ...DEFAULT_STORE_LIMITS, heldPerDevice: EXPIRE_SLICE * 2 };
  const clock = steppedClock();
  const store = await openSqlite(newPath(), limits, { clock });
  cleanups.push(() => store.close());
  await store.messages.hold(Array.from({ length: EXPIRE_SLICE + 10 }, () => request()));
  await store.messages.hold([request({ user: "carol", id: newId(START + DAY) })]);
  const { devices, now } = await store.messages.tail(0, 1);
  expect(devices).toEqual([{ user: "bob", device: "" }]);
  expect((await store.messages.tail(now, 1)).devices).toEqual([{ user: "carol", device: "" }]);
  expect(await store.messages.expire(START + DAY)).toBe(EXPIRE_SLICE + 10);
  const users = Array.from({ length: RETIRE_SLICE + 10 }, (_, at) => `u${at}`);
  await Promise.all(users.map((user) => store.devices.arrive(arrival(user, "phone"))));
  clock.advance(30 * DAY);
  const changed = await store.devices.retire(clock.now());
  expect(changed.map(({ user }) => user).toSorted()).toEqual(users.toSorted());
});

describe("a file that cannot be used is refused, and says why", () => {
  test.each([
    ["no database", (path: string) => writeFileSync(path, "no database ".repeat(1_000)), "NOTADB"],
    [
      "another application's",
      (path: string) => new Database(path).run("CREATE TABLE t (a)"),
      "the file is not one of Beckon's",
    ],
    [
      "a newer server's",
      (path: string) => {
        const file = new Database(path);
        file.run("PRAGMA application_id = 0x42636b6e");
        file.run("PRAGMA user_version = 99");
      },
      "its schema has version 99, this server knows ",
    ],
    ["nowhere", () => undefined, "ENOENT"],
  ])("%s", async (name, prepare, reason) => {
    const path = name === "nowhere" ? join(newPath(), "deeper", "beckon.db") : newPath();
    prepare(path);
    const opening = openSqlite(path);
    expect(await outcomeOf(opening)).toContain(reason);
    await expect(opening).rejects.toBeInstanceOf(StoreUnavailable);
  });
});

test("a damaged file is unavailable, and is used again once it is repaired", async () => {
  const path = newPath();
  const first = await open(path);
  await first.devices.arrive(arrival("bob", "phone"));
  for (let n = 1; n <= 50; n++) await hold(first, { n });
  await first.close();
  copyFileSync(path, `${path}.good`);
  const file = openSync(path, "r+");
  writeSync(file, new Uint8Array(100_000).fill(0xff), 0, 100_000 - 4_096, 4_096);
  const second = await open(path);
  expect(await outcomeOf(hold(second))).toContain("SQLITE_CORRUPT");
  copyFileSync(`${path}.good`, path);
  expect((await hold(second)).rows).toHaveLength(1);
});

test("after its thread has failed the database is opened by another", async () => {
  const path = newPath();
  const failing = `onmessage = ({ data }) => {
    if (data.kind === "open") postMessage({ kind: "opened", error: "" });
    else throw new Error("on purpose");
  }`;
  let starts = 0;
  const startWorker = (): Worker =>
    starts++ === 0
      ? new Worker(URL.createObjectURL(new Blob([failing], { type: "text/javascript" })))
      : startSqliteWorker();
  const limits = { maxWaiting: 100, maxWaitingBytes: 1_000, answerTimeoutMs: 10_000 };
  const file = { path, limits: DEFAULT_STORE_LIMITS, busyTimeoutMs: 100, maxBytes: 0 };
  const thread = new SqliteThread(systemClock, limits, { kind: "open", ...file }, startWorker);
  cleanups.push(() => thread.close());
  await thread.opened;
  const sets = (): Promise<unknown> => thread.call({ operation: "sets", now: 0, args: [["bob"]] });
  expect(await outcomeOf(sets())).toBe("the database's thread has failed");
  expect(await sets()).toEqual([{ user: "bob", setVersion: 0, setSize: 0 }]);
  expect(starts).toBe(2);
});

describe("other processes", () => {
  const script = new URL("./test-support/holder-process.ts", import.meta.url).pathname;

  /** A process that holds messages for Bob's phone, and says the number of each when it is acknowledged. */
  function startHolder(path: string, first: number, count: number) {
    const child = Bun.spawn([process.execPath, script, path, String(first), String(count)], {
      stdout: "pipe",
      stderr: "inherit",
    });
    cleanups.push(() => child.kill("SIGKILL"));
    return child;
  }

  async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
  }

  test(
    "L1: nothing that was acknowledged is lost when the process is killed",
    async () => {
      const path = newPath();
      const before = await open(path);
      await before.devices.arrive(arrival("bob", "phone"));
      await before.close();
      const acknowledged: number[] = [];
      for (const first of [0, 1_000_000]) {
        const child = startHolder(path, first, 1_000_000);
        let count = 0;
        for await (const line of linesOf(child.stdout)) {
          acknowledged.push(Number(line));
          // In the middle of the stream; what it still says comes out of the pipe.
          if (++count === 500) child.kill("SIGKILL");
        }
        await child.exited;
        expect(child.signalCode).toBe("SIGKILL");
      }
      const after = await open(path);
      const rows = new Set(await heldNumbers(after));
      expect(acknowledged.length).toBeGreaterThanOrEqual(1_000);
      expect(acknowledged.filter((number) => !rows.has(number))).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "two processes hold into one file, and each sees what the other has done",
    async () => {
      const path = newPath();
      const store = await open(path);
      await store.devices.arrive(arrival("bob", "phone"));
      const { now: start } = await store.messages.tail(Infinity, 1);
      const child = startHolder(path, 1_000, 300);
      const lines = linesOf(child.stdout);
      await lines.next();
      const own = Array.from({ length: 300 }, (_, at) => at);
      for (const number of own) await hold(store, { body: numbered(number) });
      for await (const _ of lines);
      expect(await child.exited).toBe(0);
      const both = [...own, ...own.map((number) => number + 1_000)];
      expect((await heldNumbers(store)).toSorted((a, b) => a - b)).toEqual(both);
      // The child has registered a device at its end.
      const next = await hold(store, { body: numbered(5_000) });
      expect(next.rows.map(({ device }) => device).toSorted()).toEqual(["laptop", "phone"]);
      const { devices } = await store.messages.tail(start, ALL);
      expect(devices).toContainEqual({ user: "bob", device: "laptop" });
    },
    LONG_MS,
  );

  function numbered(number: number): Uint8Array {
    const body = new Uint8Array(4);
    new DataView(body.buffer).setUint32(0, number);
    return body;
  }
});
