/** Where devices are sent when they connect (M13, B1): whole servers over a bus in memory. */
import { describe, expect, test } from "bun:test";

import { CLOSE, ERRORS, type HelloFrame } from "@beckon/protocol";

import type { Node, NodeParts } from "./node.ts";
import { ruleOf } from "./placement/rule.ts";
import { Bed, type Device } from "./test-support/bed.ts";

const PLACED: Partial<NodeParts> = { placement: { rule: ruleOf("locality"), moves: false } };

async function three(more = PLACED, maxConnections = 100): Promise<{ bed: Bed; nodes: Node[] }> {
  const bed = new Bed();
  const nodes = ["s1", "s2", "s3"].map((name) => bed.node(name, maxConnections, more));
  await bed.clock.advance(3_000);
  return { bed, nodes };
}

/** `ann` at s1 has written to `bob` at s1, who has gone. */
async function acquainted(bed: Bed, s1: Node): Promise<Device> {
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s1, "bob", { noRedirect: true });
  ann.send("bob");
  bob.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(50);
  bob.write({ type: "bye" });
  await bed.clock.advance(50);
  return ann;
}

const whereTo = (device: Device): (string | undefined)[] =>
  device.of("redirect").map(({ server }) => server?.name);

describe("[P-8.3] M13: a device that connects", () => {
  test("is sent to the server where its associate is, with the addresses that suit it, and is closed with 4200", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await acquainted(bed, s1);
    const bob = await bed.device(s1, "bob");
    expect(bob.of("welcome")).toHaveLength(1);
    bob.write({ type: "bye" });
    // Whoever has not seen the two write to each other reads it from the store.
    await bed.clock.advance(2_000);
    const elsewhere = await bed.device(s2, "bob");
    expect(whereTo(elsewhere)).toEqual(["s1"]);
    expect(elsewhere.of("redirect")[0]!.server?.addresses.map(({ url }) => url)).toEqual([
      "ws://s1",
    ]);
    expect([elsewhere.closed, elsewhere.of("welcome").length]).toEqual([CLOSE.redirected, 0]);
    expect(s2.table.find("bob", "phone")).toBeUndefined();
    expect(s2.placement!.redirects.attraction).toBe(1);
  });

  test("B4: is welcomed where it came, and is no redirect, if it speaks nothing that is spoken there", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await acquainted(bed, s1);
    await bed.clock.advance(2_000);
    const bob = await bed.device(s2, "bob", { protocols: ["tcp"] });
    expect(bob.of("welcome")).toHaveLength(1);
    expect(s2.placement!.redirects.attraction).toBe(0);
    expect(s2.placement!.decisionOf("bob", "phone")).toBeUndefined();
  });

  test("is welcomed where it came if it says that it is not to be redirected, and is not sent there again for ten minutes", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await acquainted(bed, s1);
    await bed.clock.advance(2_000);
    const come = (says: Partial<HelloFrame> = {}): Promise<Device> => bed.device(s2, "bob", says);
    expect(whereTo(await come())).toEqual(["s1"]);
    const back = await come({ noRedirect: true });
    expect(back.of("welcome")).toHaveLength(1);
    expect(s2.placement!.unreached).toBe(1);
    back.write({ type: "bye" });
    await bed.clock.advance(50);
    const again = await come();
    expect(again.of("welcome")).toHaveLength(1);
    again.write({ type: "bye" });
    await bed.clock.advance(600_000);
    // She has said nothing for so long.
    await bed.device(s1, "ann", { noRedirect: true });
    expect(whereTo(await come())).toEqual(["s1"]);
  });

  test("goes where the first recipient in its outbox is", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await bed.device(s1, "ann");
    expect(whereTo(await bed.device(s2, "bob", { intent: "ann" }))).toEqual(["s1"]);
    expect((await bed.device(s2, "eve", { intent: "nobody" })).of("welcome")).toHaveLength(1);
  });

  test("M8: stays where the wake led it, whoever else draws", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await acquainted(bed, s1);
    await bed.clock.advance(2_000);
    expect((await bed.device(s2, "bob", { hinted: "s2" })).of("welcome")).toHaveLength(1);
  });

  test("M13: goes where the notification of its associate leads, which has not connected yet", async () => {
    const { bed, nodes } = await three();
    const [s1, s2, s3] = nodes as [Node, Node, Node];
    const ann = await acquainted(bed, s1);
    const zoe = await bed.device(s3, "zoe", { noRedirect: true });
    ann.write({ type: "bye" });
    await bed.clock.advance(2_000);
    // Ann is woken to s3, where zoe is.
    zoe.send("ann");
    await bed.clock.advance(3_000);
    expect(bed.named).toEqual(["s3"]);
    expect(whereTo(await bed.device(s2, "bob"))).toEqual(["s3"]);
  });
});

