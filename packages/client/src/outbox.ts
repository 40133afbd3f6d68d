import {
  formatUuid,
  LIMITS,
  type Millis,
  parseUuid,
  utf8Length,
  uuidv7,
  validUserId,
  WAKE_CLASSES,
  type WakeClass,
} from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import { BeckonError, storageFailed } from "./errors.ts";
import { type Journal, numberedKey } from "./journal.ts";
import type { Ack, Unsent } from "./message.ts";
import type { AbortSignalLike, SendOptions } from "./options.ts";
import type { Random } from "./random.ts";
import type { Change, Stored } from "./storage.ts";
import { decodeText } from "./text.ts";

/** A message that waits to be acknowledged. */
export interface Entry {
  readonly seq: number;
  readonly lane: OutLane;
  readonly n: number;
  /** The `n` before it that was not finally refused; 0: none. */
  prev: number;
  /** Given at the first transmission, or just before; never changed. */
  id: Uint8Array | undefined;
  readonly payload: Uint8Array;
  readonly wake: WakeClass;
  readonly preview: string;
  /** Id of the call that it ends; empty: none. */
  readonly ends: Uint8Array;
  readonly created: Millis;
  /** What the caller calls it; "": nothing. Its ACK is stored under that. */
  readonly ref: string;
  /** Writes of it that are not on disk yet: it is transmitted as it is on disk. */
  unsaved: number;
  /** On any connection, by any process. */
  transmitted: boolean;
  readonly ack: Promise<Ack>;
  settle(outcome: Ack | BeckonError): void;
}

/** What this device sends to one user. */
export interface OutLane {
  readonly to: string;
  /** It is none: one call, which waits for nothing that was sent before it. */
  readonly call: boolean;
  /** The last `n` given out. */
  last: number;
  /** The last `n` that was not finally refused. */
  tail: number;
  /** Ascending by `n`. */
  readonly queue: Entry[];
  /** Of the queue: the first that was not transmitted on this connection. */
  next: number;
}

/** A `send` whose outcome can be asked for by its name, also after a crash: `ref` is at the message in the storage, then at the ACK. */
export interface ReferredSend extends SendOptions {
  readonly ref?: string;
}

export interface Outbox {
  /** The payload is the outbox's from then on. */
  add(to: string, payload: Uint8Array, options: ReferredSend): Promise<Ack>;
  /** Gives the next entries of the lane their ids, `count` at most. */
  identify(lane: OutLane, count: number): void;
  acknowledged(entry: Entry, ack: Omit<Ack, "id">): void;
  /** It will never be sent: the next one's `prev` skips it, and once that is on disk its `send` rejects. */
  refused(entry: Entry, error: BeckonError): void;
  /** Oldest first. */
  entries(): Iterable<Entry>;
  list(): readonly Unsent[];
  /** Takes a record of the storage; they come in the order of their keys. */
  load(key: string, value: Stored): void;
  /** Whatever is left rejects, and is not touched in the storage. */
  close(error: BeckonError): void;
}

export interface OutboxParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: Journal;
  /** Entries at most. */
  readonly limit: number;
  /** Server-corrected. */
  serverTime(): Millis;
  /** Bytes of a payload; undefined: no server has said yet. */
  payloadLimit(): number | undefined;
  /** What is added now is transmitted now. */
  online(): boolean;
  /** The lane may have something to transmit. */
  ready(lane: OutLane): void;
}

/** Recipients remembered; beyond it the one longest unused starts anew, above all numbers given out so far. */
const LANES = 10_000;
/** The clock is looked at as often: it may jump, and no runtime has a timer for any time. */
const DAY_MS: Millis = 86_400_000;
/** Time after which a write that failed is tried again. */
const RETRY_MS = 1_000;

type Fields = Omit<Entry, "ack" | "settle" | "unsaved">;

