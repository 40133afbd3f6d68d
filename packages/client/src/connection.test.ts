import { describe, expect, test } from "bun:test";

import { ERRORS } from "@beckon/protocol";

import { memory } from "./storage.ts";
import { deliverFrame } from "./test-support/fake-server.ts";
import { collect, outcome, type Setup, setup } from "./test-support/setup.ts";

/** How many PINGs the newest connection has sent. */
function pings({ a }: Setup): number {
  return a.last.frames.filter(({ type }) => type === "ping").length;
}

describe("HELLO", () => {
  test("says who, for how long, and in which protocols", () => {
    const { clock, a, start } = setup();
    start({ copies: false, background: true });
    clock.run(10);
    expect(a.last.hello).toMatchObject({
      token: "token",
      device: "phone",
      durable: false,
      protocols: ["ws"],
      epoch: 0,
      hinted: "",
      intent: "",
      noRedirect: false,
      noCopies: true,
      background: true,
    });
    expect(a.last.hello!.outbox).toBeGreaterThan(0);
  });

  test("gives back the epoch of the last WELCOME", () => {
    const { clock, a, start } = setup();
    start();
    clock.run(10);
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.hello!.epoch).toBe(1001);
  });

  test("gets no answer in 10 s: the next address is tried", () => {
    const { clock, a, b, network, start } = setup();
    a.onHello = () => {};
    b.onHello = (connection) => connection.welcome({ servers: [] });
    start({ servers: ["ws://a", "ws://b"] });
    clock.run(9_900);
    expect(b.connections).toHaveLength(0);
    clock.run(200);
    expect(b.connections).toHaveLength(1);
    b.last.close(1006);
    network.dialled.length = 0;
    b.state = "up";
    clock.run(600);
    // It comes last now.
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://b"]);
  });
});

describe("liveness", () => {
  test("PING when nothing came for the heartbeat; the connection stays when anything comes", () => {
    const all = setup();
    all.start();
    all.clock.run(24_900);
    expect(pings(all)).toBe(0);
    all.clock.run(200);
    expect(pings(all)).toBe(1);
    all.clock.run(60_000);
    expect(pings(all)).toBe(3);
    expect(all.a.connections).toHaveLength(1);
  });

  test("no PING while something comes", () => {
    const all = setup();
    collect(all.start());
    for (let n = 1; n < 10; n++) {
      all.clock.run(10_000);
      all.a.last.deliver({ n });
    }
    expect(pings(all)).toBe(0);
  });

  test("no answer in 5 s: the connection is dead, and another one is made", () => {
    const { clock, a, states, start } = setup();
    start();
    clock.run(10);
    a.last.silent = true;
    clock.run(25_000 + 4_900);
    expect(states.at(-1)!.name).toBe("connected");
    clock.run(200);
    expect(states.at(-1)!.name).toBe("waiting");
    clock.run(1_000);
    expect(a.connections).toHaveLength(2);
    expect(states.at(-1)!.name).toBe("connected");
  });

  test("a sleeping machine: the connection is probed on waking, and has its 5 s from then", () => {
    const all = setup();
    all.start();
    all.clock.run(10);
    all.clock.sleep(3_600_000);
    all.clock.run(5_000);
    expect(pings(all)).toBe(1);
    expect(all.a.connections).toHaveLength(1);
    all.a.last.silent = true;
    all.clock.sleep(3_600_000);
    all.clock.run(12_000);
    expect(all.a.connections).toHaveLength(2);
  });

  test("a short sleep is noticed too, and a PING from before it has its 5 s from then", () => {
    const all = setup();
    all.start();
    all.clock.run(10);
    all.clock.sleep(15_000);
    all.clock.run(5_000);
    expect(pings(all)).toBe(1);
    all.clock.run(25_000);
    all.a.onPing = () => {};
    all.clock.until(() => pings(all) === 3);
    all.clock.sleep(3_600_000);
    all.a.onPing = (connection) => connection.write({ type: "pong", time: all.clock.now() });
    all.clock.run(10_000);
    expect([pings(all), all.a.connections.length]).toEqual([4, 1]);
  });

  test("timers that always come late do not keep a dead connection alive", () => {
    const { clock, a, start } = setup();
    start();
    clock.run(10);
    a.last.silent = true;
    for (let i = 0; i < 4; i++) {
      clock.sleep(60_000);
      clock.run(5_000);
    }
    expect(a.connections).toHaveLength(2);
  });

  test("a clock that goes back does no harm", () => {
    const all = setup();
    all.start();
    all.clock.run(10);
    all.clock.sleep(-3_600_000);
    all.clock.run(70_000);
    expect(all.a.connections).toHaveLength(1);
    expect(pings(all)).toBeGreaterThan(1);
  });
});

