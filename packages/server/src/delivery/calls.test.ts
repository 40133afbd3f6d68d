import { describe, expect, test } from "bun:test";

import { deliverBody, encodeOrigin, uuidv7 } from "@beckon/protocol";
import type { SendFrame } from "@beckon/protocol";

import { request } from "../store/test-support/requests.ts";
import { Bed } from "./test-support/bed.ts";
import type { TestDevice, TestServer } from "./test-support/bed.ts";

/** A call has no lane. */
const CALL: Partial<SendFrame> = { wake: "call", n: 0, prev: 0 };

const endOf = ({ id }: SendFrame): Partial<SendFrame> => ({ ends: id, wake: "none" });

const pushed = (bed: Bed): string[] =>
  bed.pushes.map((push) => `${push.device} ${push.ended ? "ended" : push.class}`);

/** A device that is durable, and away. */
async function away(server: TestServer, user: string, device: string): Promise<void> {
  (await server.connect(user, device)).disconnect();
}

async function pair(bed: Bed): Promise<[TestServer, TestDevice]> {
  const s1 = bed.server("s1");
  await away(s1, "bob", "phone");
  return [s1, await s1.connect("ann", "phone")];
}

describe("[P-5.13] a call", () => {
  test("L5: rings at once, again every 8 s, and is told of as missed after 30 s", async () => {
    const bed = new Bed();
    const [, ann] = await pair(bed);
    const { id } = ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    expect(ann.answers).toEqual(["held wake"]);
    expect(bed.pushes).toMatchObject([{ class: "call", call: id.toHex(), server: "s1" }]);
    await bed.clock.advance(29_000);
    expect(pushed(bed)).toEqual(Array<string>(4).fill("phone call"));
    await bed.clock.advance(2_000);
    expect(pushed(bed).slice(4)).toEqual(["phone message"]);
    // And then as any message.
    await bed.clock.advance(61_000);
    expect(pushed(bed).slice(4)).toEqual(["phone message", "phone message"]);
  });

  test("L5: is pushed for by itself, however lately the device was woken for messages", async () => {
    const bed = new Bed();
    const [, ann] = await pair(bed);
    ann.send("bob", "one");
    await bed.clock.advance(10);
    ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    expect(pushed(bed)).toEqual(["phone message", "phone call"]);
  });

  test("that was on its way for minutes rings no more", async () => {
    const bed = new Bed();
    const [, ann] = await pair(bed);
    const call = ann.send("bob", "ring", { ...CALL, to: "nobody" });
    await bed.clock.advance(121_000);
    ann.repeat({ ...call, to: "bob", id: call.id.with(15, 0) });
    await bed.clock.advance(10);
    expect(pushed(bed)).toEqual(["phone message"]);
  });

  test("L6: rings after 2 s at a device that looks connected and says nothing", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    ann.send("bob", "ring", CALL);
    await bed.clock.advance(1_500);
    expect(pushed(bed)).toEqual([]);
    await bed.clock.advance(2_000);
    expect(pushed(bed)).toEqual(["phone call"]);
  });

  test("rings at a device that is connected in the background", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await s1.connect("bob", "phone", { acknowledges: false, background: true });
    await bed.clock.advance(10);
    ann.send("bob", "ring", CALL);
    await bed.clock.advance(600);
    expect(pushed(bed)).toEqual(["phone call"]);
  });

  test("M5: that a device takes over its connection rings nowhere, and touches no disk", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    const bob = await s1.connect("bob", "phone");
    await bed.clock.advance(10);
    ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    expect(ann.answers).toEqual(["delivered local"]);
    expect(bob.texts).toEqual(["ring"]);
    await bed.clock.advance(31_000);
    expect([bed.pushes, bed.database.heldRows]).toEqual([[], 0]);
  });
});

describe("[P-6.5] before any backlog", () => {
  test("a call is the first that a device gets when it connects", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    for (let count = 0; count < 300; count++) ann.send("bob", `m${count}`);
    ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    const bob = await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    expect(bob.texts.slice(0, 2)).toEqual(["ring", "m0"]);
  });

  test("one that rings no longer is in its place", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    const eve = await s1.connect("eve", "phone");
    ann.send("bob", "m");
    eve.send("bob", "ring", CALL);
    await bed.clock.advance(31_000);
    const bob = await s1.connect("bob", "phone");
    await bed.clock.advance(20);
    expect(bob.texts).toEqual(["m", "ring"]);
  });

  for (const caller of ["s1", "s2"]) {
    test(`[P-6.3] it gets through live, from ${caller}, while the window is full of backlog`, async () => {
      const bed = new Bed();
      const [s1, ann] = await pair(bed);
      const server = caller === "s1" ? s1 : bed.server(caller);
      const eve = await server.connect("eve", "phone");
      for (let count = 0; count < 300; count++) ann.send("bob", `m${count}`);
      await bed.clock.advance(10);
      const bob = await s1.connect("bob", "phone", { acknowledges: false, window: 64 });
      await bed.clock.advance(10);
      expect(bob.received).toHaveLength(56);
      eve.send("bob", "m");
      eve.send("bob", "ring", CALL);
      await bed.clock.advance(20);
      expect(bob.texts.slice(56)).toEqual(["ring"]);
      expect(bob.received[56]).toMatchObject({ held: false });
    });
  }

  test("L4: it gets through from the store, when it was held as the device connected", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    const s2 = bed.server("s2");
    for (let count = 0; count < 300; count++) ann.send("bob", `m${count}`);
    await bed.clock.advance(10);
    const bob = await s1.connect("bob", "phone", { acknowledges: false, window: 64 });
    await bed.clock.advance(10);
    await holdCall(s2, bed.clock.now());
    await bed.clock.advance(1_500);
    expect(bob.texts.slice(56)).toEqual(["ring"]);
    expect(bob.received[56]).toMatchObject({ held: true });
    // What was read before goes on as if nothing had been, and the call comes no second time.
    bob.acknowledges = true;
    bob.acknowledge();
    await bed.clock.advance(5_000);
    expect(bob.texts.filter((text) => text === "ring")).toHaveLength(1);
    expect(bob.received).toHaveLength(301);
  });

  test("more of them than the window has room for wait like others, and are pushed for", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    const bob = await s1.connect("bob", "phone", { acknowledges: false, window: 4 });
    await bed.clock.advance(10);
    for (let count = 0; count < 6; count++) ann.send("bob", `ring ${count}`, CALL);
    await bed.clock.advance(100);
    expect(bob.received).toHaveLength(4);
    expect(ann.answers).toEqual(["held wake", "held wake"]);
  });
});

