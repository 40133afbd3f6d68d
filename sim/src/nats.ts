/**
 * A cluster of NATS nodes, as servers see it fail. Each server has a connection to one node; nodes have routes to each other, over one
 * hop. What was on its way when a link breaks is gone, and nobody is told; a link that falls silent is noticed by its pings alone;
 * each client connects again at its own moment, and is heard from then on; a route breaks without any server's link being down.
 */
import {
  type Bus,
  type BusHandler,
  BusTimeout,
  BusUnavailable,
  NobodyListens,
} from "../../packages/server/src/cluster/bus.ts";
import type { SimBus } from "./bus.ts";
import type { NatsPlan } from "./plan.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import type { Process } from "./scheduler.ts";
import type { World } from "./world.ts";

/** The client's own times: two pings unanswered, a try to connect, and the wait before it. */
const SILENCE_MS: readonly [number, number] = [2_000, 3_000];
const CONNECT_MS = 2_000;
const RETRY_MS: readonly [number, number] = [250, 500];
/** A link whose loss is known sooner was reset. */
const RESET_MS = 500;
const SLOWEST_MS = 2_000;

interface Message {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly reply: ((answer: Uint8Array) => void) | undefined;
}

/** From a client's connecting until it connects anew. */
interface Connection {
  readonly client: Client;
  readonly node: number;
  /** The node has it: what its client subscribes to is sent there. */
  isKnown: boolean;
  /** When the other nodes know what it subscribes to. */
  readonly knownAt: number;
  /** Nothing passes; what is on its way waits in `underWay`. */
  isSilent: boolean;
  readonly underWay: (() => void)[];
  /** What is on its way is gone. */
  isBroken: boolean;
  /** The client has given it up. */
  isOver: boolean;
  /** When the last thing sent arrives: what follows does not arrive before it. */
  upUntil: number;
  downUntil: number;
  /** Bytes on their way to the node, and from the node to a client that has not read them. */
  unconfirmed: number;
  unread: number;
}

interface Route {
  isBroken: boolean;
  meanwhile: "gone" | "late";
  readonly underWay: (() => void)[];
  /** By the node that it leads to. */
  readonly until: Map<number, number>;
}

export class SimNats implements SimBus {
  readonly world: World;
  readonly random: Random;
  readonly plan: NatsPlan;
  readonly #nodes: { isUp: boolean }[];
  readonly #routes = new Map<string, Route>();
  readonly #clients = new Map<string, Client>();
  readonly #connections = new Set<Connection>();
  /** Servers of which the history says that they are away. */
  readonly #away = new Set<string>();
  #slowness = 1;

  constructor(world: World, plan: NatsPlan) {
    this.world = world;
    this.plan = plan;
    this.random = world.random.fork("nats");
    this.#nodes = Array.from({ length: plan.nodes }, () => ({ isUp: true }));
  }

  connect(server: string, process: Process): Bus {
    const client = new Client(this, server, process);
    this.#clients.set(server, client);
    this.dial(client);
    return client;
  }

  kill(server: string): void {
    const client = this.#clients.get(server);
    if (client === undefined) return;
    this.#clients.delete(server);
    const { connection } = client;
    if (connection !== undefined) this.#forget(connection);
    this.review();
  }

  cut(server: string, detectMs: number): void {
    const client = this.#clients.get(server);
    if (client === undefined || client.cut !== undefined) return;
    client.cut = detectMs < RESET_MS ? "reset" : "silent";
    const { connection } = client;
    if (connection === undefined) return;
    if (client.cut === "reset") this.#break(connection, "reset");
    else this.#silence(connection);
    this.review();
  }

  restore(server: string): void {
    const client = this.#clients.get(server);
    if (client === undefined) return;
    client.cut = undefined;
    for (const connection of this.#connections) {
      if (connection.client === client) this.#speak(connection);
    }
    this.review();
  }

