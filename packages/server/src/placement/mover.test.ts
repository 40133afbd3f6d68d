import { describe, expect, test } from "bun:test";

import { CLOSE } from "@beckon/protocol";
import type { HelloFrame, SendFrame } from "@beckon/protocol";

import type { Node } from "../node.ts";
import { Bed, type Device } from "../test-support/bed.ts";
import { ruleOf } from "./rule.ts";

/** Two messages of now are enough. */
const GAIN = 30;
const REST_MS = 600_000;
/** One look at a device, and the next. */
const LOOK_MS = 1_000;

interface Choice {
  readonly gain?: number;
  readonly moves?: boolean;
}

class Town {
  readonly bed: Bed = new Bed();
  readonly nodes: Map<string, Node> = new Map();
  readonly #devices = new Map<string, { device: Device; user: string; node: Node }>();

  static async of(
    servers: readonly (string | [name: string, most: number])[],
    { gain = GAIN, moves = true }: Choice = {},
  ): Promise<Town> {
    const town = new Town();
    for (const server of servers) {
      const [name, most] = typeof server === "string" ? [server, 100] : server;
      const node = town.bed.node(name, most, { placement: { rule: ruleOf(gain), moves } });
      town.nodes.set(name, node);
    }
    await town.bed.clock.advance(3_000);
    return town;
  }

  node(name: string): Node {
    return this.nodes.get(name)!;
  }

  /** Connected there, wherever it belongs. */
  async join(user: string, server: string, says: Partial<HelloFrame> = {}): Promise<Device> {
    const node = this.node(server);
    const device = await this.bed.device(node, user, { noRedirect: true, ...says });
    this.#devices.set(user, { device, user, node });
    return device;
  }

  device(user: string): Device {
    return this.#devices.get(user)!.device;
  }

  /** The message arrives and is acknowledged. */
  async say(from: string, to: string, fields: Partial<SendFrame> = {}): Promise<void> {
    this.device(from).send(to, fields);
    await this.bed.clock.advance(5);
    this.acknowledge(to);
    await this.bed.clock.advance(5);
  }

  acknowledge(user: string): void {
    const device = this.device(user);
    const { length } = device.of("deliver");
    if (length > 0) device.write({ type: "received", ranges: [1, length] });
  }

  /** They write to each other by turns, with time to be looked at in between. */
  async talk(a: string, b: string, messages: number): Promise<void> {
    for (let i = 0; i < messages; i++) {
      await (i % 2 === 0 ? this.say(a, b) : this.say(b, a));
      await this.bed.clock.advance(LOOK_MS);
    }
  }

  /** Who was asked to go, and where to. */
  asked(...users: string[]): string[] {
    return users.flatMap((user) =>
      this.device(user)
        .of("move")
        .map(({ server }) => `${user} ${server.name}`),
    );
  }

  /** It goes where it was asked to, and says BYE to the old connection when it is welcome. */
  async follow(user: string): Promise<{ old: Device; device: Device }> {
    const old = this.device(user);
    const { server } = old.of("move").at(-1)!;
    const { epoch } = old.of("welcome")[0]!;
    const device = await this.join(user, server.name, { hinted: server.name, epoch });
    old.write({ type: "bye" });
    await this.bed.clock.advance(50);
    return { old, device };
  }

  async minutes(count: number): Promise<void> {
    for (let i = 0; i < count * 2; i++) {
      await this.bed.clock.advance(30_000);
      for (const { device } of this.#devices.values()) device.write({ type: "ping" });
    }
  }
}

const CALL: Partial<SendFrame> = { wake: "call", n: 0, prev: 0 };

describe("B2: two who talk across servers", () => {
  test("stay, where what is on its way to one in the moment of the move would be held for other devices of its user alone", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.bed.sleeper(town.node("s1"), "ann");
    await town.join("ann", "s1", { device: "tab", durable: false });
    // Who has no durable device is held for, and may go.
    await town.join("bob", "s2", { device: "tab", durable: false });
    await town.talk("ann", "bob", 4);
    expect(town.asked("ann", "bob")).toEqual(["bob s1"]);
  });

  test("are brought together once there is enough to gain: one of them is asked to move, by the addresses that it can use", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("ann", "bob", 1);
    expect(town.asked("ann", "bob")).toEqual([]);
    await town.talk("ann", "bob", 1);
    expect(town.asked("ann", "bob")).toEqual(["ann s2"]);
    expect(town.device("ann").of("move")[0]).toMatchObject({
      server: { addresses: [{ url: "ws://s2" }] },
      reason: "attraction",
    });
    const { old, device } = await town.follow("ann");
    expect(old.closed).toBe(CLOSE.replaced);
    await town.talk("ann", "bob", 6);
    expect(device.of("ack").map(({ route }) => route)).toEqual(["local", "local", "local"]);
    expect(town.asked("ann", "bob")).toEqual([]);
    await town.minutes(1);
    const [one, other] = [town.node("s1").placement!, town.node("s2").placement!];
    expect([one.moves, one.declined, other.moved]).toEqual([1, 0, 1]);
    expect(one.decisionOf("ann", "phone")).toMatchObject({
      kind: "move",
      why: "attraction",
      from: "s1",
      to: "s2",
      attraction: { here: 0 },
    });
    expect(one.decisionOf("ann", "phone")!.gain).toBeGreaterThan(GAIN);
  });

