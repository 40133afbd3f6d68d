import { expect } from "bun:test";
import type { Bus } from "./bus.ts";
import { BusTimeout, BusUnavailable, NobodyListens } from "./bus.ts";

/** One system of buses, and what can happen to its links. */
export interface BusHarness {
  connect(): Promise<Bus>;
  /** Resolves when the subscriptions made so far are in force, and what was published so far has been handled. */
  settle(): Promise<void>;
  cut(bus: Bus): Promise<void>;
  restore(bus: Bus): Promise<void>;
  /** Ends the handle without a last word. */
  kill(bus: Bus): Promise<void>;
  close(): Promise<void>;
}

export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** Longer than anything here takes that is not stuck. */
const LONG_MS = 5000;
const SHORT_MS = 50;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (message: Uint8Array): string => new TextDecoder().decode(message);

/** What a backend of {@link Bus} must do. Answers how many laws that is. */
export function busSuite(
  test: TestFunction,
  open: () => Promise<BusHarness>,
): Readonly<Record<string, number>> {
  let laws = 0;
  const law = (name: string, run: (harness: BusHarness) => Promise<void>): void => {
    laws++;
    test(name, async () => {
      const harness = await open();
      try {
        await run(harness);
      } finally {
        await harness.close();
      }
    });
  };

  law("every subscriber of the subject gets a message, and no other", async (harness) => {
    const [a, b, c] = await connect(harness, 3);
    const got = [hear(b, "s"), hear(c, "s"), hear(c, "other")];
    await harness.settle();
    a.publish("s", bytes("1"));
    await harness.settle();
    expect(got).toEqual([["1"], ["1"], []]);
  });

  law("two subscriptions of one handle both get it, until each is ended", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const first: string[] = [];
    const handler = (message: Uint8Array): void => void first.push(text(message));
    const end = b.subscribe("s", handler);
    b.subscribe("s", handler);
    await harness.settle();
    a.publish("s", bytes("1"));
    await harness.settle();
    end();
    end();
    await harness.settle();
    a.publish("s", bytes("2"));
    await harness.settle();
    expect(first).toEqual(["1", "1", "2"]);
  });

  law("FIFO for each publisher and subject, each message once", async (harness) => {
    const [a, b, c] = await connect(harness, 3);
    const got = hear(c, "s");
    await harness.settle();
    for (let i = 0; i < 1000; i++) {
      a.publish("s", bytes(`a${i}`));
      b.publish("s", bytes(`b${i}`));
    }
    await harness.settle();
    const expected = Array.from({ length: 1000 }, (_, i) => i);
    for (const publisher of ["a", "b"]) {
      const own = got.filter((m) => m.startsWith(publisher)).map((m) => Number(m.slice(1)));
      expect(own).toEqual(expected);
    }
  });

  law("never echoes", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const own = hear(a, "s");
    const others = hear(b, "s");
    await harness.settle();
    a.publish("s", bytes("mine"));
    b.publish("s", bytes("yours"));
    await harness.settle();
    expect(own).toEqual(["yours"]);
    expect(others).toEqual(["mine"]);
  });

  law("handlers run in a later turn than publish", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const got = hear(b, "s");
    await harness.settle();
    a.publish("s", bytes("1"));
    const atOnce = got.length;
    await harness.settle();
    expect([atOnce, got.length]).toEqual([0, 1]);
  });

  law(
    "the publisher may use its bytes again, the handler may keep what it got",
    async (harness) => {
      const [a, b] = await connect(harness, 2);
      const kept: Uint8Array[] = [];
      b.subscribe("s", (message) => void kept.push(message));
      await harness.settle();
      const buffer = bytes("1");
      a.publish("s", buffer);
      buffer.set(bytes("2"));
      a.publish("s", buffer);
      buffer.fill(0);
      await harness.settle();
      expect(kept.map(text)).toEqual(["1", "2"]);
    },
  );

  law("takes a message without bytes, and one of half a mebibyte", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const sizes: number[] = [];
    b.subscribe("s", (message) => void sizes.push(message.length));
    await harness.settle();
    a.publish("s", new Uint8Array(0));
    a.publish("s", new Uint8Array(512 * 1024));
    await harness.settle();
    expect(sizes).toEqual([0, 512 * 1024]);
  });

  law("a request is answered, and a published message cannot be", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const answerable: boolean[] = [];
    b.subscribe("s", (message, reply) => {
      answerable.push(reply !== undefined);
      reply?.(bytes(`${text(message)}!`));
    });
    await harness.settle();
    expect(text(await a.request("s", bytes("1"), LONG_MS))).toBe("1!");
    a.publish("s", bytes("2"));
    await harness.settle();
    expect(answerable).toEqual([true, false]);
  });

  law("requests under way at the same time each get their own answer", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const waiting: (() => void)[] = [];
    b.subscribe("s", (message, reply) => void waiting.push(() => reply?.(message)));
    await harness.settle();
    const answers = Promise.all(["1", "2", "3"].map((m) => a.request("s", bytes(m), LONG_MS)));
    await harness.settle();
    for (const answer of waiting.toReversed()) answer();
    expect((await answers).map(text)).toEqual(["1", "2", "3"]);
  });

  law("of several listeners the first answer counts", async (harness) => {
    const [a, b, c] = await connect(harness, 3);
    let late: ((answer: Uint8Array) => void) | undefined;
    b.subscribe("s", (_, reply) => void (late = reply));
    c.subscribe("s", (_, reply) => reply?.(bytes("c")));
    await harness.settle();
    expect(text(await a.request("s", bytes(""), LONG_MS))).toBe("c");
    await harness.settle();
    late?.(bytes("b"));
    await harness.settle();
  });

  law("request says NobodyListens at once, and the own subscription is nobody", async (harness) => {
    const [a, b] = await connect(harness, 2);
    hear(a, "s");
    const end = b.subscribe("s", () => {});
    end();
    await harness.settle();
    expect(await outcome(a.request("s", bytes(""), LONG_MS))).toBe(NobodyListens);
  });

  law("request ends with BusTimeout when nobody answers", async (harness) => {
    const [a, b] = await connect(harness, 2);
    b.subscribe("s", () => {});
    await harness.settle();
    expect(await outcome(a.request("s", bytes(""), SHORT_MS))).toBe(BusTimeout);
  });

  law(
    "while disconnected publish and request fail at once and queue nothing (L8)",
    async (harness) => {
      const [a, b] = await connect(harness, 2);
      const got = hear(b, "s");
      await harness.settle();
      await harness.cut(a);
      expect(a.up).toBe(false);
      expect(() => a.publish("s", bytes("lost"))).toThrow(BusUnavailable);
      expect(await outcome(a.request("s", bytes("lost"), LONG_MS))).toBe(BusUnavailable);
      await harness.restore(a);
      expect(a.up).toBe(true);
      a.publish("s", bytes("back"));
      await harness.settle();
      expect(got).toEqual(["back"]);
    },
  );

  law("what was published to a handle without link does not reach it later", async (harness) => {
    const [a, b, c] = await connect(harness, 3);
    const got = hear(b, "s");
    const others = hear(c, "s");
    await harness.settle();
    await harness.cut(b);
    a.publish("s", bytes("1"));
    await harness.settle();
    await harness.restore(b);
    await harness.settle();
    a.publish("s", bytes("2"));
    await harness.settle();
    expect(got).toEqual(["2"]);
    expect(others).toEqual(["1", "2"]);
  });

  law("subscriptions made before and during the loss of a link work after it", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const before = hear(b, "s");
    await harness.settle();
    await harness.cut(b);
    const during = hear(b, "s");
    await harness.restore(b);
    await harness.settle();
    a.publish("s", bytes("1"));
    await harness.settle();
    expect([before, during]).toEqual([["1"], ["1"]]);
  });

  law("link listeners hear each change of their own link", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const heard: string[] = [];
    a.onLink((up) => void heard.push(up ? "a up" : "a down"));
    const end = b.onLink((up) => void heard.push(up ? "b up" : "b down"));
    await harness.cut(a);
    await harness.restore(a);
    end();
    await harness.cut(b);
    expect(heard).toEqual(["a down", "a up"]);
    expect([a.up, b.up]).toEqual([true, false]);
  });

  law("a request under way ends with BusUnavailable when the link goes down", async (harness) => {
    const [a, b] = await connect(harness, 2);
    b.subscribe("s", () => {});
    await harness.settle();
    const ended = outcome(a.request("s", bytes(""), LONG_MS));
    await harness.cut(a);
    expect(await ended).toBe(BusUnavailable);
  });

  law("a handle that died gets nothing, and the others go on", async (harness) => {
    const [a, b, c] = await connect(harness, 3);
    const dead = hear(b, "s");
    const alive = hear(c, "s");
    b.subscribe("only b", () => {});
    await harness.settle();
    await harness.kill(b);
    a.publish("s", bytes("1"));
    expect(await outcome(a.request("only b", bytes(""), LONG_MS))).toBe(NobodyListens);
    await harness.settle();
    expect([dead, alive]).toEqual([[], ["1"]]);
    expect(() => b.publish("s", bytes("2"))).toThrow(BusUnavailable);
  });

  law("close ends subscriptions and requests; afterwards nothing can be sent", async (harness) => {
    const [a, b] = await connect(harness, 2);
    const got = hear(a, "s");
    b.subscribe("s", () => {});
    await harness.settle();
    const ended = outcome(a.request("s", bytes(""), LONG_MS));
    await a.close();
    await a.close();
    expect(await ended).toBe(BusUnavailable);
    expect(a.up).toBe(false);
    expect(() => a.publish("s", bytes("1"))).toThrow(BusUnavailable);
    expect(await outcome(b.request("s", bytes(""), LONG_MS))).toBe(NobodyListens);
    expect(got).toEqual([]);
  });
  return { Bus: laws };
}

async function connect<N extends 2 | 3>(
  harness: BusHarness,
  count: N,
): Promise<N extends 2 ? [Bus, Bus] : [Bus, Bus, Bus]> {
  const handles: Bus[] = [];
  for (let i = 0; i < count; i++) handles.push(await harness.connect());
  return handles as N extends 2 ? [Bus, Bus] : [Bus, Bus, Bus];
}

/** What arrives on a subject from now on. */
function hear(bus: Bus, subject: string): string[] {
  const heard: string[] = [];
  bus.subscribe(subject, (message) => void heard.push(text(message)));
  return heard;
}

/** The class of the error that the request ends with. */
async function outcome(request: Promise<Uint8Array>): Promise<unknown> {
  try {
    return text(await request);
  } catch (error) {
    return error instanceof Error ? error.constructor : error;
  }
}
