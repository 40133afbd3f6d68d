/** The database: the real rules in memory, behind links that are slow and that break; and what it commits, recorded. */
import { decodeDeliverBody, uuidTime, type WakeClass } from "@beckon/protocol";

import { MemoryDatabase } from "../../packages/server/src/store/memory-database.ts";
import type {
  Arrival,
  ArrivalResult,
  HoldRequest,
  HoldResult,
  RowRef,
  Store,
  StoreLimits,
} from "../../packages/server/src/store/store.ts";
import { StoreUnavailable } from "../../packages/server/src/store/store.ts";
import { type Operation, type Run, storeOf } from "../../packages/server/src/store/transactions.ts";
import type { DeviceName, MessageName } from "./history.ts";
import type { Process } from "./scheduler.ts";
import { EPOCH } from "./scheduler.ts";
import { nameOf } from "./tap.ts";
import type { World } from "./world.ts";

interface Row {
  readonly message: MessageName;
  readonly user: string;
  /** "": the user's own. */
  device: string;
  readonly sentAt: number;
  readonly wake: WakeClass;
}

interface Link {
  readonly process: Process;
  isAway: boolean;
  /** Rejects the calls under way. */
  readonly inFlight: Set<(error: Error) => void>;
}

const SLOWEST_MS = 2_000;

export class SimStore {
  readonly #world: World;
  readonly #database: MemoryDatabase;
  readonly #links = new Map<string, Link>();
  readonly #rows = new Map<RowRef, Row>();
  /** Durable devices, and whether they can be pushed to. */
  readonly #durable = new Map<DeviceName, boolean>();
  #slowness = 1;
  /** Called in the moment after a hold of this server was committed. */
  onHold: ((server: string) => void) | undefined;

  constructor(world: World, limits: StoreLimits) {
    this.#world = world;
    this.#database = new MemoryDatabase({ now: () => Math.floor(EPOCH + world.now) }, limits);
  }

  /** Unsettled rows for devices, and for users, of which `isThere` says so. */
  heldRows(isThere: (device: DeviceName) => boolean): number {
    let count = 0;
    for (const { user, device } of this.#rows.values())
      if (isThere(`${user}/${device}`)) count += 1;
    return count;
  }

  connect(server: string, process: Process): Store {
    const link: Link = { process, isAway: false, inFlight: new Set() };
    this.#links.set(server, link);
    return storeOf(this.#runner(server, link), () => Promise.resolve());
  }

  /** Everything takes this many times as long, and no more than {@link SLOWEST_MS}. */
  slowDown(times: number): void {
    if (times > 1 !== this.#slowness > 1) {
      this.#world.record({ kind: "store", server: undefined, state: times > 1 ? "slow" : "fast" });
    }
    this.#slowness = times;
  }

  /** The link of a server breaks. What is under way fails; by chance it was committed all the same. */
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
    const dropped = operation === "expire" ? this.#expired(args[0] as number) : [];
    const transaction = this.#database[operation] as (...given: readonly unknown[]) => unknown;
    const result: unknown = Reflect.apply(transaction, this.#database, args);
    switch (operation) {
      case "hold":
        this.#held(args[0] as readonly HoldRequest[], result as readonly HoldResult[]);
        this.onHold?.(server);
        break;
      case "settle":
        for (const ref of args[0] as readonly RowRef[]) this.#drop(ref, "settled");
        break;
      case "expire":
        for (const ref of dropped) this.#drop(ref, "dropped");
        break;
      case "arrive": {
        const arrival = args[0] as Arrival;
        if (arrival.durable) {
          const device = `${arrival.user}/${arrival.device}`;
          this.#registered(device, arrival.push !== undefined, result as ArrivalResult);
        }
        break;
      }
      case "register":
        this.#registered(
          `${args[0] as string}/${args[1] as string}`,
          true,
          result as { setSize: number },
        );
        break;
      case "forget":
        this.#forgotten(args[0] as string, args[1] as string);
        break;
      case "pending":
      case "markSent":
      case "tail":
      case "devices":
      case "sets":
      case "retire":
      case "claim":
      case "done":
      case "clear":
      case "leave":
      case "nextDue":
    }
    return result;
  }

  #held(requests: readonly HoldRequest[], results: readonly HoldResult[]): void {
    for (const [index, request] of requests.entries()) {
      const result = results[index]!;
      if (result.outcome !== "held") continue;
      const { user, key } = request;
      const message = nameOf(decodeDeliverBody(request.body).payload);
      const wake = request.wake.class;
      const fresh = result.rows.filter(({ isNew }) => isNew);
      for (const { row, device } of fresh) {
        this.#rows.set(row, { message, user, device, sentAt: uuidTime(key.id), wake });
      }
      const devices = fresh
        .filter(({ device }) => device !== "")
        .map(({ device }) => `${user}/${device}`);
      if (devices.length > 0)
        this.#world.record({ kind: "held", message, devices, user: undefined, wake });
      if (fresh.some(({ device }) => device === "")) {
        this.#world.record({ kind: "held", message, devices: [], user, wake });
      }
    }
  }

  #drop(ref: RowRef, kind: "settled" | "dropped"): void {
    const row = this.#rows.get(ref);
    if (row === undefined) return;
    this.#rows.delete(ref);
    this.#world.record({ kind, message: row.message, device: `${row.user}/${row.device}` });
  }

  #expired(before: number): RowRef[] {
    return [...this.#rows].filter(([, { sentAt }]) => sentAt < before).map(([ref]) => ref);
  }

  #registered(device: DeviceName, push: boolean, { setSize }: { readonly setSize: number }): void {
    const before = this.#durable.get(device);
    if (before === undefined && setSize === 1) this.#adopt(device);
    if (before !== undefined && !push) return;
    this.#durable.set(device, push);
    this.#world.record({ kind: "registered", device, push });
  }

  /** The first durable device of a user has taken over what belonged to the user alone. */
  #adopt(device: DeviceName): void {
    const [user, name] = device.split("/") as [string, string];
    for (const row of this.#rows.values()) {
      if (row.user !== user || row.device !== "") continue;
      row.device = name;
      const { message, wake } = row;
      this.#world.record({ kind: "held", message, devices: [device], user: undefined, wake });
    }
  }

  #forgotten(user: string, name: string): void {
    const device = `${user}/${name}`;
    this.#durable.delete(device);
    for (const [ref, row] of this.#rows) {
      if (row.user === user && row.device === name) this.#rows.delete(ref);
    }
    this.#world.record({ kind: "forgotten", device });
  }

  /** The push service has said that it does not know the device any more. */
  unpushable(device: DeviceName): void {
    if (this.#durable.has(device)) this.#durable.set(device, false);
  }
}
