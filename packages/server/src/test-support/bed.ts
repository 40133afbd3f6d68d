/** Servers without their sockets on a virtual clock, over one bus and one store in memory, and devices that speak frames to them. */
import { encodeFrames, LIMITS, readFrames, uuidv7 } from "@beckon/protocol";
import type { Frame, HelloFrame, SendFrame, UnknownFrame } from "@beckon/protocol";

import { createMemoryBus } from "../cluster/memory-bus.ts";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import type { SocketHandler } from "../gateway/socket.ts";
import { createTickets } from "../gateway/ticket.ts";
import { createNode, type Node, type NodeParts } from "../node.ts";
import { createMemoryDatabase } from "../store/memory.ts";
import type { Store } from "../store/store.ts";

/** Servers that know each other, over one store. */
export class Bed {
  readonly clock: VirtualClock = new VirtualClock();
  /** Names of the servers that pushes named. */
  readonly named: string[] = [];
  readonly stores: Map<string, Store> = new Map();
  /** How long a push takes, ms. */
  pushMs = 0;
  readonly #hub = createMemoryBus({ clock: this.clock });
  readonly #database = createMemoryDatabase(this.clock);

  node(name: string, maxConnections = 100, more: Partial<NodeParts> = {}): Node {
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
      ...more,
    });
    node.start();
    return node;
  }

  /** A device that has said HELLO, and has not been answered yet. */
  hello(node: Node, user: string, says: Partial<HelloFrame> = {}): Device {
    return new Device(node, this.clock, user, says);
  }

  async device(node: Node, user: string, says: Partial<HelloFrame> = {}): Promise<Device> {
    const device = this.hello(node, user, says);
    await this.clock.advance(50);
    return device;
  }

  /** A device that was here and has said goodbye. */
  async sleeper(node: Node, user: string, says: Partial<HelloFrame> = {}): Promise<void> {
    const device = await this.device(node, user, says);
    device.write({ type: "bye" });
    await this.clock.advance(50);
  }
}

const PUSH = { provider: "dev", key: { id: 1, key: new Uint8Array(32) } };

const HELLO: Omit<HelloFrame, "token"> = {
  type: "hello",
  ticket: new Uint8Array(0),
  device: "phone",
  durable: true,
  protocols: ["ws"],
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

export class Device {
  readonly frames: (Frame | UnknownFrame)[] = [];
  closed: number | undefined;
  readonly #handler: SocketHandler;
  readonly #clock: VirtualClock;
  #n = 0;

  constructor(node: Node, clock: VirtualClock, user: string, says: Partial<HelloFrame> = {}) {
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
    // Who is not durable registers for no push.
    const push = says.durable === false ? {} : { push: { ...PUSH, token: user } };
    this.write({ ...HELLO, token: user, ...push, ...says });
  }

  write(frame: Frame): void {
    this.#handler.message(encodeFrames([frame]));
  }

  send(to: string, fields: Partial<SendFrame> = {}): void {
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
      ends: new Uint8Array(),
      ...fields,
    };
    this.write(send);
  }

  of<T extends Frame["type"]>(type: T): Extract<Frame, { type: T }>[] {
    return this.frames.filter((frame) => frame.type === type) as Extract<Frame, { type: T }>[];
  }
}

export async function pair(): Promise<{ bed: Bed; s1: Node; s2: Node }> {
  const bed = new Bed();
  const [s1, s2] = [bed.node("s1"), bed.node("s2")];
  await bed.clock.advance(3_000);
  return { bed, s1, s2 };
}
