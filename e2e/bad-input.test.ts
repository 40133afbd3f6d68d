import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { CLOSE, LIMITS } from "@beckon/protocol";

import { RawDevice, send } from "./support/raw-device.ts";
import { startSystem } from "./support/system.ts";
import type { System } from "./support/system.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

describe.each(["ws", "tcp"] as const)("by %s", (protocol) => {
  let system: System;
  let url: string;
  const devices: RawDevice[] = [];

  beforeAll(async () => {
    system = await startSystem(1, {
      tcp: [{ hostname: "127.0.0.1", port: 0 }],
      limits: { ...LIMITS, helloTimeout: 300, acknowledge: 1_000 },
    });
    url = system.servers[0]!.urls.find((one) => one.startsWith(`${protocol}:`))!;
  });

  afterAll(async () => {
    for (const device of devices) device.close();
    await system.stop();
  });

  const onlyBy = (one: typeof protocol, name: string, run: () => Promise<void>): void => {
    if (one === protocol) test(name, run);
  };

  async function raw(): Promise<RawDevice> {
    const device = await new RawDevice(url).open();
    devices.push(device);
    return device;
  }

  async function device(user: string, claims: Record<string, unknown> = {}): Promise<RawDevice> {
    const token = await system.token(user, claims);
    return (await raw()).hello({ token });
  }

  describe("a connection that begins wrongly ends with a typed error", () => {
    test("no HELLO in time", async () => {
      const silent = await raw();
      expect(await silent.end()).toEqual({ error: "hello-timeout", code: CLOSE.helloTimeout });
    });

    test("another frame than HELLO", async () => {
      const hasty = await raw();
      hasty.write({ type: "ping" });
      expect(await hasty.end()).toEqual({ error: "hello-expected", code: CLOSE.helloExpected });
    });

    test("a token of another's making, an expired one, none", async () => {
      const good = await system.token("ann");
      const expired = await system.token("ann", {}, Math.floor(Date.now() / 1000) - 10);
      const [head, body] = good.split(".");
      for (const [token, error] of [
        [`${head}.${body}.AAAA`, "bad-token"],
        ["not a token", "bad-token"],
        ["", "bad-token"],
        [expired, "token-expired"],
      ] as const) {
        const stranger = await (await raw()).hello({ token });
        expect((await stranger.end()).error).toBe(error);
      }
    });

    test("another user's device id, and a device id that is none", async () => {
      const token = await system.token("ann", { device: "ann-phone" });
      const thief = await (await raw()).hello({ token, device: "bob-phone" });
      expect((await thief.end()).error).toBe("device-forbidden");
      const odd = await (await raw()).hello({ token, device: "\u0007" });
      expect((await odd.end()).error).toBe("bad-hello");
    });

    test("garbage, and more bytes than a message or a frame may have", async () => {
      const garbage = await device("ann");
      garbage.bytes(new Uint8Array(20).fill(0xff));
      expect((await garbage.end()).error).toBe("bad-frame");
      const huge = await device("ann");
      huge.bytes(frameOf(LIMITS.messageBytes + 1));
      expect((await huge.end()).error).toBe("message-too-large");
      const large = await raw();
      large.bytes(frameOf(LIMITS.helloBytes + 1));
      expect((await large.end()).error).toBe("message-too-large");
    });

    onlyBy("ws", "text", async () => {
      const text = await device("ann");
      text.text("hello");
      expect((await text.end()).error).toBe("bad-frame");
    });

    onlyBy("tcp", "half a frame, and nothing more: as if nothing had come", async () => {
      const torn = await raw();
      torn.bytes(frameOf(1_000).subarray(0, 500));
      expect((await torn.end()).error).toBe("hello-timeout");
    });

    test("a frame that only servers send; one that nobody knows is answered and survived", async () => {
      const mixed = await device("ann");
      mixed.bytes(new Uint8Array([3, 0xa2, 0x01, 0x00]));
      await until(() => mixed.errors.includes("unsupported"), "unsupported");
      expect(mixed.closed).toBeUndefined();
      mixed.write({ type: "pong", time: 1 });
      expect((await mixed.end()).error).toBe("bad-frame");
    });

    test("a RECEIVED for what was never sent", async () => {
      const liar = await device("ann");
      liar.write({ type: "received", ranges: [1, 5] });
      expect((await liar.end()).error).toBe("bad-frame");
    });
  });

  describe("a SEND that cannot be taken is refused by its number, and the connection goes on", () => {
    test("size, recipient, id, lane", async () => {
      const ann = await device("ann-2");
      ann.write(
        send("bob", 1, { payload: new Uint8Array(LIMITS.payload + 1) }),
        send("ann-2", 1),
        send("", 1),
        send("cem", 1, { id: new Uint8Array(16) }),
        send("dan", 3, { prev: 3 }),
        { type: "ping" },
      );
      await until(() => ann.of("pong").length === 1, "PONG");
      expect(ann.of("error").map((error) => error.send)).toEqual([1, 2, 3, 4, 5]);
      expect(ann.errors).toEqual([
        "payload-too-large",
        "bad-recipient",
        "bad-recipient",
        "bad-id",
        "bad-lane",
      ]);
      expect(ann.closed).toBeUndefined();
    });

    test("a window that is over-full: what is within it is taken, what is over it is refused and in order later", async () => {
      const ann = await device("ann-3");
      const burst = Array.from({ length: LIMITS.window + 3 }, (_, at) => send("nobody", at + 1));
      ann.write(...burst);
      const answered = (): number =>
        ann.of("ack").reduce((sum, { count }) => sum + count, 0) + ann.errors.length;
      await until(() => answered() === burst.length, "all answers");
      expect(new Set(ann.errors)).toEqual(new Set(["window-exceeded"]));
      expect(ann.errors.length).toBe(3);
      ann.write(...burst.slice(LIMITS.window));
      await until(() => answered() === burst.length + 3, "the repeats");
      expect(ann.errors.length).toBe(3);
    });
  });

  test("L6: a device that never acknowledges is closed; what was for it is held, and comes again", async () => {
    const ann = await device("ann-4");
    const bob = await device("bob-4");
    ann.write(send("bob-4", 1));
    await until(() => bob.of("deliver").length === 1, "DELIVER");
    expect((await bob.end()).error).toBe("not-acknowledging");
    // It has to be on disk first.
    await until(() => ann.of("ack").length === 1, "ACK");
    expect(ann.of("ack")[0]).toMatchObject({ status: "held", route: "wake" });
    const again = await device("bob-4");
    await until(() => again.of("deliver").length === 1, "DELIVER again");
    expect(again.of("deliver")[0]).toMatchObject({ held: true, redelivered: true, n: 1 });
  });

  test("one device, one connection: the older is closed as replaced, and gets nothing more", async () => {
    const old = await device("eve");
    const young = await device("eve");
    expect(await old.end()).toEqual({ error: "replaced", code: CLOSE.replaced });
    expect(young.of("welcome")[0]!.epoch).toBeGreaterThan(old.of("welcome")[0]!.epoch);
  });

  test("a ticket stands in for the token at the next connect, for this device alone", async () => {
    const first = await device("tom");
    const { ticket } = first.of("welcome")[0]!;
    const second = await (await raw()).hello({ ticket });
    expect(second.of("welcome")[0]).toMatchObject({ user: "tom" });
    const thief = await (await raw()).hello({ ticket, device: "laptop" });
    expect((await thief.end()).error).toBe("bad-token");
  });

  test("AUTH: a new token of the same user is taken, another user's ends the connection", async () => {
    const ann = await device("ann-5");
    ann.write({ type: "auth", token: await system.token("ann-5") }, { type: "ping" });
    await until(() => ann.of("pong").length === 1, "PONG");
    ann.write({ type: "auth", token: await system.token("bob") });
    expect((await ann.end()).error).toBe("bad-token");
  });

  test("L8: the disk is full: refused to be tried again, nothing acknowledged is lost, and it heals", async () => {
    const small = await startSystem(1, {}, { maxBytes: 400 * 1024, shareThread: false });
    try {
      const token = await small.token("ann");
      const ann = await new RawDevice(small.servers[0]!.url).hello({ token });
      const payload = new Uint8Array(16 * 1024);
      for (let n = 1; n <= 40; n++) ann.write(send(`user-${n}`, 1, { payload }));
      const acked = (): number => ann.of("ack").reduce((sum, { count }) => sum + count, 0);
      await until(() => acked() + ann.errors.length === 40, "all answers");
      expect(new Set(ann.errors)).toEqual(new Set(["store-unavailable"]));
      expect(acked()).toBeGreaterThan(0);
      expect(ann.errors.length).toBeGreaterThan(0);
    } finally {
      await small.stop();
    }
  });
});

/** So many bytes that begin as a frame of them does. */
function frameOf(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const length = size - 3;
  bytes.set([(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14]);
  return bytes;
}
