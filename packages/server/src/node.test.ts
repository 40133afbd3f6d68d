import { expect, test } from "bun:test";

import { CLOSE, encodeFrames, ERRORS, LIMITS, readFrames, uuidv7 } from "@beckon/protocol";
import type { Frame, HelloFrame, SendFrame, UnknownFrame } from "@beckon/protocol";

import { createMemoryBus } from "./cluster/memory-bus.ts";
import { VirtualClock } from "./cluster/test-support/virtual-clock.ts";
import type { SocketHandler } from "./gateway/socket.ts";
import { createTickets } from "./gateway/ticket.ts";
import { createNode, type Node } from "./node.ts";
import { createMemoryDatabase } from "./store/memory.ts";
import type { Store } from "./store/store.ts";

/** Servers that know each other, over one store. */
class Bed {
  readonly clock = new VirtualClock();
  /** Names of the servers that pushes named. */
  readonly named: string[] = [];
  readonly stores = new Map<string, Store>();
  /** How long a push takes, ms. */
  pushMs = 0;
  readonly #hub = createMemoryBus({ clock: this.clock });
  readonly #database = createMemoryDatabase(this.clock);

  node(name: string, maxConnections = 100): Node {
    const store = this.#database.open();
    this.stores.set(name, store);
    const node = createNode({
      name,
      clock: this.clock,
      random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      bus: this.#hub.connect(),
      store,
      authenticate: (user) =>
        Promise.resolve({ user, device: undefined, expires: Infinity, mayWriteTo: undefined }),
      authorize: () => true,
      tickets: createTickets(new Uint8Array(32)),
      providers: [
        {
          name: "dev",
          send: async (items) => {
            await new Promise<void>((resolve) => void this.clock.after(this.pushMs, resolve));
            return items.map(() => ({ kind: "sent" }) as const);
          },
          close: () => Promise.resolve(),
        },
      ],
      compose: (_, server) => {
        this.named.push(server.name);
        return Promise.resolve({ token: "", body: "", class: "message", expires: 0 });
      },
      addresses: [
        {
          url: `ws://${name}`,
          protocol: "ws",
          secure: false,
          network: "",
          region: "",
          priority: 0,
        },
      ],
      maxConnections,
    });
    node.start();
    return node;
  }

  async device(node: Node, user: string): Promise<Device> {
    const device = new Device(node, this.clock, user);
    await this.clock.advance(50);
    return device;
  }
}

const HELLO: Omit<HelloFrame, "token"> = {
  type: "hello",
  ticket: new Uint8Array(0),
  device: "phone",
  durable: true,
  protocols: ["ws"],
  push: { provider: "dev", token: "t", key: { id: 1, key: new Uint8Array(32) } },
  epoch: 0,
  outbox: 1,
  hinted: "",
  intent: "",
  noRedirect: false,
  noCopies: false,
  client: "test",
  capabilities: 0,
  background: false,
};

class Device {
  readonly frames: (Frame | UnknownFrame)[] = [];
  closed: number | undefined;
  readonly #handler: SocketHandler;
  readonly #clock: VirtualClock;
  #n = 0;

  constructor(node: Node, clock: VirtualClock, user: string) {
    this.#clock = clock;
    this.#handler = node.gateway.accept({
      send: (bytes) => {
        readFrames(bytes.slice(), LIMITS, (frame) => void this.frames.push(frame));
        return true;
      },
      remote: "192.0.2.1",
      buffered: () => 0,
      close: (code) => void (this.closed ??= code),
      terminate: () => undefined,
    });
    this.write({ ...HELLO, token: user, push: { ...HELLO.push!, token: user } });
  }

  write(frame: Frame): void {
    this.#handler.message(encodeFrames([frame]));
  }

  send(to: string): void {
    const id = uuidv7(this.#clock.now(), (bytes) => void crypto.getRandomValues(bytes));
    const lane = { n: ++this.#n, prev: this.#n - 1 };
    const send: SendFrame = {
      type: "send",
      id,
      to,
      ...lane,
      payload: new Uint8Array(1),
      wake: "message",
      preview: "",
    };
    this.write(send);
  }

  of<T extends Frame["type"]>(type: T): Extract<Frame, { type: T }>[] {
    return this.frames.filter((frame) => frame.type === type) as Extract<Frame, { type: T }>[];
  }
}

const PACE = { batch: 10, intervalMs: 100, deadlineMs: 10_000 };

async function pair(): Promise<{ bed: Bed; s1: Node; s2: Node }> {
  const bed = new Bed();
  const [s1, s2] = [bed.node("s1"), bed.node("s2")];
  await bed.clock.advance(3_000);
  return { bed, s1, s2 };
}

test("[P-8.7] B3: a server that is emptied tells its devices where to go, serves them until they do, and takes no others", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  let isOver = false;
  void s1.stop(PACE).then(() => (isOver = true));
  await bed.clock.advance(10);
  expect(ann.of("drain")).toMatchObject([{ servers: [{ name: "s2" }] }]);
  expect(ann.of("drain")[0]!.within).toBeGreaterThan(0);
  expect(s2.members.get("s1")?.state).toBe("draining");

  ann.send("bob");
  await bed.clock.advance(10);
  bob.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(10);
  expect(ann.of("ack")).toMatchObject([{ status: "delivered" }]);

  const late = await bed.device(s1, "zoe");
  expect(late.of("error")).toMatchObject([{ code: ERRORS.draining.number }]);
  expect(late.closed).toBe(CLOSE.draining);
  const elsewhere = await bed.device(s2, "zoe");
  expect(elsewhere.of("welcome")[0]!.servers.map(({ name }) => name)).toEqual(["s2"]);

  expect(isOver).toBe(false);
  ann.write({ type: "bye" });
  await bed.clock.advance(200);
  expect(isOver).toBe(true);
  expect(s2.members.get("s1")).toBeUndefined();
});