  /** One node or all of them. */
  restart(node: number | undefined, ms: number, says: "reset" | "nothing"): void {
    for (const [index, one] of this.#nodes.entries()) {
      if (node !== undefined && index !== node % this.#nodes.length) continue;
      one.isUp = false;
      for (const connection of this.#connections) {
        if (connection.node === index) this.#break(connection, says);
      }
      this.world.after(ms, () => (one.isUp = true));
    }
    this.review();
  }

  breakRoute([a, b]: readonly [number, number], ms: number, meanwhile: "gone" | "late"): void {
    const route = this.#route(a % this.#nodes.length, b % this.#nodes.length);
    if (route.isBroken) return;
    route.isBroken = true;
    route.meanwhile = meanwhile;
    this.review();
    this.world.after(ms, () => this.#mend(route));
  }

  slowDown(times: number): void {
    this.#slowness = times;
  }

  heal(): void {
    this.#slowness = 1;
    for (const node of this.#nodes) node.isUp = true;
    for (const route of this.#routes.values()) this.#mend(route);
    for (const server of this.#clients.keys()) this.restore(server);
  }

  // ── Clients ───────────────────────────────────────────────────────────────────────────────────

  /** Tries to connect, until it does. */
  dial(client: Client): void {
    const { process } = client;
    const up = [...this.#nodes.keys()].filter((node) => this.#nodes[node]!.isUp);
    const isRefused = up.length === 0 || client.cut === "reset";
    const ms = client.cut === "silent" ? CONNECT_MS : this.random.between(1, 8);
    process.clock.after(ms, () => {
      if (isRefused || client.cut !== undefined) {
        this.review();
        this.dialLater(client);
        return;
      }
      const node = this.random.pick(up);
      if (this.#nodes[node]!.isUp) this.#welcome(client, node);
      else this.dialLater(client);
    });
  }

  dialLater(client: Client): void {
    client.process.clock.after(this.random.between(...RETRY_MS), () => this.dial(client));
  }

  #welcome(client: Client, node: number): void {
    const connection: Connection = {
      client,
      node,
      isKnown: true,
      knownAt: this.world.now + this.random.between(0.5, 5),
      isSilent: false,
      underWay: [],
      isBroken: false,
      isOver: false,
      upUntil: 0,
      downUntil: 0,
      unconfirmed: 0,
      unread: 0,
    };
    this.#connections.add(connection);
    client.connection = connection;
    client.process.input(this.random.between(0.2, 2), () => {
      client.connected(connection);
      this.review();
    });
  }

  // ── Messages ──────────────────────────────────────────────────────────────────────────────────

  /** The client has written it. */
  send(connection: Connection, message: Message, nobody?: () => void): void {
    const size = message.bytes.length;
    connection.unconfirmed += size;
    const ms = Math.min(SLOWEST_MS, this.#latency() * this.#slowness);
    connection.upUntil = Math.max(connection.upUntil, this.world.now + ms);
    this.#travel(connection, connection.upUntil, () => {
      connection.unconfirmed -= size;
      const count = this.#spread(connection, message);
      if (count === 0 && nobody !== undefined) {
        this.#toClient(connection, 0, nobody);
      }
    });
  }

  /** From a node to all others who want it. Answers how many there seem to be. */
  #spread(from: Connection, message: Message): number {
    if (!from.isKnown || !this.#nodes[from.node]!.isUp) return 0;
    let count = 0;
    for (const to of this.#connections) {
      if (to.client === from.client || !to.isKnown || !to.client.listens(message.subject)) continue;
      if (to.node === from.node) this.#deliver(to, message);
      else if (this.world.now < to.knownAt) continue;
      else this.#over(this.#route(from.node, to.node), to, message);
      count += 1;
    }
    return count;
  }

  #over(route: Route, to: Connection, message: Message): void {
    const arrive = (): void => {
      if (!route.isBroken) this.#deliver(to, message);
      else if (route.meanwhile === "late") route.underWay.push(arrive);
    };
    const at = Math.max(route.until.get(to.node) ?? 0, this.world.now + this.#latency());
    route.until.set(to.node, at);
    this.world.after(at - this.world.now, arrive);
  }

  #deliver(to: Connection, message: Message): void {
    if (!to.isKnown || !this.#nodes[to.node]!.isUp) return;
    const size = message.bytes.length;
    if (to.unread + size > this.plan.pendingLimit) {
      // A slow consumer: what it was sent before is still there for it to read, and then the end.
      to.isKnown = false;
      this.#toClient(to, 0, () => this.#lost(to));
      this.review();
      return;
    }
    this.#toClient(to, size, () => {
      if (!to.isOver) to.client.heard(message);
    });
  }

  #toClient(to: Connection, size: number, read: () => void): void {
    to.unread += size;
    to.downUntil = Math.max(to.downUntil, this.world.now + this.#latency());
    this.#travel(to, to.downUntil, () => {
      to.client.process.input(0, () => {
        to.unread -= size;
        read();
      });
    });
  }

  #travel(connection: Connection, at: number, arrive: () => void): void {
    this.world.after(at - this.world.now, () => {
      if (connection.isBroken) return;
      if (connection.isSilent) connection.underWay.push(arrive);
      else arrive();
    });
  }

