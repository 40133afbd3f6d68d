/** What was received: in order, acknowledged, and each handed over once. */
import { type DeliverFrame, formatUuid, LIMITS } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import type { Handed } from "./handover.ts";
import { type Journal, numberedKey } from "./journal.ts";
import { createLanes, type Due, type LaneRecord } from "./lanes.ts";
import type { Message } from "./message.ts";
import type { Change, Stored } from "./storage.ts";
import { decodeText } from "./text.ts";

/** A message from its arrival until it was handled. */
export interface Item extends Handed {
  /** Tells a repeat. */
  readonly key: string;
  readonly n: number;
  readonly prev: number;
  readonly frame: DeliverFrame;
  readonly server: string;
  /** The DELIVERs that brought it: each is acknowledged on its own connection. */
  receipts: { readonly connection: Connection; readonly deliver: number }[];
  gap: boolean;
  late: boolean;
  /** Its key in the storage; undefined: it is not there. */
  stored: string | undefined;
}

export interface Inbox {
  deliver(connection: Connection, frame: DeliverFrame, deliver: number): void;
  /** All frames of a message were given: what is missing is asked for. */
  turn(connection: Connection): void;
  pulled(pull: number): void;
  connected(connection: Connection): void;
  disconnected(): void;
  /** The application is done with it. */
  handled(item: Item): void;
  /** Takes a record of the storage; they come in the order of their keys. */
  load(key: string, value: Stored): void;
}

/** Messages on their way to the handler; what comes beyond is dropped unacknowledged, so that the server keeps it. */
const OPEN = 4_096;
/** So many calls beyond it are not. */
const CALLS = 64;
/** DELIVERs of one message on one connection. */
const RECEIPTS = 16;

