/** The bus between servers; and the one in memory, over links that are slow and that break. */
import { type Bus, type BusHandler } from "../../packages/server/src/cluster/bus.ts";
import { createMemoryBus, type MemoryBus } from "../../packages/server/src/cluster/memory-bus.ts";
import type { MemoryBusHub } from "../../packages/server/src/cluster/memory-bus.ts";
import type { Process } from "./scheduler.ts";
import type { World } from "./world.ts";

export interface SimBus {
  /** The handle of a process that has just begun. */
  connect(server: string, process: Process): Bus;
  kill(server: string): void;
  /** The link of a server breaks; it learns of it after `detectMs`, or when its engine lets it know. */
  cut(server: string, detectMs: number): void;
  restore(server: string): void;
  /** Every fault of the bus itself is over. */
  heal(): void;
}

/** What a server's bus is made of, and what can happen to it. */
interface Link {
  readonly bus: MemoryBus;
  /** Nothing passes, and nobody knows it yet. */
  severed: boolean;
}

export class SimMemoryBus implements SimBus {
  readonly #world: World;
  readonly #hub: MemoryBusHub;
  readonly #links = new Map<string, Link>();
  readonly #byId = new Map<number, Link>();
  /** Servers that died without a link. */
  readonly #away = new Set<string>();

  constructor(world: World) {
    this.#world = world;
    const { scheduler } = world;
    const random = world.random.fork("bus");
    this.#hub = createMemoryBus({
      clock: {
        now: () => scheduler.now,
        monotonic: () => scheduler.now,
        after: (ms, task) => world.after(ms, task),
        defer: (task) => void scheduler.schedule(scheduler.now, "deferred", undefined, task),
      },
      fate: (from, to) => {
        if (this.#byId.get(from)?.severed || this.#byId.get(to)?.severed) return undefined;
        return Math.ceil(0.2 + random.exponential(random.chance(0.02) ? 60 : 1));
      },
    });
  }

  connect(server: string, process: Process): Bus {
    const link: Link = { bus: this.#hub.connect(), severed: false };
    this.#links.set(server, link);
    this.#byId.set(link.bus.id, link);
    if (this.#away.delete(server)) this.#world.record({ kind: "bus", server, state: "back" });
    return inProcess(link.bus, process);
  }

  kill(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined) return;
    this.#links.delete(server);
    if (link.severed) this.#away.add(server);
    this.#hub.kill(link.bus);
  }

  cut(server: string, detectMs: number): void {
    const link = this.#links.get(server);
    if (link === undefined || link.severed) return;
    link.severed = true;
    this.#world.record({ kind: "bus", server, state: "away" });
    this.#world.after(detectMs, () => {
      if (link.severed && this.#links.get(server) === link) this.#hub.cut(link.bus);
    });
  }

  restore(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined || !link.severed) return;
    link.severed = false;
    this.#hub.restore(link.bus);
    this.#world.record({ kind: "bus", server, state: "back" });
  }

  heal(): void {
    for (const server of this.#links.keys()) this.restore(server);
  }
}

/** Whatever the bus calls is an input of the process: it waits while that is stopped. */
function inProcess(bus: MemoryBus, process: Process): Bus {
  const subscribe = (subject: string, handler: BusHandler): (() => void) => {
    let isOver = false;
    const end = bus.subscribe(subject, (message, reply) => {
      process.input(0, () => {
        if (!isOver) handler(message, reply);
      });
    });
    return () => {
      isOver = true;
      end();
    };
  };
  return {
    publish: (subject, message) => bus.publish(subject, message),
    subscribe,
    request: (subject, message, timeoutMs) =>
      new Promise((resolve, reject) => {
        bus.request(subject, message, timeoutMs).then(
          (answer) => process.input(0, () => resolve(answer)),
          (error: Error) => process.input(0, () => reject(error)),
        );
      }),
    onLink: (listener) => bus.onLink((up) => process.input(0, () => listener(up))),
    get up() {
      return bus.up;
    },
    close: () => bus.close(),
  };
}