  #latency(): number {
    return 0.1 + this.random.exponential(this.random.chance(0.01) ? 60 : 0.5);
  }

  // ── What breaks ───────────────────────────────────────────────────────────────────────────────

  #break(connection: Connection, says: "reset" | "nothing"): void {
    if (connection.isBroken) return;
    const { process } = connection.client;
    connection.isBroken = true;
    connection.isKnown = false;
    connection.underWay.length = 0;
    this.#connections.delete(connection);
    if (says === "reset") {
      process.input(this.random.between(0, 5), () => this.#lost(connection));
    } else {
      process.clock.after(this.random.between(...SILENCE_MS), () => this.#lost(connection));
    }
  }

  #silence(connection: Connection): void {
    connection.isSilent = true;
    connection.client.process.clock.after(this.random.between(...SILENCE_MS), () => {
      if (connection.isSilent) this.#lost(connection);
    });
  }

  /**
   * Both ends send anew what was lost on the way. What a client wrote before it gave the connection up may be among that, and come
   * after what it has written over the next one.
   */
  #speak(connection: Connection): void {
    if (!connection.isSilent) return;
    connection.isSilent = false;
    const isWritten = !connection.isOver || this.random.chance(0.3);
    for (const arrive of connection.underWay.splice(0)) if (isWritten) arrive();
    if (connection.isOver) this.#forget(connection);
  }

  /** Its client has learnt it. */
  #lost(connection: Connection): void {
    if (connection.isOver) return;
    connection.isOver = true;
    connection.client.lost(connection);
    // A node that nothing reaches does not know it yet.
    if (!connection.isSilent) this.#forget(connection);
    this.review();
    this.dialLater(connection.client);
  }

  #forget(connection: Connection): void {
    connection.isKnown = false;
    connection.isBroken = true;
    this.#connections.delete(connection);
  }

  #route(a: number, b: number): Route {
    const name = a < b ? `${a} ${b}` : `${b} ${a}`;
    let route = this.#routes.get(name);
    if (route === undefined) {
      route = { isBroken: false, meanwhile: "gone", underWay: [], until: new Map() };
      this.#routes.set(name, route);
    }
    return route;
  }

  #mend(route: Route): void {
    if (!route.isBroken) return;
    route.isBroken = false;
    for (const arrive of route.underWay.splice(0)) arrive();
    this.review();
  }

  /** Tells the history which servers hear all the others, and are heard. */
  review(): void {
    for (const [server, client] of this.#clients) {
      const isAway = !this.#isWhole(client);
      if (this.#away.has(server) === isAway) continue;
      if (isAway) this.#away.add(server);
      else this.#away.delete(server);
      this.world.record({ kind: "bus", server, state: isAway ? "away" : "back" });
    }
  }

  #isWhole({ connection, hasBeenUp, up }: Client): boolean {
    if (connection === undefined) return !hasBeenUp && this.#nodes.some(({ isUp }) => isUp);
    if (connection.isBroken || connection.isSilent || !connection.isKnown) return false;
    if (!up) return !hasBeenUp;
    return [...this.#clients.values()].every(
      ({ connection: other }) =>
        other === undefined ||
        other.node === connection.node ||
        !this.#route(connection.node, other.node).isBroken,
    );
  }
}

