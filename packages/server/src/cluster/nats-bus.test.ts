import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { systemClock } from "../lib/clock.ts";
import { tellConformance } from "../lib/test-support/conformance.ts";
import type { Bus } from "./bus.ts";
import { busSuite } from "./bus.suite.ts";
import { createNatsBus } from "./nats-bus.ts";
import { startNats, type NatsProcess, natsTest } from "./test-support/nats.ts";
import { Wire } from "./test-support/wire.ts";

setDefaultTimeout(30_000);

let nats: NatsProcess;
if (natsTest === test) {
  beforeAll(async () => void (nats = await startNats()));
  afterAll(() => nats.stop());
}

async function until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

let clusters = 0;

/** Buses of one cluster that nobody else is in, each over a wire of its own. */
class System {
  readonly cluster = `c${++clusters}`;
  readonly wires = new Map<Bus, Wire>();

  async connect(): Promise<Bus> {
    const wire = await Wire.to(nats.port);
    const bus = createNatsBus({
      servers: [`nats://127.0.0.1:${wire.port}`],
      name: `n${this.wires.size}`,
      cluster: this.cluster,
      clock: systemClock,
    });
    this.wires.set(bus, wire);
    await until(() => bus.up, "the first connection");
    return bus;
  }

  /** A question to and fro on each living handle: what it wrote before is in force, and what was for it has come. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      for (const bus of this.wires.keys()) {
        if (bus.up) await bus.request("nobody.is.here", new Uint8Array(), 5_000).catch(() => {});
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }

  async cut(bus: Bus): Promise<void> {
    this.wires.get(bus)!.cut();
    await until(() => !bus.up, "the end of the link");
  }

  async restore(bus: Bus): Promise<void> {
    this.wires.get(bus)!.restore();
    await until(() => bus.up, "the link");
  }

  async close(): Promise<void> {
    for (const [bus, wire] of this.wires) {
      await bus.close();
      wire.cut();
      await wire.close();
    }
  }
}

describe("the bus over NATS", () => {
  const laws = busSuite(natsTest, async () => {
    const system = new System();
    return {
      connect: () => system.connect(),
      settle: () => system.settle(),
      cut: (bus) => system.cut(bus),
      restore: (bus) => system.restore(bus),
      kill: (bus) => system.cut(bus),
      close: () => system.close(),
    };
  });
  tellConformance("NATS", laws, natsTest);

  natsTest("L8: a link that drops packets without a word is known to be down", async () => {
    const system = new System();
    const [a, b] = [await system.connect(), await system.connect()];
    const got: string[] = [];
    b.subscribe("s", (message) => void got.push(new TextDecoder().decode(message)));
    await system.settle();
    system.wires.get(a)!.swallow();
    await until(() => !a.up, "the silence to be noticed");
    expect(() => a.publish("s", new Uint8Array(1))).toThrow("the link to NATS is down");
    system.wires.get(a)!.restore();
    await until(() => a.up, "the link");
    a.publish("s", new TextEncoder().encode("back"));
    await system.settle();
    expect(got).toEqual(["back"]);
    await system.close();
  });

  natsTest("L8: it comes to life when NATS does, whenever that is", async () => {
    const wire = await Wire.to(nats.port);
    wire.cut();
    const bus = createNatsBus({
      servers: [`nats://127.0.0.1:${wire.port}`],
      name: "early",
      cluster: "c0",
      clock: systemClock,
    });
    expect(bus.up).toBe(false);
    expect(() => bus.publish("s", new Uint8Array(1))).toThrow("the link to NATS is down");
    wire.restore();
    await until(() => bus.up, "the first connection");
    await bus.close();
    await wire.close();
  });

  natsTest("L10: what NATS does not take is refused, not kept", async () => {
    const wire = await Wire.to(nats.port);
    const bus = createNatsBus({
      servers: [`nats://127.0.0.1:${wire.port}`],
      name: "slow",
      cluster: "c0",
      clock: systemClock,
      unconfirmedLimit: 1024 * 1024,
    });
    await until(() => bus.up, "the first connection");
    wire.swallow();
    const fill = (): void => {
      for (let i = 0; i < 32; i++) bus.publish("s", new Uint8Array(64 * 1024));
    };
    expect(fill).toThrow("NATS does not keep pace");
    await bus.close();
    await wire.close();
  });

  natsTest("names of servers may be anything", async () => {
    const system = new System();
    const [a, b] = [await system.connect(), await system.connect()];
    const got: number[] = [];
    b.subscribe("records.a >* ü.x", (message) => void got.push(message[0]!));
    await system.settle();
    a.publish("records.a >* ü.x", Uint8Array.of(1));
    a.publish("records.b >* ü.x", Uint8Array.of(2));
    await system.settle();
    expect(got).toEqual([1]);
    await system.close();
  });
});
