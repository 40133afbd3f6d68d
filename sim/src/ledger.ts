/** What a database has committed, as the history tells it; whichever engine keeps it. */
import { decodeDeliverBody, uuidTime, type WakeClass } from "@beckon/protocol";

import type {
  Arrival,
  ArrivalResult,
  HoldRequest,
  HoldResult,
  RowRef,
} from "../../packages/server/src/store/store.ts";
import type { Operation } from "../../packages/server/src/store/transactions.ts";
import type { DeviceName, MessageName } from "./history.ts";
import { nameOf } from "./tap.ts";
import type { World } from "./world.ts";

/** A row that is there. */
export interface Row {
  readonly message: MessageName;
  readonly user: string;
  /** "": the user's own. */
  device: string;
  readonly sentAt: number;
  readonly wake: WakeClass;
  /** It was settled, and a crash of the database has undone that: nobody waits for it. */
  isBack: boolean;
}

export type Settled = readonly [ref: RowRef, row: Row];

export class Ledger {
  readonly #world: World;
  readonly #rows = new Map<RowRef, Row>();
  /** Durable devices, and whether they can be pushed to. */
  readonly #durable = new Map<DeviceName, boolean>();
  /** Called in the moment after a hold of this server was committed. */
  onHold: ((server: string) => void) | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  row(ref: RowRef): Row | undefined {
    return this.#rows.get(ref);
  }

  /** Unsettled rows for devices, and for users, of which `isThere` says so. */
  heldRows(isThere: (device: DeviceName) => boolean): number {
    let count = 0;
    for (const { user, device, isBack } of this.#rows.values()) {
      if (!isBack && isThere(`${user}/${device}`)) count += 1;
    }
    return count;
  }

  /** Rows of messages that are older than that. */
  expired(before: number): RowRef[] {
    return [...this.#rows].filter(([, { sentAt }]) => sentAt < before).map(([ref]) => ref);
  }

  drop(refs: readonly RowRef[], kind: "settled" | "dropped"): Settled[] {
    return refs.flatMap((ref) => {
      const row = this.#rows.get(ref);
      if (row === undefined) return [];
      this.#rows.delete(ref);
      this.#world.record({ kind, message: row.message, device: `${row.user}/${row.device}` });
      return [[ref, row] as const];
    });
  }

  /** The rows are there again. */
  undo(settled: readonly Settled[]): void {
    for (const [ref, row] of settled) {
      row.isBack = true;
      this.#rows.set(ref, row);
      const device = `${row.user}/${row.device}`;
      this.#world.record({ kind: "unsettled", message: row.message, device });
    }
  }

  /** The operation was committed for the server, with this result. */
  committed(
    server: string,
    operation: Operation,
    args: readonly unknown[],
    result: unknown,
  ): Settled[] {
    switch (operation) {
      case "hold":
        this.#held(args[0] as readonly HoldRequest[], result as readonly HoldResult[]);
        this.onHold?.(server);
        break;
      case "settle":
        return this.drop(args[0] as readonly RowRef[], "settled");
      case "arrive": {
        const arrival = args[0] as Arrival;
        if (!arrival.durable) break;
        const device = `${arrival.user}/${arrival.device}`;
        this.#registered(device, arrival.push !== undefined, result as ArrivalResult);
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
      case "expire":
      case "devices":
      case "sets":
      case "retire":
      case "claim":
      case "done":
      case "clear":
      case "leave":
      case "end":
      case "nextDue":
      case "unregister":
      case "quiet":
      case "mutes":
      case "strengthen":
      case "circle":
      case "fade":
      case "erase":
    }
    return [];
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
        const sentAt = uuidTime(key.id);
        this.#rows.set(row, { message, user, device, sentAt, wake, isBack: false });
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
