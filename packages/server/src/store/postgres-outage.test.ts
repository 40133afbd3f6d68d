/** PostgreSQL as it is: transactions that are open, days that end, and a server that goes away and comes back. */
import { SQL } from "bun";
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";

import { systemClock } from "../lib/clock.ts";
import { Link } from "./postgres-link.ts";
import { openPostgres } from "./postgres.ts";
import type { PostgresOptions, PostgresStore } from "./postgres.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { Store } from "./store.ts";
import { postgresTest, startPostgres } from "./test-support/postgres.ts";
import type { PostgresProcess } from "./test-support/postgres.ts";
import { DAY, START, arrival, held, newId, request } from "./test-support/requests.ts";

setDefaultTimeout(60_000);

const ALL = 100_000;

let postgres: PostgresProcess;
if (postgresTest === test) {
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.remove());
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let schemas = 0;

async function open(options: PostgresOptions = {}, url = postgres.url): Promise<PostgresStore> {
  const schema = `o${++schemas}`;
  const store = await openPostgres(url, DEFAULT_STORE_LIMITS, { schema, ...options });
  cleanups.push(() => store.close());
  return store;
}

/** A connection that is nobody's store. */
async function connect(schema: string): Promise<SQL> {
  const sql = new SQL(postgres.url, { max: 1 });
  cleanups.push(() => sql.close({ timeout: 0 }));
  await sql.unsafe(`SET search_path TO ${schema}`);
  return sql;
}

const hold = async (store: Store, ...[wanted]: Parameters<typeof request>) =>
  held((await store.messages.hold([request(wanted)]))[0]);

async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (error) {
    return error instanceof StoreUnavailable ? "unavailable" : String(error);
  }
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** As a server does it: the same again until it is done. */
async function holdAtLast(store: Store): Promise<void> {
  const message = request();
  const attempt = async (): Promise<boolean> =>
    (await outcomeOf(store.messages.hold([message]))) === "done";
  await until(attempt, "the database");
}

const recovered = (store: Store): Promise<void> =>
  until(async () => (await outcomeOf(store.devices.sets(["bob"]))) === "done", "the database");

postgresTest("calls of one turn share a commit", async () => {
  const store = await open();
  await store.devices.arrive(arrival("bob", "phone"));
  const before = store.batches;
  const results = await Promise.all(Array.from({ length: 200 }, () => hold(store)));
  expect(results.every(({ rows }) => rows.length === 1)).toBe(true);
  expect(store.batches - before).toBe(1);
});

postgresTest("servers that start at once bring the schema up to date once", async () => {
  const schema = "together";
  const stores = await Promise.all(Array.from({ length: 4 }, () => open({ schema })));
  await hold(stores[0]!);
  for (const store of stores) {
    expect(await store.messages.pending("bob", "tab", ALL)).toHaveLength(1);
  }
  const sql = await connect(schema);
  await sql.unsafe("INSERT INTO migration VALUES (1000)");
  expect(await outcomeOf(open({ schema }))).toBe("unavailable");
});

postgresTest(
  "tables of before there were ties are brought up to date, with all that is in them",
  async () => {
    const schema = "untied";
    const first = await open({ schema });
    const { rows } = await hold(first);
    await first.close();
    const sql = await connect(schema);
    await sql.unsafe("DROP TABLE tie");
    await sql.unsafe("DELETE FROM migration WHERE version > 4");
    const second = await open({ schema });
    const pending = await second.messages.pending("bob", "tab", ALL);
    expect(pending.map(({ row }) => row)).toEqual(rows.map(({ row }) => row));
    await second.associates.strengthen([{ a: "ann", b: "bob", long: 1, short: 1, at: START }]);
    expect(await second.associates.circle("bob", 9, START)).toMatchObject([{ peer: "ann" }]);
  },
);

