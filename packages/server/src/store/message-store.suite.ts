import { expect } from "bun:test";

import { StoreUnavailable } from "./store.ts";
import type { HoldRequest, PendingRow, RowRef, Store, StorePosition } from "./store.ts";
import type { Law } from "./store.suite.ts";
import { DAY, SECOND, START, arrival, held, newId, request } from "./test-support/requests.ts";

/** As many as anything here asks for. */
const ALL = 1_000;

const hold = async (store: Store, ...requests: HoldRequest[]) =>
  (await store.messages.hold(requests)).map(held);

const devicesOf = ({ rows }: { rows: readonly { device: string }[] }): string[] =>
  rows.map(({ device }) => device).toSorted();

const bodies = (rows: readonly PendingRow[]): number[] => rows.map(({ body }) => body[0]!);

const body = (first: number): Uint8Array => new Uint8Array([first]);

async function rowsOf(store: Store, user: string, device: string): Promise<RowRef[]> {
  return (await store.messages.pending(user, device, ALL)).map(({ row }) => row);
}

/** Everything that `tail` tells from `since` on, page by page. */
async function readTail(
  store: Store,
  since: StorePosition,
  limit: number,
): Promise<{ names: Set<string>; now: StorePosition }> {
  const names = new Set<string>();
  for (let now = since; ;) {
    const page = await store.messages.tail(now, limit);
    expect(page.devices.length).toBeLessThanOrEqual(limit);
    for (const { user, device } of page.devices) names.add(`${user}/${device}`);
    now = page.now;
    if (page.devices.length < limit) return { names, now };
  }
}

