import { describe, expect, test } from "bun:test";

import { CLOSE, type ErrorCode, type Frame, type ServerAddresses } from "@beckon/protocol";

import type { Beckon } from "./beckon.ts";
import type { ConnectOptions } from "./options.ts";
import { memory } from "./storage.ts";
import { addressOf, type FakeConnection, type FakeServer } from "./test-support/fake-server.ts";
import { hintOf, plainCrypto, push } from "./test-support/sealing.ts";
import { collect, outcome, type Setup, setup } from "./test-support/setup.ts";

const MINUTE_MS = 60_000;

interface Moving extends Setup {
  readonly beckon: Beckon;
  /** The connection to be left. */
  readonly old: FakeConnection;
}

/** A client that has been connected to `a` for a while. */
function connected(options: Partial<ConnectOptions> = {}): Moving {
  const all = setup(options);
  const beckon = all.start();
  all.clock.run(20_000);
  all.network.dialled.length = 0;
  return { ...all, beckon, old: all.a.last };
}

function move(old: FakeConnection, { addresses }: { readonly addresses: ServerAddresses }): void {
  old.write({ type: "move", server: addresses, reason: "associates" });
}

/** What the application was told of its state, in short. */
function told({ states }: Setup): string[] {
  return states.map(({ name, server }) => [name, server].join(" ").trim());
}

function kinds({ frames }: FakeConnection): Frame["type"][] {
  return frames.map(({ type }) => type);
}

function texts({ sends }: FakeConnection): string[] {
  return sends.map(({ payload }) => new TextDecoder().decode(payload));
}

const STAYED = ["connecting", "connected a"];
const MOVED = ["connecting", "connected a", "connected b"];