postgresTest(
  "servers that strengthen the same ties at once lose none, and none waits for ever",
  async () => {
    const schema = "ties";
    const stores = await Promise.all([open({ schema }), open({ schema }), open({ schema })]);
    const users = Array.from({ length: 40 }, (_, at) => `u${at}`);
    const pairs = users.flatMap((a) => users.filter((b) => a < b).map((b) => ({ a, b })));
    const sums = { long: 1, short: 1, at: START };
    const rounds = 6;
    for (let round = 0; round < rounds; round++) {
      // Each in an order of its own.
      const changes = pairs.map((pair) => ({ ...pair, ...sums }));
      await Promise.all(
        stores.map((store, at) => {
          const turned = [...changes.slice(at * 200), ...changes.slice(0, at * 200)];
          return store.associates.strengthen(at === 1 ? turned.toReversed() : turned);
        }),
      );
    }
    const circle = await stores[0].associates.circle("u7", 64, START);
    expect(circle.map(({ long }) => long)).toEqual(users.slice(1).map(() => 3 * rounds));
  },
);

postgresTest("a text that PostgreSQL cannot keep fails its own call alone", async () => {
  const store = await open();
  const results = await Promise.all([
    outcomeOf(hold(store)),
    outcomeOf(hold(store, { from: "a\0b" })),
    outcomeOf(hold(store, { preview: "a\0b\uD800" })),
    outcomeOf(store.devices.arrive(arrival("\uD800", "phone"))),
  ]);
  const refused = "TypeError: a text that the database cannot keep";
  expect(results).toEqual(["done", refused, "done", refused]);
  expect(await store.messages.pending("bob", "tab", ALL)).toHaveLength(2);
});

postgresTest("L4: tail passes no transaction over that was open while it read", async () => {
  const schema = "tail";
  const store = await open({ schema });
  await store.devices.arrive(arrival("bob", "phone"));
  await store.devices.arrive(arrival("carol", "phone"));
  const { now: start } = await store.messages.tail(Infinity, ALL);

  // One that has its number, and is not committed: as a server that is about to.
  const other = await connect(schema);
  await other.unsafe("BEGIN");
  await other.unsafe(
    `INSERT INTO held SELECT 0, pg_current_xact_id()::text::bigint * 4096, 'carol', 'phone', 1, 0, 1, false, '\\x${"0".repeat(32)}',
     'x', 'x', 'x', '\\x00'`,
  );

  // Those that come later commit earlier, so many that they are read in pages.
  for (let user = 0; user < 5; user++) await hold(store, { user: `u${user}` });
  const first = await store.messages.tail(start, 2);
  const second = await store.messages.tail(first.now, 2);
  const seen = [...first.devices, ...second.devices].map(({ user }) => user);
  expect(seen.toSorted()).toEqual(["u0", "u1", "u2", "u3"]);
  // Between two pages, and behind both of them.
  await other.unsafe("COMMIT");
  const third = await store.messages.tail(second.now, 2);
  expect(third.devices.map(({ user }) => user)).toEqual(["u4"]);
  const found = await store.messages.tail(third.now, ALL);
  expect(found.devices.map(({ user }) => user)).toContain("carol");
  // Nothing is open any more: it comes to rest.
  expect((await store.messages.tail(found.now, ALL)).devices).toEqual([]);
});

postgresTest("a message is in the partition of its day, and goes with it", async () => {
  const schema = "days";
  let now = START;
  const store = await open({ schema, now: () => now });
  const sql = await connect(schema);
  const tables = async (): Promise<string[]> => {
    const rows = await sql.unsafe(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'held'::regclass ORDER BY 1",
    );
    return (rows as { name: string }[]).map(({ name }) => name);
  };
  const today = Math.floor(START / DAY);
  await store.devices.arrive(arrival("bob", "phone"));
  const yesterday = { id: newId(START - DAY), n: 1 };
  await hold(store, yesterday);
  await hold(store, { n: 2 });
  await hold(store, { n: 3, id: newId(START - 400 * DAY) });
  await hold(store, { n: 4, id: newId(START + 400 * DAY) });
  expect(await tables()).toEqual(["held_0", `held_${today - 1}`, `held_${today}`]);

  // A repeat after midnight finds its row.
  now += DAY;
  expect((await hold(store, yesterday)).rows).toMatchObject([{ isNew: false }]);

  const { row } = (await store.messages.pending("bob", "phone", ALL))[0]!;
  expect(await store.messages.expire(today * DAY)).toBe(2);
  expect(await tables()).toEqual(["held_0", `held_${today}`]);
  await store.messages.settle([row]);
  const left = await store.messages.pending("bob", "phone", ALL);
  expect(left).toHaveLength(2);
  const back = await store.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
  expect(back).toMatchObject({ recovered: false, held: 2 });

  // Its partition is made anew for a message of that day.
  await hold(store, yesterday);
  expect(await store.messages.pending("bob", "phone", ALL)).toHaveLength(3);
});

