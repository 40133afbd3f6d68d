import { describe, expect, test } from "bun:test";

import { parseUuid, type SendFrame, uuidTime } from "@beckon/protocol";

import { accept } from "./test-support/accepting.ts";
import { outcome, setup } from "./test-support/setup.ts";

const DAY_MS = 86_400_000;

/** What is told of a SEND: `n` after `prev`. */
function links(sends: readonly SendFrame[]): string[] {
  return sends.map(({ n, prev }) => `${n}<${prev}`);
}

describe("sending", () => {
  test("resolves with what the server says, its name and the id", () => {
    const { clock, a, start } = setup();
    const result = outcome(start().send("bob", "hello", { wake: "silent", preview: "h" }));
    clock.until(() => result.value !== undefined);
    const [sent] = a.last.sends;
    expect(sent).toMatchObject({ to: "bob", n: 1, prev: 0, wake: "silent", preview: "h" });
    expect(new TextDecoder().decode(sent!.payload)).toBe("hello");
    expect(result.value).toMatchObject({ status: "delivered", route: "local", server: "a" });
    expect(result.value!.id).toMatch(/^[\da-f]{8}-[\da-f]{4}-7/);
  });

  test("counts each recipient by itself", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    for (const to of ["bob", "eve", "bob"]) void beckon.send(to, "x");
    clock.run(10);
    expect(a.last.sends.map(({ to, n, prev }) => [to, n, prev])).toEqual([
      ["bob", 1, 0],
      ["eve", 1, 0],
      ["bob", 2, 1],
    ]);
  });

  test("all of one turn leaves as one message", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    for (let i = 0; i < 5; i++) void beckon.send("bob", "x");
    clock.run(10);
    expect(a.last.messages.at(-1)!.map(({ type }) => type)).toEqual(Array(5).fill("send"));
  });

  test("one message of the transport has no more bytes and frames than WELCOME allows", () => {
    const { clock, a, start } = setup();
    a.limits = { messageFrames: 3, messageBytes: 3_000 };
    const beckon = start();
    clock.run(10);
    for (let i = 0; i < 4; i++) void beckon.send("bob", "x");
    for (let i = 0; i < 3; i++) void beckon.send("bob", new Uint8Array(1_200));
    clock.run(10);
    const sizes = a.last.messages.slice(1).map((message) => message.length);
    expect(sizes).toEqual([3, 3, 1]);
  });

  test("what is changed after the call is not sent changed", () => {
    const { clock, a, start } = setup();
    const payload = Buffer.from("before");
    void start().send("bob", payload);
    payload.write("after!");
    clock.run(10);
    expect(new TextDecoder().decode(a.last.sends[0]!.payload)).toBe("before");
  });

  test("an id bears the server's time, not the device's", () => {
    const { clock, a, start } = setup();
    a.onHello = (connection) => connection.welcome({ time: clock.now() + DAY_MS });
    void start().send("bob", "x");
    clock.run(10);
    const time = uuidTime(a.last.sends[0]!.id);
    expect(Math.abs(time - clock.now() - DAY_MS)).toBeLessThan(20);
  });
});

test("a server that does not say its time is taken to have ours", () => {
  const { clock, a, start } = setup();
  a.onHello = (connection) => connection.welcome({ time: 0 });
  const result = outcome(start().send("bob", "x"));
  clock.run(10);
  expect(Math.abs(uuidTime(parseUuid(result.value!.id)!) - clock.now())).toBeLessThan(20);
});

describe("the window and the rate", () => {
  test("never more unanswered SENDs than WELCOME states", () => {
    const { clock, a, start } = setup();
    a.limits = { window: 3 };
    a.onSend = () => {};
    const beckon = start();
    for (let i = 0; i < 10; i++) void beckon.send(`u${i}`, "x");
    clock.run(100);
    expect(a.last.sends).toHaveLength(3);
    a.ack(a.last, 1, 2);
    clock.run(100);
    expect(a.last.sends).toHaveLength(5);
  });

  test("never faster than the rate, after a burst", () => {
    const { clock, a, start } = setup();
    a.limits = { rate: 10, burst: 10 };
    const beckon = start();
    for (let i = 0; i < 40; i++) void beckon.send("bob", "x");
    clock.run(100);
    expect(a.last.sends.length).toBeLessThanOrEqual(10);
    clock.run(1_000);
    expect(a.last.sends.length).toBeLessThanOrEqual(21);
    clock.run(4_000);
    expect(a.last.sends).toHaveLength(40);
  });

  test("waits while the transport has too much to write", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    a.last.backlog = 2_000_000;
    void beckon.send("bob", "x");
    clock.run(200);
    expect(a.last.sends).toHaveLength(0);
    a.last.backlog = 0;
    clock.run(100);
    expect(a.last.sends).toHaveLength(1);
  });
});

describe("a new connection", () => {
  test("everything unacknowledged goes again: in order, under the same ids", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, { n }, number) => {
      if (n === 2) a.ack(connection, number);
    };
    const beckon = start();
    for (let i = 0; i < 4; i++) void beckon.send("bob", "x");
    clock.run(10);
    const before = a.last.sends;
    a.last.close(1006);
    clock.run(2_000);
    expect(a.connections).toHaveLength(2);
    const again = a.last.sends;
    expect(links(again)).toEqual(["1<0", "3<2", "4<3"]);
    expect(again.map(({ id }) => id)).toEqual([0, 2, 3].map((i) => before[i]!.id));
  });

  test("HELLO names the first recipient in the outbox", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    void beckon.send("bob", "x");
    void beckon.send("eve", "x");
    clock.run(10);
    expect(a.last.hello!.intent).toBe("bob");
  });
});