describe("what the server sends that it should not", () => {
  test("bytes that are no frames: the connection is given up and made anew", () => {
    const { clock, a, start } = setup();
    start();
    clock.run(10);
    a.last.writeRaw(Uint8Array.of(0xff, 0xff));
    clock.run(1_000);
    expect(a.connections).toHaveLength(2);
  });

  test("what follows the end in the same message is not taken", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    const { number } = ERRORS.replaced;
    a.last.write(
      { type: "error", code: number, message: "", send: 0, retryAfter: 0 },
      deliverFrame({ n: 1 }),
    );
    clock.run(10);
    expect(messages).toEqual([]);
  });

  test("an error before WELCOME that it does not know: nothing is said before WELCOME", () => {
    const { clock, a, start } = setup();
    a.onPull = () => {};
    start();
    clock.run(10);
    a.last.deliver({ n: 2 });
    clock.run(10);
    a.onHello = (connection) => {
      connection.write({ type: "error", code: 9_999, message: "", send: 0, retryAfter: 0 });
      clock.after(100, () => connection.welcome());
    };
    a.last.close(1006);
    clock.until(() => a.connections.length === 2);
    clock.run(50);
    expect(a.last.frames.map(({ type }) => type)).toEqual(["hello"]);
    clock.run(100);
    expect(a.last.frames.map(({ type }) => type)).toEqual(["hello", "pull"]);
  });

  test("frames of a kind to come are ignored", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    // Field 60, two bytes; then a message.
    a.last.writeRaw(Uint8Array.of(5, 0xe2, 0x03, 2, 1, 2));
    a.last.deliver({ n: 1 });
    clock.run(10);
    expect(messages).toHaveLength(1);
  });

  test("answers to what was never sent, and ACKs of giant counts, change nothing", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    a.ack(a.last, 1, Number.MAX_SAFE_INTEGER);
    a.last.refuse("forbidden", 77);
    a.last.write({ type: "pulled", pull: 9 });
    clock.run(10);
    const result = outcome(beckon.send("bob", "x"));
    clock.run(10);
    expect(result.value).toBeDefined();
  });
});

describe("STATE", () => {
  test("is told when it changes, and in HELLO", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    for (const value of [true, true, false, true]) beckon.background(value);
    clock.run(10);
    const told = a.last.frames.flatMap((frame) =>
      frame.type === "state" ? [frame.background] : [],
    );
    expect(told).toEqual([true, false, true]);
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.hello!.background).toBe(true);
  });

  test("that changes between HELLO and WELCOME is told after it", () => {
    const { clock, a, start } = setup();
    a.onHello = (connection) => void clock.after(100, () => connection.welcome());
    const beckon = start();
    clock.run(50);
    beckon.background(true);
    clock.run(100);
    expect(a.last.frames.at(-1)).toEqual({ type: "state", background: true });
  });
});

describe("close()", () => {
  test("says goodbye after the last acknowledgement", async () => {
    const { clock, a, states, start } = setup();
    const beckon = start();
    let closing: Promise<void> | undefined;
    beckon.on("message", () => {
      // In the turn in which the acknowledgement would leave.
      clock.defer(() => void (closing = beckon.close()));
    });
    clock.run(10);
    a.last.deliver({ n: 1 });
    clock.run(10);
    await closing;
    expect(a.last.frames.map(({ type }) => type)).toEqual(["hello", "received", "bye"]);
    expect(a.last.open).toBe(false);
    expect(states.at(-1)).toMatchObject({ name: "closed", error: undefined });
  });

  test("leaves no timer behind, whenever it is called", () => {
    for (const when of [0, 1, 3, 100, 5_200]) {
      const { clock, a, start } = setup();
      if (when > 50) a.state = "hangs";
      const beckon = start();
      void beckon.send("bob", "x").catch(() => {});
      clock.run(when);
      void beckon.close();
      clock.run(10);
      expect([when, clock.pending]).toEqual([when, 0]);
    }
  });

  test("before the storage has been read waits for that, and leaves it as it is", async () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage });
    a.state = "refuses";
    const first = start();
    void first.send("bob", "x").catch(() => {});
    clock.run(10);
    void first.close();
    clock.run(10);
    const calls: string[] = [];
    const second = start({
      storage: {
        ...storage,
        async read() {
          await new Promise<void>((resolve) => void clock.after(50, resolve));
          calls.push("read");
          return storage.read();
        },
        async close() {
          calls.push("close");
        },
      },
    });
    const closing = outcome(second.close());
    clock.run(40);
    expect([calls, "value" in closing]).toEqual([[], false]);
    clock.run(20);
    expect([calls, "value" in closing]).toEqual([["read", "close"], true]);
    expect([...(await storage.read())].some(([key]) => key.startsWith("o/"))).toBe(true);
  });

  test("nothing is written to the storage after it", () => {
    const storage = memory();
    const { clock, a, errors, start } = setup({ storage });
    let finish = (): void => {};
    const beckon = start();
    beckon.on("message", () => new Promise((resolve) => (finish = resolve)));
    clock.run(10);
    a.last.deliver({ n: 1 });
    clock.run(10);
    void beckon.close();
    clock.run(10);
    storage.write = () => Promise.reject(new Error("closed"));
    finish();
    clock.run(10);
    expect(errors).toEqual([]);
  });

  test("what is unsent, and what is sent afterwards, is rejected", () => {
    const { clock, a, start } = setup();
    a.state = "refuses";
    const beckon = start();
    const before = outcome(beckon.send("bob", "x"));
    clock.run(10);
    void beckon.close();
    const after = outcome(beckon.send("bob", "x"));
    clock.run(10);
    for (const { error } of [before, after]) expect(error).toMatchObject({ code: "closed" });
  });
});