describe("MOVE", () => {
  test.each([
    ["ws", "in memory"],
    ["tcp", "in memory"],
    ["ws", "with a storage"],
    ["tcp", "with a storage"],
  ])("B2: over %s, %s: goes there while this connection works on [P-8.4]", (protocol, where) => {
    const all = setup(where === "in memory" ? {} : { storage: memory() });
    const { clock, network, a, b, start } = all;
    const c = network.add("c", [addressOf(`${protocol}://c`, { protocol })]);
    a.state = "refuses";
    b.onHello = (connection) => connection.welcome({ epoch: 77 });
    const transports = { ws: network.dial, tcp: network.dial };
    const beckon = start({ servers: ["ws://b"], transports });
    clock.run(20_000);
    network.paths.set(`${protocol}://c`, { state: "up", latency: 100 });
    move(b.last, c);
    clock.run(50);
    const during = outcome(beckon.send("bob", "while it dials"));
    clock.run(20);
    expect(during.value).toMatchObject({ server: "b" });
    clock.run(100);
    expect(c.last.hello).toMatchObject({ noRedirect: true, hinted: "c", epoch: 77 });
    expect(kinds(b.last).at(-1)).toBe("bye");
    expect(b.last.open).toBe(false);
    const after = outcome(beckon.send("bob", "there"));
    clock.run(20);
    expect(after.value).toMatchObject({ server: "c" });
    expect(told(all)).toEqual(["connecting", "connected b", "connected c"]);
  });

  test("what is sent meanwhile goes out on the new connection, once all before it is answered", () => {
    const { clock, a, b, old, beckon } = connected();
    a.onSend = () => {};
    const first = outcome(beckon.send("bob", "1"));
    clock.run(5);
    move(old, b);
    clock.run(10);
    expect(b.connections).toHaveLength(1);
    const second = outcome(beckon.send("bob", "2"));
    clock.run(500);
    expect([texts(old), b.last.frames]).toEqual([["1"], []]);
    a.ack(old, 1);
    clock.run(20);
    expect(first.value).toMatchObject({ server: "a" });
    expect([texts(old), texts(b.last)]).toEqual([["1"], ["2"]]);
    expect(second.value).toMatchObject({ server: "b" });
  });

  test("L1: what is not answered within a second is sent again on the new connection, with its id", () => {
    const { clock, a, b, old, beckon } = connected();
    a.onSend = () => {};
    const result = outcome(beckon.send("bob", "1"));
    clock.run(5);
    move(old, b);
    clock.run(990);
    expect(b.last.hello).toBeUndefined();
    clock.run(30);
    expect(b.last.sends).toEqual(old.sends);
    expect(result.value).toMatchObject({ server: "b" });
  });

  test("what is due is acknowledged before it leaves", () => {
    const all = setup();
    const { clock, a, b, start } = all;
    const messages = collect(
      start({
        clock: {
          now: () => clock.now(),
          after: (ms, task) => clock.after(ms, task),
          // What is written waits for longer than WELCOME takes.
          defer: (task) => void clock.after(5, task),
        },
      }),
    );
    clock.run(20_000);
    const old = a.last;
    b.onHello = (connection) => {
      old.deliver({ n: 1 });
      clock.after(1, () => connection.welcome());
    };
    move(old, b);
    clock.run(50);
    expect(messages).toHaveLength(1);
    expect(kinds(old).slice(-2)).toEqual(["received", "bye"]);
    expect(told(all)).toEqual(MOVED);
  });

  describe("L9: that fails changes nothing, and is not tried again for 10 minutes:", () => {
    const failing: [string, (b: FakeServer) => void][] = [
      ["nobody is there", (b) => (b.state = "refuses")],
      ["nobody answers", (b) => (b.state = "hangs")],
      ["the connection ends at once", (b) => (b.onHello = (on) => on.close(1006))],
      ["HELLO is not answered", (b) => (b.onHello = () => {})],
      [
        "REDIRECT",
        (b) =>
          (b.onHello = (on) =>
            on.write({ type: "redirect", server: on.server.addresses, reason: "" })),
      ],
      ...(["full", "draining", "unavailable", "bad-token", "replaced"] as const).map(
        (code: ErrorCode): [string, (b: FakeServer) => void] => [
          code,
          (b) => (b.onHello = (on) => on.refuse(code)),
        ],
      ),
    ];
    test.each(failing)("%s", (_, fail) => {
      const all = connected();
      const { clock, network, b, old, beckon } = all;
      fail(b);
      move(old, b);
      clock.run(10);
      const result = outcome(beckon.send("bob", "1"));
      clock.run(11_000);
      expect(result.value).toMatchObject({ server: "a" });
      expect(told(all)).toEqual(STAYED);
      expect(network.dialled).toHaveLength(1);
      expect(b.connections.filter(({ open }) => open)).toEqual([]);
      b.state = "up";
      b.onHello = (on) => on.welcome();
      move(old, b);
      clock.run(9 * MINUTE_MS);
      expect(network.dialled).toHaveLength(1);
      clock.run(2 * MINUTE_MS);
      move(old, b);
      clock.run(20);
      expect(told(all)).toEqual(MOVED);
    });

    test("the server ends the connection while it waits for what was sent", () => {
      const all = connected();
      const { clock, a, b, old, beckon } = all;
      a.onSend = () => {};
      void beckon.send("bob", "1");
      move(old, b);
      clock.run(100);
      b.last.close(1006);
      clock.run(2_000);
      const result = outcome(beckon.send("bob", "2"));
      a.ack(old, 1);
      clock.run(10);
      a.ack(old, 2);
      clock.run(10);
      expect(result.value).toMatchObject({ server: "a" });
      expect(told(all)).toEqual(STAYED);
    });
  });

  test("M12: takes another address of that server where one does not answer", () => {
    const all = connected();
    const { clock, network, old } = all;
    const c = network.add("c", [addressOf("ws://c1"), addressOf("ws://c2")]);
    network.paths.set("ws://c1", { state: "hangs", latency: 1 });
    move(old, c);
    clock.run(270);
    expect(told(all).at(-1)).toBe("connected c");
    expect(c.connections.map(({ address }) => address.url)).toEqual(["ws://c2"]);
  });

  test("to where it is, or over what it does not speak: stays", () => {
    const all = connected();
    const { clock, network, a, old } = all;
    move(old, a);
    move(old, {
      addresses: { name: "c", addresses: [addressOf("quic://c", { protocol: "quic" })] },
    });
    move(old, { addresses: { name: "c", addresses: [] } });
    clock.run(MINUTE_MS);
    expect(network.dialled).toEqual([]);
    expect(told(all)).toEqual(STAYED);
  });

  test("L10: a second one while one is under way is not followed", () => {
    const all = connected();
    const { clock, network, b, old } = all;
    const c = network.add("c");
    network.paths.set("ws://b", { state: "up", latency: 50 });
    move(old, b);
    move(old, c);
    clock.run(1_000);
    expect(c.connections).toEqual([]);
    expect(told(all)).toEqual(MOVED);
    move(b.last, c);
    clock.run(20);
    expect(told(all).at(-1)).toBe("connected c");
  });

  describe.each([
    ["it dials", (b: FakeServer) => (b.state = "hangs")],
    ["it waits for what was sent", (_: FakeServer, a: FakeServer) => (a.onSend = () => {})],
    ["HELLO is out", (b: FakeServer) => (b.onHello = () => {})],
  ])("while %s", (_, arrange) => {
    function underway(): Moving {
      const all = connected({ push: { provider: "dev", token: "t" } });
      const { clock, a, b, old, beckon } = all;
      arrange(b, a);
      beckon.send("bob", "1").catch(() => {});
      move(old, b);
      clock.run(20);
      return all;
    }

    test.each(["close", "forget"] as const)("%s() ends both connections", (how) => {
      const { clock, network, a, b, beckon } = underway();
      void beckon[how]();
      clock.run(20);
      const open = [...a.connections, ...b.connections].filter((connection) => connection.open);
      expect(open).toEqual([]);
      expect(beckon.state.name).toBe("closed");
      clock.run(MINUTE_MS);
      expect([network.dialled.length, clock.pending]).toEqual([1, 0]);
    });

    test("this connection is lost: the device is connected soon, and never dials beside the move", () => {
      const { clock, network, states, old } = underway();
      old.close(1006);
      clock.run(25_000);
      expect(states.at(-1)!.name).toBe("connected");
      const [first, second] = network.dialled;
      if (second !== undefined) expect(second.at - first!.at).toBeGreaterThanOrEqual(10_000);
    });

    test("this one is revoked: stops", () => {
      const { clock, b, beckon, old, states } = underway();
      old.refuse("revoked");
      clock.run(MINUTE_MS);
      expect(states.at(-1)).toMatchObject({ name: "closed", error: { code: "revoked" } });
      expect(b.connections.filter(({ open }) => open)).toEqual([]);
      expect(beckon.state.name).toBe("closed");
    });
  });

  test("this connection is lost while it waits for what was sent: goes on at once", () => {
    const all = connected();
    const { clock, a, b, old, beckon } = all;
    a.onSend = () => {};
    const result = outcome(beckon.send("bob", "1"));
    move(old, b);
    clock.run(20);
    old.close(1006);
    clock.run(20);
    expect(beckon.state.server).toBe("b");
    expect(result.value).toMatchObject({ server: "b" });
  });

  test("this connection is lost, and the client is closed: nothing is left to do", () => {
    const { clock, b, old, beckon, states } = connected();
    b.state = "hangs";
    move(old, b);
    clock.run(10);
    old.close(1006);
    clock.run(10);
    void beckon.close();
    clock.run(10);
    expect([states.at(-1)!.name, clock.pending]).toEqual(["closed", 0]);
  });

  test("M11: this connection is lost, and a wake names another server: goes there", () => {
    const all = connected({ push: { provider: "dev", token: "t" }, crypto: plainCrypto });
    const { clock, network, b, old, beckon } = all;
    const c = network.add("c");
    b.state = "hangs";
    move(old, b);
    clock.run(10);
    old.close(1006);
    clock.run(10);
    const hint = hintOf(c.addresses, clock.now() + MINUTE_MS);
    void beckon.onWake(push(old.hello!.push!.key, hint));
    clock.run(2_000);
    expect(beckon.state.server).toBe("c");
  });

  test("this connection is lost while HELLO is out: the other one takes over", () => {
    const all = connected();
    const { clock, network, b, old, beckon } = all;
    b.onHello = (on) => void clock.after(3_000, () => on.welcome());
    move(old, b);
    clock.run(10);
    old.close(1006);
    const result = outcome(beckon.send("bob", "1"));
    clock.run(4_000);
    expect(told(all)).toEqual(["connecting", "connected a", "connecting", "connected b"]);
    expect(result.value).toMatchObject({ server: "b" });
    expect(network.dialled).toHaveLength(1);
  });
});

