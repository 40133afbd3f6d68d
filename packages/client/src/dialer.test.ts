import { describe, expect, test } from "bun:test";

import { CLOSE, type ErrorCode } from "@beckon/protocol";

import { BeckonError } from "./errors.ts";
import { memory } from "./storage.ts";
import { addressOf } from "./test-support/fake-server.ts";
import { outcome, type Setup, setup } from "./test-support/setup.ts";

const MINUTE_MS = 60_000;

/** URLs that were dialled since the last call, in order. */
function dialled({ network }: Setup): string[] {
  return network.dialled.splice(0).map(({ url }) => url);
}

describe("the order of addresses", () => {
  test("L9: the last server, known others, seeds", () => {
    const all = setup({ servers: ["ws://seed"] });
    const { clock, a, b, network, start } = all;
    network.add("seed").onHello = (connection) =>
      connection.write({ type: "redirect", server: a.addresses, reason: "" });
    start();
    clock.run(10);
    expect(dialled(all)).toEqual(["ws://seed", "ws://a"]);
    a.state = "refuses";
    b.state = "refuses";
    a.last.close(1006);
    clock.run(600);
    const order = dialled(all).slice(0, 3);
    expect(order[0]).toBe("ws://a");
    expect(order.slice(1).toSorted()).toEqual(["ws://b", "ws://seed"]);
  });

  test("a new run begins where the last one was", async () => {
    const all = setup({ servers: ["ws://b"], storage: memory() });
    const { clock, start } = all;
    const first = start({ servers: ["ws://a"] });
    clock.run(10);
    const closing = first.close();
    clock.run(10);
    await closing;
    dialled(all);
    start();
    clock.run(10);
    expect(dialled(all)).toEqual(["ws://a"]);
  });

  test("M12: an address that hangs is overtaken after 250 ms, and the slow one is given up", () => {
    const all = setup({ servers: ["ws://a", "ws://b"] });
    const { clock, a, b, start } = all;
    a.state = "hangs";
    start();
    clock.run(240);
    expect(dialled(all)).toEqual(["ws://a"]);
    clock.run(20);
    expect(dialled(all)).toEqual(["ws://b"]);
    expect(b.connections).toHaveLength(1);
  });

  test("M12: one that fails is followed at once by the next", () => {
    const all = setup({ servers: ["ws://a", "ws://b"] });
    const { clock, a, b, start } = all;
    a.state = "refuses";
    start();
    clock.run(10);
    expect(b.connections).toHaveLength(1);
  });

  test("L10: no more than four are on their way at once, and none for longer than 10 s", () => {
    const servers = ["1", "2", "3", "4", "5", "6"].map((name) => `ws://${name}`);
    const all = setup({ servers });
    const { clock, network, states, start } = all;
    for (const url of servers) network.add(url.slice(5)).state = "hangs";
    start();
    clock.run(9_900);
    expect(dialled(all)).toEqual(servers.slice(0, 4));
    clock.run(1_500);
    expect(dialled(all)).toEqual(servers.slice(4));
    clock.run(10_000);
    expect(states.map(({ name }) => name)).toContain("waiting");
  });

  test("HELLO goes to one of them only", () => {
    const { clock, a, b, start } = setup({ servers: ["ws://a", "ws://b"] });
    a.state = "hangs";
    start();
    clock.run(251);
    a.state = "up";
    clock.run(1_000);
    expect([a.connections.length, b.connections.length]).toEqual([0, 1]);
  });

  test("one that failed comes after all others for 10 minutes", () => {
    const all = setup({ servers: ["ws://a", "ws://b"] });
    const { clock, a, b, start } = all;
    a.state = "refuses";
    start();
    clock.run(10);
    a.state = "up";
    clock.run(9 * MINUTE_MS);
    dialled(all);
    b.state = "refuses";
    b.last.close(1006);
    clock.run(2_000);
    // b is the last server; of the two that failed, a failed first and is a seed.
    expect(dialled(all)).toEqual(["ws://b", "ws://a"]);
    expect(a.connections).toHaveLength(1);
  });

  test.each([
    [{}, "ws://1"],
    [{ secure: false }, "ws://1"],
    [{ address: "last" as const }, "ws://3"],
    [{ protocols: ["tcp", "ws"] }, "tcp://4"],
  ])("M10: a device chooses among one server's addresses: %p", (prefer, first) => {
    const all = setup({ servers: ["ws://c"], prefer });
    const { clock, network, start } = all;
    const c = network.add(
      "c",
      ["ws://c", "ws://1", "ws://3"].map((url) => addressOf(url)),
    );
    const addresses = [
      addressOf("ws://1"),
      addressOf("ws://3"),
      addressOf("tcp://4", { protocol: "tcp" }),
      addressOf("quic://5", { protocol: "quic" }),
    ];
    c.onHello = (connection) => connection.welcome({ servers: [{ name: "c", addresses }] });
    start({ transports: { ws: network.dial, tcp: network.dial } });
    clock.run(10);
    dialled(all);
    c.state = "refuses";
    c.last.close(1006);
    clock.run(500);
    expect(dialled(all)[0]).toBe(first);
  });

  test("M10: secure before others, then by the server's own priority", () => {
    const all = setup({ servers: ["ws://c"] });
    const { clock, network, start } = all;
    const c = network.add("c");
    const addresses = [
      addressOf("ws://plain"),
      addressOf("ws://worse", { secure: true, priority: 2 }),
      addressOf("ws://better", { secure: true, priority: 1 }),
    ];
    c.onHello = (connection) => connection.welcome({ servers: [{ name: "c", addresses }] });
    start();
    clock.run(10);
    dialled(all);
    c.last.close(1006);
    clock.run(505);
    expect(dialled(all).slice(0, 3)).toEqual(["ws://better", "ws://worse", "ws://plain"]);
  });
});

