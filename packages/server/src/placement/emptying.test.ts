import { describe, expect, test } from "bun:test";

import { CLOSE } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { Node } from "../node.ts";
import { Bed, type Device } from "../test-support/bed.ts";
import { Associates } from "./associates.ts";
import { planEmptying } from "./emptying.ts";
import { ruleOf } from "./rule.ts";

const PLACEMENT = { placement: { rule: ruleOf("cost"), moves: false } };
/** One device at a time. */
const PACE = { batch: 1, intervalMs: 200, deadlineMs: 60_000 };

interface Community {
  readonly bed: Bed;
  readonly nodes: readonly Node[];
  readonly devices: ReadonlyMap<string, Device>;
}

/** Servers, users by the server where they are, and pairs of whom each has written to the other so often. */
async function community(
  servers: readonly (readonly [name: string, most: number])[],
  users: Readonly<Record<string, readonly string[]>>,
  ties: readonly (readonly [a: string, b: string, messages: number])[],
  options: object = PLACEMENT,
): Promise<Community> {
  const bed = new Bed();
  const nodes = servers.map(([name, most]) => bed.node(name, most, options));
  await bed.clock.advance(3_000);
  const devices = new Map<string, Device>();
  for (const [server, names] of Object.entries(users)) {
    const node = nodes.find(({ name }) => name === server)!;
    for (const user of names) {
      devices.set(user, await bed.device(node, user, { noRedirect: true, durable: false }));
    }
  }
  for (const [a, b, messages] of ties) {
    for (let i = 0; i < messages; i++) {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        devices.get(from)!.send(to);
        await bed.clock.advance(10);
        const { length } = devices.get(to)!.of("deliver");
        if (length > 0) devices.get(to)!.write({ type: "received", ranges: [1, length] });
      }
      await bed.clock.advance(100);
    }
  }
  return { bed, nodes, devices };
}

/** The servers that DRAIN named, in the order of the devices that were told. */
async function told({ bed, devices }: Community, ms: number): Promise<Map<string, string[]>> {
  const names = new Map<string, string[]>();
  for (let at = 0; at < ms; at += 50) {
    await bed.clock.advance(50);
    for (const [user, device] of devices) {
      const [drain] = device.of("drain");
      if (drain !== undefined && !names.has(user)) {
        names.set(
          user,
          drain.servers.map(({ name }) => name),
        );
      }
    }
  }
  return names;
}

/** How many were sent to each server. */
function firstsOf(names: ReadonlyMap<string, readonly string[]>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [first] of names.values()) counts[first!] = (counts[first!] ?? 0) + 1;
  return counts;
}