describe("replaced by its own move [P-4.5]", () => {
  test("before WELCOME has come: goes on as if nothing had happened", () => {
    const all = connected();
    const { clock, network, b, old, beckon } = all;
    b.onHello = (on) => {
      old.refuse("replaced");
      clock.after(50, () => on.welcome());
    };
    move(old, b);
    clock.run(10);
    const result = outcome(beckon.send("bob", "1"));
    clock.run(100);
    expect(told(all)).toEqual(MOVED);
    expect(result.value).toMatchObject({ server: "b" });
    expect(network.dialled).toHaveLength(1);
  });

  test("in the moment of WELCOME, or after it", () => {
    for (const late of [0, 1, 2]) {
      const all = connected();
      const { clock, b, old } = all;
      b.onHello = (on) => {
        on.welcome();
        clock.after(late, () => old.refuse("replaced"));
      };
      move(old, b);
      clock.run(MINUTE_MS);
      expect(told(all)).toEqual(MOVED);
    }
  });

  test.each([
    ["is lost", (on: FakeConnection) => on.close(1006)],
    ["does not come", () => {}],
    ["is a refusal", (on: FakeConnection) => on.refuse("unavailable")],
  ])("and WELCOME %s: connects again", (_, answer) => {
    const { clock, b, old, states } = connected();
    b.onHello = (on) => {
      b.onHello = (next) => next.welcome();
      old.refuse("replaced");
      clock.after(50, () => answer(on));
    };
    move(old, b);
    clock.run(12_000);
    expect(states.at(-1)!.name).toBe("connected");
  });

  test("a HELLO that was given up replaces this one later: connects again", () => {
    const { clock, a, b, old, states } = connected();
    b.onHello = () => {};
    move(old, b);
    clock.run(15_000);
    expect(states.at(-1)!.server).toBe("a");
    old.refuse("replaced");
    clock.run(1_000);
    expect(a.connections).toHaveLength(2);
    expect(states.at(-1)!.name).toBe("connected");
  });
});

