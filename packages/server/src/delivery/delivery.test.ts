import { describe, expect, test } from "bun:test";

import { decodeDeliverBody } from "@beckon/protocol";

import { Bed } from "./test-support/bed.ts";

const textOf = (payload: Uint8Array): string => new TextDecoder().decode(payload);

describe("deliver", () => {
  test("M4, M5: to a device on the same server: no hop, no disk", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const bob = await s1.connect("bob", "phone");
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(10);
    expect(bob.texts).toEqual(["hello"]);
    expect(bob.received[0]).toMatchObject({ from: "ann", fromDevice: "phone", n: 1, held: false });
    expect(ann.answers).toEqual(["delivered local"]);
    expect(s1.counters).toMatchObject({ deliveredLocal: 1, held: 0 });
  });

  test("M6: to a device on another server: through that server", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await bed.server("s2").connect("bob", "phone");
    await bed.clock.advance(10);
    ann.send("bob", "one");
    ann.send("bob", "two");
    await bed.clock.advance(20);
    expect(bob.texts).toEqual(["one", "two"]);
    expect(ann.answers).toEqual(["delivered remote", "delivered remote"]);
    expect(bed.database.heldRows).toBe(0);
  });

  test("L1: with two durable devices only when both have acknowledged", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    await s1.connect("bob", "phone");
    const laptop = await s1.connect("bob", "laptop", { acknowledges: false });
    for (const session of bed.sessions) Object.assign(session, { setVersion: 2 });
    for (const session of bed.sessions.slice(1)) Object.assign(session, { setSize: 2 });
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(100);
    expect(ann.answers).toEqual([]);
    laptop.acknowledge();
    await bed.clock.advance(10);
    expect(ann.answers).toEqual(["delivered local"]);
  });

  test("copies reach the sender's other device, and are not for the recipient's", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const tablet = await s1.connect("ann", "tablet");
    for (const session of bed.sessions) Object.assign(session, { setVersion: 2, setSize: 2 });
    const bob = await s1.connect("bob", "phone");
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(10);
    expect(tablet.received).toMatchObject([{ from: "ann", to: "bob" }]);
    expect(bob.texts).toEqual(["hello"]);
    expect(ann.received).toEqual([]);
    expect(ann.answers).toEqual(["delivered local"]);
  });

  test("L2: a repeat over a new connection is answered there, and delivered once", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const bob = await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    const sent = ann.send("bob", "hello");
    await bed.clock.advance(10);
    ann.disconnect();
    const again = await s1.connect("ann", "phone");
    again.repeat(sent);
    bob.acknowledge();
    await bed.clock.advance(10);
    expect(bob.texts).toEqual(["hello"]);
    expect(ann.answers).toEqual([]);
    expect(again.answers).toEqual(["delivered local"]);
  });

  test("the same key with another payload is a conflict", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    const sent = ann.send("bob", "hello");
    ann.repeat({ ...sent, payload: new Uint8Array(1) });
    expect(ann.answers).toEqual(["id-conflict"]);
  });
});