describe("replaced by itself", () => {
  /** A HELLO that a does not answer, and a connection to b. */
  function givenUp(): Setup {
    const all = setup({ servers: ["ws://a", "ws://b"] });
    const { clock, a, b, start } = all;
    a.onHello = () => {};
    start();
    clock.run(12_000);
    expect(b.connections).toHaveLength(1);
    return all;
  }

  test("a HELLO that was given up may replace what came after it: connects again, once", () => {
    const { clock, a, b, states } = givenUp();
    a.state = "refuses";
    b.last.refuse("replaced");
    clock.run(1_000);
    expect(b.connections).toHaveLength(2);
    expect(states.at(-1)!.name).toBe("connected");
    b.last.refuse("replaced");
    clock.run(1_000);
    expect(states.at(-1)!.name).toBe("closed");
  });

  test("also where the HELLO after it is refused for it", () => {
    const { clock, b, states } = givenUp();
    b.onHello = (connection) => {
      connection.refuse("replaced");
      b.onHello = (next) => next.welcome();
    };
    b.last.close(1006);
    clock.run(5_000);
    expect(states.at(-1)!.name).toBe("connected");
  });

  test("a run before this one may have left such a HELLO behind", async () => {
    const { clock, a, states, start } = setup({ servers: ["ws://a"], storage: memory() });
    const first = start();
    clock.run(10);
    const closing = first.close();
    clock.run(10);
    await closing;
    start();
    clock.run(10);
    a.last.refuse("replaced");
    clock.run(1_000);
    expect(states.at(-1)!.name).toBe("connected");
  });

  test("but not after a minute", () => {
    const { clock, b, states } = givenUp();
    clock.run(MINUTE_MS);
    b.last.refuse("replaced");
    clock.run(1_000);
    expect(states.at(-1)!.name).toBe("closed");
  });
});