postgresTest(
  "what was left by a crash in the middle of expiry is finished by the next",
  async () => {
    const schema = "crashed";
    const store = await open({ schema, now: () => START });
    await store.devices.arrive(arrival("bob", "phone"));
    await hold(store, { id: newId(START - DAY) });
    const day = Math.floor(START / DAY) - 1;
    const sql = await connect(schema);
    await sql.unsafe(`ALTER TABLE held DETACH PARTITION held_${day}`);
    await sql.unsafe(`ALTER TABLE held_${day} RENAME TO expired_${day}_1`);
    await store.messages.expire(START - 2 * DAY);
    const left = await sql.unsafe("SELECT to_regclass($1) IS NULL AS gone", [`expired_${day}_1`]);
    expect(left[0]).toEqual({ gone: true });
    const back = await store.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    expect(back.held).toBe(0);
  },
);

postgresTest("a user who is swept while a hold waits for the lock is made again", async () => {
  const schema = "swept";
  const store = await open({ schema });
  const first = await hold(store);
  await store.messages.settle(first.rows.map(({ row }) => row));
  const sql = await connect(schema);
  await sql.unsafe("BEGIN");
  await sql.unsafe("DELETE FROM holder");
  const holding = hold(store);
  const watcher = await connect(schema);
  await until(async () => {
    const rows = await watcher.unsafe("SELECT 1 FROM pg_locks WHERE NOT granted");
    return rows.length > 0;
  }, "the hold to wait");
  await sql.unsafe("COMMIT");
  expect((await holding).rows).toHaveLength(1);
});

postgresTest(
  "what was restored from another cluster keeps its rows apart from new ones",
  async () => {
    const schema = "restored";
    const store = await open({ schema });
    await hold(store, { n: 0, body: new Uint8Array([1]) });
    await store.close();
    // As its transactions were numbered there.
    const sql = await connect(schema);
    await sql.unsafe("UPDATE held SET seq = seq + 4096::bigint * 1000000000");
    const again = await open({ schema });
    await hold(again, { n: 0, body: new Uint8Array([2]) });
    const rows = await again.messages.pending("bob", "tab", ALL);
    expect(rows.map(({ body }) => body[0])).toEqual([1, 2]);
    const { now } = await again.messages.tail(0, ALL);
    expect((await again.messages.tail(now, ALL)).devices).toEqual([]);
  },
);

postgresTest("a connection that is ended is replaced", async () => {
  const schema = "ended";
  const store = await open({ schema });
  await hold(store);
  const sql = await connect(schema);
  await sql.unsafe(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'beckon'",
  );
  await holdAtLast(store);
  expect(await store.messages.pending("bob", "tab", ALL)).toHaveLength(2);
});

postgresTest("L8: refused at once while PostgreSQL is away, and then it goes on", async () => {
  const store = await open();
  await store.devices.arrive(arrival("bob", "phone"));
  await postgres.stop("fast");
  await outcomeOf(hold(store));
  const all = await Promise.all(Array.from({ length: 50 }, () => outcomeOf(hold(store))));
  expect(new Set(all)).toEqual(new Set(["unavailable"]));
  expect(await outcomeOf(open())).toBe("unavailable");
  await postgres.start();
  await holdAtLast(store);
  expect(await store.messages.pending("bob", "phone", ALL)).toHaveLength(1);
});

