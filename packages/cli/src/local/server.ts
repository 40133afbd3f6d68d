/** Servers of one process that can be killed as by kill -9, and started again where they were. */
import {
  type Config,
  type ConfiguredServer,
  createMemoryBus,
  createServer,
  type Embedding,
  lastingPort,
  loadConfig,
  type Node,
  systemClock,
} from "@beckon/server";

/** Where they all meet: a bus in memory. */
export type Hub = ReturnType<typeof createMemoryBus>;

export function createHub(): Hub {
  return createMemoryBus({ clock: systemClock });
}

export interface LocalServerOptions {
  readonly hub: Hub;
  readonly name: string;
  /** 0: any that is free, and the same one from then on. */
  readonly port: number;
  readonly adminPort: number;
  /** Whether it listens for TCP, too, on any port that is free, and the same one from then on. */
  readonly tcp?: boolean;
  /** The database's file. */
  readonly store: string;
  readonly secret: string;
  readonly apiToken?: string;
  /** What else it is configured with, as environment variables. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly embedding: Omit<Embedding, "sharedBus" | "processMetrics">;
}

/** What a server has counted. */
export interface Counts {
  /** Live deliveries are counted by the server that accepted them, those from the store by the one that made them. */
  readonly local: number;
  readonly remote: number;
  readonly held: number;
  readonly pushed: number;
  readonly acknowledged: number;
  /** Bytes that it has heard over the bus. */
  readonly busBytes: number;
}

const ZERO: Counts = { local: 0, remote: 0, held: 0, pushed: 0, acknowledged: 0, busBytes: 0 };

/** A port that was just given back may be refused for a moment. */
const BIND_TRIES = 50;
const BIND_MS = 20;

interface Running {
  readonly server: ConfiguredServer;
  readonly bus: ReturnType<Hub["connect"]>;
}

export class LocalServer {
  readonly name: string;
  readonly #options: LocalServerOptions;
  readonly #port: number;
  readonly #tcpPort: number;
  readonly #adminPort: number;
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  /** Of those that were killed. */
  #buried = ZERO;

  constructor(options: LocalServerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#port = options.port || lastingPort();
    this.#tcpPort = options.tcp === true ? lastingPort() : this.#port;
    this.#adminPort = options.adminPort || lastingPort();
  }

  /** Where devices connect. */
  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  /** By TCP, where it listens for that. */
  get tcpUrl(): string {
    return `tcp://127.0.0.1:${this.#tcpPort}`;
  }

  get admin(): string {
    return `http://127.0.0.1:${this.#adminPort}`;
  }

  /** While it is up. */
  get node(): Node | undefined {
    return this.#running?.server.node;
  }

  /** By all that had its name. */
  get counts(): Counts {
    return this.node === undefined ? this.#buried : add(this.#buried, countsOf(this.node));
  }

  start(): Promise<void> {
    if (this.#running !== undefined) return Promise.resolve();
    return (this.#starting ??= this.#start().finally(() => (this.#starting = undefined)));
  }

  async #start(): Promise<void> {
    const { hub, embedding } = this.#options;
    const bus = hub.connect();
    const server = createServer({
      ...(await this.#config()),
      ...embedding,
      sharedBus: bus,
      processMetrics: false,
    });
    try {
      await again(() => server.start());
    } catch (error) {
      hub.kill(bus);
      throw error;
    }
    this.#running = { server, bus };
  }

  #config(): Promise<Config> {
    const { name, tcp = false, store, secret, apiToken, settings } = this.#options;
    return loadConfig(undefined, {
      ...settings,
      BECKON_NAME: name,
      BECKON_LISTEN: `127.0.0.1:${this.#port}`,
      BECKON_ADMIN: `127.0.0.1:${this.#adminPort}`,
      ...(tcp ? listenTcp(this.#tcpPort) : {}),
      BECKON_STORE: `sqlite:${store}`,
      BECKON_AUTH_SECRET: secret,
      BECKON_AUTH_SEND: "anyone",
      BECKON_API_TOKEN: apiToken,
    });
  }

  /** No last word. False: it was down. */
  kill(): boolean {
    if (this.#running === undefined) return false;
    const { server, bus } = this.#running;
    this.#buried = this.counts;
    this.#running = undefined;
    void server.kill();
    this.#options.hub.kill(bus);
    return true;
  }

  /** Sends its devices elsewhere, finishes what is under way, and stops. */
  async drain(): Promise<void> {
    if (this.#running === undefined) return;
    const { server } = this.#running;
    const { node } = server;
    await server.drain();
    if (this.#running?.server !== server) return;
    if (node !== undefined) this.#buried = add(this.#buried, countsOf(node));
    this.#running = undefined;
  }

  /** For good, when nothing that it does matters any more. */
  async stop(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    if (this.#running === undefined) return;
    const { server, bus } = this.#running;
    this.#running = undefined;
    await server.kill();
    await bus.close();
  }
}

/** What tells a server to listen for TCP, too. */
export function listenTcp(port: number): Record<string, string> {
  return {
    BECKON_LISTENER_0_PROTOCOL: "tcp",
    BECKON_LISTENER_0_LISTEN: `127.0.0.1:${port}`,
  };
}

function countsOf({ counters }: Node): Counts {
  return {
    local: counters.deliveredLocal + counters.heldDeliveredLocal,
    remote: counters.deliveredRemote + counters.heldDeliveredRemote,
    held: counters.held,
    pushed: counters.sent,
    acknowledged: counters.ackedDelivered + counters.ackedHeld,
    busBytes: counters.bus.in,
  };
}

function add(a: Counts, b: Counts): Counts {
  return {
    local: a.local + b.local,
    remote: a.remote + b.remote,
    held: a.held + b.held,
    pushed: a.pushed + b.pushed,
    acknowledged: a.acknowledged + b.acknowledged,
    busBytes: a.busBytes + b.busBytes,
  };
}

async function again<T>(start: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === BIND_TRIES) throw error;
      await Bun.sleep(BIND_MS);
    }
  }
}