describe("waiting between attempts", () => {
  test("says why: the last failure, also while the next attempt is under way", () => {
    const { clock, a, states, start } = setup();
    a.state = "refuses";
    start();
    clock.run(100);
    const unreachable = { code: "unreachable", message: "unreachable: ws://a" };
    expect(states.at(-1)).toMatchObject({ name: "waiting", error: unreachable });
    a.state = "hangs";
    clock.run(1_000);
    expect(states.at(-1)).toMatchObject({ name: "connecting", error: unreachable });
    a.state = "up";
    a.onHello = (connection) => connection.refuse("full");
    clock.until(() => states.at(-1)!.error?.code === "full");
    a.onHello = (connection) => connection.welcome();
    clock.until(() => states.at(-1)!.name === "connected");
    expect(states.at(-1)!.error).toBeUndefined();
    a.last.close(1006);
    clock.run(1);
    expect(states.at(-1)).toMatchObject({ name: "waiting", error: unreachable });
  });

  test("begins anew after a connection that lasted", () => {
    const { clock, a, start } = setup();
    a.state = "refuses";
    start();
    clock.run(MINUTE_MS);
    a.state = "up";
    clock.run(MINUTE_MS);
    a.last.close(1006);
    clock.run(600);
    expect(a.connections).toHaveLength(2);
  });

  test("an address that has failed and then served is the first again", () => {
    const all = setup({ servers: ["ws://a"] });
    const { clock, a, b, start } = all;
    a.state = "refuses";
    start();
    clock.run(1);
    a.state = "up";
    clock.run(20_000);
    dialled(all);
    a.last.close(1006);
    clock.run(600);
    expect(dialled(all)).toEqual(["ws://a"]);
    expect(b.connections).toEqual([]);
  });

  test("grows to 30 s, with jitter, and says when it ends", () => {
    const { clock, a, states, network, start } = setup();
    a.state = "refuses";
    start();
    clock.run(3 * MINUTE_MS);
    const times = network.dialled.map(({ at }) => at);
    const pauses = times.slice(1).map((at, i) => at - times[i]!);
    for (const [i, pause] of pauses.entries()) {
      const most = Math.min(30_000, 500 * 2 ** i);
      expect(pause).toBeGreaterThanOrEqual(most / 2);
      expect(pause).toBeLessThanOrEqual(most + 10);
    }
    expect(states.findLast(({ name }) => name === "waiting")!.retryAt).toBeGreaterThan(0);
  });

  test("L9: a server that drops whom it welcomes is left for another one the second time", () => {
    const { clock, a, b, states, start } = setup();
    a.onHello = (connection) => {
      connection.welcome();
      connection.close(1006);
    };
    start();
    clock.run(5_000);
    expect([a.connections.length, b.connections.length]).toEqual([2, 1]);
    expect(states.at(-1)).toMatchObject({ name: "connected", server: "b" });
  });

  test("does not begin anew for a server that accepts and drops", () => {
    const { clock, a, start } = setup();
    a.onHello = (connection) => {
      connection.welcome();
      connection.close(1006);
    };
    start();
    clock.run(MINUTE_MS);
    expect(a.connections.length).toBeLessThan(12);
  });
});

