import { describe, expect, test } from "bun:test";
import { systemClock } from "../lib/clock.ts";
import { tellConformance } from "../lib/test-support/conformance.ts";
import type { Bus } from "./bus.ts";
import { type BusHarness, busSuite } from "./bus.suite.ts";
import { createMemoryBus, type MemoryBusHub } from "./memory-bus.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

/** `spoil` may put something between the suite and the bus. */
function harness(spoil: (bus: Bus) => Bus = (bus) => bus): () => Promise<BusHarness> {
  return async () => {
    const hub: MemoryBusHub = createMemoryBus({ clock: systemClock });
    const real = new Map<Bus, Bus>();
    return {
      connect: async () => {
        const bus = hub.connect();
        const shown = spoil(bus);
        real.set(shown, bus);
        return shown;
      },
      // What a turn publishes is handled in the next, and may be answered in one more; 256 messages a turn.
      settle: async () => {
        for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
      },
      cut: async (bus) => hub.cut(real.get(bus)!),
      restore: async (bus) => hub.restore(real.get(bus)!),
      kill: async (bus) => hub.kill(real.get(bus)!),
      close: async () => {
        for (const bus of real.values()) await bus.close();
      },
    };
  };
}

describe("the bus in memory", () => {
  tellConformance("memory", busSuite(test, harness()));

  test("at its bound a queue loses what comes, and the hub counts it (L10)", async () => {
    const clock = new VirtualClock();
    const hub = createMemoryBus({ clock, queueLimit: 3 });
    const [a, b] = [hub.connect(), hub.connect()];
    const got: number[] = [];
    b.subscribe("s", (message) => void got.push(message[0]!));
    for (let i = 0; i < 5; i++) a.publish("s", Uint8Array.of(i));
    await clock.advance(1);
    a.publish("s", Uint8Array.of(9));
    await clock.advance(1);
    expect(got).toEqual([0, 1, 2, 9]);
    expect(hub.lost).toBe(2);
  });

  test("at its bound of requests one more fails at once (L10)", async () => {
    const clock = new VirtualClock();
    const hub = createMemoryBus({ clock, requestLimit: 1 });
    const [a, b] = [hub.connect(), hub.connect()];
    b.subscribe("s", (message, reply) => reply?.(message));
    const first = a.request("s", Uint8Array.of(1), 1000);
    await expect(a.request("s", Uint8Array.of(2), 1000)).rejects.toThrow("too many requests");
    await clock.advance(1);
    expect(await first).toEqual(Uint8Array.of(1));
  });

  test("fate delays and loses, and keeps the order", async () => {
    const clock = new VirtualClock();
    const delays = [30, 10, undefined, 20];
    const hub = createMemoryBus({ clock, fate: () => delays.shift() });
    const [a, b] = [hub.connect(), hub.connect()];
    const got: string[] = [];
    b.subscribe("s", (message) => void got.push(`${message[0]} at ${clock.monotonic()}`));
    for (let i = 0; i < 4; i++) a.publish("s", Uint8Array.of(i));
    await clock.advance(100);
    expect(got).toEqual(["0 at 30", "1 at 30", "3 at 30"]);
    expect(hub.lost).toBe(1);
  });

  test("what is under way is lost when the link goes down, and not what the handle has sent", async () => {
    const clock = new VirtualClock();
    const hub = createMemoryBus({ clock, fate: () => 10 });
    const [a, b] = [hub.connect(), hub.connect()];
    const got: string[] = [];
    a.subscribe("s", () => void got.push("a"));
    b.subscribe("s", () => void got.push("b"));
    a.publish("s", Uint8Array.of(1));
    b.publish("s", Uint8Array.of(1));
    hub.cut(b);
    hub.restore(b);
    await clock.advance(100);
    expect(got).toEqual(["a"]);
  });
});

describe("the suite of the bus finds", () => {
  const defects: [string, string, (bus: Bus) => Bus][] = [
    ["an echo", "never echoes", echoing],
    ["a swap", "FIFO for each publisher and subject, each message once", swapping],
    [
      "a queue for the time without link",
      "while disconnected publish and request fail at once and queue nothing (L8)",
      queueing,
    ],
    [
      "a request that waits for its timeout where nobody listens",
      "request says NobodyListens at once, and the own subscription is nobody",
      patient,
    ],
    [
      "bytes that are shared with the publisher",
      "handlers run in a later turn than publish",
      hasty,
    ],
  ];

  test.each(defects)('%s: "%s" fails', async (_, law, spoil) => {
    const laws = new Map<string, () => Promise<void>>();
    busSuite((name, run) => void laws.set(name, run), harness(spoil));
    await expect(laws.get(law)!()).rejects.toThrow();
  });
});

/** `bus` with some of its methods replaced. */
function withMethods(bus: Bus, methods: Partial<Bus>): Bus {
  return {
    publish: (subject, message) => bus.publish(subject, message),
    subscribe: (subject, handler) => bus.subscribe(subject, handler),
    request: (subject, message, timeoutMs) => bus.request(subject, message, timeoutMs),
    onLink: (listener) => bus.onLink(listener),
    get up() {
      return bus.up;
    },
    close: () => bus.close(),
    ...methods,
  };
}

function echoing(bus: Bus): Bus {
  const own = new Map<string, ((message: Uint8Array) => void)[]>();
  return withMethods(bus, {
    subscribe(subject, handler) {
      own.set(subject, [...(own.get(subject) ?? []), handler]);
      return bus.subscribe(subject, handler);
    },
    publish(subject, message) {
      bus.publish(subject, message);
      setImmediate(() => {
        for (const handler of own.get(subject) ?? []) handler(message);
      });
    },
  });
}

function swapping(bus: Bus): Bus {
  let kept: [string, Uint8Array] | undefined;
  let count = 0;
  return withMethods(bus, {
    publish(subject, message) {
      if (++count === 10) {
        kept = [subject, message];
        return;
      }
      bus.publish(subject, message);
      if (kept !== undefined) bus.publish(...kept);
      kept = undefined;
    },
  });
}

function queueing(bus: Bus): Bus {
  const queue: [string, Uint8Array][] = [];
  bus.onLink((up) => {
    if (up) for (const [subject, message] of queue.splice(0)) bus.publish(subject, message);
  });
  return withMethods(bus, {
    publish(subject, message) {
      if (bus.up) bus.publish(subject, message);
      else queue.push([subject, message.slice()]);
    },
  });
}

function patient(bus: Bus): Bus {
  return withMethods(bus, {
    request: async (subject, message, timeoutMs) => {
      try {
        return await bus.request(subject, message, timeoutMs);
      } catch {
        throw new Error("no answer");
      }
    },
  });
}

const handlers = new Map<string, Set<(message: Uint8Array) => void>>();

/** Calls the handlers within `publish`. */
function hasty(bus: Bus): Bus {
  return withMethods(bus, {
    subscribe(subject, handler) {
      const all = handlers.get(subject) ?? new Set();
      handlers.set(subject, all.add(handler));
      return () => void all.delete(handler);
    },
    publish(subject, message) {
      for (const handler of handlers.get(subject) ?? []) handler(message);
    },
  });
}