postgresTest("L1: nothing that was acknowledged is lost by a crash under load", async () => {
  const store = await open({ connections: 6 });
  await store.devices.arrive(arrival("bob", "phone"));
  const acknowledged = new Set<number>();
  const state = { next: 0, isOver: false, crashes: 0 };
  const write = async (): Promise<void> => {
    while (!state.isOver) {
      const number = state.next++;
      const body = new Uint8Array(4);
      new DataView(body.buffer).setUint32(0, number);
      const message = request({ id: newId(Date.now()), n: number + 1, body });
      // Until the answer is known: each attempt is a repeat of the one before.
      for (;;) {
        if ((await outcomeOf(store.messages.hold([message]))) === "done") break;
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      acknowledged.add(number);
    }
  };
  const writing = Array.from({ length: 40 }, write);
  for (; state.crashes < 3; state.crashes++) {
    const goal = acknowledged.size + 400;
    await until(async () => acknowledged.size >= goal, "messages");
    await postgres.stop("immediate");
    await postgres.start();
  }
  await recovered(store);
  state.isOver = true;
  await Promise.all(writing);

  const rows = await store.messages.pending("bob", "phone", ALL);
  const numbers = rows.map(({ body }) => new DataView(body.slice().buffer).getUint32(0));
  expect(new Set(numbers).size).toBe(numbers.length);
  expect([...acknowledged].filter((number) => !numbers.includes(number))).toEqual([]);
  const back = await store.devices.arrive(arrival("bob", "phone"));
  expect(back.held).toBe(numbers.length);
});

postgresTest("L1: a commit whose answer is lost is safe to repeat", async () => {
  const link = await brokenLink();
  const schema = "unanswered";
  await open({ schema });
  const store = await open({ schema, connections: 1, answerTimeoutMs: 500 }, link.url);
  await store.devices.arrive(arrival("bob", "phone"));
  const attempt = { messages: 0, turn: 0 };
  await until(async () => {
    const message = request({ n: ++attempt.messages });
    // How many turns a hold takes is the driver's affair: one of them is the commit.
    for (let warm = 0; warm < 2; warm++) await hold(store, { n: ++attempt.messages });
    link.drop(++attempt.turn);
    const outcome = await outcomeOf(store.messages.hold([message]));
    link.drop("nothing");
    await recovered(store);
    const [again] = await store.messages.hold([message]);
    const wasCommitted = held(again).rows.every(({ isNew }) => !isNew);
    return outcome === "unavailable" && wasCommitted;
  }, "a commit that was not answered");
  const rows = await store.messages.pending("bob", "phone", ALL);
  expect(rows).toHaveLength(attempt.messages);
  const back = await store.devices.arrive(arrival("bob", "phone"));
  expect(back.held).toBe(attempt.messages);
});

postgresTest("L10: what is over the bound of the queue is refused at once", async () => {
  const schema = "bound";
  const limits = { maxWaiting: 10, maxWaitingBytes: 100, commitsInFlight: 1 };
  const store = await open({ schema, ...limits });
  await store.devices.arrive(arrival("bob", "phone"));
  const sql = await connect(schema);
  await sql.unsafe("BEGIN");
  await sql.unsafe("SELECT 1 FROM holder FOR UPDATE");
  const first = hold(store);
  const waits = async (): Promise<boolean> =>
    (await sql.unsafe("SELECT 1 FROM pg_locks WHERE NOT granted")).length > 0;
  await until(waits, "the hold to wait");
  const waiting = Array.from({ length: 10 }, () => hold(store));
  expect(await outcomeOf(hold(store))).toBe("unavailable");
  expect(await outcomeOf(store.devices.forget("bob", "phone"))).toBe("unavailable");
  await sql.unsafe("COMMIT");
  await Promise.all([first, ...waiting]);
  const large = Array.from({ length: 2 }, () =>
    outcomeOf(hold(store, { body: new Uint8Array(99) })),
  );
  expect(await Promise.all(large)).toEqual(["done", "unavailable"]);
});

postgresTest("a link that drops what it is given is unavailable after the time-out", async () => {
  const link = await brokenLink();
  const schema = "silent";
  await open({ schema });
  const options = { schema, answerTimeoutMs: 500, connectTimeoutMs: 1_000 };
  const store = await open(options, link.url);
  await hold(store);
  link.drop("everything");
  expect(await outcomeOf(hold(store))).toBe("unavailable");
  expect(await outcomeOf(hold(store))).toBe("unavailable");
  link.drop("nothing");
  await holdAtLast(store);
  expect(await store.messages.pending("bob", "tab", ALL)).toHaveLength(2);
});

postgresTest(
  "a statement that waits for too long is unavailable, and the next is not",
  async () => {
    const schema = "stuck";
    // The tables are made without haste.
    await open({ schema });
    const store = await open({ schema, statementTimeoutMs: 1_500, answerTimeoutMs: 10_000 });
    await store.devices.arrive(arrival("bob", "phone"));
    const sql = await connect(schema);
    await sql.unsafe("BEGIN");
    await sql.unsafe("SELECT 1 FROM holder FOR UPDATE");
    expect(await outcomeOf(hold(store))).toBe("unavailable");
    // Reading needs no lock.
    expect(await store.messages.pending("bob", "phone", ALL)).toEqual([]);
    await sql.unsafe("COMMIT");
    expect((await hold(store)).rows).toHaveLength(1);
  },
);

postgresTest(
  "a server that stands still in a transaction holds up its users for a moment only",
  async () => {
    const schema = "paused";
    const store = await open({ schema });
    await store.devices.arrive(arrival("bob", "phone"));
    const times = { connectTimeoutMs: 3_000, statementTimeoutMs: 5_000, answerTimeoutMs: 10_000 };
    const paused = await Link.connect(
      { url: postgres.url, schema, ca: undefined, ...times },
      systemClock,
      () => undefined,
    );
    cleanups.push(() => paused.close());
    await paused.run([["BEGIN"], ["SELECT 1 FROM holder FOR UPDATE"]]);
    expect((await hold(store)).rows).toHaveLength(1);
    expect(await outcomeOf(paused.one("COMMIT"))).not.toBe("done");
  },
);

postgresTest("L1: settings that void it are told at the start", async () => {
  const warnings: string[] = [];
  await open({ warn: (message) => warnings.push(message) });
  expect(warnings).toEqual([]);
  await postgres.stop();
  await postgres.start({ fsync: "off", synchronous_commit: "off", full_page_writes: "off" });
  await open({ warn: (message) => warnings.push(message) });
  for (const name of ["fsync", "full_page_writes", "synchronous_commit"]) {
    expect(warnings.some((warning) => warning.includes(`${name} = off`))).toBe(true);
  }
  await postgres.stop();
  await postgres.start();
});

interface BrokenLink {
  readonly url: string;
  /** Both sides stay connected, and what is dropped never arrives. */
  drop(what: Dropped): void;
}

/** A number: the answers to what is asked in that turn from now on, and later. */
type Dropped = "nothing" | "everything" | number;

interface Side {
  other: { write(data: Uint8Array): number; end(): void } | undefined;
  waiting: Uint8Array[];
}

/** A wire between the store and PostgreSQL; what was dropped stays so. */
async function brokenLink(): Promise<BrokenLink> {
  let dropped: Dropped = "nothing";
  let turn = 0;
  let isAnswered = true;
  const isLost = (): boolean => typeof dropped === "number" && turn >= dropped;
  const server = Bun.listen<Side>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(client) {
        const side: Side = { other: undefined, waiting: [] };
        client.data = side;
        void Bun.connect({
          hostname: "127.0.0.1",
          port: postgres.port,
          socket: {
            open(socket) {
              side.other = socket;
              for (const data of side.waiting.splice(0)) socket.write(data);
            },
            data(_socket, data) {
              isAnswered = true;
              if (dropped !== "everything" && !isLost()) client.write(data);
            },
            close: () => void client.end(),
          },
        });
      },
      data({ data: side }, data) {
        if (dropped === "everything") return;
        if (isAnswered) turn++;
        isAnswered = false;
        if (side.other === undefined) side.waiting.push(data.slice());
        else side.other.write(data);
      },
      close({ data }) {
        data.other?.end();
      },
    },
  });
  cleanups.push(() => server.stop(true));
  return {
    url: `postgres://beckon@127.0.0.1:${server.port}/postgres`,
    drop: (what) => {
      dropped = what;
      turn = 0;
      isAnswered = true;
    },
  };
}