describe("the token", () => {
  test("is not asked for where a ticket will do", () => {
    let asked = 0;
    const { clock, a, start } = setup({ token: () => `token ${++asked}` });
    a.onHello = (connection) => connection.welcome({ ticket: Uint8Array.of(1, 2) });
    start();
    clock.run(10);
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.hello).toMatchObject({ token: "", ticket: Uint8Array.of(1, 2) });
    expect(asked).toBe(1);
  });

  test.each(["bad-token", "token-expired"] as const)(
    "is asked for when the ticket is refused: %s",
    (code) => {
      const { clock, a, states, start } = setup();
      a.onHello = (connection, { ticket }) => {
        if (ticket.length > 0) connection.refuse(code);
        else connection.welcome({ ticket: Uint8Array.of(1) });
      };
      start();
      clock.run(10);
      a.last.close(1006);
      clock.run(1_000);
      expect(a.connections).toHaveLength(3);
      expect(a.last.hello!.token).toBe("token");
      expect(states.at(-1)!.name).toBe("connected");
    },
  );

  test("that is none, as of a variable that is not set, is reported, and asked for again", () => {
    const { clock, errors, states, start } = setup({ token: () => undefined as never });
    start();
    clock.run(100);
    expect(errors).toMatchObject([{ code: "token-failed", cause: "undefined" }]);
    expect(states.at(-1)).toMatchObject({ name: "waiting", error: { code: "token-failed" } });
  });

  test("that cannot be had is reported, and asked for again", () => {
    const cause = new Error("no network");
    let fails = true;
    const { clock, errors, states, start } = setup({
      token: () => (fails ? Promise.reject(cause) : Promise.resolve("token")),
    });
    start();
    clock.run(100);
    expect(errors).toMatchObject([{ code: "token-failed", cause }]);
    expect(states.at(-1)).toMatchObject({ name: "waiting", error: { code: "token-failed" } });
    fails = false;
    clock.run(2_000);
    expect(states.at(-1)!.name).toBe("connected");
  });

  test("that never comes is given up after 30 s", () => {
    const { clock, errors, start } = setup({ token: () => new Promise<string>(() => {}) });
    start();
    clock.run(31_000);
    expect(errors).toMatchObject([{ code: "token-failed" }]);
  });

  test("is renewed on the connection before it expires, and the ticket for it is dropped", () => {
    let asked = 0;
    const { clock, a, start } = setup({ token: () => `token ${++asked}` });
    a.onHello = (connection) => connection.welcome({ ticket: Uint8Array.of(1) });
    start();
    clock.run(10);
    a.last.refuse("token-expiring");
    clock.run(10);
    expect(a.last.frames.at(-1)).toEqual({ type: "auth", token: "token 2" });
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.hello!.token).toBe("token 3");
  });

  test("that cannot be renewed is tried again while the connection lives", () => {
    let fails = false;
    const { clock, a, errors, start } = setup({
      token: () => (fails ? Promise.reject(new Error("no")) : "token"),
    });
    start();
    clock.run(10);
    fails = true;
    a.last.refuse("token-expiring");
    clock.run(100);
    expect(errors).toMatchObject([{ code: "token-failed" }]);
    fails = false;
    clock.run(5_000);
    expect(a.last.frames.at(-1)!.type).toBe("auth");
  });

  test("a connection that ends for its expired token is made anew with another", () => {
    let asked = 0;
    const { clock, a, states, start } = setup({ token: () => `token ${++asked}` });
    a.onHello = (connection) => connection.welcome({ ticket: Uint8Array.of(1) });
    start();
    clock.run(20_000);
    a.last.refuse("token-expired");
    clock.run(1_000);
    expect(a.last.hello!.token).toBe("token 2");
    expect(states.at(-1)!.name).toBe("connected");
  });
});

describe("close codes carry what to do", () => {
  test.each([
    "bad-token",
    "token-expired",
    "device-forbidden",
    "bad-hello",
    "replaced",
    "revoked",
  ] as const)("%s: stop, and say why", (code: ErrorCode) => {
    for (const early of [true, false]) {
      // What expires later can be renewed.
      if (!early && code === "token-expired") continue;
      const { clock, a, states, errors, start } = setup();
      if (early) a.onHello = (connection) => connection.refuse(code);
      const beckon = start();
      const unsent = outcome(beckon.send("bob", "x"));
      clock.run(1);
      a.onSend = () => {};
      clock.run(9);
      if (!early) a.last.refuse(code);
      clock.run(MINUTE_MS);
      expect(a.connections).toHaveLength(1);
      expect(errors).toMatchObject([{ code }]);
      expect(errors[0]!.hint).not.toBe("");
      expect(states.at(-1)).toMatchObject({ name: "closed", error: { code } });
      // Not `closed`: no new client would help against it.
      expect(unsent.error).toBe(errors[0]);
      const late = outcome(beckon.send("bob", "x"));
      clock.run(1);
      expect(late.error).toBe(errors[0]);
    }
  });

  test("a code that is new in the range that stops: stop", () => {
    const { clock, a, states, start } = setup();
    start();
    clock.run(10);
    a.last.close(4555);
    clock.run(MINUTE_MS);
    expect(states.at(-1)!.error).toBeInstanceOf(BeckonError);
    expect(a.connections).toHaveLength(1);
  });

  test.each([CLOSE.full, CLOSE.draining, CLOSE.stopping, 4399])("%p: elsewhere, now", (code) => {
    const { clock, a, b, start } = setup();
    start();
    clock.run(20_000);
    a.last.close(code);
    clock.run(10);
    expect(b.connections).toHaveLength(1);
  });

  test("elsewhere, from the first answer on", () => {
    const { clock, a, b, start } = setup({ servers: ["ws://a", "ws://b"] });
    a.onHello = (connection) => connection.refuse("full");
    start();
    clock.run(20);
    expect(b.connections).toHaveLength(1);
  });

  test("if every server sends one elsewhere, not for ever at once", () => {
    const { clock, a, b, start } = setup();
    for (const server of [a, b]) {
      server.onHello = (connection) => {
        connection.welcome();
        connection.close(CLOSE.full);
      };
    }
    start();
    clock.run(MINUTE_MS);
    expect(a.connections.length + b.connections.length).toBeLessThan(14);
  });

  test.each([CLOSE.unavailable, CLOSE.silent, 1006, 1011])("%p: again, after a pause", (code) => {
    const { clock, a, start } = setup();
    start();
    clock.run(20_000);
    a.last.close(code);
    clock.run(200);
    expect(a.connections).toHaveLength(1);
    clock.run(500);
    expect(a.connections).toHaveLength(2);
  });
});