interface Pending {
  readonly resolve: (answer: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly cancel: () => void;
}

/** A server's handle. */
class Client implements Bus {
  readonly server: string;
  readonly process: Process;
  up = false;
  hasBeenUp = false;
  connection: Connection | undefined;
  /** Its way to every node is blocked. */
  cut: "reset" | "silent" | undefined;
  readonly #nats: SimNats;
  readonly #handlers = new Map<string, Set<BusHandler>>();
  readonly #listeners = new Set<(up: boolean) => void>();
  readonly #requests = new Set<Pending>();
  #isClosed = false;

  constructor(nats: SimNats, server: string, process: Process) {
    this.#nats = nats;
    this.server = server;
    this.process = process;
  }

  publish(subject: string, bytes: Uint8Array): void {
    const connection = this.#connectionFor(bytes);
    this.#nats.send(connection, { subject, bytes: bytes.slice(), reply: undefined });
  }

  subscribe(subject: string, handler: BusHandler): () => void {
    const own: BusHandler = (message, reply) => handler(message, reply);
    const handlers = this.#handlers.get(subject) ?? new Set();
    this.#handlers.set(subject, handlers.add(own));
    return () => {
      handlers.delete(own);
      if (handlers.size === 0 && this.#handlers.get(subject) === handlers) {
        this.#handlers.delete(subject);
      }
    };
  }

  async request(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const connection = this.#connectionFor(bytes);
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        resolve,
        reject,
        cancel: this.process.clock.after(timeoutMs, () => {
          this.#requests.delete(pending);
          reject(new BusTimeout(`no answer from ${subject}`));
        }),
      };
      const over = (settle: () => void): void => {
        if (!this.#requests.delete(pending)) return;
        pending.cancel();
        settle();
      };
      this.#requests.add(pending);
      this.#nats.send(
        connection,
        {
          subject,
          bytes: bytes.slice(),
          reply: (answer) => this.process.input(1, () => over(() => resolve(answer))),
        },
        () => over(() => reject(new NobodyListens(`nobody listens to ${subject}`))),
      );
    });
  }

  onLink(listener: (up: boolean) => void): () => void {
    const own = (up: boolean): void => listener(up);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#handlers.clear();
    this.#listeners.clear();
    if (this.connection !== undefined) this.lost(this.connection);
    return Promise.resolve();
  }

  listens(subject: string): boolean {
    return this.#handlers.has(subject);
  }

  heard({ subject, bytes, reply }: Message): void {
    for (const handler of this.#handlers.get(subject) ?? []) handler(bytes, reply);
  }

  connected(connection: Connection): void {
    if (connection.isOver || this.#isClosed) return;
    this.up = true;
    this.hasBeenUp = true;
    for (const listener of this.#listeners) listener(true);
  }

  lost(connection: Connection): void {
    if (this.connection !== connection || !this.up) return;
    this.up = false;
    for (const { cancel, reject } of this.#requests) {
      cancel();
      reject(new BusUnavailable("the link to NATS is down"));
    }
    this.#requests.clear();
    for (const listener of this.#listeners) listener(false);
  }

  /** @throws {BusUnavailable} */
  #connectionFor(bytes: Uint8Array): Connection {
    const { connection } = this;
    if (!this.up || connection === undefined) {
      throw new BusUnavailable("the link to NATS is down");
    }
    if (connection.unconfirmed + bytes.length > this.#nats.plan.unconfirmedLimit) {
      throw new BusUnavailable("NATS does not keep pace");
    }
    return connection;
  }
}
