import { expect, test } from "bun:test";

import { Bed } from "./test-support/bed.ts";

test("who watches hears where a message was accepted, and where it was delivered", async () => {
  const bed = new Bed();
  const s1 = bed.server("s1");
  const ann = await s1.connect("ann", "phone");
  await s1.connect("bob", "phone");
  await bed.server("s2").connect("cat", "phone");
  await bed.clock.advance(10);
  ann.send("bob", "near");
  ann.send("cat", "far");
  await bed.clock.advance(20);
  const live = { kind: "delivered", from: "ann", device: "phone", accepted: "s1", stored: false };
  expect(s1.observed).toMatchObject([
    { ...live, to: "bob", server: "s1" },
    { ...live, to: "cat", server: "s2" },
  ]);
});

test("M7: of one who is away it hears the hold, how long that took, the push, and whom it names", async () => {
  const bed = new Bed();
  bed.slow.hold = 7;
  const [s1, s2] = [bed.server("s1"), bed.server("s2")];
  const ann = await s1.connect("ann", "phone");
  const bob = await s2.connect("bob", "phone");
  await bed.clock.advance(10);
  bob.disconnect();
  await bed.clock.advance(10);
  ann.send("bob", "hello");
  await bed.clock.advance(2_000);
  expect(s1.observed[0]).toMatchObject({ kind: "held", from: "ann", to: "bob", ms: 7 });
  const pushed = [...s1.observed, ...s2.observed].filter(({ kind }) => kind === "pushed");
  expect(pushed).toMatchObject([{ user: "bob", device: "phone", names: "s1", outcome: "sent" }]);
  await s2.connect("bob", "phone");
  await bed.clock.advance(50);
  expect(s2.observed.filter(({ kind }) => kind === "delivered")).toMatchObject([
    { from: "ann", to: "bob", device: "phone", accepted: "s1", server: "s2", stored: true },
  ]);
});

test("L8: a store that is away is heard of", async () => {
  const bed = new Bed();
  const s1 = bed.server("s1");
  const ann = await s1.connect("ann", "phone");
  await bed.clock.advance(10);
  s1.store.disconnect();
  ann.send("bob", "hello");
  await bed.clock.advance(50);
  expect(s1.observed).toMatchObject([
    { kind: "refused", from: "ann", to: "bob", code: "store-unavailable" },
  ]);
});