describe("refusals", () => {
  test("a final one rejects, and the next message is linked past it", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    accept([a], ({ n }) => (n === 2 ? "forbidden" : undefined));
    const results = [1, 2, 3].map(() => outcome(beckon.send("bob", "x")));
    clock.run(20);
    expect(results[1]!.error).toMatchObject({ code: "forbidden", retryable: false });
    expect(results[0]!.value && results[2]!.value).toBeDefined();
    expect(links(a.last.sends)).toEqual(["1<0", "2<1", "3<2", "3<1"]);
    void beckon.send("bob", "x");
    clock.run(10);
    expect(links(a.last.sends).at(-1)).toBe("4<3");
  });

  test("after a final one of the last message, the next is linked to the one before it", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    a.onSend = (connection, { n }, number) =>
      n === 2 ? connection.refuse("forbidden", number) : a.ack(connection, number);
    for (let i = 0; i < 2; i++) outcome(beckon.send("bob", "x"));
    clock.run(10);
    void beckon.send("bob", "x");
    clock.run(10);
    expect(links(a.last.sends)).toEqual(["1<0", "2<1", "3<1"]);
  });

  test("one that may pass is tried again, with all that is after it", () => {
    const { clock, a, start } = setup();
    let refusals = 2;
    accept([a], ({ n }) => (n === 1 && refusals-- > 0 ? "store-unavailable" : undefined));
    const beckon = start();
    const results = [1, 2].map(() => outcome(beckon.send("bob", "x")));
    clock.run(100);
    expect(links(a.last.sends)).toEqual(["1<0", "2<1"]);
    clock.run(3_000);
    expect(results.every(({ value }) => value !== undefined)).toBe(true);
    expect(links(a.last.sends)).toEqual(["1<0", "2<1", "1<0", "2<1", "1<0", "2<1"]);
  });

  test("waits for as long as the server says", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, _, number) => connection.refuse("recipient-full", number, 9_000);
    void start().send("bob", "x");
    clock.run(9_000);
    expect(a.last.sends).toHaveLength(1);
    clock.run(100);
    expect(a.last.sends).toHaveLength(2);
  });

  test("while it waits, nothing that is after it goes out", () => {
    const { clock, a, start } = setup();
    a.limits = { window: 1 };
    a.onSend = (connection, _, number) => connection.refuse("recipient-full", number, 1_000);
    const beckon = start();
    for (let i = 0; i < 3; i++) void beckon.send("bob", "x");
    clock.run(900);
    expect(links(a.last.sends)).toEqual(["1<0"]);
  });

  test("but not for more than an hour", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, _, number) =>
      connection.refuse("recipient-full", number, Number.MAX_SAFE_INTEGER);
    void start().send("bob", "x");
    clock.run(3_601_000);
    expect(a.last.sends).toHaveLength(2);
  });

  test("waits longer each time, and begins anew when something was taken", () => {
    const { clock, a, start } = setup();
    let full = true;
    const times: number[] = [];
    a.onSend = (connection, _, number) => {
      times.push(clock.now());
      if (full) connection.refuse("recipient-full", number);
      else a.ack(connection, number);
    };
    const beckon = start();
    void beckon.send("bob", "x");
    clock.run(10_000);
    const pauses = times.slice(1).map((at, i) => at - times[i]!);
    expect(pauses.length).toBeGreaterThan(3);
    for (const [i, pause] of pauses.entries()) expect(pause).toBeGreaterThanOrEqual(125 * 2 ** i);
    full = false;
    clock.run(30_000);
    full = true;
    times.length = 0;
    void beckon.send("bob", "x");
    clock.run(1_000);
    expect(times[1]! - times[0]!).toBeLessThan(260);
  });

  test("a server that finds everything out of order is not asked without a pause", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, _, number) => connection.refuse("out-of-order", number);
    void start().send("bob", "x");
    clock.run(10_000);
    expect(a.last.sends.length).toBeLessThan(8);
  });

  test("holds up nobody else", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, { to }, number) =>
      to === "bob" ? connection.refuse("recipient-full", number) : a.ack(connection, number);
    const beckon = start();
    void beckon.send("bob", "x");
    const result = outcome(beckon.send("eve", "x"));
    clock.run(20);
    expect(result.value).toBeDefined();
  });

  test("a code that this version does not know is taken for one that may pass", () => {
    const { clock, a, start } = setup();
    a.onSend = (connection, _, send) => {
      if (send > 1) a.ack(connection, send);
      else connection.write({ type: "error", code: 9_999, message: "", send, retryAfter: 0 });
    };
    const result = outcome(start().send("bob", "x"));
    clock.run(1_000);
    expect(result.value).toBeDefined();
  });

  test("a payload over the server's limit is refused here", () => {
    const { clock, a, start } = setup();
    a.limits = { payload: 10 };
    const beckon = start();
    const early = outcome(beckon.send("bob", new Uint8Array(11)));
    const next = outcome(beckon.send("bob", new Uint8Array(10)));
    clock.run(10);
    const late = outcome(beckon.send("bob", new Uint8Array(11)));
    clock.run(10);
    for (const { error } of [early, late])
      expect(error).toMatchObject({ code: "payload-too-large" });
    expect(next.value).toBeDefined();
    expect(links(a.last.sends)).toEqual(["2<0"]);
  });
});