describe("replaced by another instance of the device: stops", () => {
  function isStopped({ states }: Setup): boolean {
    return states.at(-1)!.name === "closed" && states.at(-1)!.error?.code === "replaced";
  }

  test("before the move has said HELLO", () => {
    const all = connected();
    const { clock, b, old } = all;
    b.state = "hangs";
    move(old, b);
    clock.run(10);
    old.refuse("replaced");
    clock.run(10);
    expect(isStopped(all)).toBe(true);
    clock.run(MINUTE_MS);
    expect(b.connections).toEqual([]);
  });

  test("after the move", () => {
    const all = connected();
    const { clock, b, old } = all;
    move(old, b);
    clock.run(20);
    b.last.refuse("replaced");
    clock.run(MINUTE_MS);
    expect(isStopped(all)).toBe(true);
  });

  test("after a move that was refused", () => {
    const all = connected();
    const { clock, b, old } = all;
    b.onHello = (on) => on.refuse("full");
    move(old, b);
    clock.run(20);
    old.refuse("replaced");
    clock.run(MINUTE_MS);
    expect(isStopped(all)).toBe(true);
  });

  test("after a move that ended before HELLO", () => {
    const all = connected();
    const { clock, a, b, old, beckon } = all;
    a.onSend = () => {};
    beckon.send("bob", "1").catch(() => {});
    move(old, b);
    clock.run(100);
    b.last.close(1006);
    clock.run(2_000);
    old.refuse("replaced");
    clock.run(MINUTE_MS);
    expect(isStopped(all)).toBe(true);
  });

  test("while the move tries another address, after the first one's refusal", () => {
    const all = connected();
    const { clock, network, old } = all;
    const c = network.add("c", [addressOf("ws://c1"), addressOf("ws://c2")]);
    network.paths.set("ws://c2", { state: "hangs", latency: 1 });
    c.onHello = (on) => on.refuse("full");
    move(old, c);
    clock.run(100);
    old.refuse("replaced");
    clock.run(100);
    expect(isStopped(all)).toBe(true);
  });

  test("where it was faster: the move's own connection is refused for it, then this one", () => {
    const all = connected();
    const { clock, b, old } = all;
    b.onHello = (on) => on.refuse("replaced");
    move(old, b);
    clock.run(20);
    old.refuse("replaced");
    clock.run(MINUTE_MS);
    expect(isStopped(all)).toBe(true);
  });
});