export function createOutbox(parts: OutboxParts): Outbox {
  const { clock, journal } = parts;
  const entries = new Map<number, Entry>();
  /** Longest unused first. */
  const lanes = new Map<string, OutLane>();
  let seq = 0;
  /** No lane that was forgotten has given out a number above it. */
  let floor = 0;
  let closed: BeckonError | undefined;
  let cancelExpiry: (() => void) | undefined;

  function add(to: string, payload: Uint8Array, options: ReferredSend): Promise<Ack> {
    const { wake = "message", preview = "", signal, ref = "" } = options;
    const ends = options.ends === undefined ? new Uint8Array() : parseUuid(options.ends);
    const unfit = closed ?? check(to, payload, wake, preview, signal);
    if (ends === undefined) return Promise.reject(new BeckonError("bad-argument", "ends"));
    if (unfit !== undefined) return Promise.reject(unfit);
    const more: Change[] = [];
    const lane = wake === "call" ? callTo(to) : use(to, more);
    const entry = create({
      seq: ++seq,
      lane,
      n: lane.call ? 0 : lane.last + 1,
      prev: lane.tail,
      // One write instead of two.
      id: journal.durable && parts.online() ? newId() : undefined,
      payload,
      wake,
      preview,
      ends,
      created: clock.now(),
      ref,
      transmitted: false,
    });
    lane.last = entry.n;
    lane.tail = entry.n;
    if (signal !== undefined) withdrawOn(signal, entry);
    save(lane, [entry], more, undefined, (failure) => {
      const error = storageFailed(failure);
      entry.settle(error);
      refused(entry, error);
    });
    return entry.ack;
  }

  function check(
    to: string,
    payload: Uint8Array,
    wake: WakeClass,
    preview: string,
    signal: AbortSignalLike | undefined,
  ): BeckonError | undefined {
    // Callers may be without types: what cannot be written would end the connection, and again at each start.
    if (!WAKE_CLASSES.includes(wake)) return new BeckonError("bad-argument", "wake");
    if (typeof preview !== "string") return new BeckonError("bad-argument", "preview");
    if (typeof to !== "string" || !validUserId(to)) return new BeckonError("bad-recipient");
    const limit = parts.payloadLimit() ?? Infinity;
    if (payload.length > limit || utf8Length(preview) > LIMITS.preview) {
      return new BeckonError("payload-too-large");
    }
    if (signal?.aborted) return new BeckonError("aborted");
    return entries.size >= parts.limit ? new BeckonError("outbox-full") : undefined;
  }

  function use(to: string, more: Change[]): OutLane {
    const lane = lanes.get(to) ?? { ...callTo(to), call: false, last: floor };
    lanes.delete(to);
    lanes.set(to, lane);
    if (lanes.size > LANES) forget(more);
    return lane;
  }

  function forget(more: Change[]): void {
    for (const { to, last, queue } of lanes.values()) {
      // The one in use has nothing in its queue yet, but it is the last.
      if (queue.length > 0) continue;
      lanes.delete(to);
      floor = Math.max(floor, last);
      more.push({ key: `n/${to}`, value: undefined }, { key: "m/floor", value: floor });
      return;
    }
  }

  function create(fields: Fields): Entry {
    let settle!: Entry["settle"];
    const ack = new Promise<Ack>((resolve, reject) => {
      settle = (outcome) => (outcome instanceof BeckonError ? reject(outcome) : resolve(outcome));
    });
    const entry: Entry = { ...fields, unsaved: 0, ack, settle };
    entries.set(entry.seq, entry);
    entry.lane.queue.push(entry);
    if (cancelExpiry === undefined) expire();
    return entry;
  }

  function expire(): void {
    cancelExpiry = undefined;
    for (const entry of entries.values()) {
      const left = entry.created + LIMITS.idAge - clock.now();
      if (left > 0) {
        cancelExpiry = clock.after(Math.min(left, DAY_MS), expire);
        return;
      }
      refused(entry, new BeckonError("expired"));
    }
  }

  function withdrawOn(signal: AbortSignalLike, entry: Entry): void {
    const settle = entry.settle.bind(entry);
    const abort = (): void => {
      const error = new BeckonError("aborted");
      // What was transmitted keeps its place: those after it name it.
      if (entry.transmitted) entry.settle(error);
      else refused(entry, error);
    };
    entry.settle = (outcome) => {
      signal.removeEventListener("abort", abort);
      settle(outcome);
    };
    signal.addEventListener("abort", abort);
  }

  function newId(): Uint8Array {
    return uuidv7(parts.serverTime(), parts.random);
  }

  /** Writes the entries as they stand, or that they are gone, and their lane; again until it succeeds, but for `failed`. */
  function save(
    lane: OutLane,
    touched: readonly Entry[],
    more: readonly Change[],
    saved?: () => void,
    failed?: (failure: unknown) => void,
  ): void {
    for (const entry of touched) entry.unsaved++;
    const attempt = (): void =>
      journal.write(journal.durable ? [...changesOf(lane, touched), ...more] : [], (failure) => {
        if (closed !== undefined) return;
        if (failure !== undefined && failed === undefined) {
          clock.after(RETRY_MS, attempt);
          return;
        }
        for (const entry of touched) entry.unsaved--;
        if (failure === undefined) saved?.();
        else failed?.(failure);
        parts.ready(lane);
      });
    attempt();
  }

  function changesOf(lane: OutLane, touched: readonly Entry[]): Change[] {
    const changes: Change[] = touched.map((entry) => ({
      key: keyOf(entry),
      value: entries.has(entry.seq) ? toRecord(entry) : undefined,
    }));
    if (lane.call) return changes;
    changes.push({ key: `n/${lane.to}`, value: { last: lane.last, tail: lane.tail } });
    return changes;
  }

  function identify(lane: OutLane, count: number): void {
    const nameless = lane.queue
      .slice(lane.next, lane.next + count)
      .filter((entry) => entry.id === undefined);
    for (const entry of nameless) entry.id = newId();
    save(lane, nameless, []);
  }

  function take(entry: Entry): boolean {
    const { lane } = entry;
    const at = lane.queue.indexOf(entry);
    if (at < 0) return false;
    lane.queue.splice(at, 1);
    if (at < lane.next) lane.next--;
    entries.delete(entry.seq);
    if (entries.size === 0) {
      cancelExpiry?.();
      cancelExpiry = undefined;
    }
    return true;
  }

  function acknowledged(entry: Entry, outcome: Omit<Ack, "id">): void {
    if (!take(entry)) return;
    const ack = { id: formatUuid(entry.id!), ...outcome };
    const told = entry.ref === "" ? [] : [{ key: `a/${entry.ref}`, value: ack }];
    // If this is lost, it is sent again under the same id, and the server knows it.
    journal.write([{ key: keyOf(entry), value: undefined }, ...told]);
    entry.settle(ack);
  }

  function refused(entry: Entry, error: BeckonError): void {
    if (!take(entry)) return;
    const { lane } = entry;
    const heir = lane.queue.find((other) => other.prev === entry.n);
    if (heir !== undefined) heir.prev = entry.prev;
    else if (lane.tail === entry.n) lane.tail = entry.prev;
    // The heir waits for this: were both alive after a crash, the receiver would take the lower for a repeat.
    const touched = heir === undefined ? [entry] : [entry, heir];
    save(lane, touched, [], () => entry.settle(error));
  }

  function load(key: string, value: Stored): void {
    const name = key.slice(2);
    if (key === "m/floor") floor = value as number;
    if (key.startsWith("n/")) {
      lanes.set(name, { ...callTo(name), call: false, ...(value as unknown as LaneRecord) });
    }
    if (!key.startsWith("o/")) return;
    const { to, id, ends = null, ...record } = value as unknown as EntryRecord;
    seq = Number(name);
    const lane = record.n === 0 ? callTo(to) : lanes.get(to)!;
    const transmitted = id !== null;
    const entry = create({
      seq,
      lane,
      id: id ?? undefined,
      ends: ends ?? new Uint8Array(),
      transmitted,
      ...record,
    });
    // Nobody may be left who waits for it.
    entry.ack.catch(() => {});
  }

  return {
    add,
    identify,
    acknowledged,
    refused,
    load,
    entries: () => entries.values(),
    list: () => Array.from(entries.values(), toUnsent),
    close(error) {
      closed = error;
      cancelExpiry?.();
      for (const entry of entries.values()) entry.settle(error);
      entries.clear();
    },
  };
}

