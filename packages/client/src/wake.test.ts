import { describe, expect, test } from "bun:test";

import { formatUuid, type Hint, type PushRegistration, type WakeKey } from "@beckon/protocol";

import { webCrypto } from "./crypto.ts";
import type { SealCrypto } from "./options.ts";
import { memory, type Storage } from "./storage.ts";
import { idOf } from "./test-support/fake-server.ts";
import { PUSH_FORMS } from "./test-support/push-forms.ts";
import { hintOf, plainCrypto, push } from "./test-support/sealing.ts";
import { outcome, seededRandom, type Setup, setup } from "./test-support/setup.ts";
import type { Wake } from "./wake-event.ts";

const PUSH = { provider: "dev", token: "phone-1" };
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A device that was registered by a first run on server `a`, and sleeps. */
async function sleeping(): Promise<Setup & { key: WakeKey; storage: Storage }> {
  const storage = memory();
  const all = setup({ push: PUSH, storage, crypto: plainCrypto });
  const beckon = all.start();
  all.clock.run(10);
  const { key } = all.a.last.hello!.push!;
  const closing = beckon.close();
  all.clock.run(10);
  await closing;
  all.network.dialled.length = 0;
  return { ...all, key, storage };
}

describe("registration", () => {
  test("is said until it was welcome, and again when it changes", async () => {
    const { clock, a, start } = setup({ storage: memory(), crypto: plainCrypto });
    const said: (PushRegistration | undefined)[] = [];
    for (const token of ["1", "1", "2"]) {
      const beckon = start({ push: { provider: "dev", token } });
      clock.run(10);
      said.push(a.last.hello!.push);
      const closing = beckon.close();
      clock.run(10);
      await closing;
    }
    expect(said[0]).toMatchObject({ provider: "dev", token: "1" });
    expect(said[0]!.key.key).toHaveLength(32);
    expect(said[1]).toBeUndefined();
    expect(said[2]!.token).toBe("2");
    expect(said[2]!.key.id).not.toBe(said[0]!.key.id);
  });

  test("that no server has welcomed is said again", () => {
    const { clock, a, start } = setup({ push: PUSH });
    a.onHello = (connection) => connection.close(1006);
    start();
    clock.run(1_000);
    expect(a.connections.length).toBeGreaterThan(1);
    for (const { hello } of a.connections) expect(hello!.push).toBeDefined();
  });

  test("has another key after 30 days", async () => {
    const { clock, a, start } = setup({ storage: memory(), push: PUSH });
    const said: (PushRegistration | undefined)[] = [];
    for (const days of [29, 2, 0]) {
      const beckon = start();
      clock.run(10);
      said.push(a.last.hello!.push);
      const closing = beckon.close();
      clock.run(10);
      await closing;
      clock.sleep(days * DAY_MS);
    }
    expect(said.map((one) => one !== undefined)).toEqual([true, false, true]);
    expect(said[2]!.key.id).not.toBe(said[0]!.key.id);
  });

  test("makes the device durable", () => {
    const { clock, a, start } = setup();
    start({ push: PUSH });
    start({ storage: memory(), device: "2" });
    start({ durable: true, device: "3" });
    start({ storage: memory(), durable: false, device: "4" });
    clock.run(10);
    const durable = a.connections.map(({ hello }) => hello!.durable);
    expect(durable).toEqual([true, true, true, false]);
  });

  test("the key is on disk before any server knows it", () => {
    const storage = { ...memory(), write: () => new Promise<void>(() => {}) };
    const { clock, network, start } = setup({ push: PUSH, storage });
    start();
    clock.run(MINUTE_MS);
    expect(network.dialled).toEqual([]);
  });
});