  for (const [what, writer, answerer] of [
    ["who writes", "ann", "bob"],
    ["who is written to", "bob", "ann"],
  ] as const) {
    test(`the one who gains more moves, if it is ${what}; the other has a circle where it is`, async () => {
      const town = await Town.of(["s1", "s2"], { gain: 60 });
      await town.join("ann", "s1");
      await town.join("bob", "s2");
      await town.join("carol", "s2");
      await town.talk("carol", "bob", 2);
      for (let i = 0; i < 3; i++) {
        await town.say(writer, answerer);
        await town.bed.clock.advance(LOOK_MS);
      }
      expect(town.asked("ann", "bob", "carol")).toEqual(["ann s2"]);
    });
  }

  test("of those who gain the same the one with fewer associates moves", async () => {
    for (const [rich, poor] of [
      ["ann", "bob"],
      ["bob", "ann"],
    ] as const) {
      const town = await Town.of(["s1", "s2"]);
      await town.join("ann", "s1");
      await town.join("bob", "s2");
      // An associate who is connected nowhere draws nobody.
      town.device(rich).send("eve");
      await town.talk("ann", "bob", 2);
      expect(town.asked("ann", "bob")).toEqual([`${poor} ${poor === "ann" ? "s2" : "s1"}`]);
    }
  });

  test("who write to each other in the same moment do not both move", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    for (let i = 0; i < 4; i++) {
      town.device("ann").send("bob");
      town.device("bob").send("ann");
      await town.bed.clock.advance(20);
      for (const user of ["ann", "bob"]) town.acknowledge(user);
      await town.bed.clock.advance(LOOK_MS);
    }
    expect(town.asked("ann", "bob")).toEqual(["ann s2"]);
  });

  test("do not miss each other: while one is on its way the other stays, whoever writes", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("ann", "bob", 8);
    expect(town.asked("ann", "bob")).toEqual(["ann s2"]);
  });

  test("one who does not go is not asked again for ten minutes; the other may be, when it has declined", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("ann", "bob", 30);
    expect(town.asked("ann", "bob")).toEqual(["ann s2", "bob s1"]);
    expect(town.node("s1").placement!).toMatchObject({ moves: 1, declined: 1, moved: 0 });
    await town.minutes(REST_MS / 60_000);
    await town.talk("ann", "bob", 2);
    expect(town.asked("ann", "bob")).toEqual(["ann s2", "ann s2", "bob s1"]);
  });

  test("one who has come by a move stays for ten minutes", async () => {
    const town = await Town.of(["s1", "s2", "s3"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.join("carol", "s3", { background: true });
    await town.talk("ann", "bob", 2);
    await town.follow("ann");
    for (let i = 0; i < 12; i++) await town.say("ann", "carol");
    await town.bed.clock.advance(LOOK_MS);
    await town.say("ann", "carol");
    expect(town.asked("ann")).toEqual([]);
    await town.minutes(REST_MS / 60_000);
    await town.say("ann", "carol");
    expect(town.asked("ann")).toEqual(["ann s3"]);
  });
});

