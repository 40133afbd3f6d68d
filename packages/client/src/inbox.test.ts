import { describe, expect, test } from "bun:test";

import type { FakeConnection } from "./test-support/fake-server.ts";
import { memory, type Storage } from "./storage.ts";
import { deliverFrame, idOf } from "./test-support/fake-server.ts";
import { collect, marks, type Setup, setup } from "./test-support/setup.ts";

/** A client that is connected and gives messages to a handler that resolves when it is told. */
function receiving({ clock, a, start }: Setup): {
  connection: FakeConnection;
  handed: string[];
  finish(failure?: Error): void;
} {
  const handed: string[] = [];
  let settle: (failure?: Error) => void = () => {};
  start().on("message", (message) => {
    handed.push(marks(message));
    return new Promise((resolve, reject) => {
      settle = (failure) => (failure === undefined ? resolve() : reject(failure));
    });
  });
  clock.run(10);
  return {
    connection: a.last,
    handed,
    finish(failure) {
      settle(failure);
      clock.run(10);
    },
  };
}

describe("a message", () => {
  test("says everything about itself", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.last.deliver({ n: 1, held: true, at: 5, to: "bob" });
    clock.run(10);
    const { text, ...fields } = messages[0]!;
    expect(text()).toBe("ann 1");
    expect(fields).toMatchObject({
      id: "01977000-0000-7000-8000-000000000001",
      from: "ann",
      fromDevice: "phone",
      to: "bob",
      at: 5,
      n: 1,
      held: true,
      redelivered: false,
      gap: false,
      late: false,
      server: "a",
    });
  });

  test("that is not UTF-8 has a text all the same", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.last.deliver({ payload: Uint8Array.of(0x68, 0xff, 0x69) });
    clock.run(10);
    expect(messages[0]!.text()).toBe("h\uFFFDi");
  });

  test("is its own: its bytes are no view of what came with it", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.last.deliver({});
    clock.run(10);
    const { payload } = messages[0]!;
    expect(payload.buffer.byteLength).toBe(payload.length);
  });
});

describe("L2: without a storage a message is acknowledged when its handler has resolved", () => {
  test("one at a time, in order", () => {
    const { connection, handed, finish } = receiving(setup());
    const [clock] = [connection.server.network.clock];
    for (const n of [1, 2]) connection.deliver({ n });
    clock.run(10);
    expect([handed, connection.received]).toEqual([["1"], []]);
    finish();
    expect([handed, connection.received]).toEqual([["1", "2"], [1]]);
    finish();
    expect(connection.received).toEqual([1, 2]);
  });

  test("acknowledgements of one turn are one frame with ranges", () => {
    const { clock, a, start } = setup();
    collect(start());
    clock.run(10);
    a.last.write(...[1, 2, 3].map((n) => deliverOf(n)), deliverOf(9), deliverOf(4));
    clock.run(10);
    const ranges = a.last.frames.flatMap((frame) =>
      frame.type === "received" ? [frame.ranges] : [],
    );
    // The fourth waits for what is missing before it.
    expect(ranges).toEqual([
      [1, 3, 5, 1],
      [4, 1],
    ]);
  });

  test("a repeat of what was handled is acknowledged again and not handed over", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    for (const n of [1, 1]) a.last.deliver({ n });
    clock.run(10);
    a.last.deliver({ n: 1, redelivered: true });
    clock.run(10);
    expect(messages).toHaveLength(1);
    expect(a.last.received).toEqual([1, 2, 3]);
  });

  test("a repeat of what is being handled is acknowledged with it", () => {
    const base = setup();
    const { connection, handed, finish } = receiving(base);
    connection.deliver({ n: 1 });
    connection.deliver({ n: 1 });
    base.clock.run(10);
    expect(connection.received).toEqual([]);
    finish();
    expect([handed, connection.received]).toEqual([["1"], [1, 2]]);
  });

  test("what came over a connection that is gone is acknowledged where it comes again", () => {
    const base = setup();
    const { clock, a } = base;
    const { connection, handed, finish } = receiving(base);
    connection.deliver({ n: 1 });
    clock.run(10);
    connection.close(1006);
    clock.run(1_000);
    const next = a.last;
    expect(next).not.toBe(connection);
    next.deliver({ n: 2 });
    next.deliver({ n: 1, held: true, redelivered: true });
    clock.run(10);
    finish();
    expect(handed).toEqual(["1", "2"]);
    expect(next.received).toEqual([2]);
    finish();
    expect(next.received).toEqual([2, 1]);
  });

  test("however often that happens", () => {
    const base = setup();
    const { clock, a } = base;
    const { connection, finish } = receiving(base);
    connection.deliver({ n: 1 });
    clock.run(10);
    for (let i = 0; i < 20; i++) {
      a.last.close(1006);
      clock.run(40_000);
      a.last.deliver({ n: 1, redelivered: true });
      clock.run(10);
    }
    finish();
    expect(a.last.received).toEqual([1]);
  });

  test("and if it does not come again, nothing is said of it", () => {
    const base = setup();
    const { connection, finish } = receiving(base);
    connection.deliver({ n: 1 });
    base.clock.run(10);
    connection.close(1006);
    base.clock.run(1_000);
    finish();
    base.clock.run(10);
    expect(base.a.last.received).toEqual([]);
  });

  test("messages without a lane are known by their ids, the last 1,024 of them", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    for (let i = 1; i <= 1_025; i++) a.last.deliver({ n: 0, id: idOf(i) });
    clock.run(10);
    a.last.deliver({ n: 0, id: idOf(2) });
    a.last.deliver({ n: 0, id: idOf(1) });
    clock.run(10);
    expect(messages).toHaveLength(1_026);
    expect(a.last.received).toHaveLength(1_027);
  });
});

