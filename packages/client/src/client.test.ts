import { afterEach, describe, expect, spyOn, test } from "bun:test";

import { connect } from "./client.ts";
import { BeckonError } from "./errors.ts";
import type { ConnectOptions } from "./options.ts";
import { memory } from "./storage.ts";
import { addressOf } from "./test-support/fake-server.ts";
import { collect, outcome, setup } from "./test-support/setup.ts";

describe("connect", () => {
  test.each([
    ["bad-argument", { servers: [] }],
    ["bad-argument", { servers: ["https://a"] }],
    ["bad-argument", { servers: [""] }],
    ["bad-argument", { device: "a\nb" }],
    ["bad-argument", { token: "secret" as never }],
    ["unsupported-runtime", { servers: ["tcp://a"] }],
  ])("throws %s for options that can never work: %p", (code, options: Partial<ConnectOptions>) => {
    const { start } = setup();
    expect(() => start(options)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test("without a WebSocket says what to do about it", () => {
    const { WebSocket } = globalThis;
    try {
      Object.assign(globalThis, { WebSocket: undefined });
      connect({ servers: ["ws://a"], token: () => "t" });
      throw new Error("it did not throw");
    } catch (error) {
      expect(error).toMatchObject({ code: "unsupported-runtime", retryable: false });
      expect((error as BeckonError).hint).toContain("ws");
    } finally {
      Object.assign(globalThis, { WebSocket });
    }
  });

  test("does not throw for the network, and returns before anything happens", () => {
    const { clock, a, network, start } = setup();
    a.state = "refuses";
    const beckon = start();
    expect([beckon.state.name, network.dialled.length]).toEqual(["connecting", 0]);
    clock.run(10);
    expect(beckon.state.name).toBe("waiting");
  });

  test("makes a device id once, and keeps it in the storage", async () => {
    const { clock, a, start } = setup({ storage: memory() });
    const ids: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { device: _, ...options } = { device: "" };
      const beckon = start({ ...options, device: undefined as never });
      clock.run(10);
      ids.push(a.last.hello!.device);
      const closing = beckon.close();
      clock.run(10);
      await closing;
    }
    expect(ids[0]).toMatch(/^[\da-f-]{36}$/);
    expect(ids[1]).toBe(ids[0]);
  });
});

describe("state", () => {
  test("is told at once, and at each change, with what WELCOME says", () => {
    const { clock, a, states, start } = setup();
    a.onHello = (connection) => connection.welcome({ recovered: false });
    const beckon = start();
    expect(states.map(({ name }) => name)).toEqual(["connecting"]);
    clock.run(10);
    expect(states.at(-1)).toMatchObject({ name: "connected", server: "a", recovered: false });
    expect(beckon.state).toBe(states.at(-1)!);
  });

  test("a listener that has ended hears nothing", () => {
    const { clock, start } = setup();
    const beckon = start();
    const heard: string[] = [];
    beckon.on("state", ({ name }) => heard.push(name))();
    clock.run(10);
    expect(heard).toEqual(["connecting"]);
  });
});

describe("errors", () => {
  test("without a listener go to the console, without what is secret", () => {
    const warn = spyOn(console, "warn").mockImplementation(() => {});
    const { clock, network } = setup();
    connect({
      servers: ["ws://a"],
      token: () => Promise.reject(new Error("secret")),
      clock,
      transports: { ws: network.dial },
    });
    clock.run(10);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]![0]).toStartWith("beckon: token-failed: ");
    expect(String(warn.mock.calls)).not.toContain("secret");
    warn.mockRestore();
  });

  test("have a hint, and do not bear the payload or the token", () => {
    const error = new BeckonError("forbidden");
    expect(error).toBeInstanceOf(Error);
    expect(error.hint).not.toBe("");
  });
});