interface LaneRecord {
  readonly last: number;
  readonly tail: number;
}

type EntryRecord = Pick<
  Entry,
  "n" | "prev" | "payload" | "wake" | "preview" | "created" | "ref"
> & {
  readonly to: string;
  readonly id: Uint8Array | null;
  /** An earlier version has stored none. */
  readonly ends?: Uint8Array | null;
};

function callTo(to: string): OutLane {
  return { to, call: true, last: 0, tail: 0, queue: [], next: 0 };
}

function toRecord(entry: Entry): Stored {
  const { lane, n, prev, id = null, payload, wake, preview, created, ref } = entry;
  const { to } = lane;
  const ends = entry.ends.length === 0 ? null : entry.ends;
  return { to, n, prev, id, payload, wake, preview, ends, created, ref } satisfies EntryRecord;
}

/** Their order as text is the order in which they were added. */
function keyOf({ seq }: Entry): string {
  return numberedKey("o", seq);
}

/** An application sees what `Unsent` says; the tabs of a browser find theirs by `ref`. */
export interface ReferredUnsent extends Unsent {
  readonly ref: string;
}

function toUnsent({ seq, id, lane, payload, created, ack, ref }: Entry): ReferredUnsent {
  return {
    key: String(seq),
    id: id && formatUuid(id),
    to: lane.to,
    payload,
    text: () => decodeText(payload),
    created,
    ack,
    ref,
  };
}