describe("B1: a server that cannot take a device", () => {
  test("draws nobody when it is full, and sends away whoever comes", async () => {
    const { bed, nodes } = await three(PLACED, 2);
    const [s1, s2] = nodes as [Node, Node];
    await acquainted(bed, s1);
    await bed.device(s1, "eve", { noRedirect: true });
    await bed.clock.advance(2_000);
    expect((await bed.device(s2, "bob")).of("welcome")).toHaveLength(1);
    const late = await bed.device(s1, "zoe");
    expect([whereTo(late).length, late.of("error").length]).toEqual([1, 0]);
    expect(whereTo(late)[0]).not.toBe("s1");
    const stubborn = await bed.device(s1, "zoe", { noRedirect: true });
    expect(stubborn.of("error")).toMatchObject([{ code: ERRORS.full.number }]);
  });

  test("draws nobody when it drains, and sends whoever comes where its associates are", async () => {
    const { bed, nodes } = await three();
    const [s1, , s3] = nodes as [Node, Node, Node];
    await acquainted(bed, s1);
    await bed.clock.advance(2_000);
    void s3.stop({ batch: 10, intervalMs: 100, deadlineMs: 10_000 });
    await bed.device(s3, "eve");
    expect(whereTo(await bed.device(s3, "bob"))).toEqual(["s1"]);
  });

  test("is not sent more devices at once than its cap, whatever its heartbeats say yet", async () => {
    const { bed, nodes } = await three();
    const [s1, s2] = nodes as [Node, Node];
    await bed.device(s1, "ann");
    const come = Array.from({ length: 20 }, (_, i) => `u${i}`);
    // At the same moment, before any of them has arrived at s1.
    const devices = come.map((user) => bed.hello(s2, user, { intent: "ann" }));
    await bed.clock.advance(50);
    const sent = devices.filter((device) => whereTo(device).includes("s1")).length;
    // No server is too full with ten; one seat is ann's.
    expect(sent).toBeGreaterThan(3);
    expect(sent).toBeLessThanOrEqual(9);
  });
});

test("M2: where there is no other server nobody waits for a circle, which is read all the same", async () => {
  const bed = new Bed();
  const alone = bed.node("s1", 100, PLACED);
  await bed.clock.advance(3_000);
  const asked: string[] = [];
  bed.stores.get("s1")!.associates.circle = (user) => {
    asked.push(user);
    return new Promise(() => undefined);
  };
  expect((await bed.device(alone, "bob")).of("welcome")).toHaveLength(1);
  expect(asked).toEqual(["bob"]);
});

test("L9: where the circle cannot be read in time the device stays", async () => {
  const { bed, nodes } = await three();
  const [s1, s2] = nodes as [Node, Node];
  await acquainted(bed, s1);
  await bed.clock.advance(2_000);
  bed.stores.get("s2")!.associates.circle = () => new Promise(() => undefined);
  const bob = await bed.device(s2, "bob");
  expect(bob.of("welcome")).toEqual([]);
  await bed.clock.advance(300);
  expect(bob.of("welcome")).toHaveLength(1);
});