describe("messages that came before a move and are handled after it", () => {
  test("L2: are handed over once, and acknowledged when the new server repeats them", () => {
    const { clock, b, old, beckon } = connected();
    const handled: { readonly n: number; done(): void }[] = [];
    beckon.on("message", ({ n }) => new Promise<void>((done) => handled.push({ n, done })));
    for (const n of [1, 2, 3]) old.deliver({ n });
    clock.run(5);
    move(old, b);
    clock.run(20);
    expect(handled.map(({ n }) => n)).toEqual([1]);
    handled[0]!.done();
    clock.run(5);
    expect(handled.map(({ n }) => n)).toEqual([1, 2]);
    for (const n of [1, 2, 3]) b.last.deliver({ n, held: true, redelivered: true });
    b.last.deliver({ n: 4, held: true });
    clock.run(5);
    // 1 is a repeat of what was handled; the others are still with the application.
    expect([old.received, b.last.received]).toEqual([[], [1]]);
    for (let i = 1; i < 4; i++) {
      handled[i]!.done();
      clock.run(5);
    }
    expect(handled.map(({ n }) => n)).toEqual([1, 2, 3, 4]);
    expect([old.received, b.last.received]).toEqual([[], [1, 2, 3, 4]]);
  });

  test("L2: with a storage they are acknowledged before it leaves", () => {
    const { clock, b, old, beckon } = connected({ storage: memory() });
    const handled: number[] = [];
    beckon.on("message", ({ n }) => {
      handled.push(n);
      return new Promise<void>((resolve) => void clock.after(500, resolve));
    });
    for (const n of [1, 2]) old.deliver({ n });
    clock.run(5);
    move(old, b);
    clock.run(20);
    expect(old.received).toEqual([1, 2]);
    for (const n of [1, 2]) b.last.deliver({ n, held: true, redelivered: true });
    clock.run(2_000);
    expect(b.last.received).toEqual([1, 2]);
    expect(handled).toEqual([1, 2]);
  });

  test("L3: one that waits behind a hole waits on, and is handed over when the hole is filled", () => {
    const { clock, b, old, beckon } = connected();
    const messages = collect(beckon);
    old.server.onPull = () => {};
    b.onPull = () => {};
    old.deliver({ n: 1 });
    old.deliver({ n: 3 });
    clock.run(5);
    move(old, b);
    clock.run(20);
    b.last.deliver({ n: 2, held: true });
    clock.run(5);
    expect(messages.map(({ n, gap }) => [n, gap])).toEqual([1, 2, 3].map((n) => [n, false]));
  });
});