describe("hold", () => {
  test("L1: a device that was forgotten while connected does not stand in for one that is away", async () => {
    const bed = new Bed();
    const [s1, s2] = [bed.server("s1"), bed.server("s2")];
    const ann = await s1.connect("ann", "phone");
    const phone = await s1.connect("bob", "phone");
    const laptop = await s2.connect("bob", "laptop");
    await s2.connect("bob", "lost");
    laptop.disconnect();
    await bed.forget("bob", "lost");
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(50);
    expect(phone.texts).toEqual(["hello"]);
    expect(ann.answers).toEqual(["held wake"]);
    const again = await s2.connect("bob", "laptop");
    await bed.clock.advance(50);
    expect(again.texts).toEqual(["hello"]);
  });

  test("L1: what a device sends that was forgotten is copied to one that is away", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const lost = await s1.connect("ann", "lost");
    await s1.connect("ann", "phone");
    const laptop = await s1.connect("ann", "laptop");
    laptop.disconnect();
    await s1.connect("bob", "phone");
    await bed.forget("ann", "lost");
    await bed.clock.advance(10);
    lost.send("bob", "hello");
    await bed.clock.advance(50);
    const again = await s1.connect("ann", "laptop");
    await bed.clock.advance(50);
    expect(again.texts).toEqual(["hello"]);
  });

  test("the connection of a device that was forgotten is closed, and no other", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const old = await s1.connect("bob", "phone");
    const other = await s1.connect("bob", "laptop");
    const before = bed.sessions[0]!;
    const phone = await s1.connect("bob", "phone");
    bed.tell({ kind: "revoked", session: before });
    expect([old.wasReplaced, phone.wasRevoked]).toEqual([true, false]);
    bed.tell({ kind: "revoked", session: bed.sessions.at(-1)! });
    expect([phone.wasRevoked, other.wasRevoked]).toEqual([true, false]);
  });

  test("M7: nobody is connected: kept, and a wake names the sender's server", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const bob = await bed.server("s2").connect("bob", "phone");
    const ann = await s1.connect("ann", "phone");
    bob.disconnect();
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(10);
    expect(ann.answers).toEqual(["held wake"]);
    expect(bed.pushes).toMatchObject([{ user: "bob", device: "phone", server: "s1" }]);
  });

  test("M8: the woken device receives it over its connection, and then live", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const first = await s1.connect("bob", "phone");
    first.disconnect();
    const ann = await s1.connect("ann", "phone");
    ann.send("bob", "one");
    ann.send("bob", "two");
    await bed.clock.advance(10);
    const bob = await s1.connect("bob", "phone");
    await bed.clock.advance(20);
    expect(bob.texts).toEqual(["one", "two"]);
    expect(bob.received.every(({ held }) => held)).toBe(true);
    ann.send("bob", "three");
    await bed.clock.advance(10);
    expect(bob.received[2]).toMatchObject({ held: false });
    expect(ann.answers).toEqual(["held wake", "held wake", "delivered local"]);
    expect(bed.database.heldRows).toBe(0);
    expect(s1.counters).toMatchObject({ heldDeliveredLocal: 2, heldDeliveredRemote: 0 });
  });

  test("L6: a device that is slow to acknowledge gets it held, and settles it when it does", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const bob = await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(600);
    expect(ann.answers).toEqual(["held wake"]);
    expect(bed.database.heldRows).toBe(1);
    bob.acknowledge();
    await bed.clock.advance(10);
    expect(bed.database.heldRows).toBe(0);
    expect(bob.received.length).toBe(1);
  });

  test("L6: a device that never acknowledges is closed after 10 s, and pushed", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const bob = await s1.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    ann.send("bob", "hello");
    await bed.clock.advance(9_000);
    expect(bob.wasSilent).toBe(false);
    expect(bed.pushes).toEqual([]);
    await bed.clock.advance(12_500);
    expect(bob.wasSilent).toBe(true);
    expect(bed.pushes).toMatchObject([{ user: "bob" }]);
  });

  test("L5: a device that came and went without acknowledging is woken again at once", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const first = await s1.connect("bob", "phone");
    first.disconnect();
    const ann = await s1.connect("ann", "phone");
    ann.send("bob", "hello");
    await bed.clock.advance(10);
    expect(bed.pushes).toHaveLength(1);
    const bob = await bed.server("s2").connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(20);
    bob.disconnect();
    await bed.clock.advance(20);
    expect(bob.texts).toEqual(["hello"]);
    expect(bed.pushes).toHaveLength(2);

    const again = await s1.connect("bob", "phone");
    await bed.clock.advance(20);
    again.disconnect();
    await bed.clock.advance(60_000);
    expect(again.texts).toEqual(["hello"]);
    expect(bed.pushes).toHaveLength(2);
  });

  test("L5: a device that leaves while the message is being held for others is woken at once", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await bed.server("s2").connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    // The store is asked beside the live try.
    bed.trusted = false;
    Object.assign(bed.slow, { hold: 20 });
    ann.send("bob", "hello");
    await bed.clock.advance(10);
    bob.disconnect();
    await bed.clock.advance(90);
    expect(ann.answers).toEqual(["held wake"]);
    expect(bed.pushes).toHaveLength(1);
  });

  test("L3: what follows a message that is being held is held, too, and all comes in order", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    const bob = await bed.server("s2").connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    ann.send("bob", "one");
    await bed.clock.advance(5);
    bob.disconnect();
    const again = await s1.connect("bob", "phone");
    ann.send("bob", "two");
    await bed.clock.advance(100);
    ann.send("bob", "three");
    await bed.clock.advance(100);
    expect(again.texts).toEqual(["one", "two", "three"]);
    expect(ann.answers).toEqual(["held wake", "held wake", "delivered local"]);
    expect(again.received[0]!.redelivered).toBe(true);
  });

  test("L3: what was on its way when another server refused the one before it does not overtake it", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await bed.server("s2").connect("bob", "phone");
    await bed.clock.advance(10);
    Object.assign(bed.slow, { hold: 20, pending: 0.5 });
    // Behind as the first one comes, and no more as the second one does: s1 has not heard of the refusal yet.
    bed.clock.after(0.8, () => bob.recipient.kick());
    ann.send("bob", "one");
    await bed.clock.advance(1);
    ann.send("bob", "two");
    await bed.clock.advance(100);
    ann.send("bob", "three");
    await bed.clock.advance(100);
    expect(bob.texts).toEqual(["one", "two", "three"]);
    expect(ann.answers).toEqual(["held wake", "held wake", "delivered remote"]);
  });

  test("L3: a device that is lost while the message is being held for others gets it held, too, before what follows", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await bed.server("s2").connect("bob", "phone");
    await bed.clock.advance(10);
    // The table cannot be relied on: the store is asked beside the live try, and knows of nobody else.
    bed.trusted = false;
    Object.assign(bed.slow, { hold: 20, pending: 0.5 });
    bed.clock.after(0.8, () => bob.recipient.kick());
    ann.send("bob", "one");
    await bed.clock.advance(5);
    ann.send("bob", "two");
    await bed.clock.advance(200);
    expect(bob.texts).toEqual(["one", "two"]);
    expect(ann.answers).toEqual(["held wake", "held wake"]);
  });

  test("L3: what is under way to a connection that may be dead is in the store before what follows it there", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const s2 = bed.server("s2");
    await s2.connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    bed.slow.hold = 60;
    ann.send("bob", "one");
    await bed.clock.advance(240);
    ann.send("bob", "two");
    // The first one has waited for long enough and is being held; the second one has not.
    await bed.clock.advance(30);
    ann.send("bob", "three");
    await bed.clock.advance(130);
    // As the device does over a connection of which s1 has not heard yet.
    const reading = s2.store.messages.pending("bob", "phone", 10);
    await bed.clock.advance(0);
    const texts = (await reading).map(({ body }) => textOf(decodeDeliverBody(body).payload));
    expect(texts).toEqual(["one", "two", "three"]);
  });

  test("a user without a device: the message goes to the first that registers", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    await bed.clock.advance(10);
    ann.send("eve", "welcome");
    await bed.clock.advance(10);
    expect(ann.answers).toEqual(["held wake"]);
    const eve = await s1.connect("eve", "phone");
    await bed.clock.advance(20);
    expect(eve.texts).toEqual(["welcome"]);
  });

  test("L7: a stale entry costs one 'not here', never a message", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const s2 = bed.server("s2");
    const ann = await s1.connect("ann", "phone");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    // The connection is gone and nobody has heard of it.
    s2.delivery.disconnect(bob.recipient);
    ann.send("bob", "hello");
    await bed.clock.advance(20);
    expect(ann.answers).toEqual(["held wake"]);
  });

  test("L8: the bus away: held; the store away: refused, and taken when it is back", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const ann = await s1.connect("ann", "phone");
    await bed.server("s2").connect("bob", "phone", { acknowledges: false });
    await bed.clock.advance(10);
    bed.busUp = false;
    ann.send("bob", "one");
    await bed.clock.advance(20);
    expect(ann.answers).toEqual(["held wake"]);
    s1.store.disconnect();
    const refused = ann.send("bob", "two");
    await bed.clock.advance(20);
    expect(ann.answers[1]).toBe("store-unavailable");
    s1.store.reconnect();
    ann.repeat(refused);
    await bed.clock.advance(20);
    expect(ann.answers[2]).toBe("held wake");
  });

  test("L3: what comes after something that the bus has lost does not overtake it", async () => {
    const bed = new Bed();
    const ann = await bed.server("s1").connect("ann", "phone");
    const s2 = bed.server("s2");
    const bob = await s2.connect("bob", "phone");
    const carol = await s2.connect("carol", "phone");
    await bed.clock.advance(10);
    bed.busLoses = true;
    ann.send("bob", "one");
    await bed.clock.advance(1);
    bed.busLoses = false;
    // The first to tell s2 of it is another one's.
    ann.send("carol", "hello");
    await bed.clock.advance(1);
    ann.send("bob", "two");
    await bed.clock.advance(100);
    ann.send("bob", "three");
    await bed.clock.advance(100);
    expect(bob.texts).toEqual(["one", "two", "three"]);
    expect(carol.texts).toEqual(["hello"]);
    expect(ann.answers).toEqual(["held wake", "held wake", "held wake", "delivered remote"]);
  });

  test("L3: what was refused, and the bus has lost the refusal, is not overtaken either", async () => {
    const bed = new Bed();
    const s2 = bed.server("s2");
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    s2.store.disconnect();
    bob.recipient.kick();
    ann.send("bob", "one");
    bed.clock.after(1, () => (bed.busLoses = true));
    await bed.clock.advance(2);
    bed.busLoses = false;
    s2.store.reconnect();
    ann.send("bob", "two");
    await bed.clock.advance(1_000);
    expect(bob.texts).toEqual(["one", "two"]);
  });

  test("L3: a kick that the bus did not take goes before what is live, though the store cannot be read meanwhile", async () => {
    const bed = new Bed();
    const s2 = bed.server("s2");
    const ann = await bed.server("s1").connect("ann", "phone");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    bed.busUp = false;
    ann.send("bob", "one");
    await bed.clock.advance(5);
    s2.store.disconnect();
    bed.busUp = true;
    ann.send("bob", "two");
    await bed.clock.advance(5);
    ann.send("bob", "three");
    await bed.clock.advance(1_000);
    expect(bob.texts).toEqual([]);
    s2.store.reconnect();
    await bed.clock.advance(2_000);
    expect(bob.texts).toEqual(["one", "two", "three"]);
  });

  test("L4: what a server held before it died reaches a device that is online elsewhere", async () => {
    const bed = new Bed();
    const s1 = bed.server("s1");
    const s2 = bed.server("s2");
    const ann = await s1.connect("ann", "phone");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    bed.busUp = false;
    ann.send("bob", "hello");
    await bed.clock.advance(20);
    expect(ann.answers).toEqual(["held wake"]);
    // No kick reached s2; its tail finds it.
    await bed.clock.advance(3_000);
    expect(bob.texts).toEqual(["hello"]);
  });

  test("L4: what neither kick nor tail has told of is looked for when its wake falls due", async () => {
    const bed = new Bed();
    // The tail does not answer, as one that is past a row that a crash of the database has brought back.
    bed.slow.tail = 1_000_000_000;
    const s1 = bed.server("s1");
    const s2 = bed.server("s2");
    const ann = await s1.connect("ann", "phone");
    const bob = await s2.connect("bob", "phone");
    await bed.clock.advance(10);
    bed.busUp = false;
    ann.send("bob", "hello");
    await bed.clock.advance(20);
    expect(ann.answers).toEqual(["held wake"]);
    bed.busUp = true;
    await bed.clock.advance(5_000);
    expect(bob.texts).toEqual(["hello"]);
    expect(bed.pushes).toEqual([]);
    expect(bed.database.heldRows).toBe(0);
  });
});

test("one device, one live connection: the higher epoch wins, and the other is closed as replaced", async () => {
  const bed = new Bed();
  const old = await bed.server("s1").connect("bob", "phone");
  const young = await bed.server("s2").connect("bob", "phone");
  await bed.clock.advance(10);
  expect(old.wasReplaced).toBe(true);
  expect(young.wasReplaced).toBe(false);
});

test("PULLED comes after what the store held", async () => {
  const bed = new Bed();
  const s1 = bed.server("s1");
  const bob = await s1.connect("bob", "phone");
  await bed.clock.advance(10);
  bob.recipient.pull(1);
  await bed.clock.advance(10);
  expect(bob.pulled).toEqual([1]);
});