export function createInbox(clock: Clock, journal: Journal, handOver: (item: Item) => void): Inbox {
  /** From arrival until handled. */
  const open = new Map<string, Item>();
  /** Messages without a lane that were handled or stored, oldest first, and where in the storage that stands. */
  const recent = new Map<string, string>();
  /** Of the storage: what is to be removed with the next write. */
  let outdated: Change[] = [];
  const lanes = createLanes<Item>((lane) => remove(`l/${lane}`));
  let seq = 0;
  let cancelGap: (() => void) | undefined;

  function deliver(from: Connection, frame: DeliverFrame, deliver: number): void {
    const { n, prev } = frame;
    const lane = `${frame.from}\n${frame.fromDevice}\n${frame.outbox}\n${frame.to}`;
    const key = `${lane}\n${n === 0 ? formatUuid(frame.id) : n}`;
    const known = open.get(key);
    if (known !== undefined) return again(known, from, deliver);
    if (recent.has(key)) return from.received(deliver);
    if (open.size >= (isFirst(frame) ? OPEN + CALLS : OPEN)) return;
    const item: Item = {
      key,
      lane: n === 0 ? key : lane,
      n,
      prev,
      // The payload is a view of all that came with it.
      frame: { ...frame, id: frame.id.slice(), payload: frame.payload.slice() },
      server: from.welcome?.server ?? "",
      receipts: [{ connection: from, deliver }],
      gap: false,
      late: false,
      redelivered: frame.redelivered,
      first: isFirst(frame),
      stored: undefined,
      failures: 0,
    };
    const alone = [{ message: item, gap: false, late: false }];
    const due = n === 0 ? alone : lanes.arrive(item, clock.now());
    if (due === "repeat") return from.received(deliver);
    open.set(key, item);
    if (due !== "waits") admit(due);
  }

  /** It came before and is not handled yet. */
  function again(item: Item, from: Connection, deliver: number): void {
    if (item.stored !== undefined) return from.received(deliver);
    item.receipts = item.receipts.filter((receipt) => receipt.connection === from);
    if (item.receipts.length < RECEIPTS) item.receipts.push({ connection: from, deliver });
  }

  /** Their turn has come: stored and acknowledged where there is a storage, then handed over. */
  function admit(due: readonly Due<Item>[]): void {
    for (const { message: item, gap, late } of due) {
      item.gap = gap;
      item.late = late;
      if (!journal.durable) {
        handOver(item);
        continue;
      }
      const key = numberedKey("i", ++seq);
      const changes = [{ key, value: toRecord(item) }, knownBy(item), ...outdated];
      outdated = [];
      journal.write(changes, (failure) => {
        // Not stored: acknowledged when it was handled, as without a storage.
        if (failure === undefined) {
          item.stored = key;
          acknowledge(item);
        }
        handOver(item);
      });
    }
  }

  /** By what a repeat of it is known from now on. */
  function knownBy({ key, lane, n }: Item): Change {
    if (n > 0) return { key: `l/${lane}`, value: { ...lanes.record(lane) } };
    const place = numberedKey("r", ++seq);
    recent.set(key, place);
    for (const [oldest, where] of recent) {
      if (recent.size <= LIMITS.recentIds) break;
      recent.delete(oldest);
      remove(where);
    }
    return { key: place, value: key };
  }

  function remove(key: string): void {
    if (journal.durable) outdated.push({ key, value: undefined });
  }

  function acknowledge({ receipts }: Item): void {
    for (const { connection, deliver } of receipts) connection.received(deliver);
  }

  function handled(item: Item): void {
    open.delete(item.key);
    if (item.stored !== undefined) {
      // If this is lost, it is handed over again, and says so.
      journal.write([{ key: item.stored, value: undefined }]);
      return;
    }
    if (item.n === 0) knownBy(item);
    acknowledge(item);
  }

  /** What waits for something missing asks for it, and waits for 5 s at most. */
  function turn(on: Connection): void {
    if (lanes.pull()) on.write({ type: "pull" });
    const deadline = lanes.deadline();
    if (deadline === undefined || cancelGap !== undefined) return;
    const left = Math.min(LIMITS.gap, Math.max(0, deadline - clock.now()));
    cancelGap = clock.after(left, () => {
      cancelGap = undefined;
      admit(lanes.expire(clock.now()));
      turn(on);
    });
  }

  function disconnected(): void {
    cancelGap?.();
    cancelGap = undefined;
  }

  return {
    deliver,
    turn,
    handled,
    disconnected,
    pulled: (pull) => admit(lanes.pulled(pull)),
    connected(connection) {
      lanes.connected(clock.now(), connection.limits.inFlight);
      turn(connection);
    },
    load(key, value) {
      const name = key.slice(2);
      if (key.startsWith("l/")) lanes.restore(name, value as unknown as LaneRecord);
      if (key.startsWith("r/")) recent.set(value as string, key);
      if (key.startsWith("i/")) {
        const item = fromRecord(key, value as unknown as ItemRecord);
        open.set(item.key, item);
        handOver(item);
      }
      if (key.startsWith("i/") || key.startsWith("r/")) seq = Math.max(seq, Number(name));
    },
  };
}

type ItemRecord = Pick<Item, "key" | "lane" | "n" | "prev" | "server" | "gap" | "late"> & {
  /** An earlier version has stored none of the fields that came later. */
  readonly frame: Omit<DeliverFrame, "ends"> & Partial<Pick<DeliverFrame, "ends">>;
};

function toRecord({ key, lane, n, prev, server, gap, late, frame }: Item): Stored {
  return { key, lane, n, prev, server, gap, late, frame: { ...frame } };
}

/** The process that stored it may have handed it over before it ended. */
function fromRecord(stored: string, record: ItemRecord): Item {
  const frame = { ends: new Uint8Array(), ...record.frame };
  const first = isFirst(frame);
  return { ...record, frame, first, stored, redelivered: true, receipts: [], failures: 0 };
}

/** A call has no lane: nothing has to come before it. */
function isFirst({ n, wake }: DeliverFrame): boolean {
  return n === 0 && wake === "call";
}

export function toMessage({ frame, server, gap, late, redelivered }: Item): Message {
  const { id, from, fromDevice, to, payload, wake, ends, at, n, held } = frame;
  return {
    id: formatUuid(id),
    from,
    fromDevice,
    to,
    payload,
    text: () => decodeText(payload),
    wake,
    ends: ends.length === 0 ? undefined : formatUuid(ends),
    at,
    n,
    held,
    redelivered,
    gap,
    late,
    server,
  };
}