describe("M8: a woken device connects to the server that the wake names", () => {
  test("in place of the last one", async () => {
    const { clock, b, key, network, start } = await sleeping();
    const result = outcome(start().onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(20);
    expect(result.value).toBe("connected");
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://b"]);
    expect(b.last.hello!.hinted).toBe("b");
  });

  test("though opening the wake takes a while: nothing is dialled before", async () => {
    const { clock, b, key, network, start } = await sleeping();
    const crypto: SealCrypto = {
      async open(...args) {
        await new Promise<void>((resolve) => void clock.after(200, resolve));
        return plainCrypto.open(...args);
      },
    };
    void start({ crypto }).onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(220);
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://b"]);
  });

  test("but not for ever", async () => {
    const { clock, b, key, network, start } = await sleeping();
    const crypto = { open: () => new Promise<Uint8Array>(() => {}) };
    void start({ crypto }).onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(1_010);
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://a"]);
  });

  test("also when it is already dialling another", async () => {
    const { clock, a, b, key, start } = await sleeping();
    a.state = "hangs";
    const beckon = start();
    clock.run(100);
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(20);
    expect(result.value).toBe("connected");
    expect([a.connections.length, b.connections.length]).toEqual([1, 1]);
  });

  test("also when it is waiting between two attempts", async () => {
    const { clock, a, b, key, start } = await sleeping();
    a.state = "refuses";
    b.state = "refuses";
    const beckon = start();
    clock.run(MINUTE_MS);
    b.state = "up";
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(20);
    expect(result.value).toBe("connected");
  });

  test("M12: and when that cannot be reached, to another one", async () => {
    const { clock, b, key, states, start } = await sleeping();
    b.state = "refuses";
    const result = outcome(start().onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(20);
    expect(result.value).toBe("connected");
    expect(states.at(-1)).toMatchObject({ server: "a" });
  });

  test("M12: also when that does not answer, after 1.5 s, and not before: it may be far away", async () => {
    const { clock, b, key, network, start } = await sleeping();
    b.state = "hangs";
    const result = outcome(start().onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(1_490);
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://b"]);
    clock.run(20);
    expect(result.value).toBe("connected");
    expect(network.dialled.map(({ url }) => url)).toEqual(["ws://b", "ws://a"]);
  });

  test("though its address failed a moment ago: the wake is newer", async () => {
    const { clock, a, b, key, states, start } = await sleeping();
    b.state = "refuses";
    const beckon = start();
    void beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(20);
    expect(states.at(-1)).toMatchObject({ name: "connected", server: "a" });
    a.last.close(1006);
    clock.run(1);
    b.state = "up";
    void beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(20);
    expect(states.at(-1)).toMatchObject({ name: "connected", server: "b" });
  });

  test("once: the next connect is its own affair", async () => {
    const { clock, b, key, start } = await sleeping();
    void start().onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(20);
    expect(b.last.hello!.hinted).toBe("b");
    b.last.close(1006);
    clock.run(1_000);
    expect(b.connections).toHaveLength(2);
    expect(b.last.hello!.hinted).toBe("");
  });

  test("not when the wake has expired meanwhile", async () => {
    const { clock, a, b, key, start } = await sleeping();
    for (const server of [a, b]) server.state = "refuses";
    void start().onWake(push(key, hintOf(b.addresses, clock.now() + MINUTE_MS)));
    clock.run(2 * MINUTE_MS);
    for (const server of [a, b]) server.state = "up";
    clock.run(MINUTE_MS);
    expect([a.connections.length, b.connections.length]).toEqual([2, 0]);
  });

  test("if none can be reached in 30 s it says so, and goes on trying", async () => {
    const { clock, a, b, key, start } = await sleeping();
    for (const server of [a, b]) server.state = "refuses";
    const beckon = start();
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(31_000);
    expect(result.value).toBe("ignored");
    b.state = "up";
    clock.run(MINUTE_MS);
    expect(beckon.state.name).toBe("connected");
  });
});

describe("the application is told what a wake says, before anything is dialled", () => {
  test("of messages, and of a call and its end [P-9.5]", async () => {
    const { clock, b, key, network, start } = await sleeping();
    const beckon = start();
    const told: Wake[] = [];
    const dialled: number[] = [];
    beckon.on("wake", (wake) => {
      told.push(wake);
      dialled.push(network.dialled.length);
    });
    const expires = clock.now() + DAY_MS;
    const call = idOf(7);
    const says: Partial<Hint>[] = [
      { wake: "call", call, preview: "Bob calls" },
      { wake: "silent", call, ended: true },
      { activity: 3, preview: "Hi" },
    ];
    for (const one of says) void beckon.onWake(push(key, hintOf(b.addresses, expires, one)));
    clock.run(20);
    const id = formatUuid(call);
    const all = { from: "bob", activity: 1, preview: "", call: undefined, ended: false, expires };
    expect(told).toEqual([
      { ...all, class: "call", call: id, preview: "Bob calls" },
      { ...all, class: "silent", call: id, ended: true },
      { ...all, class: "message", activity: 3, preview: "Hi" },
    ]);
    expect(dialled[0]).toBe(0);
  });

  test("not of what was forged", async () => {
    const { clock, b, key, start } = await sleeping();
    const beckon = start();
    const told: Wake[] = [];
    beckon.on("wake", (wake) => void told.push(wake));
    const other = { ...key, key: new Uint8Array(32).fill(9) };
    void beckon.onWake(push(other, hintOf(b.addresses, clock.now() + DAY_MS)));
    clock.run(20);
    expect(told).toEqual([]);
  });
});

describe("a device that is connected", () => {
  test("stays where it is", async () => {
    const { clock, a, b, key, start } = await sleeping();
    const beckon = start();
    clock.run(10);
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(20);
    expect(result.value).toBe("connected");
    expect([a.last.open, b.connections.length]).toEqual([true, 0]);
    // Nor does it go there later.
    a.last.close(1006);
    clock.run(1_000);
    expect(b.connections).toHaveLength(0);
  });

  test("waits for nothing more when it is closed while it finds out", async () => {
    const { clock, a, b, key, start } = await sleeping();
    const beckon = start();
    clock.run(10);
    a.last.silent = true;
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(100);
    const closing = beckon.close();
    clock.run(1_000);
    await closing;
    expect(result.value).toBe("ignored");
  });

  test("finds out that it is not, and follows the hint", async () => {
    const { clock, a, b, key, start } = await sleeping();
    const beckon = start();
    clock.run(10);
    a.last.silent = true;
    const result = outcome(beckon.onWake(push(key, hintOf(b.addresses, clock.now() + DAY_MS))));
    clock.run(6_000);
    expect(result.value).toBe("connected");
    expect(b.connections).toHaveLength(1);
  });
});

describe("B5: ignored", () => {
  test.each([
    ["no push of ours", "hello"],
    ["JSON of something else", '{"aps":{}}'],
    ["broken JSON", '{"beckon":'],
    ["nothing", undefined],
    ["a number", 7],
    ["no base64url", { beckon: "!!" }],
    ["no wake", { beckon: "AAAA" }],
    ["a list", [{ beckon: "AAAA" }]],
  ])("%s", async (_, data) => {
    const { clock, start } = await sleeping();
    const result = outcome(start().onWake(data));
    clock.run(10);
    expect(result.value).toBe("ignored");
  });

  test.each([
    ["for another device", (all: Sleeping) => push(all.key, fresh(all), "tablet")],
    [
      "sealed with another key",
      (all: Sleeping) => push({ ...all.key, key: new Uint8Array(32) }, fresh(all)),
    ],
    ["with a key that it never had", (all: Sleeping) => push({ ...all.key, id: 1 }, fresh(all))],
    ["expired", (all: Sleeping) => push(all.key, hintOf(all.b.addresses, all.clock.now() - 10))],
  ])("a wake %s", async (_, make) => {
    const all = await sleeping();
    const result = outcome(all.start().onWake(make(all)));
    all.clock.run(10);
    expect(result.value).toBe("ignored");
    expect(all.network.dialled.map(({ url }) => url)).toEqual(["ws://a"]);
  });

  test("expiry is judged by the server's clock", async () => {
    const all = await sleeping();
    const { clock, a, key, start } = all;
    a.onHello = (connection) => connection.welcome({ time: clock.now() + DAY_MS });
    const beckon = start();
    clock.run(10);
    const early = outcome(beckon.onWake(push(key, hintOf(a.addresses, clock.now() + DAY_MS / 2))));
    const later = outcome(beckon.onWake(push(key, hintOf(a.addresses, clock.now() + 2 * DAY_MS))));
    clock.run(10);
    expect([early.value, later.value]).toEqual(["ignored", "connected"]);
  });

  test("a wake opens twice: for a service worker, then for the application", async () => {
    const all = await sleeping();
    const data = push(all.key, fresh(all));
    const answers: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const beckon = all.start();
      const result = outcome(beckon.onWake(data));
      all.clock.run(50);
      answers.push(result.value);
      const closing = beckon.close();
      all.clock.run(10);
      await closing;
    }
    expect(answers).toEqual(["connected", "connected", "ignored"]);
  });

  test("the key before the last still opens; the one before that does not", async () => {
    const all = await sleeping();
    const { clock, start } = all;
    const answers: unknown[] = [];
    for (const token of ["2", "3"]) {
      const beckon = start({ push: { provider: "dev", token } });
      const result = outcome(beckon.onWake(push(all.key, fresh(all))));
      clock.run(50);
      answers.push(result.value);
      const closing = beckon.close();
      clock.run(10);
      await closing;
    }
    expect(answers).toEqual(["connected", "ignored"]);
  });
});

type Sleeping = Awaited<ReturnType<typeof sleeping>>;

function fresh({ b, clock }: Sleeping): Hint {
  return hintOf(b.addresses, clock.now() + DAY_MS);
}

describe("any form in which a push may come", () => {
  test.each(PUSH_FORMS)("%s", async (_, wrap) => {
    const all = await sleeping();
    const { beckon } = JSON.parse(push(all.key, fresh(all))) as { beckon: string };
    const result = outcome(all.start().onWake(wrap(beckon)));
    all.clock.run(20);
    expect(result.value).toBe("connected");
    expect(all.network.dialled.map(({ url }) => url)).toEqual(["ws://b"]);
  });

  const cyclic: Record<string, unknown> = { aps: {} };
  cyclic["self"] = { notification: cyclic, data: [cyclic] };
  const buried: unknown = Array.from({ length: 100 }).reduce((data) => ({ data }), {
    beckon: "AAAA",
  });
  const refusing = (): never => {
    throw new Error("no");
  };
  test.each<[string, unknown]>([
    ["itself", cyclic],
    ["a text of JSON in a text of JSON, without end", nested(40)],
    ["much too much text", `{"a":"${"x".repeat(1_000_000)}"}`],
    [
      "a hundred thousand objects",
      Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [i, {}])),
    ],
    ["a million bytes", { data: new Uint8Array(1_000_000) }],
    ["what is buried a hundred deep", buried],
    ["an object that does not say what it has", new Proxy({}, { ownKeys: refusing })],
    ["an object without end", endless()],
  ])("L10: %s is looked into as far as its bounds go, and ignored", async (_, data) => {
    const { clock, start } = await sleeping();
    const result = outcome(start().onWake(data));
    clock.run(10);
    expect(result).toEqual({ value: "ignored" });
  });

  test("a field that throws when it is read hides no other", async () => {
    const all = await sleeping();
    const { beckon } = JSON.parse(push(all.key, fresh(all))) as { beckon: string };
    const data = {
      get alert() {
        return refusing();
      },
      data: { beckon },
    };
    const result = outcome(all.start().onWake(data));
    all.clock.run(20);
    expect(result.value).toBe("connected");
  });
});