describe("L9: a MOVE is not followed, and this server goes on", () => {
  function expectStays(all: Moving): void {
    const { clock, network, b, old } = all;
    move(old, b);
    clock.run(100);
    expect([network.dialled, told(all)]).toEqual([[], STAYED]);
    expect(kinds(old)).not.toContain("bye");
  }

  function expectGoes(all: Moving): void {
    move(all.old, all.b);
    all.clock.run(100);
    expect(told(all)).toEqual(MOVED);
  }

  test("in the background", () => {
    const all = connected();
    all.beckon.background(true);
    expectStays(all);
    all.beckon.background(false);
    expectGoes(all);
  });

  test.each([
    ["a call has come", ({ old }: Moving) => old.deliver({ n: 0, wake: "call" })],
    ["a call's end has come", ({ old }: Moving) => old.deliver({ n: 1, ends: new Uint8Array(16) })],
    ["it has called", ({ beckon }: Moving) => beckon.send("bob", "", { wake: "call" })],
    [
      "it has answered",
      ({ beckon }: Moving) =>
        beckon.send("bob", "", { ends: "01977000-0000-7000-8000-000000000001" }),
    ],
  ])("within 2 minutes in which %s", (_, call) => {
    const all = connected();
    collect(all.beckon);
    void call(all);
    all.clock.run(10);
    expectStays(all);
    all.clock.run(2 * MINUTE_MS - 1_000);
    expectStays(all);
    all.clock.run(1_000);
    expectGoes(all);
  });

  test("while a call that was made offline is on", () => {
    const all = connected();
    const { clock, a, b, old, beckon, network } = all;
    a.state = b.state = "refuses";
    old.close(1006);
    clock.run(10);
    void beckon.send("bob", "", { wake: "call" });
    clock.run(3 * MINUTE_MS);
    a.state = "up";
    clock.until(() => beckon.state.name === "connected");
    network.dialled.length = 0;
    clock.run(20_000);
    move(a.last, b);
    clock.run(100);
    expect(network.dialled).toEqual([]);
  });

  test("with a full window of SENDs", () => {
    const all = setup();
    all.a.limits = { window: 3 };
    all.a.onSend = () => {};
    const beckon = all.start();
    all.clock.run(20_000);
    all.network.dialled.length = 0;
    const moving: Moving = { ...all, beckon, old: all.a.last };
    for (let i = 0; i < 3; i++) void beckon.send("bob", "x");
    all.clock.run(5);
    expectStays(moving);
    all.a.ack(moving.old, 1);
    all.clock.run(1_500);
    move(moving.old, all.b);
    all.clock.run(1_100);
    expect(told(all)).toEqual(MOVED);
  });

  test("with a window full of what the application has not handled", () => {
    const all = setup();
    all.a.limits = { inFlight: 16 };
    const beckon = all.start();
    all.clock.run(20_000);
    all.network.dialled.length = 0;
    const moving: Moving = { ...all, beckon, old: all.a.last };
    for (let n = 1; n <= 14; n++) moving.old.deliver({ n });
    all.clock.run(5);
    expectStays(moving);
    collect(beckon);
    all.clock.run(5);
    expectGoes(moving);
  });

  test("where the application does not want it", () => {
    expectStays(connected({ moves: false }));
    expectStays(connected({ moves: () => false }));
    // Types forbid it: whoever has to wait for the answer has none.
    expectStays(connected({ moves: (() => Promise.resolve(true)) as never }));
    expectGoes(connected({ moves: true }));
    expectGoes(connected({ moves: () => true }));
  });

  test("where a call begins, or the application changes its mind, while it dials", () => {
    let may = true;
    for (const change of [
      ({ old }: Moving) => void old.deliver({ n: 0, wake: "call" }),
      () => void (may = false),
    ]) {
      const all = connected({ moves: () => may });
      const { clock, network, b, old, beckon } = all;
      network.paths.set("ws://b", { state: "up", latency: 100 });
      move(old, b);
      clock.run(50);
      change(all);
      clock.run(1_000);
      expect([b.last.frames, b.last.open, told(all)]).toEqual([[], false, STAYED]);
      const result = outcome(beckon.send("bob", "1"));
      clock.run(10);
      expect(result.value).toMatchObject({ server: "a" });
    }
  });
});

