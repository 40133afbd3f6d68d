/** The servers of a development system, what is to be seen of them, and what may be done to them. */
import type {
  Act,
  DayView,
  Fault,
  ServerView,
  Stage as StageView,
  StageEvent,
  WakePolicy,
} from "@beckon/console/stage";
import type { Observer, PushProvider } from "@beckon/server";

import type { LocalServer } from "../local/server.ts";
import type { Happening } from "./happening.ts";
import { Trouble } from "./trouble.ts";
import { Whereabouts } from "./whereabouts.ts";

export interface StageParts {
  /** What pages subscribe with for Web Push. */
  readonly applicationServerKey: string;
  /** Makes the disk full, or gives it room again. */
  readonly fillDisk: (full: boolean) => Promise<void>;
  /** Runs the generated day; tells of it until it is over. */
  readonly playDay: (tell: (day: DayView) => void) => void;
  /** For how long a killed server stays away if nobody starts it, ms. */
  readonly downMs: number;
}

/** Counters are compared, and told, this often. */
const SERVERS_MS = 200;

export class Stage {
  readonly #parts: StageParts;
  readonly #servers: LocalServer[] = [];
  readonly #devices: Whereabouts;
  readonly #listeners = new Set<(happening: Happening) => void>();
  readonly #faults = new Set<Fault>();
  readonly #restarts = new Map<string, Timer>();
  readonly #trouble: Trouble;
  #wakes: WakePolicy = "sender";
  #day: DayView | undefined;
  #told = "";
  #ticking: Timer | undefined;

  constructor(parts: StageParts) {
    this.#parts = parts;
    this.#devices = new Whereabouts((device) => this.tell({ type: "device", ...device }));
    this.#trouble = new Trouble((happening) => this.tell(happening));
  }

  /** Before it is started. */
  add(server: LocalServer): void {
    this.#servers.push(server);
  }

  get servers(): readonly LocalServer[] {
    return this.#servers;
  }