describe("[P-5.14] the end of a call", () => {
  test("no device is pushed for it any more, and who was is told so, once", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await away(s1, "bob", "laptop");
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    expect(pushed(bed).toSorted()).toEqual(["laptop call", "phone call"]);
    // The phone comes, and its user answers.
    const bob = await bed.server("s2").connect("bob", "phone");
    await bed.clock.advance(10);
    expect(bob.texts).toEqual(["ring"]);
    bob.send("ann", "yes", endOf(call));
    await bed.clock.advance(20);
    expect(ann.received.at(-1)).toMatchObject({ ends: call.id, held: false });
    expect(bed.pushes.slice(2)).toMatchObject([
      {
        device: "laptop",
        class: "silent",
        ended: true,
        call: call.id.toHex(),
        conversation: "ann",
      },
    ]);
    await bed.clock.advance(120_000);
    expect(pushed(bed).slice(2)).toEqual(["laptop ended"]);
    // It is no longer first for who comes now, and not lost.
    const laptop = await s1.connect("bob", "laptop");
    await bed.clock.advance(10);
    expect(laptop.texts.toSorted()).toEqual(["ring", "yes"]);
  });

  test("the caller hangs up: by the class of its message the devices learn of a missed call", async () => {
    const bed = new Bed();
    const [, ann] = await pair(bed);
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(3_000);
    ann.send("bob", "never mind", { ends: call.id });
    await bed.clock.advance(40_000);
    expect(pushed(bed).toSorted()).toEqual(["phone call", "phone ended", "phone message"]);
  });

  test("it is answered before it could be held for a device that is silent: that one does not ring", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    const phone = await s1.connect("bob", "phone");
    await s1.connect("bob", "laptop", { acknowledges: false });
    await bed.clock.advance(10);
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(100);
    phone.send("ann", "yes", endOf(call));
    await bed.clock.advance(60_000);
    expect(pushed(bed)).toEqual([]);
    expect(bed.database.heldRows).toBe(2);
  });

  test("L8: the store is away: it is ended as soon as the store is back", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await away(s1, "bob", "laptop");
    const s2 = bed.server("s2");
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    s2.store.disconnect();
    bob.send("ann", "yes", { ...endOf(call) });
    await bed.clock.advance(2_000);
    expect(pushed(bed)).not.toContain("laptop ended");
    expect(s2.delivery.unsaved).toBeGreaterThan(0);
    s2.store.reconnect();
    await bed.clock.advance(1_500);
    expect(pushed(bed)).toContain("laptop ended");
    expect(s2.delivery.unsaved).toBe(0);
  });

  test("a server dies with what it has not told the store: the call rings until its time is over", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await away(s1, "bob", "laptop");
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    const s2 = bed.server("s2");
    // With copies the laptop's would be held, and end it as well.
    const bob = await s2.connect("bob", "phone", { copies: false });
    await bed.clock.advance(10);
    bed.slow.end = 1_000;
    bob.send("ann", "yes", endOf(call));
    await bed.clock.advance(10);
    expect(ann.texts).toContain("yes");
    s2.store.die();
    bob.disconnect();
    await bed.clock.advance(35_000);
    const laptop = pushed(bed).filter((push) => push.startsWith("laptop"));
    expect(laptop).toEqual([...Array<string>(4).fill("laptop call"), "laptop message"]);
  });

  test("an answer that is held ends the call in the same commit", async () => {
    const bed = new Bed();
    const [s1, ann] = await pair(bed);
    await away(s1, "bob", "laptop");
    const call = ann.send("bob", "ring", CALL);
    await bed.clock.advance(10);
    ann.disconnect();
    const s2 = bed.server("s2");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    bed.slow.end = 1_000;
    bob.send("ann", "yes", endOf(call));
    await bed.clock.advance(20);
    expect(bob.answers).toEqual(["held wake"]);
    s2.store.die();
    bob.disconnect();
    await bed.clock.advance(35_000);
    const laptop = pushed(bed).filter((push) => push.startsWith("laptop"));
    expect(laptop).toEqual(["laptop call", "laptop ended"]);
  });
});

/** Eve's call is held, and no server hears of it but by its tail. */
async function holdCall({ store }: TestServer, now: number): Promise<void> {
  const id = uuidv7(now, (bytes) => void bytes.fill(1));
  const payload = new TextEncoder().encode("ring");
  const ends = new Uint8Array();
  const send = { type: "send", id, to: "bob", n: 0, prev: 0, payload, preview: "", ends } as const;
  const origin = encodeOrigin("eve", "phone", 1, "s2");
  await store.messages.hold([
    request({
      id,
      from: "eve",
      n: 0,
      wake: "call",
      body: deliverBody({ ...send, wake: "call" }, origin, now),
    }),
  ]);
}