describe("a redirect", () => {
  test("is followed once: the second HELLO says so, and where it comes from", () => {
    const { clock, a, b, start } = setup();
    a.onHello = (connection) =>
      connection.write({ type: "redirect", server: b.addresses, reason: "associates" });
    start();
    clock.run(10);
    expect(a.last.open).toBe(false);
    expect(b.last.hello).toMatchObject({ noRedirect: true, hinted: "b" });
  });

  test("M12: that leads nowhere is served where it came from, and is avoided", () => {
    const all = setup();
    const { clock, a, b, states, start } = all;
    b.state = "refuses";
    a.onHello = (connection, { noRedirect }) =>
      noRedirect
        ? connection.welcome()
        : connection.write({ type: "redirect", server: b.addresses, reason: "" });
    start();
    clock.run(20);
    expect(dialled(all)).toEqual(["ws://a", "ws://b", "ws://a"]);
    expect(states.at(-1)).toMatchObject({ name: "connected", server: "a" });
    a.last.close(1006);
    clock.run(1_000);
    // At the next connect it is not even tried.
    expect(dialled(all)).toEqual(["ws://a", "ws://a"]);
  });

  test("of a server that redirects all the same is not followed", () => {
    const { clock, a, b, network, states, start } = setup();
    const c = network.add("c");
    a.onHello = (connection) =>
      connection.write({ type: "redirect", server: b.addresses, reason: "" });
    b.onHello = (connection) =>
      connection.write({ type: "redirect", server: c.addresses, reason: "" });
    start();
    clock.run(400);
    expect(c.connections).toHaveLength(0);
    expect(states.at(-1)!.name).toBe("waiting");
  });
});

describe("DRAIN", () => {
  test("B3: the device goes elsewhere within the time, to a server that it names", () => {
    const { clock, a, b, network, start } = setup();
    const c = network.add("c");
    start();
    clock.run(20_000);
    a.last.write({ type: "drain", within: 10_000, servers: [c.addresses] });
    clock.run(10_050);
    expect(a.last.frames.at(-1)!.type).toBe("bye");
    expect([b.connections.length, c.connections.length]).toEqual([0, 1]);
    expect(c.last.hello!.hinted).toBe("c");
  });

  test("within an hour, however long the server gives", () => {
    const { clock, a, b, start } = setup();
    start();
    clock.run(20_000);
    a.last.write({ type: "drain", within: Number.MAX_SAFE_INTEGER, servers: [] });
    clock.run(3_601_000);
    expect(b.connections).toHaveLength(1);
  });

  test("what is unacknowledged goes along", () => {
    const { clock, a, b, start } = setup();
    const beckon = start();
    clock.run(20_000);
    a.onSend = () => {};
    const result = outcome(beckon.send("bob", "x"));
    a.last.write({ type: "drain", within: 1_000, servers: [] });
    clock.run(2_000);
    expect(result.value).toMatchObject({ server: "b" });
    expect(b.last.sends[0]!.id).toEqual(a.last.sends[0]!.id);
  });
});