  async start(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.start()));
    this.#ticking = setInterval(() => this.#tellServers(), SERVERS_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticking);
    for (const timer of this.#restarts.values()) clearTimeout(timer);
    await Promise.all(this.#servers.map((server) => server.stop()));
  }

  // ── What is to be seen ────────────────────────────────────────────────────────────────────────

  get view(): StageView {
    return {
      servers: this.#servers.map(viewOf),
      devices: this.#devices.all,
      wakes: this.#wakes,
      faults: [...this.#faults],
      day: this.#day,
      applicationServerKey: this.#parts.applicationServerKey,
    };
  }

  isConnected(user: string): boolean {
    return this.#devices.isConnected(user);
  }

  /** The answer ends the listening. */
  listen(listener: (happening: Happening) => void): () => void {
    const own = (happening: Happening): void => listener(happening);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  tell(happening: Happening): void {
    for (const listener of this.#listeners) listener(happening);
  }

  #tellServers(): void {
    const servers = this.#servers.map(viewOf);
    const text = JSON.stringify(servers);
    if (text === this.#told) return;
    this.#told = text;
    this.tell({ type: "servers", servers });
  }

  /** Of the server of that name: its events become those of the stage, while it is up. */
  observer(name: string): Observer {
    const tell = (event: StageEvent): void => {
      if (this.#find(name)?.node !== undefined) this.tell(event);
    };
    return {
      held: ({ id, from, to, ms }) => {
        this.#trouble.over(name, "store");
        tell({ type: "held", server: name, id, from, to, ms: Math.round(ms * 10) / 10 });
      },
      refused: ({ code }) => {
        if (code === "store-unavailable") this.#trouble.store(name, this.#faults.has("disk-full"));
      },
      pushed: ({ user, device, names, body, outcome }) => {
        if (outcome === "sent") {
          this.#trouble.over(name, "push");
          tell({ type: "pushed", server: name, names, user, device, sealed: body ?? "" });
        } else {
          this.#trouble.push(name, outcome, user, this.#faults.has("push-down"));
        }
      },
      delivered: (event) => tell({ type: "delivered", ...event }),
      connected: ({ user, device }) => this.#devices.connected(name, user, device),
      disconnected: ({ user, device }) => this.#devices.disconnected(name, user, device),
    };
  }

  /** A server has said that something failed which is its own. */
  failed(server: string, text: string): void {
    this.#trouble.server(server, text);
  }

  // ── What servers ask ──────────────────────────────────────────────────────────────────────────

  /** Which server a push names: as a load balancer would choose one, that with the fewest devices; of equals the last. */
  wakeNames(accepting: string): string {
    if (this.#wakes === "sender") return accepting;
    let fewest: LocalServer | undefined;
    for (const server of this.#servers) {
      if (server.node === undefined) continue;
      if (fewest === undefined || connectionsOf(server) <= connectionsOf(fewest)) fewest = server;
    }
    return fewest?.name ?? accepting;
  }

  /** A push service that answers nothing while that is wanted. */
  fallible(provider: PushProvider): PushProvider {
    return {
      ...provider,
      send: (items) =>
        this.#faults.has("push-down")
          ? Promise.resolve(items.map(() => ({ kind: "retry", after: PUSH_RETRY_MS }) as const))
          : provider.send(items),
    };
  }

  // ── What may be done ──────────────────────────────────────────────────────────────────────────

  async act(act: Act): Promise<void> {
    switch (act.act) {
      case "kill":
        this.#kill(this.#known(act.server));
        return;
      case "start":
        await this.#startAgain(this.#known(act.server));
        return;
      case "wakes":
        if (act.wakes === this.#wakes) return;
        this.#wakes = act.wakes;
        this.tell({ type: "wakes", wakes: act.wakes });
        return;
      case "fault":
        await this.#fault(act.fault, act.on);
        return;
      case "day":
        if (this.#day?.state === "running") return;
        this.#parts.playDay((day) => {
          this.#day = day;
          this.tell({ type: "day", ...day });
        });
        return;
      case "report":
        this.tell({ type: "report", report: act.report });
    }
  }

  #kill(server: LocalServer): void {
    if (!server.kill()) return;
    const { name } = server;
    this.tell({ type: "killed", server: name });
    this.#devices.gone(name);
    this.#tellServers();
    const restart = setTimeout(() => {
      this.#startAgain(server).catch((error: unknown) => {
        this.failed(name, `${name} does not start: ${(error as Error).message}`);
      });
    }, this.#parts.downMs);
    this.#restarts.set(name, restart);
  }

  async #startAgain(server: LocalServer): Promise<void> {
    clearTimeout(this.#restarts.get(server.name));
    this.#restarts.delete(server.name);
    if (server.node !== undefined) return;
    await server.start();
    this.tell({ type: "started", server: server.name });
    this.#tellServers();
  }

  async #fault(fault: Fault, on: boolean): Promise<void> {
    if (this.#faults.has(fault) === on) return;
    if (fault === "disk-full") await this.#parts.fillDisk(on);
    if (on) this.#faults.add(fault);
    else this.#faults.delete(fault);
    this.tell({ type: "faults", faults: [...this.#faults] });
  }

  #known(name: string): LocalServer {
    const server = this.#find(name);
    if (server !== undefined) return server;
    const names = this.#servers.map((one) => one.name).join(", ");
    throw new RangeError(`there is no server ${name}; there are ${names}`);
  }

  #find(name: string): LocalServer | undefined {
    return this.#servers.find((server) => server.name === name);
  }
}

/** As a service that did not answer is tried again, ms. */
const PUSH_RETRY_MS = 1_000;

function connectionsOf({ node }: LocalServer): number {
  return node?.table.ownSize ?? 0;
}

function viewOf(server: LocalServer): ServerView {
  const { name, url, admin, node, counts } = server;
  return {
    name,
    url,
    admin,
    state: node === undefined ? "down" : "up",
    connections: connectionsOf(server),
    ...counts,
  };
}
