/**
 * The embedded backend of simulations and tests: a database that is an object, and handles on it that can lose their link
 * and die. Who drives it decides when a transaction runs and when its answer arrives.
 */
import type { Clock } from "../lib/clock.ts";
import { MemoryDatabase as Database } from "./memory-database.ts";
import { DEFAULT_STORE_LIMITS, StoreUnavailable } from "./store.ts";
import type { Store, StoreLimits } from "./store.ts";
import { storeOf } from "./transactions.ts";
import type { Operation, Run } from "./transactions.ts";

/**
 * Is called twice a call: `commit` runs the transaction, and later `answer` settles the promise. Must call each `run` once, or
 * never (the call then hangs until its handle goes away).
 */
export type Schedule = (operation: Operation, stage: "commit" | "answer", run: () => void) => void;

export interface MemoryDatabase {
  /** One server's view of the database. */
  open(options?: { readonly schedule?: Schedule }): MemoryHandle;
  /** Unsettled rows of everyone. */
  readonly heldRows: number;
}

export interface MemoryHandle extends Store {
  /**
   * The link is lost: every call, those in flight among them, rejects with StoreUnavailable until `reconnect`. Of those in flight
   * whose transaction has not run, the ones for which `commits` says so still run when their moment comes; the others never do.
   */
  disconnect(commits?: (operation: Operation) => boolean): void;
  reconnect(): void;
  /** The server has crashed: as `disconnect`, for good. */
  die(commits?: (operation: Operation) => boolean): void;
}

export function createMemoryDatabase(
  clock: Pick<Clock, "now">,
  limits: StoreLimits = DEFAULT_STORE_LIMITS,
): MemoryDatabase {
  const database = new Database(clock, limits);
  return {
    open: ({ schedule = atOnce } = {}) => openHandle(database, schedule),
    get heldRows() {
      return database.heldRows;
    },
  };
}

const atOnce: Schedule = (_operation, _stage, run) => run();

interface Call {
  readonly operation: Operation;
  /** `lost`: the transaction will not run. */
  transaction: "waits" | "lost" | "over";
  reject(error: Error): void;
}

function openHandle(database: Database, schedule: Schedule): MemoryHandle {
  let state: "up" | "away" | "dead" = "up";
  const inFlight = new Set<Call>();

  const run: Run = (operation, args) => {
    if (state !== "up") return Promise.reject(new StoreUnavailable("the database is away"));
    return new Promise((resolve, reject) => {
      const call: Call = { operation, transaction: "waits", reject };
      inFlight.add(call);
      schedule(operation, "commit", () => {
        if (call.transaction === "lost") return;
        call.transaction = "over";
        let settle: () => void;
        try {
          const transaction = database[operation] as (...given: typeof args) => never;
          const result = transaction.apply(database, args);
          settle = () => resolve(result);
        } catch (error) {
          settle = () => reject(error);
        }
        schedule(operation, "answer", () => {
          if (inFlight.delete(call)) settle();
        });
      });
    });
  };

  const disconnect = (next: "away" | "dead", commits: (operation: Operation) => boolean): void => {
    if (state === "dead") return;
    state = next;
    const calls = [...inFlight];
    inFlight.clear();
    for (const call of calls) {
      if (call.transaction === "waits" && !commits(call.operation)) call.transaction = "lost";
      call.reject(new StoreUnavailable("the link to the database is lost"));
    }
  };
  const never = (): boolean => false;

  const close = async (): Promise<void> => disconnect("dead", never);
  return {
    ...storeOf(run, close),
    disconnect: (commits = never) => disconnect("away", commits),
    reconnect: () => {
      if (state === "away") state = "up";
    },
    die: (commits = never) => disconnect("dead", commits),
  };
}
