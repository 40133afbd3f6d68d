/** The database as the servers reach it; and the one in memory, behind links that are slow and that break. */
import { MemoryDatabase } from "../../packages/server/src/store/memory-database.ts";
import type { RowRef, Store, StoreLimits } from "../../packages/server/src/store/store.ts";
import { StoreUnavailable } from "../../packages/server/src/store/store.ts";
import { type Operation, type Run, storeOf } from "../../packages/server/src/store/transactions.ts";
import type { Ledger } from "./ledger.ts";
import type { Process } from "./scheduler.ts";
import { EPOCH } from "./scheduler.ts";
import type { World } from "./world.ts";

export interface SimStore {
  /** For a process of the server that has just begun. */
  connect(server: string, process: Process): Store;
  /** The server's process is gone; `says`: what the database's operating system hears of it. */
  kill(server: string, says: "reset" | "nothing"): void;
  /** The link of a server breaks. What is under way fails; by chance it was committed all the same. */
  cut(server: string): void;
  restore(server: string): void;
  /** Everything takes this many times as long, and no more than {@link SLOWEST_MS}. */
  slowDown(times: number): void;
  /** Every fault of the database itself is over. */
  heal(): void;
}

export const SLOWEST_MS = 2_000;

interface Link {
  readonly process: Process;
  isAway: boolean;
  /** Rejects the calls under way. */
  readonly inFlight: Set<(error: Error) => void>;
}

export class MemoryStore implements SimStore {
  readonly #world: World;
  readonly #ledger: Ledger;
  readonly #database: MemoryDatabase;
  readonly #links = new Map<string, Link>();
  #slowness = 1;

  constructor(world: World, ledger: Ledger, limits: StoreLimits) {
    this.#world = world;
    this.#ledger = ledger;
    this.#database = new MemoryDatabase({ now: () => Math.floor(EPOCH + world.now) }, limits);
  }

  connect(server: string, process: Process): Store {
    if (this.#links.get(server)?.isAway === true) {
      this.#world.record({ kind: "store", server, state: "back" });
    }
    const link: Link = { process, isAway: false, inFlight: new Set() };
    this.#links.set(server, link);
    return storeOf(this.#runner(server, link), () => Promise.resolve());
  }

  kill(): void {
    // Its calls see that the process is gone.
  }

  slowDown(times: number): void {
    if (times > 1 !== this.#slowness > 1) {
      this.#world.record({ kind: "store", server: undefined, state: times > 1 ? "slow" : "fast" });
    }
    this.#slowness = times;
  }

  cut(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined || link.isAway) return;
    link.isAway = true;
    this.#world.record({ kind: "store", server, state: "away" });
    const calls = [...link.inFlight];
    link.inFlight.clear();
    for (const reject of calls) {
      link.process.input(this.#world.random.int(0, 50), () =>
        reject(new StoreUnavailable("link lost")),
      );
    }
  }

  restore(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined || !link.isAway) return;
    link.isAway = false;
    this.#world.record({ kind: "store", server, state: "back" });
  }

  heal(): void {
    this.slowDown(1);
  }

  #runner(server: string, link: Link): Run {
    const { random } = this.#world;
    return (operation, args) =>
      new Promise((resolve, reject) => {
        const { process } = link;
        if (link.isAway) {
          process.input(random.int(1, 20), () => reject(new StoreUnavailable("no link")));
          return;
        }
        link.inFlight.add(reject);
        const answer = (settle: () => void): void => {
          if (!link.inFlight.delete(reject)) return;
          process.input(Math.ceil(random.between(0.1, 1)), settle);
        };
        this.#world.after(this.#latency(operation), () => {
          // A link or process that broke on the way may have lost the request, or only the answer.
          const isLost = (link.isAway || !process.isAlive) && random.chance(0.5);
          if (isLost) return;
          let settle: () => void;
          try {
            const result = this.#transact(server, operation, args);
            settle = () => resolve(result as never);
          } catch (error) {
            settle = () => reject(error);
          }
          answer(settle);
        });
      });
  }

  #latency(operation: Operation): number {
    const { random } = this.#world;
    const isRead = operation === "pending" || operation === "tail" || operation === "nextDue";
    const base = isRead ? random.between(0.2, 2) : random.between(0.5, 6);
    const pause = random.chance(0.01) ? random.between(10, 300) : 0;
    return Math.ceil(Math.min(SLOWEST_MS, (base + pause) * this.#slowness));
  }

  #transact(server: string, operation: Operation, args: readonly unknown[]): unknown {
    const expired: RowRef[] = operation === "expire" ? this.#ledger.expired(args[0] as number) : [];
    const transaction = this.#database[operation] as (...given: readonly unknown[]) => unknown;
    const result: unknown = Reflect.apply(transaction, this.#database, args);
    this.#ledger.committed(server, operation, args, result);
    this.#ledger.drop(expired, "dropped");
    return result;
  }
}