describe("forget()", () => {
  test("closes, and leaves nothing stored", async () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage, push: { provider: "dev", token: "t" } });
    const beckon = start();
    collect(beckon);
    clock.run(10);
    a.last.deliver({ n: 1 });
    clock.run(10);
    expect([...(await storage.read())]).not.toBeEmpty();
    const forgetting = beckon.forget();
    clock.run(10);
    expect(await forgetting).toBe("forgotten");
    expect([...(await storage.read())]).toEqual([]);
    expect(beckon.state.name).toBe("closed");
    const again = outcome(beckon.forget());
    clock.run(10);
    expect(again).toMatchObject({ error: { code: "closed" } });
  });

  test("says so where what is stored cannot be removed", () => {
    const storage = { ...memory(), clear: () => Promise.reject(new Error("no disk")) };
    const { clock, start } = setup({ storage });
    const beckon = start();
    clock.run(10);
    const forgetting = outcome(beckon.forget());
    clock.run(10);
    expect(forgetting).toMatchObject({ error: { code: "storage-failed" } });
    expect(beckon.state.name).toBe("closed");
  });

  describe("without a connection", () => {
    const { fetch } = globalThis;
    afterEach(() => void Object.assign(globalThis, { fetch }));

    /** Answers as each server does: a status, or nothing. */
    function answering(answers: Readonly<Record<string, number | "never">>) {
      const asked: { url: string; method: string; authorization: string; body: unknown }[] = [];
      const stand = (url: string, init: Asking): Promise<object> => {
        const body: unknown = JSON.parse(init.body);
        asked.push({ url, method: init.method, ...init.headers, body });
        const status = answers[new URL(url).hostname];
        if (status === "never") return new Promise(() => {});
        if (status === undefined) return Promise.reject(new Error("refused"));
        const error = { code: status === 503 ? "unavailable" : "device-forbidden", message: "" };
        return Promise.resolve({ status, json: () => Promise.resolve({ error }) });
      };
      Object.assign(globalThis, { fetch: stand });
      return asked;
    }

    interface Asking {
      readonly method: string;
      readonly headers: { readonly authorization: string };
      readonly body: string;
    }

    /** A phone that was connected, and is offline now. */
    function offline(options: Partial<ConnectOptions> = {}) {
      const world = setup({ storage: memory(), push: { provider: "dev", token: "t" }, ...options });
      const beckon = world.start();
      world.clock.run(50);
      for (const server of [world.a, world.b]) server.state = "refuses";
      for (const connection of world.a.connections) connection.close(1006);
      world.clock.run(50);
      return { ...world, beckon };
    }

    test("asks a server that it knows, with a new token", async () => {
      const asked = answering({ b: 204 });
      const { beckon, clock } = offline();
      const forgetting = beckon.forget();
      clock.run(50);
      expect(await forgetting).toBe("forgotten");
      expect(asked.map(({ url }) => url)).toEqual(["http://a/v1/push", "http://b/v1/push"]);
      expect(asked[1]).toMatchObject({
        method: "DELETE",
        authorization: "Bearer token",
        body: { device: "phone", forget: true },
      });
    });

    test.each([
      ["no server answers", {}],
      ["they cannot now", { a: 503, b: 503 }],
      ["they refuse it", { a: 403, b: 403 }],
    ])("%s: it says that this device alone knows", async (_, answers) => {
      const asked = answering(answers);
      const storage = memory();
      const { beckon, clock } = offline({ storage });
      const forgetting = beckon.forget();
      clock.run(50);
      expect(await forgetting).toBe("local");
      expect(asked).toHaveLength(2);
      expect([...(await storage.read())]).toEqual([]);
    });

    test("L10: a server that never answers is not waited for any longer than 10 s", async () => {
      answering({ a: "never" });
      const { beckon, clock } = offline();
      const forgetting = outcome(beckon.forget());
      clock.run(9_900);
      expect(forgetting).toEqual({});
      clock.run(200);
      expect(forgetting).toEqual({ value: "local" });
    });

    test("a connection that breaks meanwhile, and a server that does not know the word, leave HTTP", async () => {
      for (const answer of ["unavailable", "unsupported"] as const) {
        const asked = answering({ a: 204 });
        const { clock, a, start } = setup({ storage: memory() });
        const beckon = start();
        clock.run(50);
        a.onForget = (connection) => connection.refuse(answer);
        const forgetting = beckon.forget();
        clock.run(11_000);
        expect(await forgetting).toBe("forgotten");
        expect(asked.map(({ url }) => url)).toContain("http://a/v1/push");
      }
    });

    test("a session device is known to nobody", async () => {
      const asked = answering({});
      const { beckon, clock } = offline({ durable: false, push: undefined as never });
      const forgetting = beckon.forget();
      clock.run(50);
      expect(await forgetting).toBe("forgotten");
      expect(asked).toEqual([]);
    });
  });
});

/** Counts its listeners. */
class Counting extends EventTarget {
  listeners = 0;

  override addEventListener(type: string, listener: () => void): void {
    this.listeners++;
    super.addEventListener(type, listener);
  }

  override removeEventListener(type: string, listener: () => void): void {
    this.listeners--;
    super.removeEventListener(type, listener);
  }
}

