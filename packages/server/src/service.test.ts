import { expect, test } from "bun:test";

import { LIMITS } from "@beckon/protocol";

import type { AdminBackend } from "./admin/backend.ts";
import { createControl } from "./cluster/control.ts";
import { createMemoryBus } from "./cluster/memory-bus.ts";
import { createMetrics } from "./lib/metrics.ts";
import type { Node, NodeParts } from "./node.ts";
import { ruleOf } from "./placement/rule.ts";
import { adminBackend, statusOf } from "./service.ts";
import { Bed } from "./test-support/bed.ts";

const placement = { rule: ruleOf("cost", 1.1), moves: false };

/** Servers that can be asked through each other. */
class Servers {
  readonly bed = new Bed();
  readonly nodes: Node[] = [];
  readonly admins: AdminBackend[] = [];
  readonly #hub = createMemoryBus({ clock: this.bed.clock });

  /** `answers`: whether it hears what the others ask. */
  add(name: string, answers = true, more: Partial<NodeParts> = {}): Node {
    const bus = this.#hub.connect();
    const node = this.bed.node(name, 100, { bus, placement, ...more });
    const control = createControl({
      bus,
      server: name,
      status: () => statusOf(node, true),
      drain: () => ({ connections: 0, within: 0 }),
      forget: (user) => node.circles.forget(user),
      decided: (user, device) => node.placement?.decisionOf(user, device),
    });
    if (!answers) control.stop();
    const store = this.bed.stores.get(name)!;
    const health = (): never => expect.unreachable();
    this.admins.push(adminBackend(node, store, control, LIMITS, createMetrics(), health));
    this.nodes.push(node);
    return node;
  }

  /** Who knows of the user, and as whose associate. */
  async knowing(user: string, peers: readonly string[]): Promise<string[]> {
    const found: string[] = [];
    const { associates } = this.bed.stores.get("s1")!;
    for (const name of [user, ...peers]) {
      const stored = await associates.circle(name, 64, this.bed.clock.now());
      if (stored.some(({ peer }) => peer === user || name === user)) found.push(`store ${name}`);
      for (const node of this.nodes) {
        const known = node.circles.associates.top(name, 64);
        if (known.some(({ peer }) => peer === user || name === user)) {
          found.push(`${node.name} ${name}`);
        }
      }
    }
    return found;
  }

  async erase(user: string): Promise<readonly string[]> {
    const missing = this.admins[0]!.eraseAssociates(user);
    await this.bed.clock.advance(5_000);
    return missing;
  }
}

async function threeServers(answers = true): Promise<Servers> {
  const servers = new Servers();
  const [s1, s2] = [servers.add("s1"), servers.add("s2")];
  servers.add("s3", answers);
  await servers.bed.clock.advance(3_000);
  s1.circles.associates.exchanged("ann", "bob");
  s2.circles.associates.exchanged("cat", "bob");
  await servers.bed.clock.advance(2_000);
  expect(await servers.knowing("bob", ["ann", "cat"])).toContain("store bob");
  return servers;
}

test("an erased user is in no server's memory, nor in what it has yet to store", async () => {
  const servers = await threeServers();
  const [, s2, s3] = servers.nodes;
  s2!.circles.associates.exchanged("cat", "bob");
  const { associates } = servers.bed.stores.get("s1")!;
  const { erase } = associates;
  Object.assign(associates, {
    async erase(user: string) {
      // Meanwhile one reads what is still there, and one writes what has waited.
      await s3!.circles.load("ann");
      expect(await servers.knowing("bob", ["ann"])).toContain("s3 ann");
      await erase(user);
      await s2!.circles.stop();
    },
  });
  expect(await servers.erase("bob")).toEqual([]);
  expect(await servers.knowing("bob", ["ann", "cat"])).toEqual([]);
});

test("a server that does not say that it has forgotten a user is named", async () => {
  const servers = await threeServers(false);
  expect(await servers.erase("bob")).toEqual(["s3"]);
  expect(await servers.knowing("bob", ["ann", "cat"])).toEqual([]);
});

test("B4: why a user's device is where it is, is answered by any server, with the newest of what the others have decided", async () => {
  const servers = new Servers();
  const placement = { rule: ruleOf("cost"), moves: true };
  const [s1, s2] = [servers.add("s1", true, { placement }), servers.add("s2", true, { placement })];
  servers.add("s3", false, { placement });
  await servers.bed.clock.advance(3_000);
  await servers.bed.device(s1, "ann");
  await servers.bed.sleeper(s1, "ann", { device: "tablet" });
  await servers.bed.device(s2, "bob", { noRedirect: true });
  for (let sent = 0; sent < 20; sent++) s1.circles.associates.exchanged("ann", "bob");
  s1.circles.associates.exchanged("ann", "cat");
  // It is sent on, and does not go.
  const tablet = servers.bed.hello(s1, "ann", { device: "tablet" });
  await servers.bed.clock.advance(50);
  expect(tablet.of("redirect")).toMatchObject([{ server: { name: "s2" } }]);
  const pull = { attraction: { here: 1.5, there: 300 }, gain: 298.25 };
  for (const [node, to] of [
    [s1, "s2"],
    [s2, "s1"],
  ] as const) {
    const decision = { kind: "move", why: "attraction", from: node.name, to, ...pull } as const;
    node.placement!.send("ann", "phone", decision);
    await servers.bed.clock.advance(6_000);
  }

  const asked = servers.admins[1]!.placement("ann");
  await servers.bed.clock.advance(5_000);
  const { devices, servers: places, strongest, ...rest } = await asked;
  const last = { kind: "move", why: "attraction", from: "s2", to: "s1", ...pull };
  const sent = { kind: "redirect", why: "attraction", from: "s1", to: "s2" };
  expect(devices).toMatchObject([
    { device: "phone", server: "s1", now: { what: "move", to: "s2" }, last },
    { device: "tablet", server: null, now: { what: "redirect", to: "s2" }, last: sent },
  ]);
  expect(places.map(({ server, devices, associates }) => [server, devices, associates])).toEqual([
    ["s1", 1, 0],
    ["s2", 1, 1],
    ["s3", 0, 0],
  ]);
  expect(strongest).toMatchObject([
    { user: "bob", servers: ["s2"], named: null },
    { user: "cat", servers: [], named: null },
  ]);
  expect(strongest[0]!.weight).toBeCloseTo(20 * strongest[1]!.weight, 3);
  expect(rest).toMatchObject({ policy: "move", associates: 2, silent: ["s3"] });
});