test("L10: what comes beyond 4,096 unhandled messages is dropped unacknowledged, and taken when it comes again", () => {
  const { clock, a, start } = setup();
  const beckon = start();
  clock.run(10);
  for (let n = 1; n <= 4_100; n++) a.last.deliver({ n });
  clock.run(10);
  const messages = collect(beckon);
  clock.run(10);
  expect([messages.length, a.last.received.length]).toEqual([4_096, 4_096]);
  for (let n = 4_097; n <= 4_100; n++) a.last.deliver({ n });
  clock.run(10);
  expect([messages.length, a.last.received.length]).toEqual([4_100, 4_100]);
});

function deliverOf(n: number): ReturnType<typeof deliverFrame> {
  return deliverFrame({ n });
}

describe("a handler that fails", () => {
  test("gets it again, marked, after a while; it stays unacknowledged", () => {
    const base = setup();
    const { clock, errors } = base;
    const { connection, handed, finish } = receiving(base);
    connection.deliver({ n: 1 });
    clock.run(10);
    const cause = new Error("handler");
    finish(cause);
    expect(errors).toMatchObject([{ code: "handler-failed", cause }]);
    expect([handed, connection.received]).toEqual([["1"], []]);
    clock.run(1_000);
    expect(handed).toEqual(["1", "1 redelivered"]);
    finish();
    expect(connection.received).toEqual([1]);
  });

  test("holds up its lane, and no other", () => {
    const base = setup();
    const { clock } = base;
    const { connection, handed, finish } = receiving(base);
    connection.deliver({ n: 1 });
    connection.deliver({ n: 2 });
    connection.deliver({ n: 1, from: "eve", id: idOf(99) });
    clock.run(10);
    finish(new Error("handler"));
    finish();
    // Of eve's lane; 2 of ann's waits for 1.
    expect([handed, connection.received]).toEqual([["1", "1"], [3]]);
    clock.run(1_000);
    finish();
    finish();
    expect(handed).toEqual(["1", "1", "1 redelivered", "2"]);
    expect(connection.received).toEqual([3, 1, 2]);
  });

  test("waits longer each time", () => {
    const base = setup();
    const { clock } = base;
    const { connection, handed, finish } = receiving(base);
    connection.deliver({ n: 1 });
    clock.run(10);
    for (let i = 0; i < 4; i++) {
      finish(new Error("handler"));
      clock.run(1_000 * 2 ** i);
    }
    expect(handed).toHaveLength(5);
  });
});

describe("L3: what is missing", () => {
  test("is asked for by one PULL, and handed over first when it comes", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.onPull = (connection, pull) => {
      connection.deliver({ n: 2, held: true });
      connection.write({ type: "pulled", pull });
    };
    a.last.write(...[1, 3, 4].map((n) => deliverOf(n)));
    clock.run(10);
    expect(a.last.pulls).toBe(1);
    expect(messages.map(marks)).toEqual(["1", "2 held", "3", "4"]);
  });

  test("is given up when the store has nothing, with a mark", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.last.write(deliverOf(1), deliverOf(3));
    clock.run(10);
    expect(messages.map(marks)).toEqual(["1", "3 gap"]);
    a.last.deliver({ n: 2 });
    clock.run(10);
    expect(messages.map(marks)).toEqual(["1", "3 gap", "2 late"]);
  });

  test("is given up after 5 s when the server says nothing", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.onPull = () => {};
    a.last.write(deliverOf(1), deliverOf(3));
    clock.run(4_900);
    expect(messages).toHaveLength(1);
    expect(a.last.received).toEqual([1]);
    clock.run(200);
    expect(messages.map(marks)).toEqual(["1", "3 gap"]);
    expect(a.last.received).toEqual([1, 2]);
  });

  test("is asked for again on a new connection, whose time begins anew", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    a.onPull = () => {};
    a.last.write(deliverOf(1), deliverOf(3));
    clock.run(4_900);
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.pulls).toBe(1);
    clock.run(3_000);
    expect(messages).toHaveLength(1);
    a.last.write(deliverOf(3), deliverOf(2));
    clock.run(10);
    expect(messages.map(marks)).toEqual(["1", "2", "3"]);
    expect(a.last.received).toEqual([1, 2]);
  });
});