describe("B2: nobody is moved", () => {
  test("where moves are off", async () => {
    const town = await Town.of(["s1", "s2"], { moves: false });
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("ann", "bob", 10);
    expect(town.asked("ann", "bob")).toEqual([]);
  });

  test("without gain: half of the circle is here, and half there", async () => {
    const town = await Town.of(["s1", "s2"]);
    for (const [user, server] of [
      ["ann", "s1"],
      ["carol", "s1"],
      ["bob", "s2"],
      ["dave", "s2"],
    ] as const) {
      await town.join(user, server);
    }
    for (let i = 0; i < 6; i++) {
      await town.talk("ann", "carol", 1);
      await town.talk("bob", "dave", 1);
      await town.talk("ann", "bob", 1);
    }
    expect(town.asked("ann", "bob", "carol", "dave")).toEqual([]);
  });

  test("in the background", async () => {
    const town = await Town.of(["s1", "s2"]);
    for (const user of ["ann", "bob"]) {
      await town.join(user, user === "ann" ? "s1" : "s2", { background: true });
    }
    await town.talk("ann", "bob", 6);
    expect(town.asked("ann", "bob")).toEqual([]);
    town.device("bob").write({ type: "state", background: false });
    await town.bed.clock.advance(LOOK_MS);
    await town.talk("ann", "bob", 1);
    expect(town.asked("ann", "bob")).toEqual(["bob s1"]);
  });

  for (const [what, mover, still] of [
    ["in flight to it", "bob", "ann"],
    ["unanswered of what it has sent", "ann", "bob"],
  ] as const) {
    test(`with more than a little ${what}`, async () => {
      const town = await Town.of(["s1", "s2"]);
      for (const user of ["ann", "bob"]) {
        await town.join(user, user === "ann" ? "s1" : "s2", { background: true });
      }
      await town.join("carol", mover === "ann" ? "s1" : "s2");
      for (let i = 0; i < 20; i++) await town.say("ann", "bob");
      town.device(mover).write({ type: "state", background: false });
      await town.bed.clock.advance(LOOK_MS);
      // Nobody acknowledges yet, and nothing is late.
      for (let i = 0; i < 8; i++) {
        if (mover === "ann") town.device("ann").send("carol");
        else town.device("carol").send("bob");
      }
      town.device("ann").send("bob");
      await town.bed.clock.advance(20);
      expect(town.asked(mover, still)).toEqual([]);
      for (const user of ["bob", "carol"]) town.acknowledge(user);
      await town.bed.clock.advance(LOOK_MS);
      await town.say("ann", "bob");
      expect(town.asked(mover, still)).toEqual([`${mover} ${mover === "ann" ? "s2" : "s1"}`]);
    });
  }

  for (const [what, fields] of [
    ["a call", CALL],
    ["the end of a call", { ends: new Uint8Array(16), wake: "none" }],
  ] as const) {
    test(`within two minutes of ${what}, of those who take part`, async () => {
      const town = await Town.of(["s1", "s2"]);
      await town.join("ann", "s1");
      await town.join("bob", "s2");
      await town.say("ann", "bob", fields);
      await town.minutes(1.5);
      await town.talk("ann", "bob", 6);
      expect(town.asked("ann", "bob")).toEqual([]);
      await town.minutes(1);
      await town.talk("ann", "bob", 1);
      expect(town.asked("ann", "bob")).toHaveLength(1);
    });
  }

  test("within two minutes of a call that was held for it", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.bed.sleeper(town.node("s2"), "bob", { noRedirect: true });
    await town.join("ann", "s1");
    town.device("ann").send("bob", CALL);
    await town.bed.clock.advance(100);
    await town.join("bob", "s2");
    town.acknowledge("bob");
    // She could be, for all that she knows.
    town.device("ann").write({ type: "state", background: true });
    await town.talk("bob", "ann", 6);
    expect(town.asked("ann", "bob")).toEqual([]);
  });

  test("to a server that is full", async () => {
    const town = await Town.of([["s1", 1], ["s2", 1], "s3"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("ann", "bob", 6);
    expect(town.asked("ann", "bob")).toEqual([]);
  });

  test("to a server that is being emptied, nor from it but by DRAIN", async () => {
    const town = await Town.of(["s1", "s2", "s3"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    const stopped = town.node("s2").stop({ batch: 1, intervalMs: 1_000, deadlineMs: 60_000 });
    await town.bed.clock.advance(10);
    await town.talk("ann", "bob", 3);
    expect(town.asked("ann", "bob")).toEqual([]);
    expect(town.device("bob").of("drain")).toHaveLength(1);
    town.device("bob").write({ type: "bye" });
    await town.bed.clock.advance(1_000);
    await stopped;
  });

  test("where none of the server's addresses suits it", async () => {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1", { protocols: ["tcp"] });
    await town.join("bob", "s2", { protocols: ["tcp"] });
    await town.talk("ann", "bob", 6);
    expect(town.asked("ann", "bob")).toEqual([]);
    expect(town.node("s1").placement!.moves).toBe(0);
  });
});

test("B2: those who are asked in the same moment do not exceed what the server takes", async () => {
  // Six of eight seats are taken, by bob and five more.
  const town = await Town.of(["s1", ["s2", 8]]);
  await town.join("bob", "s2", { background: true });
  for (let i = 0; i < 5; i++) await town.join(`zoe${i}`, "s2");
  const fans = ["ann", "carol", "dave", "eve", "fay"];
  for (const fan of fans) await town.join(fan, "s1");
  await town.bed.clock.advance(2_000);
  for (let i = 0; i < 12; i++) {
    for (const fan of fans) town.device(fan).send("bob");
    await town.bed.clock.advance(5);
    town.acknowledge("bob");
    // They are looked at for the first message, and for the last.
    await town.bed.clock.advance(i === 10 ? LOOK_MS : 5);
  }
  expect(town.asked(...fans)).toHaveLength(2);
});

describe("a device that moves", () => {
  async function moving(): Promise<Town> {
    const town = await Town.of(["s1", "s2"]);
    await town.join("ann", "s1");
    await town.join("bob", "s2");
    await town.talk("bob", "ann", 2);
    expect(town.asked("ann", "bob")).toEqual(["ann s2"]);
    return town;
  }

  test("L1: gets over the new connection what it had not acknowledged over the old one, from here and from elsewhere", async () => {
    const town = await moving();
    await town.join("carol", "s1");
    const old = town.device("ann");
    const seen = old.of("deliver").length;
    for (const user of ["bob", "carol"]) town.device(user).send("ann");
    await town.bed.clock.advance(20);
    expect(old.of("deliver")).toHaveLength(seen + 2);
    const { device } = await town.follow("ann");
    await town.bed.clock.advance(1_000);
    const again = device.of("deliver");
    expect(again.map(({ from, redelivered }) => `${from} ${redelivered}`).toSorted()).toEqual([
      "bob true",
      "carol true",
    ]);
    expect(town.device("bob").of("ack").at(-1)).toMatchObject({ status: "held" });
    expect(town.device("carol").of("ack").at(-1)).toMatchObject({ status: "held" });
  });

  test("L3: is sent what comes meanwhile in its order", async () => {
    const town = await moving();
    const old = town.device("ann");
    const { epoch } = old.of("welcome")[0]!;
    const before = old.of("deliver").length;
    for (let i = 0; i < 30; i++) {
      town.device("bob").send("ann");
      await town.bed.clock.advance(3);
      if (i === 10) void town.join("ann", "s2", { hinted: "s2", epoch });
      if (i < 15) old.write({ type: "received", ranges: [1, old.of("deliver").length] });
      else town.acknowledge("ann");
      if (i === 20) old.write({ type: "bye" });
    }
    for (let i = 0; i < 10; i++) {
      await town.bed.clock.advance(500);
      town.acknowledge("ann");
    }
    const seen = [...old.of("deliver").slice(before), ...town.device("ann").of("deliver")];
    const firsts = seen.map(({ n }) => n).filter((n, at, all) => all.indexOf(n) === at);
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
    expect(firsts).toHaveLength(30);
    expect(
      town
        .device("bob")
        .of("ack")
        .reduce((sum, { count }) => sum + count, 0),
    ).toBe(31);
  });

  for (const order of ["before", "after"] as const) {
    test(`L5: is not pushed to if its BYE comes ${order} the news of its new connection`, async () => {
      const town = await moving();
      const old = town.device("ann");
      const { epoch } = old.of("welcome")[0]!;
      if (order === "before") {
        old.write({ type: "bye" });
        await town.bed.clock.advance(20);
      }
      town.device("bob").send("ann");
      await town.bed.clock.advance(300);
      const device = await town.join("ann", "s2", { hinted: "s2", epoch });
      if (order === "after") old.write({ type: "bye" });
      town.acknowledge("ann");
      await town.bed.clock.advance(10_000);
      expect(device.of("deliver")).toHaveLength(1);
      expect(town.bed.named).toEqual([]);
      expect(town.node("s1").table.find("ann", "phone")).toMatchObject({ server: "s2" });
      expect(town.node("s2").table.find("ann", "phone")).toMatchObject({ server: "s2" });
      expect(town.node("s1").table.ownSize).toBe(0);
    });
  }
});