interface Page {
  readonly document: Counting & { visibilityState: string };
  readonly target: Counting;
}

describe("a page", () => {
  const added: string[] = [];
  afterEach(() => {
    for (const name of added.splice(0)) Reflect.deleteProperty(globalThis, name);
  });

  /** What of a browser the SDK looks at. */
  function browse(visibilityState: string): Page {
    const document = Object.assign(new Counting(), { visibilityState });
    const target = new Counting();
    const globals = {
      document,
      addEventListener: target.addEventListener.bind(target),
      removeEventListener: target.removeEventListener.bind(target),
      dispatchEvent: target.dispatchEvent.bind(target),
    };
    for (const [name, value] of Object.entries(globals)) {
      added.push(name);
      Object.defineProperty(globalThis, name, { value, configurable: true });
    }
    return { document, target };
  }

  test("that is back online does not wait for the next attempt", () => {
    browse("visible");
    const { clock, a, start } = setup();
    a.state = "refuses";
    start();
    clock.run(60_000);
    a.state = "up";
    globalThis.dispatchEvent(new Event("online"));
    clock.run(10);
    expect(a.connections).toHaveLength(1);
  });

  test("that becomes visible probes its connection", () => {
    const { document } = browse("visible");
    const { clock, a, start } = setup();
    start();
    clock.run(10);
    a.last.silent = true;
    document.dispatchEvent(new Event("visibilitychange"));
    clock.run(6_000);
    expect(a.connections).toHaveLength(2);
  });

  test('tells the server that it is hidden, with background: "auto"', () => {
    const { document, target } = browse("hidden");
    const { clock, a, start } = setup();
    const beckon = start({ background: "auto" });
    clock.run(10);
    expect(a.last.hello!.background).toBe(true);
    document.visibilityState = "visible";
    document.dispatchEvent(new Event("visibilitychange"));
    clock.run(10);
    expect(a.last.frames.findLast(({ type }) => type === "state")).toEqual({
      type: "state",
      background: false,
    });
    void beckon.close();
    clock.run(10);
    expect([document.listeners, target.listeners]).toEqual([0, 0]);
  });
});

test("L10: of the system it remembers 64 servers with 16 addresses each", async () => {
  const storage = memory();
  const { clock, a, start } = setup({ storage });
  const addresses = Array.from({ length: 20 }, (_, i) => addressOf(`ws://x${i}`));
  const servers = Array.from({ length: 100 }, (_, i) => ({ name: `s${i}`, addresses }));
  a.onHello = (connection) => connection.welcome({ servers });
  start();
  clock.run(10);
  const place = new Map(await storage.read()).get("m/place") as unknown as {
    servers: typeof servers;
  };
  expect(place.servers).toHaveLength(64);
  expect(place.servers[0]!.addresses).toHaveLength(16);
});

test("trace sees every message, both ways", () => {
  const seen: string[] = [];
  const { clock, start } = setup();
  const beckon = start({
    trace: (direction, { length }) => seen.push(`${direction} ${length > 0}`),
  });
  const result = outcome(beckon.send("bob", "x"));
  clock.run(10);
  expect(result.value).toBeDefined();
  expect(seen).toEqual(["up true", "down true", "up true", "down true"]);
});

describe("a storage that another one has", () => {
  test("close does not wait for it, and nobody is told of a failure", async () => {
    const failure = new BeckonError("storage-failed", "closed");
    let giveUp!: (failure: BeckonError) => void;
    const storage = {
      ...memory(),
      read: () => new Promise<never>((_resolve, reject) => (giveUp = reject)),
      close: () => Promise.resolve(giveUp(failure)),
    };
    const { clock, errors, start } = setup({ storage });
    const beckon = start();
    const unsent = outcome(beckon.send("bob", "hello"));
    const wake = outcome(beckon.onWake({}));
    const closed = outcome(beckon.close());
    clock.run(999);
    expect(closed).toEqual({});
    clock.run(1);
    expect(closed).toHaveProperty("value");
    expect(unsent.error).toMatchObject({ code: "closed" });
    expect(wake.value).toBe("ignored");
    expect(errors).toEqual([]);
  });

  test("what a storage says of its failure is what the application is told", () => {
    const failure = new BeckonError("storage-failed", "ann.beckon: not a storage of Beckon");
    const storage = { ...memory(), read: () => Promise.reject(failure) };
    const { clock, errors, states, start } = setup({ storage });
    start();
    clock.run(10);
    expect(errors).toEqual([failure]);
    expect(states.at(-1)!.error).toBe(failure);
  });
});