describe("with a storage", () => {
  test("a message is stored, acknowledged, and then handed over", () => {
    const storage = memory();
    const base = setup({ storage });
    const { clock } = base;
    const { connection, handed } = receiving(base);
    const { write } = storage;
    let onDisk = (): void => {};
    storage.write = (changes) =>
      new Promise((resolve) => {
        onDisk = () => resolve(write(changes));
      });
    connection.deliver({ n: 1 });
    clock.run(10);
    expect([handed, connection.received]).toEqual([[], []]);
    onDisk();
    clock.run(10);
    expect([handed, connection.received]).toEqual([["1"], [1]]);
  });

  test("after a crash inside the handler it comes once more, marked, and what was handled does not", async () => {
    const storage = memory();
    const base = setup({ storage });
    const { clock, a, start } = base;
    const { connection, handed, finish } = receiving(base);
    for (const n of [1, 2, 3]) connection.deliver({ n });
    clock.run(10);
    finish();
    expect(handed).toEqual(["1", "2"]);

    const messages = collect(start({ storage: await copyOf(storage) }));
    clock.run(10);
    expect(messages.map(marks)).toEqual(["2 redelivered", "3 redelivered"]);
    expect(messages[0]!.text()).toBe("ann 2");
    for (const n of [1, 2, 3, 4]) a.last.deliver({ n, held: true, redelivered: n < 4 });
    clock.run(10);
    expect(messages.map(marks)).toEqual(["2 redelivered", "3 redelivered", "4 held"]);
    expect(a.last.received).toEqual([1, 2, 3, 4]);
  });

  test("a repeat of what is stored and not handled is acknowledged at once", () => {
    const base = setup({ storage: memory() });
    const { connection, handed } = receiving(base);
    connection.deliver({ n: 1 });
    connection.deliver({ n: 1 });
    base.clock.run(10);
    connection.deliver({ n: 1 });
    base.clock.run(10);
    expect([handed, new Set(connection.received)]).toEqual([["1"], new Set([1, 2, 3])]);
  });

  test("messages without a lane are known after a restart too", async () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage });
    collect(start());
    clock.run(10);
    for (let i = 1; i <= 1_030; i++) a.last.deliver({ n: 0, id: idOf(i) });
    clock.run(100);
    const copy = await copyOf(storage);
    expect([...(await copy.read())].filter(([key]) => key.startsWith("r/"))).toHaveLength(1_024);
    const messages = collect(start({ storage: copy }));
    clock.run(10);
    a.last.deliver({ n: 0, id: idOf(1_030) });
    a.last.deliver({ n: 0, id: idOf(7) });
    a.last.deliver({ n: 0, id: idOf(6) });
    clock.run(10);
    expect(messages).toHaveLength(1);
  });

  test("one that does not write: acknowledged when handled, and reported", () => {
    const storage = memory();
    const base = setup({ storage });
    const { connection, handed, finish } = receiving(base);
    storage.write = () => Promise.reject(new Error("quota"));
    connection.deliver({ n: 1 });
    base.clock.run(10);
    expect([handed, connection.received]).toEqual([["1"], []]);
    expect(base.errors).toMatchObject([{ code: "storage-failed" }]);
    finish();
    expect(connection.received).toEqual([1]);
  });

  test("one that does not read: the client is closed and says why", () => {
    const storage = { ...memory(), read: () => Promise.reject(new Error("locked")) };
    const { clock, states, errors, start } = setup({ storage });
    start();
    clock.run(10);
    expect(errors).toMatchObject([{ code: "storage-failed" }]);
    expect(states.at(-1)).toMatchObject({ name: "closed", error: { code: "storage-failed" } });
  });
});

/** What a process finds that starts after another one crashed now. */
async function copyOf(storage: Storage): Promise<Storage> {
  const copy = memory();
  await copy.write([...(await storage.read())].map(([key, value]) => ({ key, value })));
  return copy;
}
