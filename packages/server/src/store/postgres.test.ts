import { SQL } from "bun";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { tellConformance } from "../lib/test-support/conformance.ts";
import { DUE } from "./postgres-database.ts";
import { openPostgres } from "./postgres.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { Store, StoreLimits } from "./store.ts";
import { storeSuite } from "./store.suite.ts";
import type { StoreHarness } from "./store.suite.ts";
import { steppedClock } from "./test-support/harness.ts";
import { postgresTest, startPostgres } from "./test-support/postgres.ts";
import type { PostgresProcess } from "./test-support/postgres.ts";
import { DAY, arrival, newId, request } from "./test-support/requests.ts";

setDefaultTimeout(30_000);

let postgres: PostgresProcess;
if (postgresTest === test) {
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.remove());
}

let schemas = 0;

async function openHarness(limits: StoreLimits): Promise<StoreHarness> {
  const clock = steppedClock();
  const options = { schema: `s${++schemas}`, now: () => clock.now(), connections: 4 };
  const a = await openPostgres(postgres.url, limits, options);
  const b = await openPostgres(postgres.url, limits, options);
  return {
    a,
    b,
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    close: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

/** Numbers that look random and are the same each time. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % sides;
  };
}

/** Expiry waits for nobody: another time will do. */
const busy = (error: unknown): void => {
  if (!(error instanceof StoreUnavailable)) throw error;
};

postgresTest("handles that get in each other's way lose nothing, and count right", async () => {
  const schema = "crowd";
  const limits = { ...DEFAULT_STORE_LIMITS, durableDevicesPerUser: 3 };
  const stores = await Promise.all(
    [0, 1, 2].map(() => openPostgres(postgres.url, limits, { schema, connections: 5 })),
  );
  const users = ["u1", "u2", "u3", "u4"];
  const devices = ["d1", "d2", "d3", "d4"];
  const messages = Array.from({ length: 60 }, (_, at) =>
    request({ id: newId(Date.now() - (at % 3) * DAY), from: `u${(at % 4) + 1}`, n: at + 1 }),
  );
  const work = async (store: Store, seed: number): Promise<void> => {
    const roll = dice(seed);
    const one = <Item>(items: readonly Item[]): Item => items[roll(items.length)]!;
    for (let round = 0; round < 40; round++) {
      const [user, device] = [one(users), one(devices)];
      const rows = await store.messages.pending(user, device, 6);
      const refs = rows.map(({ row }) => row).toReversed();
      const copies = Array.from({ length: 4 }, () => ({ ...one(messages), user: one(users) }));
      await Promise.all([
        store.messages.hold(copies),
        roll(2) === 0 && store.messages.settle(refs.slice(0, 3)),
        roll(2) === 0 && store.messages.markSent(refs.slice(2)),
        roll(4) === 0 && store.devices.arrive(arrival(user, device)),
        roll(12) === 0 && store.devices.forget(user, one(devices)),
        roll(6) === 0 && store.wakes.claim(`s${seed}`, 1, 10),
        roll(20) === 0 && store.messages.expire(Date.now() - roll(3) * DAY).catch(busy),
        roll(20) === 0 && store.devices.retire(Date.now()),
        store.messages.tail(0, 100),
      ]);
    }
  };
  await Promise.all(
    stores.flatMap((store, at) => [0, 1, 2].map((lane) => work(store, 7 + at * 3 + lane))),
  );
  await Promise.all(stores.map((store) => store.close()));

  const sql = new SQL(postgres.url, { max: 1 });
  await sql.unsafe(`SET search_path TO ${schema}`);
  const wrong = await sql.unsafe(
    `SELECT account, device, holder.held, count(held.seq) FROM holder LEFT JOIN held USING (account, device)
     GROUP BY account, device, holder.held HAVING holder.held <> count(held.seq)`,
  );
  const twice = await sql.unsafe(
    "SELECT id FROM held GROUP BY id, sender, sender_device, account, device HAVING count(*) > 1",
  );
  const orphans = await sql.unsafe(
    "SELECT seq FROM held WHERE NOT EXISTS (SELECT 1 FROM holder WHERE holder.account = held.account AND holder.device = held.device)",
  );
  await sql.close();
  expect([...wrong]).toEqual([]);
  expect([...twice]).toEqual([]);
  expect([...orphans]).toEqual([]);
});

postgresTest("M7: what waits for its repeat is not read to find what is due", async () => {
  const schema = "due";
  const store = await openPostgres(postgres.url, DEFAULT_STORE_LIMITS, { schema });
  const sql = new SQL(postgres.url, { max: 1 });
  await sql.unsafe(`SET search_path TO ${schema}`);
  await sql.unsafe("SET enable_seqscan TO off");
  const plan = await sql.unsafe(`EXPLAIN ${DUE}`, [null, 10, "{}"]);
  await sql.close();
  await store.close();
  const steps = [...plan].map((row) => String(row["QUERY PLAN"]).trim());
  expect(steps).toContainEqual(expect.stringMatching(/^Index Cond: \(due <= /));
});

postgresTest(
  "tables of any size are brought up to date, and who starts meanwhile waits",
  async () => {
    const sql = new SQL(postgres.url, { max: 1 });
    // An index that takes longer than any statement of a server may.
    await sql.unsafe(`CREATE FUNCTION large() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_sleep(2.2) FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'large.holder_token';
  END $$`);
    await sql.unsafe("CREATE EVENT TRIGGER large ON ddl_command_end EXECUTE FUNCTION large()");
    try {
      const options = { schema: "large", statementTimeoutMs: 2_000, answerTimeoutMs: 2_000 };
      const open = () => openPostgres(postgres.url, DEFAULT_STORE_LIMITS, options);
      const stores = await Promise.all([open(), open()]);
      await Promise.all(stores.map((store) => store.close()));
    } finally {
      await sql.unsafe("DROP EVENT TRIGGER large");
      await sql.close();
    }
  },
);

describe("PostgreSQL keeps the laws of the store", () => {
  tellConformance("PostgreSQL", storeSuite(postgresTest, openHarness), postgresTest);
});