describe("DRAIN", () => {
  function drain(old: FakeConnection, within: number, servers: readonly FakeServer[]): void {
    old.write({ type: "drain", within, servers: servers.map(({ addresses }) => addresses) });
  }

  test("B3: goes to a server that it names, while this connection works on [P-8.5]", () => {
    const all = connected();
    const { clock, b, old, beckon } = all;
    const welcomed: boolean[] = [];
    b.onHello = (on) => {
      welcomed.push(old.open);
      on.welcome();
    };
    drain(old, 10_000, [b]);
    clock.run(5);
    const during = outcome(beckon.send("bob", "1"));
    clock.run(10_000);
    expect(during.value).toMatchObject({ server: "a" });
    expect(welcomed).toEqual([true]);
    expect(b.last.hello).toMatchObject({ noRedirect: true, hinted: "b" });
    expect(kinds(old).at(-1)).toBe("bye");
    expect(told(all)).toEqual(MOVED);
  });

  test("B3: to the next one where the first takes no devices", () => {
    const all = connected();
    const { clock, network, b, old } = all;
    const c = network.add("c");
    c.onHello = (on) => on.refuse("full");
    drain(old, 100, [c, b]);
    clock.run(200);
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://c", "ws://b"]);
    expect(told(all)).toEqual(MOVED);
  });

  test("B3: leaves all the same where none of them can be had, and dials", () => {
    const all = connected();
    const { clock, network, b, old } = all;
    const c = network.add("c");
    c.state = "refuses";
    drain(old, 100, [c]);
    clock.run(300);
    expect(kinds(old).at(-1)).toBe("bye");
    expect(b.connections).toHaveLength(1);
    expect(told(all)).toEqual([...STAYED, "connecting", "connected b"]);
  });

  test.each([
    ["in the background", ({ beckon }: Moving) => beckon.background(true)],
    ["during a call", ({ old }: Moving) => void old.deliver({ n: 0, wake: "call" })],
  ])("goes also %s, and where the application wants no moves", (_, arrange) => {
    const all = connected({ moves: false });
    arrange(all);
    drain(all.old, 100, [all.b]);
    all.clock.run(200);
    expect(told(all)).toEqual(MOVED);
  });

  test("what breaks after it leads back last of all", () => {
    const all = connected();
    const { clock, network, b, old } = all;
    const others = ["c", "d", "e"].map((name) => network.add(name));
    drain(old, 100, [b]);
    clock.run(20_000);
    network.dialled.length = 0;
    for (const server of [b, ...others]) server.state = "refuses";
    b.last.close(1006);
    clock.until(() => network.dialled.length === 5);
    expect(network.dialled.map(({ url }) => url).indexOf("ws://a")).toBe(4);
  });

  test("L10: waits for a MOVE that is under way, and goes if that has failed", () => {
    for (const isThere of [true, false]) {
      const all = connected();
      const { clock, network, b, old } = all;
      const c = network.add("c");
      b.onHello = (on) =>
        void clock.after(500, () => (isThere ? on.welcome() : on.refuse("unavailable")));
      move(old, b);
      clock.run(10);
      drain(old, 10, [c]);
      clock.run(1_000);
      expect(c.connections).toHaveLength(isThere ? 0 : 1);
      expect(told(all)).toEqual([...STAYED, isThere ? "connected b" : "connected c"]);
    }
  });

  test("the server closes as draining while it is on its way: it arrives", () => {
    const all = connected();
    const { clock, network, b, old } = all;
    network.paths.set("ws://b", { state: "up", latency: 2_000 });
    drain(old, 10, [b]);
    clock.run(1_000);
    old.close(CLOSE.draining);
    clock.run(2_000);
    expect(told(all)).toEqual([...STAYED, "connecting", "connected b"]);
    expect(network.dialled).toHaveLength(1);
  });
});
