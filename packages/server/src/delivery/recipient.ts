import { decodeDeliverBody } from "@beckon/protocol";
import type { Millis, SendFrame, ServerAddresses } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { Look, Movable } from "../placement/mover.ts";
import type { PendingRow, RowRef, Store } from "../store/store.ts";
import type { Settler } from "./settler.ts";

/** What a DELIVER on a connection stands for: told exactly once what became of it. */
export interface Outstanding {
  /** Sender user, device and id, to recognise its row in the store. */
  readonly key: string | undefined;
  acknowledged(): void;
  /** The connection is gone. It may have been sent. */
  lost(): void;
}

/** Another server that offers a message. */
export interface Peer {
  readonly server: string;
  /** The newest refusal by this server that it had heard of. */
  readonly heard: number;
  /** What the number will be, if this one is refused. */
  readonly refusal: number;
}

/** The connection's side of it: writes frames to the socket. */
export interface DeliverSink {
  deliver(body: Uint8Array, held: boolean, redelivered: boolean): void;
  pulled(pull: number): void;
  /** Whether the socket's buffer is over its bound. */
  readonly congested: boolean;
  /** The device has acknowledged nothing for too long (L6). */
  silent(): void;
  /** The device has a connection with a higher epoch. */
  replaced(): void;
  /** The device has been forgotten. */
  revoked(): void;
  /** Little that the device has sent is unanswered, and it is still welcome (B2). */
  readonly isCalm: boolean;
  readonly protocols: readonly string[];
  /** [P-8.4] */
  move(to: ServerAddresses, reason: string): void;
}

export interface RecipientParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly settler: Settler;
  /** Attentive time (L6). */
  now(): number;
  /** The device now has something to acknowledge. */
  onAwaiting(recipient: Recipient): void;
  /** A DELIVER from the store was acknowledged: for the counters, and for who watches. */
  onHeldDelivered(row: PendingRow, who: { readonly user: string; readonly device: string }): void;
}

export interface RecipientOptions {
  readonly user: string;
  readonly device: string;
  readonly epoch: number;
  readonly durable: boolean;
  /** DELIVERs that may be unacknowledged. */
  readonly window: number;
  /** Of the device's wake intent; 0: it has none. */
  readonly generation: number;
  /** Whether the store may have rows for it. */
  readonly behind: boolean;
  /** Another connection of the device may have been sent what the store still has, and be marking it at this moment (L2). */
  readonly mayHaveRows: boolean;
}

/** Calls keep a part of the window to themselves, of so many DELIVERs at most: what waits for the device must not hold them up. */
const CALL_SHARE = 1 / 8;
const CALLS = 8;
/** Between two looks for calls while the device has yet to acknowledge what was read before. */
const LOOK_MS = 500;
/** Held rows keep a part of the window to themselves, so that live traffic cannot starve what comes before it. */
const HELD_SHARE = 1 / 4;
const PAGE = 128;
/** DELIVERs that a device which is moved may have to acknowledge yet: whatever is lost with its connection comes a second time. */
const CALM = 8;
/** For so long after the last message of a call nobody who takes part in it is moved: what they send while they talk goes elsewhere. */
const CALL_MS: Millis = 120_000;
const READ_RETRY_MS = 500;
const MAX_PULLS = 64;
const NO_ROWS: readonly PendingRow[] = [];

/**
 * A connected device as the destination of deliveries, at its termination point. It numbers DELIVERs, bounds what is
 * unacknowledged, and reads the store: while the device has unread held rows it is `behind`, and nothing goes to it live.
 *
 * Most devices do nothing most of the time: what only others need is made when it is needed.
 */
export class Recipient implements Movable {
  readonly user: string;
  readonly device: string;
  readonly epoch: number;
  readonly durable: boolean;
  readonly #parts: RecipientParts;
  readonly #sink: DeliverSink;
  readonly #window: number;
  readonly #liveWindow: number;
  readonly #heldWindow: number;

  /** Unacknowledged DELIVERs by number; `#ring[0]` has number `#first`. */
  #ring: (Outstanding | undefined)[] = [];
  #head = 0;
  #first = 1;
  #open = 0;