test("[P-8.7] L1: a device that does not go is closed, and what it has not acknowledged is held for it", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  bob.send("ann");
  await bed.clock.advance(20);
  expect(ann.of("deliver")).toHaveLength(1);
  const stopped = s1.stop(PACE);
  await bed.clock.advance(5_000);
  expect(ann.of("error")).toMatchObject([{ code: ERRORS.draining.number, send: 0 }]);
  expect(ann.closed).toBe(CLOSE.draining);
  await stopped;
  expect(bob.of("ack")).toMatchObject([{ status: "held" }]);
  const again = await bed.device(s2, "ann");
  expect(again.of("deliver")).toMatchObject([{ held: true, redelivered: true }]);
});

test("[P-8.7] where no other server is up, devices are told that this one stops", async () => {
  const bed = new Bed();
  const s1 = bed.node("s1");
  const ann = await bed.device(s1, "ann");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(200);
  await stopped;
  expect(ann.of("drain")).toEqual([]);
  expect(ann.of("error")).toMatchObject([{ code: ERRORS.stopping.number }]);
  expect(ann.closed).toBe(CLOSE.stopping);
});

test("L5: a device that left because it was told to is not pushed to while it moves", async () => {
  const { bed, s1, s2 } = await pair();
  const ann = await bed.device(s1, "ann");
  const bob = await bed.device(s2, "bob");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(10);
  ann.write({ type: "bye" });
  await bed.clock.advance(20);
  bob.send("ann");
  await bed.clock.advance(300);
  await stopped;
  expect(bob.of("ack")).toMatchObject([{ status: "held" }]);
  const again = await bed.device(s2, "ann");
  again.write({ type: "received", ranges: [1, 1] });
  await bed.clock.advance(8_000);
  expect(again.of("deliver")).toHaveLength(1);
  expect(bed.named).toEqual([]);
});

test("L5: a push that is under way when a server stops is not sent once more by another", async () => {
  const { bed, s1, s2 } = await pair();
  bed.pushMs = 1_000;
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  ann.send("eve");
  await bed.clock.advance(100);
  expect(bed.named).toEqual(["s1"]);
  // As its process does that ends then.
  const stopped = s1.stop(PACE).then(() => bed.stores.get("s1")!.messages.close());
  await bed.clock.advance(10);
  ann.write({ type: "bye" });
  await bed.clock.advance(20_000);
  await stopped;
  expect(bed.named).toEqual(["s1"]);
});

test("M12: a wake names another server where the one that accepted the message is being emptied", async () => {
  const { bed, s1, s2 } = await pair();
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  const stopped = s1.stop(PACE);
  await bed.clock.advance(10);
  ann.send("eve");
  await bed.clock.advance(1_500);
  expect(bed.named).toEqual(["s2"]);
  await bed.clock.advance(5_000);
  await stopped;
});

test("M12: a wake names another server where the one that accepted the message is full", async () => {
  const bed = new Bed();
  const [s1, s2] = [bed.node("s1", 1), bed.node("s2")];
  await bed.clock.advance(3_000);
  const eve = await bed.device(s2, "eve");
  eve.write({ type: "bye" });
  const ann = await bed.device(s1, "ann");
  await bed.clock.advance(1_100);
  ann.send("eve");
  await bed.clock.advance(1_500);
  expect(bed.named).toEqual(["s2"]);
});