export function messageStoreLaws(law: Law): void {
  law("L1: what one handle has held another gives back untouched", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const large = new Uint8Array(64 * 1024).map((_, at) => at % 251);
    const requests = [request({ n: 1, body: large }), request({ n: 2, body: new Uint8Array() })];
    const results = await hold(a, ...requests);
    const rows = await b.messages.pending("bob", "phone", ALL);
    expect(rows).toEqual(
      requests.map(({ key, body }, at) => ({
        row: results[at]!.rows[0]!.row,
        device: "phone",
        key,
        body,
        redelivered: false,
      })),
    );
  });

  law("a repeated hold adds nothing, and names the rows that are there", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const message = request();
    const [first] = await hold(a, message);
    const [again] = await hold(b, message);
    expect(first!.rows.map(({ isNew }) => isNew)).toEqual([true]);
    expect(again!.rows).toEqual(first!.rows.map((row) => ({ ...row, isNew: false })));
    expect(await rowsOf(a, "bob", "phone")).toHaveLength(1);
  });

  law("a repeat in the same call adds nothing", async ({ a }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const message = request();
    const [first, again] = await hold(a, message, message);
    expect(again!.rows).toEqual(first!.rows.map((row) => ({ ...row, isNew: false })));
  });

  law("a repeated hold adds rows for devices that had none", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const message = request();
    await hold(a, { ...message, exclude: ["laptop"] });
    const [again] = await hold(b, { ...message, exclude: ["phone"] });
    const isNew = again!.rows.map((row) => [row.device, row.isNew] as const);
    expect(new Map(isNew)).toEqual(
      new Map([
        ["phone", false],
        ["laptop", true],
      ]),
    );
  });

  law("the same id of another sender or device is another message", async ({ a }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const id = newId();
    const others = [{}, { from: "eve" }, { fromDevice: "laptop" }];
    await hold(a, ...others.map((other, at) => request({ id, digest: `digest ${at}`, ...other })));
    expect(await rowsOf(a, "bob", "phone")).toHaveLength(3);
  });

  law("the same key with another digest is a conflict and writes nothing", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const message = request();
    await hold(a, message);
    expect(await b.messages.hold([{ ...message, digest: "other" }])).toEqual([
      { outcome: "conflict" },
    ]);
    expect(await rowsOf(a, "bob", "phone")).toHaveLength(1);
  });

  law("a key is taken for every user, and copies share it", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("ann", "laptop"));
    const message = request();
    await hold(a, message, { ...message, user: "ann", orUser: false });
    expect(await rowsOf(b, "ann", "laptop")).toHaveLength(1);
    const other = { ...message, user: "carol", to: "carol", digest: "other" };
    expect(await b.messages.hold([other])).toEqual([{ outcome: "conflict" }]);
  });

  law("rows are for the durable devices of the very moment", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "tab", { durable: false }));
    expect(devicesOf((await hold(a, request()))[0]!)).toEqual(["phone"]);
    await b.devices.arrive(arrival("bob", "laptop"));
    const [both] = await hold(a, request());
    expect(devicesOf(both!)).toEqual(["laptop", "phone"]);
    expect(both).toMatchObject({ setSize: 2, setVersion: 2 });
    await b.devices.forget("bob", "phone");
    expect(devicesOf((await hold(a, request()))[0]!)).toEqual(["laptop"]);
  });

  law("excluded devices get no row", async ({ a }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const [one] = await hold(a, request({ exclude: ["phone", "stranger"] }));
    expect(devicesOf(one!)).toEqual(["laptop"]);
    const [none] = await hold(a, request({ exclude: ["phone", "laptop"] }));
    expect(none).toMatchObject({ rows: [], setSize: 2, due: [] });
  });

  law("L2: rows of devices it was sent to are redelivered", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const message = request({ sent: ["phone"] });
    await hold(a, message);
    const isRedelivered = async (device: string) =>
      (await b.messages.pending("bob", device, ALL)).map(({ redelivered }) => redelivered);
    expect(await isRedelivered("phone")).toEqual([true]);
    expect(await isRedelivered("laptop")).toEqual([false]);
    await hold(b, { ...message, sent: ["laptop"] });
    expect(await isRedelivered("laptop")).toEqual([true]);
    await hold(a, request({ user: "carol", sent: [""] }));
    const own = await b.messages.pending("carol", "tab", ALL);
    expect(own.map(({ redelivered }) => redelivered)).toEqual([true]);
  });

  law("L2: rows marked as sent are redelivered, and no others", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const [first, second] = await hold(a, request({ n: 1 }), request({ n: 2 }));
    await a.messages.markSent([first!.rows[0]!.row]);
    await a.messages.settle([second!.rows[0]!.row]);
    await a.messages.markSent([second!.rows[0]!.row]);
    const rows = await b.messages.pending("bob", "phone", ALL);
    expect(rows.map(({ redelivered }) => redelivered)).toEqual([true]);
  });

  law("without a durable device the row is the user's, where asked for", async ({ a, b }) => {
    const [copy] = await hold(a, request({ orUser: false }));
    expect(copy).toMatchObject({ rows: [], setVersion: 0, setSize: 0 });
    const [own] = await hold(a, request());
    expect(own).toMatchObject({ setVersion: 0, setSize: 0, due: [] });
    expect(devicesOf(own!)).toEqual([""]);
    await b.devices.arrive(arrival("bob", "tab", { durable: false }));
    const rows = await b.messages.pending("bob", "tab", ALL);
    expect(rows.map(({ device }) => device)).toEqual([""]);
    expect(await rowsOf(b, "carol", "phone")).toEqual([]);
  });

  law("the user's own rows are bounded too", async ({ a }) => {
    await hold(a, ...Array.from({ length: 5 }, () => request()));
    expect(await a.messages.hold([request()])).toEqual([{ outcome: "full" }]);
    expect(await rowsOf(a, "bob", "tab")).toHaveLength(5);
  });

  law("a device at its bound gets no row and has missed it", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, ...Array.from({ length: 5 }, () => request()));
    await a.devices.arrive(arrival("bob", "laptop"));
    const [sixth] = await hold(a, request());
    expect(devicesOf(sixth!)).toEqual(["laptop"]);
    expect(sixth).toMatchObject({ setSize: 2 });
    expect(await rowsOf(b, "bob", "phone")).toHaveLength(5);
    const back = { lastEpoch: 1, epoch: 2 };
    const phone = await b.devices.arrive(arrival("bob", "phone", back));
    expect(phone).toMatchObject({ recovered: false, held: 5 });
    const laptop = await b.devices.arrive(arrival("bob", "laptop", back));
    expect(laptop).toMatchObject({ recovered: true, held: 1 });
  });

  law("full only where no durable device can take more", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const messages = Array.from({ length: 5 }, () => request());
    await hold(a, ...messages);
    const next = request();
    expect(await a.messages.hold([next])).toEqual([{ outcome: "full" }]);
    // One that was excluded may take it, or has: the message is not lost to the user.
    expect((await hold(a, { ...next, exclude: ["phone"] }))[0]!.rows).toEqual([]);
    // A repeat of what is held needs no room.
    expect(devicesOf((await hold(a, messages[0]!))[0]!)).toEqual(["laptop", "phone"]);
    expect(await rowsOf(b, "bob", "phone")).toHaveLength(5);
  });

  law("a settled row makes room", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const results = await hold(a, ...Array.from({ length: 5 }, () => request()));
    await b.messages.settle([results[2]!.rows[0]!.row]);
    expect(devicesOf((await hold(a, request()))[0]!)).toEqual(["phone"]);
  });

  law("a request that is none fails alone", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const bad = request({ id: new Uint8Array(3) });
    const results = await Promise.allSettled([
      a.messages.hold([request()]),
      a.messages.hold([request(), bad]),
      a.messages.hold([request()]),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(await rowsOf(b, "bob", "phone")).toHaveLength(2);
  });

  law("pending: calls that ring first, then by lane and n", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(
      a,
      request({ n: 2, body: body(12) }),
      request({ from: "eve", n: 1, body: body(21) }),
      request({ n: 1, body: body(11) }),
      request({ n: 0, wake: "call", body: body(1) }),
      request({ from: "eve", n: 0, wake: "call", body: body(2) }),
    );
    const order = bodies(await b.messages.pending("bob", "phone", ALL));
    expect([
      [1, 2, 11, 12, 21],
      [1, 2, 21, 11, 12],
    ]).toContainEqual(order);
    expect(bodies(await b.messages.pending("bob", "phone", 2))).toEqual([1, 2]);
  });

  law(
    "pending: calls that ring no longer, or have a lane, are in their places",
    async (harness) => {
      const { a, b, advance } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      const ended = newId();
      await hold(
        a,
        request({ n: 2, wake: "call", body: body(2) }),
        request({ n: 1, body: body(1) }),
        request({ n: 0, wake: "call", id: ended, body: body(0) }),
      );
      await a.wakes.end([{ call: ended, between: ["bob", "ann"] }]);
      await hold(a, request({ n: 0, wake: "call", body: body(9) }));
      expect(bodies(await b.messages.pending("bob", "phone", ALL))).toEqual([9, 0, 1, 2]);
      advance(30 * SECOND);
      expect(bodies(await b.messages.pending("bob", "phone", ALL))).toEqual([0, 9, 1, 2]);
    },
  );

  law("pending: outbox and recipient tell lanes apart", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(
      a,
      request({ outbox: 2, n: 1, body: body(21) }),
      request({ outbox: 1, n: 2, body: body(12) }),
      request({ from: "bob", fromDevice: "tab", to: "carol", n: 1, body: body(31) }),
      request({ outbox: 1, n: 1, body: body(11) }),
      request({ outbox: 2, n: 2, body: body(22) }),
    );
    const order = bodies(await b.messages.pending("bob", "phone", ALL));
    const lanes = order.map((first) => Math.floor(first / 10));
    expect(new Set(lanes).size).toBe(3);
    expect(lanes.filter((lane, at) => lane !== lanes[at - 1])).toHaveLength(3);
    for (const lane of [1, 2, 3]) {
      const numbers = order.filter((first) => Math.floor(first / 10) === lane);
      expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
    }
  });

  law("pending: without a lane (n = 0) in the order held", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    for (const first of [3, 1, 2]) await hold(a, request({ n: 0, body: body(first) }));
    expect(bodies(await b.messages.pending("bob", "phone", ALL))).toEqual([3, 1, 2]);
  });

  law("pending gives at most what was asked for, from the front", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a, ...[4, 2, 3, 1].map((n) => request({ n, body: body(n) })));
    expect(bodies(await b.messages.pending("bob", "phone", 3))).toEqual([1, 2, 3]);
  });

  law("settled rows are gone, for everyone and at once, and only those", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    const [first] = await hold(a, request({ n: 1, body: body(1) }), request({ n: 2 }));
    const { row } = first!.rows.find(({ device }) => device === "phone")!;
    await b.messages.settle([row]);
    await a.messages.settle([row, row]);
    expect(await rowsOf(a, "bob", "phone")).toHaveLength(1);
    expect(await rowsOf(a, "bob", "laptop")).toHaveLength(2);
    expect(bodies(await b.messages.pending("bob", "laptop", 1))).toEqual([1]);
  });

  law("a row's name is never used again", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const message = request();
    const [first] = await hold(a, message);
    const { row } = first!.rows[0]!;
    await a.messages.settle([row]);
    const [second] = await hold(b, message);
    expect(second!.rows.map(({ isNew }) => isNew)).toEqual([true]);
    await a.messages.settle([row]);
    expect(await rowsOf(a, "bob", "phone")).toEqual([second!.rows[0]!.row]);
  });

  law("L4: tail tells of everything held since, page by page", async ({ a, b }) => {
    const users = ["u1", "u2", "u3", "u4", "u5"];
    for (const user of users) await a.devices.arrive(arrival(user, "phone"));
    await hold(a, request({ user: "u1" }));
    const { now, devices } = await b.messages.tail(Infinity, ALL);
    expect(devices).toEqual([]);
    await hold(a, ...users.slice(1).map((user) => request({ user })));
    await hold(a, request({ user: "nobody" }));
    const { names, now: end } = await readTail(b, now, 2);
    expect([...names].toSorted()).toEqual([
      "nobody/",
      "u2/phone",
      "u3/phone",
      "u4/phone",
      "u5/phone",
    ]);
    expect((await readTail(b, 0, ALL)).names).toContain("u1/phone");
    await hold(a, request({ user: "u1", n: 2 }));
    expect((await readTail(b, end, ALL)).names).toContain("u1/phone");
  });

  law("L4: tail comes to rest, and does not tell of what is settled", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const [one] = await hold(a, request());
    const { now } = await readTail(b, 0, ALL);
    await a.messages.settle([one!.rows[0]!.row]);
    expect((await readTail(b, 0, ALL)).names.size).toBe(0);
    await hold(a, request({ n: 2 }));
    // Longer than the overlap of any backend.
    let at = now;
    for (let read = 0; read < 20; read++) at = (await readTail(b, at, ALL)).now;
    expect((await b.messages.tail(at, ALL)).devices).toEqual([]);
  });

  law("L4: tail passes nothing over while two handles hold", async ({ a, b }) => {
    const users = Array.from({ length: 40 }, (_, at) => `u${at}`);
    const seen = new Set<string>();
    let { now } = await a.messages.tail(Infinity, ALL);
    const write = async (store: Store, half: number): Promise<void> => {
      for (const user of users.filter((_, at) => at % 2 === half)) {
        await hold(store, request({ user }));
      }
    };
    const read = async (): Promise<void> => {
      const tail = await readTail(b, now, 3);
      for (const name of tail.names) seen.add(name);
      now = tail.now;
    };
    const progress = { isOver: false };
    const writing = Promise.all([write(a, 0), write(b, 1)]).then(() => {
      progress.isOver = true;
    });
    while (!progress.isOver) await read();
    await writing;
    await read();
    expect([...seen].toSorted()).toEqual(users.map((user) => `${user}/`).toSorted());
  });

  law("expire drops what is older by its id, and says that it is missed", async (harness) => {
    const { a, b } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("carol", "phone"));
    const old = Array.from({ length: 3 }, (_, n) => request({ id: newId(START - DAY - n) }));
    const edge = request({ id: newId(START - DAY + SECOND) });
    await hold(a, ...old, edge, request({ user: "carol" }), request({ user: "dan", id: newId(1) }));
    expect(await b.messages.expire(START - DAY + SECOND)).toBe(4);
    expect((await a.messages.pending("bob", "phone", ALL)).map(({ key }) => key)).toEqual([
      edge.key,
    ]);
    expect(await rowsOf(a, "dan", "tab")).toEqual([]);
    expect(await b.messages.expire(START - DAY + SECOND)).toBe(0);
    const back = { lastEpoch: 1, epoch: 2 };
    const bob = await a.devices.arrive(arrival("bob", "phone", back));
    expect(bob).toMatchObject({ recovered: false, held: 1 });
    const carol = await a.devices.arrive(arrival("carol", "phone", back));
    expect(carol).toMatchObject({ recovered: true, held: 1 });
  });

  law("a closed handle refuses, the others go on", async ({ a, b }) => {
    await a.messages.close();
    const refused = [
      a.messages.hold([request()]),
      a.messages.pending("bob", "phone", ALL),
      a.devices.devices("bob"),
      a.wakes.nextDue(),
    ];
    for (const result of await Promise.allSettled(refused)) {
      expect(result).toMatchObject({ status: "rejected", reason: expect.any(StoreUnavailable) });
    }
    await hold(b, request());
    expect(await rowsOf(b, "bob", "tab")).toHaveLength(1);
  });
}