describe("B3: a server that is emptied", () => {
  test("sends each device where its associates are, and names others after it", async () => {
    const all = await community(
      [
        ["s1", 100],
        ["s2", 100],
        ["s3", 100],
        ["s4", 100],
        ["s5", 100],
      ],
      { s1: ["ann", "bob", "carol"], s2: ["eve"], s3: ["fay"], s4: ["gus"] },
      [
        ["ann", "eve", 4],
        ["bob", "fay", 2],
        ["carol", "bob", 1],
        ["carol", "gus", 8],
      ],
    );
    void all.nodes[0]!.stop(PACE);
    const names = await told(all, 2_000);
    expect([...names].map(([user, [first]]) => `${user} ${first}`)).toEqual([
      "carol s4",
      "ann s2",
      "bob s3",
    ]);
    for (const [, servers] of names) {
      expect(servers).toHaveLength(3);
      expect(new Set(servers).size).toBe(3);
    }
    expect(all.nodes[0]!.placement!.decisionOf("ann", "phone")).toMatchObject({
      kind: "drain",
      why: "attraction",
      from: "s1",
      to: "s2",
    });
  });

  test("keeps a community together, however many servers there are, with all devices of a user", async () => {
    const members = Array.from({ length: 8 }, (_, i) => `m${i}`);
    const ties = members.map((user, i) => [user, members[(i + 1) % 8]!, 2] as const);
    const all = await community(
      [
        ["s1", 100],
        ["s2", 100],
        ["s3", 100],
        ["s4", 100],
      ],
      { s1: [...members, "zoe"] },
      ties,
    );
    const tablet = await all.bed.device(all.nodes[0]!, "m3", {
      noRedirect: true,
      device: "tablet",
    });
    void all.nodes[0]!.stop(PACE);
    const names = await told(all, 3_000);
    expect(names.size).toBe(9);
    const firsts = new Set(members.map((user) => names.get(user)![0]));
    expect(firsts.size).toBe(1);
    expect(tablet.of("drain")[0]!.servers[0]!.name).toBe([...firsts][0]!);
  });

  test("sends no more to a server than there are seats, with what was promised by those who were told and have not come yet", async () => {
    const fans = Array.from({ length: 6 }, (_, i) => `fan${i}`);
    const all = await community(
      [
        ["s1", 100],
        ["s2", 4],
        ["s3", 100],
      ],
      { s1: fans, s2: ["star"] },
      fans.map((fan) => [fan, "star", 5] as const),
    );
    void all.nodes[0]!.stop({ ...PACE, batch: 100 });
    const names = await told(all, 500);
    expect(firstsOf(names)).toEqual({ s2: 3, s3: 3 });
  });

  test("keeps a seat for whoever was told until it is seen, there or elsewhere", async () => {
    const all = await community(
      [
        ["s1", 100],
        ["s2", 100],
        ["s3", 100],
      ],
      { s1: ["ann", "bob"], s2: ["eve"] },
      [
        ["ann", "eve", 2],
        ["bob", "eve", 1],
      ],
    );
    const [s1, , s3] = all.nodes;
    const seats = (): number | undefined =>
      s1!.placement!.view().places.find(({ name }) => name === "s2")?.load;
    expect(seats()).toBe(1);
    void s1!.stop({ ...PACE, batch: 100 });
    await told(all, 100);
    expect(seats()).toBe(3);
    const { epoch } = all.devices.get("ann")!.of("welcome")[0]!;
    await all.bed.device(s3!, "ann", { epoch, noRedirect: true });
    await all.bed.clock.advance(100);
    expect(seats()).toBe(2);
    expect(all.devices.get("ann")!.closed).toBe(CLOSE.replaced);
  });

  test("names any where the one that was chosen takes no devices any more", async () => {
    const all = await community(
      [
        ["s1", 100],
        ["s2", 100],
        ["s3", 100],
      ],
      { s1: ["ann", "bob"], s2: ["eve"] },
      [
        ["ann", "eve", 2],
        ["bob", "eve", 1],
      ],
    );
    void all.nodes[0]!.stop({ ...PACE, intervalMs: 2_000 });
    await told(all, 1_000);
    void all.nodes[1]!.stop({ ...PACE, batch: 100 });
    const names = await told(all, 2_000);
    expect(names.get("ann")![0]).toBe("s2");
    expect(names.get("bob")).toEqual(["s3"]);
  });

  test("serves devices while it plans for many", async () => {
    const bed = new Bed();
    const node = bed.node("s1", 100, PLACEMENT);
    bed.node("s2");
    await bed.clock.advance(3_000);
    let [elapsed, longest, began, turns] = [0, 0, 0, 0];
    const devices = new Map(Array.from({ length: 5_000 }, (_, i) => [`user${i}`, 1]));
    const { users } = await planEmptying(devices, Infinity, {
      server: "s1",
      clock: {
        now: () => 0,
        defer: () => undefined,
        // As if each look at it came after 3 ms of work.
        monotonic: () => {
          elapsed += 3;
          longest = Math.max(longest, elapsed - began);
          return elapsed;
        },
        after: (_, task) => {
          turns++;
          began = elapsed;
          queueMicrotask(task);
          return () => undefined;
        },
      },
      placement: node.placement!,
      table: node.table,
      associates: new Associates({ now: () => 0 }),
      rule: ruleOf("cost"),
      random: () => 0.5,
      isOpen: () => true,
    });
    expect([...users]).toHaveLength(5_000);
    expect(turns).toBeGreaterThan(20);
    expect(longest).toBeLessThan(20);
  });

  test("L10: has all of its devices leave, however little time there is to plan: who is not planned for goes last, to anywhere", async () => {
    const bed = new Bed();
    const [s1] = ["s1", "s2"].map((name) => bed.node(name, 10_000, PLACEMENT));
    await bed.clock.advance(3_000);
    const users = Array.from({ length: 1_000 }, (_, i) => `u${i}`);
    let now = 0;
    // Each look at the clock takes a millisecond, and each user two steps.
    const clock: Clock = {
      now: () => bed.clock.now(),
      monotonic: () => now++,
      after: (ms, task) => bed.clock.after(ms, task),
      defer: (task) => bed.clock.defer(task),
    };
    const planned = async (most: number): Promise<{ all: string[]; placed: boolean[] }> => {
      const emptying = planEmptying(new Map(users.map((user) => [user, 1])), most, {
        server: "s1",
        clock,
        placement: s1!.placement!,
        table: s1!.table,
        associates: s1!.circles.associates,
        rule: PLACEMENT.placement.rule,
        random: () => 0,
        isOpen: () => true,
      });
      await bed.clock.advance(1_000);
      const { users: leaving, send } = await emptying;
      const all = [...leaving];
      return { all, placed: all.map((user) => send(user, "phone") !== undefined) };
    };
    const enough = await planned(1_000_000);
    expect(enough.placed).toEqual(users.map(() => true));
    const hurried = await planned(40);
    expect(hurried.all.toSorted()).toEqual(users.toSorted());
    const count = hurried.placed.lastIndexOf(true) + 1;
    expect(count).toBeGreaterThan(100);
    expect(hurried.placed).toEqual(users.map((_, i) => i < count));
    expect(count).toBeLessThan(900);
  });

  test("drains as ever where placement is off", async () => {
    const all = await community(
      [
        ["s1", 100],
        ["s2", 100],
        ["s3", 100],
      ],
      { s1: ["ann", "bob", "carol", "dave"], s2: ["eve"] },
      ["ann", "bob", "carol", "dave"].map((user) => [user, "eve", 1] as const),
      {},
    );
    void all.nodes[0]!.stop(PACE);
    const names = await told(all, 2_000);
    expect(firstsOf(names)).toEqual({ s2: 2, s3: 2 });
  });
});