  /** Rows sent over this connection that are not settled yet. */
  #rows: Map<RowRef, PendingRow> | undefined;
  /**
   * Rows of what is unacknowledged and was sent live, by its key. Its accepting server may have given the connection up and not hear
   * of the acknowledgement: so they are settled here as well.
   */
  #liveRows: Map<string, RowRef> | undefined;
  /** What was read and is to be sent, from `#next` on. */
  #page = NO_ROWS;
  #next = 0;
  #behind: boolean;
  /** Until the store was read to its end. */
  #mayHaveRows: boolean;
  #reading = false;
  /** Whether it looks for calls, and the attentive time at which it began to last. */
  #looking = false;
  #looked = -LOOK_MS;
  #readAgain = false;
  #cancelRetry: (() => void) | undefined;
  #pulls: { number: number; answerable: boolean }[] | undefined;
  #generation: number;
  #clearing = false;
  #closed = false;
  /** By server, the number of the last refusal of what it offered. */
  #refused: Map<string, number> | undefined;
  /** Attentive time of the last acknowledgement, or of the DELIVER that first waited for one. */
  progress = 0;
  look: Look | undefined = undefined;
  /** Monotonic; of the last message of a call. */
  #called = -CALL_MS;

  constructor(parts: RecipientParts, sink: DeliverSink, who: RecipientOptions) {
    this.#parts = parts;
    this.#sink = sink;
    this.user = who.user;
    this.device = who.device;
    this.epoch = who.epoch;
    this.durable = who.durable;
    this.#window = who.window;
    this.#liveWindow = who.window - Math.floor(who.window * HELD_SHARE);
    this.#heldWindow = who.window - Math.min(CALLS, Math.floor(who.window * CALL_SHARE));
    this.#generation = who.generation;
    this.#behind = who.behind;
    this.#mayHaveRows = who.mayHaveRows;
  }

  /** DELIVERs that the device has not acknowledged. */
  get open(): number {
    return this.#open;
  }

  get behind(): boolean {
    return this.#behind;
  }

  /** The store may have rows for it that it has not acknowledged, or a wake intent. */
  get isOwed(): boolean {
    return this.durable && (this.#behind || this.#generation !== 0 || this.#unsettled);
  }

  /** Rows were sent over this connection and are not settled yet. */
  get #unsettled(): boolean {
    return this.#rows !== undefined && this.#rows.size > 0;
  }

  get protocols(): readonly string[] {
    return this.#sink.protocols;
  }