/** JSON as text in JSON as text; each level doubles what is escaped. */
function nested(levels: number): string {
  let text = '{"beckon":1}';
  for (let level = 0; level < levels && text.length < 1_000_000; level++)
    text = JSON.stringify({ text });
  return text;
}

/** Has itself under another name each time that it is asked. */
function endless(): object {
  const get = (): object => endless();
  const ownKeys = (): string[] => ["data"];
  const getOwnPropertyDescriptor = (): PropertyDescriptor => ({
    enumerable: true,
    configurable: true,
  });
  return new Proxy({}, { get, ownKeys, getOwnPropertyDescriptor });
}

describe("what a push that leads nowhere is good for", () => {
  test("it says that there is a network: a device that waits tries at once", async () => {
    const { clock, a, b, start } = await sleeping();
    for (const server of [a, b]) server.state = "refuses";
    const beckon = start();
    clock.run(10 * MINUTE_MS);
    a.state = "up";
    const result = outcome(beckon.onWake({ aps: {} }));
    clock.run(10);
    expect([result.value, beckon.state.name]).toEqual(["ignored", "connected"]);
  });
});

describe("M11: of several wakes a device follows one by a rule", () => {
  test.each([
    ["last", "c"],
    ["first", "b"],
    ["most-active", "a"],
  ] as const)("%s", async (wake, server) => {
    const all = await sleeping();
    const { clock, a, b, key, network, states, start } = all;
    const c = network.add("c");
    const beckon = start({ prefer: { wake } });
    for (const [to, activity] of [
      [b, 1],
      [a, 9],
      [c, 2],
    ] as const) {
      void beckon.onWake(push(key, hintOf(to.addresses, clock.now() + DAY_MS, { activity })));
    }
    clock.run(20);
    expect(states.at(-1)).toMatchObject({ name: "connected", server });
  });
});

test("M11: a call is followed before all messages", async () => {
  const { clock, a, b, key, states, start } = await sleeping();
  const beckon = start();
  const expires = clock.now() + DAY_MS;
  void beckon.onWake(push(key, hintOf(b.addresses, expires, { wake: "call", call: idOf(7) })));
  void beckon.onWake(push(key, hintOf(a.addresses, expires)));
  clock.run(20);
  expect(states.at(-1)).toMatchObject({ name: "connected", server: "b" });
});

test("WebCrypto opens what AES-256-GCM has sealed, and nothing else", async () => {
  const random = seededRandom();
  const [key, nonce] = [new Uint8Array(32), new Uint8Array(12)];
  random(key);
  random(nonce);
  const device = new TextEncoder().encode("phone");
  const imported = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const text = Uint8Array.of(1, 2, 3);
  const algorithm = { name: "AES-GCM", iv: nonce, additionalData: device };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm, imported, text));
  expect(await webCrypto.open(key, nonce, sealed, device)).toEqual(text);
  expect(webCrypto.open(key, nonce, sealed, new TextEncoder().encode("tablet"))).rejects.toThrow();
});
