import { expect, test } from "bun:test";

import { LIMITS } from "@beckon/protocol";

import type { AdminBackend } from "./admin/backend.ts";
import { createControl } from "./cluster/control.ts";
import { createMemoryBus } from "./cluster/memory-bus.ts";
import { createMetrics } from "./lib/metrics.ts";
import type { Node } from "./node.ts";
import { adminBackend, statusOf } from "./service.ts";
import { Bed } from "./test-support/bed.ts";

/** Servers that can be asked through each other. */
class Servers {
  readonly bed = new Bed();
  readonly nodes: Node[] = [];
  readonly admins: AdminBackend[] = [];
  readonly #hub = createMemoryBus({ clock: this.bed.clock });

  /** `answers`: whether it hears what the others ask. */
  add(name: string, answers = true): Node {
    const bus = this.#hub.connect();
    const node = this.bed.node(name, 100, { bus });
    const control = createControl({
      bus,
      server: name,
      status: () => statusOf(node, true),
      drain: () => ({ connections: 0, within: 0 }),
      forget: (user) => node.circles.forget(user),
      decided: () => undefined,
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