  get isMovable(): boolean {
    const { clock } = this.#parts;
    if (this.#closed || this.#behind || this.#open > CALM || !this.#sink.isCalm) return false;
    return clock.monotonic() - this.#called >= CALL_MS;
  }

  move(to: ServerAddresses, reason: string): void {
    this.#sink.move(to, reason);
  }

  /** A message of a call has gone over this connection, either way. */
  called(): void {
    this.#called = this.#parts.clock.monotonic();
  }

  silent(): void {
    this.#sink.silent();
  }

  replaced(): void {
    this.#sink.replaced();
  }

  revoked(): void {
    this.#sink.revoked();
  }

  /** A live message: "sent", or why it has to be held. A call has no place in any order: it goes as long as there is room at all. */
  offer(body: Uint8Array, outstanding: Outstanding): "sent" | "behind" | "full" {
    const isFull = this.#open >= this.#liveWindow || this.#sink.congested;
    if ((this.#behind || isFull) && !this.#takesCall(body)) return this.#behind ? "behind" : "full";
    this.#push(outstanding);
    this.#sink.deliver(body, false, false);
    return "sent";
  }

  /**
   * The same for what another server offers. After a refusal, what that server had sent on its way before it heard of it is refused,
   * too: it would overtake what is being held there (L3); but for calls, which may.
   */
  offerFrom(peer: Peer, body: Uint8Array, outstanding: Outstanding): "sent" | "behind" | "full" {
    const isUnheard = (this.#refused?.get(peer.server) ?? 0) > peer.heard;
    const outcome = isUnheard && !isCall(body) ? "behind" : this.offer(body, outstanding);
    if (outcome === "sent" && !isUnheard) this.#refused?.delete(peer.server);
    else if (outcome !== "sent") (this.#refused ??= new Map()).set(peer.server, peer.refusal);
    return outcome;
  }

  #takesCall(body: Uint8Array): boolean {
    return this.#open < this.#window && !this.#sink.congested && isCall(body);
  }

  /** RECEIVED: `count` DELIVERs from number `first` on. False: it names one that was never sent. */
  received(first: number, count: number): boolean {
    const end = first + count;
    if (first < 1 || count < 1 || end > this.#first + this.#ring.length - this.#head) return false;
    for (let number = Math.max(first, this.#first); number < end; number++) {
      const at = this.#head + number - this.#first;
      const outstanding = this.#ring[at];
      if (outstanding === undefined) continue;
      this.#ring[at] = undefined;
      this.#open--;
      outstanding.acknowledged();
      if (this.#liveRows !== undefined) this.#liveAcknowledged(outstanding, this.#liveRows);
    }
    this.#trim();
    this.progress = this.#parts.now();
    if (this.#page !== NO_ROWS) this.#sendPage();
    return true;
  }

  #liveAcknowledged({ key }: Outstanding, liveRows: Map<string, RowRef>): void {
    const row = key === undefined ? undefined : liveRows.get(key);
    if (row === undefined) return;
    liveRows.delete(key!);
    this.#parts.settler.settle(row);
  }

  /** The device is in the session table: what is held is read only from now on (L4). */
  start(): void {
    if (this.#behind) this.#read();
  }

  /** There is something in the store for this device: from now on nothing goes to it live, until it was read. */
  kick(): void {
    this.#behind = true;
    this.#read();
  }

  /** There may be something in the store: look, without holding up what is live. */
  probe(): void {
    this.#read();
  }

  /** PULL. */
  pull(number: number): void {
    const pulls = (this.#pulls ??= []);
    if (pulls.length >= MAX_PULLS) pulls.shift();
    pulls.push({ number, answerable: false });
    this.#read();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    const ring = this.#ring;
    this.#ring = [];
    const unsettled = [...(this.#rows?.keys() ?? []), ...(this.#liveRows?.values() ?? [])];
    if (unsettled.length > 0) this.#parts.settler.markSent(unsettled);
    for (const outstanding of ring) outstanding?.lost();
  }

  #push(outstanding: Outstanding): void {
    this.#ring.push(outstanding);
    if (++this.#open > 1) return;
    this.progress = this.#parts.now();
    this.#parts.onAwaiting(this);
  }

  #trim(): void {
    const ring = this.#ring;
    let head = this.#head;
    while (head < ring.length && ring[head] === undefined) head++;
    this.#first += head - this.#head;
    if (head === ring.length) {
      ring.length = 0;
      head = 0;
    } else if (head > 64 && head * 2 > ring.length) {
      ring.splice(0, head);
      head = 0;
    }
    this.#head = head;
  }

  #read(): void {
    if (this.#closed) return;
    if (this.#reading || this.#page !== NO_ROWS) {
      this.#readAgain = true;
      if (!this.#reading) this.#lookForCalls();
      return;
    }
    this.#reading = true;
    this.#readAgain = false;
    for (const pull of this.#pulls ?? []) pull.answerable = true;
    const limit = (this.#rows?.size ?? 0) + this.#open + PAGE;
    this.#parts.store.messages.pending(this.user, this.device, limit).then(
      (rows) => this.#readDone(rows),
      () => this.#readFailed(),
    );
  }

  /** What was read waits for the device, and something has come to the store: if it is a call, it does not wait behind that. */
  #lookForCalls(): void {
    const now = this.#parts.now();
    if (this.#looking || now - this.#looked < LOOK_MS) return;
    this.#looking = true;
    this.#looked = now;
    const over = (): void => void (this.#looking = false);
    this.#parts.store.messages
      .pending(this.user, this.device, CALLS)
      .then((rows) => {
        if (!this.#closed) this.#sendCalls(rows);
      })
      .then(over, over);
  }

  #sendCalls(rows: readonly PendingRow[]): void {
    const live = this.#liveKeys();
    for (const row of rows) {
      if (this.#rows?.has(row.row) === true || live.has(keyOf(row))) continue;
      if (this.#takesCall(row.body)) this.#sendRow(row);
    }
  }

  #readDone(rows: readonly PendingRow[]): void {
    if (this.#closed) return;
    this.#reading = false;
    const live = this.#liveKeys();
    const unsent = rows.filter((row) => {
      if (this.#rows?.has(row.row)) return false;
      const key = keyOf(row);
      if (!live.has(key)) return true;
      (this.#liveRows ??= new Map()).set(key, row.row);
      return false;
    });
    if (unsent.length > 0) {
      this.#page = unsent;
      this.#behind = true;
      this.#readAgain = true;
      // Each of them may have given the device a wake intent, or raised its generation.
      if (this.#generation === 0 && this.durable) this.#generation = UNKNOWN_GENERATION;
      this.#sendPage();
      return;
    }
    if (this.#readAgain) {
      this.#read();
      return;
    }
    this.#behind = false;
    this.#mayHaveRows = false;
    this.#answerPulls();
    this.#clearIntent();
  }

  #readFailed(): void {
    if (this.#closed) return;
    this.#reading = false;
    this.#cancelRetry?.();
    this.#cancelRetry = this.#parts.clock.after(READ_RETRY_MS, () => this.#read());
  }

  #liveKeys(): Set<string> {
    const keys = new Set<string>();
    for (const outstanding of this.#ring) {
      if (outstanding?.key !== undefined) keys.add(outstanding.key);
    }
    return keys;
  }

  #sendPage(): void {
    while (this.#next < this.#page.length && !this.#sink.congested) {
      const row = this.#page[this.#next]!;
      if (this.#open >= this.#heldWindow && !this.#takesCall(row.body)) break;
      this.#next++;
      if (this.#rows?.has(row.row) !== true) this.#sendRow(row);
    }
    if (this.#next < this.#page.length) return;
    this.#page = NO_ROWS;
    this.#next = 0;
    if (this.#readAgain) this.#read();
  }

  #sendRow(row: PendingRow): void {
    (this.#rows ??= new Map()).set(row.row, row);
    if (isOfCall(decodeDeliverBody(row.body))) this.called();
    this.#push(new HeldDelivery(row, this));
    this.#sink.deliver(row.body, true, row.redelivered || this.#mayHaveRows);
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#page !== NO_ROWS) this.#sendPage();
  }

  /** @internal */
  heldAcknowledged(row: PendingRow): void {
    this.#parts.onHeldDelivered(row, this);
    this.#parts.settler.settle(row.row, (settled) => {
      this.#rows?.delete(settled);
      this.#clearIntent();
    });
  }

  #answerPulls(): void {
    const pulls = this.#pulls ?? [];
    while (pulls[0]?.answerable === true) this.#sink.pulled(pulls.shift()!.number);
    if (pulls.length > 0) this.#read();
  }

  /** All that was held has been settled: the wake intent has done its work. Compared by generation, so that one for a newer message stays. */
  #clearIntent(): void {
    if (this.#closed || this.#clearing || this.#behind || this.#generation === 0 || this.#unsettled)
      return;
    this.#clearing = true;
    this.#parts.store.wakes.clear(this.user, this.device, this.#generation).then(
      (generation) => {
        this.#clearing = false;
        const changed = generation !== this.#generation;
        this.#generation = generation;
        if (generation !== 0 && changed) this.#clearIntent();
      },
      () => {
        // The store is away. The intent stays; dispatch deletes it when it finds no rows.
        this.#clearing = false;
      },
    );
  }
}

/** Matches no intent, so that `clear` answers the present generation. */
const UNKNOWN_GENERATION = -1;

export function messageKey(from: string, fromDevice: string, id: Uint8Array): string {
  let text = `${from}\n${fromDevice}\n`;
  for (let i = 0; i < id.length; i++) text += String.fromCharCode(id[i]!);
  return text;
}

/** Whether a DELIVER body is of a call without a lane: nothing has to come before it. */
export function isCall(body: Uint8Array): boolean {
  const { n, wake } = decodeDeliverBody(body);
  return n === 0 && wake === "call";
}

/** Whether it begins, answers or ends a call. */
export function isOfCall({ wake, ends }: Pick<SendFrame, "wake" | "ends">): boolean {
  return wake === "call" || ends.length > 0;
}

/** The key of the message that a DELIVER body carries. */
export function bodyKey(body: Uint8Array): string {
  const { from, fromDevice, id } = decodeDeliverBody(body);
  return messageKey(from, fromDevice, id);
}

function keyOf(row: PendingRow): string {
  return messageKey(row.key.from, row.key.fromDevice, row.key.id);
}

class HeldDelivery implements Outstanding {
  readonly key = undefined;
  readonly #row: PendingRow;
  readonly #recipient: Recipient;

  constructor(row: PendingRow, recipient: Recipient) {
    this.#row = row;
    this.#recipient = recipient;
  }

  acknowledged(): void {
    this.#recipient.heldAcknowledged(this.#row);
  }

  lost(): void {
    // The row is in the store until it is settled.
  }
}
