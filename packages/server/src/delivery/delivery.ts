import { decodeDeliverBody, deliverBody, formatUuid, LIMITS, uuidTime } from "@beckon/protocol";
import type { Millis, Route, SendErrorCode, SendFrame } from "@beckon/protocol";

import { Attention } from "../lib/attention.ts";
import type { SenderBid, ServerBus } from "../cluster/server-bus.ts";
import type { Clock } from "../lib/clock.ts";
import { digest } from "../lib/digest.ts";
import type { Mover } from "../placement/mover.ts";
import type { Session, SessionChange, SessionTable } from "../sessions/table.ts";
import type {
  HoldRequest,
  HoldResult,
  PendingRow,
  RowRef,
  Store,
  TailEntry,
} from "../store/store.ts";
import type { Counters } from "./counters.ts";
import { Destination } from "./destination.ts";
import { Endings } from "./endings.ts";
import { Holder } from "./hold.ts";
import { Link } from "./link.ts";
import type { DeliverRecord } from "./link.ts";
import { idKey, Message, Try, verdict } from "./message.ts";
import type { Origin, Reply, TryOwner } from "./message.ts";
import type { ObservedMessage, Observer } from "./observer.ts";
import { isCall, isOfCall, Recipient } from "./recipient.ts";
import type { DeliverSink, RecipientOptions, RecipientParts } from "./recipient.ts";
import { isOnly, plan } from "./route.ts";
import { Settler } from "./settler.ts";
import { Tail } from "./tail.ts";
import type { WakeDispatcher } from "./wake.ts";
import { Watch } from "./watch.ts";

/** A wake for a device that is connected and silent can wait until it is certain (L6). */
const SILENT_WAKE_MS = 10_000;

/** A call whose id is older rings no more: it was on its way for longer than anybody waits for an answer, whatever the clocks are off by. */
const RING_ID_AGE_MS = 120_000;

export interface DeliveryParts {
  readonly server: string;
  readonly clock: Clock;
  readonly store: Store;
  readonly table: SessionTable;
  readonly bus: ServerBus;
  readonly wake: WakeDispatcher;
  readonly counters: Counters;
  readonly observer?: Observer | undefined;
  /** A user's message for another was accepted (M13). */
  readonly exchanged?: (from: string, to: string) => void;
  /** A message that another server had accepted has come for a user who is connected here. */
  readonly heard?: (to: string, from: string) => void;
  /** Undefined: devices stay where they are. */
  readonly mover?: Mover | undefined;
  /** L6: ms without an acknowledgement, in which this server was reading. */
  readonly acknowledgeMs: number;
}

/**
 * The life of a message on the server that accepts it: accept → route → try live → hold → answer; and the termination point's
 * side of it: the recipients that are connected here.
 */
export class Delivery implements TryOwner {
  readonly #parts: DeliveryParts;
  readonly #table: SessionTable;
  readonly #attention: Attention;
  readonly #holder: Holder;
  readonly #settler: Settler;
  readonly #endings: Endings;
  readonly #watch: Watch;
  readonly #tail: Tail;
  readonly #link: Link;

  /** Accepted and not answered, by sending device and {@link idKey}: whichever connection a repeat comes over, it is known. */
  readonly #inFlight = new Map<string, Map<number, Message>>();
  /** Where messages are on their way to, by user. */
  readonly #destinations = new Map<string, Destination[]>();
  /** Those with tries that are not over. */
  readonly #busy = new Set<Destination>();
  /** The devices that are connected here, by user. */
  readonly #recipients = new Map<string, Recipient[]>();
  /** Recipients with unacknowledged DELIVERs. */
  readonly #awaiting = new Set<Recipient>();
  readonly #recipientParts: RecipientParts;
  #open = 0;
  /** For an observer alone: when messages were accepted, monotonic. */
  readonly #acceptedAt: WeakMap<Message, number> | undefined;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    this.#table = parts.table;
    const { clock, store } = parts;
    if (parts.observer !== undefined) this.#acceptedAt = new WeakMap();
    this.#attention = new Attention(clock, () => this.#sweep());
    this.#settler = new Settler(clock, store.messages);
    this.#endings = new Endings(clock, store.wakes, () => parts.wake.poke());
    this.#watch = new Watch(clock);
    this.#tail = new Tail(clock, store.messages, (entry) => this.#tailFound(entry));
    this.#holder = new Holder({
      clock,
      store: store.messages,
      request: (message) => this.#holdRequest(message),
      held: (message, result) => this.#held(message, result),
      failed: (message, later) =>
        this.#refuse(message, later ? "out-of-order" : "store-unavailable"),
    });
    this.#link = new Link({
      clock,
      bus: parts.bus,
      deliver: (record, outstanding, peer) => {
        const recipient = this.#recipient(record.user, record.device);
        if (recipient === undefined || recipient.epoch !== record.epoch) return "not-here";
        const outcome = recipient.offerFrom(peer, record.body, outstanding);
        if (parts.heard !== undefined) this.#crossed(recipient, record, outcome === "sent");
        return outcome;
      },
      kick: (user, device) => this.#kickHere(user, device),
      move: (user, device, epoch) => {
        const sender = this.#recipient(user, device);
        if (sender?.epoch === epoch) parts.mover?.asked(sender);
      },
      acknowledged: (attempt) => this.acknowledged(attempt),
      refused: (attempt, sent) => this.#lost(attempt, sent),
    });
    this.#recipientParts = {
      clock,
      store,
      settler: this.#settler,
      now: () => this.#attention.now,
      onAwaiting: (recipient) => {
        this.#awaiting.add(recipient);
        this.#attention.wake();
      },
      onHeldDelivered: (row, { user, device }) => {
        parts.counters.heldDelivered(row, user, clock.now());
        if (parts.observer !== undefined) this.#observeStored(parts.observer, row, user, device);
      },
    };
    parts.table.onChange((change) => this.#tableChanged(change));
  }

  start(): void {
    this.#tail.start();
    this.#parts.wake.start();
  }

  stop(): void {
    this.#tail.stop();
    this.#parts.wake.stop();
  }

  /** Messages accepted and not answered. */
  get open(): number {
    return this.#open;
  }

  /** What has to reach the store before this server may go. */
  get unsaved(): number {
    return this.#holder.waiting + this.#settler.waiting + this.#endings.waiting + this.#open;
  }

  // ── The accepting server ──────────────────────────────────────────────────────────────────────

  /** M4. Takes a SEND whose limits and authorisation have been checked; answers it through `reply`, once. */
  accept(
    origin: Origin,
    send: SendFrame,
    number: number,
    reply: Reply,
    now: Millis = this.#parts.clock.now(),
  ): void {
    const key = idKey(send.id);
    const inFlight = this.#inFlightOf(origin);
    const before = inFlight.get(key);
    if (before !== undefined && sameBytes(before.content.id, send.id)) {
      this.#repeat(before, send, number, reply);
      return;
    }
    const body = deliverBody(send, origin.encoded, now);
    const message = new Message(origin, key, send.to, send.n, body, reply, number);
    inFlight.set(key, message);
    this.#open++;
    this.#acceptedAt?.set(message, this.#parts.clock.monotonic());
    if (origin.device !== "" && origin.user !== send.to) {
      this.#parts.exchanged?.(origin.user, send.to);
    }
    const { trusted } = this.#table;
    const copies = origin.copies ? this.#copiesOf(message, trusted) : undefined;
    message.copies = copies;
    // Before anybody has got it: it must not ring while this is on its way.
    if (send.ends.length > 0) this.#endCall(origin.user, send);
    if (isOfCall(send)) for (const user of [origin.user, send.to]) this.#calls(user);
    this.#route(message, undefined, trusted);
    if (copies !== undefined) {
      this.#route(copies, origin.device, trusted);
      this.#advance(copies);
    }
    this.#advance(message);
  }

  #endCall(user: string, { ends, to }: SendFrame): void {
    // What came with it is not to be kept.
    this.#endings.add({ call: ends.slice(), between: [user, to] });
  }

  /** B2. */
  #bidOf({ origin, main, to }: Message): SenderBid {
    const { mover } = this.#parts;
    if (mover === undefined || main !== undefined || origin.user === to) return undefined;
    const sender = this.#recipient(origin.user, origin.device);
    return sender && mover.bid(sender);
  }

  /** Those who take part in a call stay where they are. */
  #calls(user: string): void {
    for (const recipient of this.#recipients.get(user) ?? []) recipient.called();
  }

  /** The device has sent it again, over a new connection: the answer goes there. */
  #repeat(before: Message, send: SendFrame, number: number, reply: Reply): void {
    if (before.to !== send.to || !sameBytes(before.content.payload, send.payload)) {
      reply.refuse(number, "id-conflict", send);
      return;
    }
    before.reply = reply;
    before.send = number;
  }

  #copiesOf(message: Message, trusted: boolean): Message | undefined {
    const { origin, key, to, n, body } = message;
    if (trusted && isOnly(this.#table.lookup(origin.user), origin.device)) return undefined;
    return new Message(origin, key, to, n, body, undefined, 0, message);
  }

  #route(message: Message, except: string | undefined, trusted: boolean): void {
    const sessions = this.#table.lookup(message.user);
    const { live, setSize, complete } = plan(sessions, except, trusted);
    message.setSize = setSize;
    for (const session of live) this.#try(message, session);
    if (!complete) {
      message.mustHold = true;
      message.silentOnly = false;
    }
  }

  #try(message: Message, session: Session): void {
    const destination = this.#destination(session);
    const owed = session.durable || message.setSize === 0;
    const isBlocked = destination.unheld > 0 || destination.blockedUntil > this.#holder.committed;
    if (owed && isBlocked && !(message.n === 0 && isCall(message.body))) {
      this.#blocked(message, destination);
      return;
    }
    const attempt = new Try(message, destination, session.durable, this.#attention.now);
    if (session.durable) message.openDurable++;
    else message.openSession++;
    destination.add(attempt);
    this.#busy.add(destination);
    this.#attention.wake();
    if (destination.recipient === undefined) {
      this.#link.deliver(session, message.body, attempt, this.#bidOf(message));
      return;
    }
    const outcome = destination.recipient.offer(message.body, attempt);
    if (outcome !== "sent") this.#lost(attempt, false, false);
  }

  /** What goes to this destination through the store has to arrive first: so this goes through the store, too (L3). */
  #blocked(message: Message, destination: Destination): void {
    for (const before of destination.openBefore(message)) {
      if (before.durable || before.message.setSize === 0) this.#overdue(before);
    }
    message.silentOnly = false;
    this.#mustHold(message, destination);
  }

  #mustHold(message: Message, destination: Destination): void {
    message.mustHold = true;
    // Nothing will be held of a message that is done with.
    if (message.done !== undefined) return;
    message.blocks = [...message.blocks, destination];
    destination.unheld++;
  }

  #destination(session: Session): Destination {
    let destinations = this.#destinations.get(session.user);
    if (destinations === undefined) this.#destinations.set(session.user, (destinations = []));
    let destination = destinations.find((one) => one.session.device === session.device);
    if (destination?.session === session) return destination;
    const recipient =
      session.server === this.#parts.server
        ? this.#recipient(session.user, session.device)
        : undefined;
    if (destination === undefined) {
      destination = new Destination(this, session, recipient);
      destination.blockedUntil = this.#holder.lastOf(session.user);
      destinations.push(destination);
      return destination;
    }
    this.#follow(destination, session, recipient);
    return destination;
  }

  /** The device has another connection: what was on its way to the old one is lost, and goes to the store. */
  #follow(destination: Destination, session: Session, recipient: Recipient | undefined): void {
    const moved = destination.session.epoch !== session.epoch;
    destination.session = session;
    destination.recipient = recipient;
    if (!moved) return;
    destination.blockedUntil = Math.max(
      destination.blockedUntil,
      this.#holder.lastOf(session.user),
    );
    for (const attempt of destination.takeAll()) this.#lost(attempt, true);
  }

  lost(attempt: Try): void {
    this.#lost(attempt, true);
  }

  /** L2: a late acknowledgement counts, and settles the row that was made meanwhile. */
  acknowledged(attempt: Try): void {
    const { message, destination } = attempt;
    const { state } = attempt;
    if (state !== "open" && state !== "overdue") return;
    attempt.state = "acked";
    destination.acknowledged(this.#attention.now - attempt.since);
    message.acked++;
    if (destination.recipient === undefined) message.ackedHere = false;
    if (message.main === undefined) {
      this.#parts.counters.delivered(destination.recipient !== undefined);
      if (this.#parts.observer !== undefined) this.#observeLive(this.#parts.observer, attempt);
    }
    if (attempt.row !== undefined) this.#settler.settle(attempt.row);
    if (state === "overdue") return;
    if (attempt.durable) message.openDurable--;
    else message.openSession--;
    this.#advance(message);
  }

  #lost(attempt: Try, sent: boolean, advance = true): void {
    const { message, destination } = attempt;
    const { state } = attempt;
    if (state !== "open" && state !== "overdue") return;
    attempt.state = "lost";
    attempt.sent = sent;
    if (attempt.ref !== 0) this.#link.forget(attempt);
    // The reason for leaving the device's connection alone is gone.
    if (attempt.row !== undefined) this.#kickOrWatch(message.user, destination.session.device);
    if (state === "overdue") return;
    if (attempt.durable) message.openDurable--;
    else message.openSession--;
    if (attempt.durable || message.setSize === 0) this.#blocked(message, destination);
    if (advance) this.#advance(message);
  }

  /** The deadline of a live try has passed: hold, and go on listening for the acknowledgement. */
  #overdue(attempt: Try): void {
    const { message, destination } = attempt;
    if (attempt.durable) message.openDurable--;
    else message.openSession--;
    if (attempt.durable || message.setSize === 0) {
      attempt.state = "overdue";
      if (destination.session.background) message.silentOnly = false;
      this.#mustHold(message, destination);
    } else {
      // Session devices are owed nothing while another device has it; a late acknowledgement says nothing new.
      attempt.state = "lost";
      if (attempt.ref !== 0) this.#link.forget(attempt);
    }
    this.#advance(message);
  }

  /** Does what is due for the message now. */
  #advance(message: Message): void {
    if (message.done !== undefined) return;
    const due = verdict(message);
    switch (due) {
      case "wait":
        return;
      case "hold":
        this.#hold(message);
        return;
      case "delivered":
      case "held":
        message.done = due;
        this.#answer(message.main ?? message);
    }
  }

  #hold(message: Message): void {
    message.mustHold = false;
    message.holding = true;
    const number = this.#holder.enqueue(message);
    if (number === 0) {
      message.holding = false;
      this.#refuse(message, "store-unavailable");
      return;
    }
    for (const destination of message.blocks) {
      destination.blockedUntil = Math.max(destination.blockedUntil, number);
    }
    unblock(message);
  }

  #holdRequest(message: Message): HoldRequest {
    const { origin, silentOnly } = message;
    const { id, payload, wake, preview, ends, at } = message.content;
    // Who is lost from now on is for the next hold.
    message.silentOnly = true;
    const exclude = new Set(message.held);
    const sent = new Set<string>();
    for (let attempt = message.lastTry; attempt !== undefined; attempt = attempt.before) {
      const { device } = attempt.destination.session;
      if (attempt.state === "open" || attempt.state === "acked") exclude.add(device);
      else if (attempt.sent) sent.add(device);
      // The user's own row is for any device, and those that were sent it are among them (L2).
      if (attempt.sent) sent.add("");
    }
    const isCopy = message.main !== undefined;
    if (isCopy) exclude.add(origin.device);
    return {
      key: { from: origin.user, fromDevice: origin.device, id },
      user: message.user,
      outbox: origin.outbox,
      to: message.to,
      n: message.n,
      body: message.body,
      digest: digest(message.to, payload),
      exclude: [...exclude],
      sent: [...sent],
      ends,
      orUser: !isCopy && message.acked === 0,
      wake: {
        class: isCopy ? "none" : wake,
        server: this.#parts.server,
        conversation: origin.user,
        preview,
        // A call cannot wait: who is connected after all is not pushed to, see `wake.ts`.
        delay: silentOnly && wake !== "call" ? SILENT_WAKE_MS : 0,
        rings: this.#ringsFor(id, at),
      },
    };
  }

  /** Of a call that was accepted then. */
  #ringsFor(id: Uint8Array, at: Millis): Millis {
    const now = this.#parts.clock.now();
    if (now - uuidTime(id) > RING_ID_AGE_MS) return 0;
    return Math.max(0, LIMITS.ring - Math.max(0, now - at));
  }

  #held(message: Message, result: HoldResult): void {
    message.holding = false;
    switch (result.outcome) {
      case "conflict":
        this.#refuse(message, "id-conflict");
        return;
      case "full":
        // A copy that finds no room is marked as missed; the message itself is not refused for it.
        if (message.main === undefined) this.#refuse(message, "recipient-full");
        else this.#finishWithout(message);
        return;
      case "held":
        this.#parts.counters.held += result.rows.length;
        this.#observeHeld(message, result.rows.length);
        for (const { device, row } of result.rows) this.#rowHeld(message, device, row);
        message.setSize = Math.max(message.setSize, result.setSize);
        if (this.#heldForNobody(message)) {
          this.#refuse(message, "internal");
          return;
        }
        this.#parts.counters.coalesced += result.coalesced;
        if (result.due.length > 0) {
          this.#parts.wake.due(message.user, result.due, message.content.at);
        }
        this.#advance(message);
    }
  }

  /** A hold that found nobody to hold for, with nobody left who may acknowledge: it must not be asked for again for ever. */
  #heldForNobody(message: Message): boolean {
    return (
      message.main === undefined &&
      // A device that was lost while the hold was under way had no row from it, and gets one now.
      !message.mustHold &&
      message.held.length + message.acked + message.openDurable + message.openSession === 0
    );
  }

  #finishWithout(message: Message): void {
    message.done = "delivered";
    this.#answer(message.main!);
  }

  #rowHeld(message: Message, device: string, row: RowRef): void {
    if (!message.held.includes(device)) message.held = [...message.held, device];
    let underWay = false;
    for (let attempt = message.lastTry; attempt !== undefined; attempt = attempt.before) {
      const mine = device === "" ? !attempt.durable : attempt.destination.session.device === device;
      if (!mine) continue;
      if (attempt.state === "acked") {
        this.#settler.settle(row);
        underWay = true;
      } else if (attempt.state !== "lost") {
        attempt.row = row;
        underWay = true;
      }
    }
    if (!underWay) this.#kickOrWatch(message.user, device);
  }

  /** L4, the first mechanism: tell the server where the device is, now or as soon as it appears. */
  #kickOrWatch(user: string, device: string): void {
    this.#watch.add(user);
    for (const session of this.#table.lookup(user)) {
      if (device === "" || session.device === device) this.#kick(session);
    }
  }

  /** Something is held for a device that is connected, and nobody has read it: rows that a crash of the database brought back, say (L4). */
  remind(session: Session): void {
    this.#kick(session);
  }

  #kick(session: Session): void {
    if (session.server === this.#parts.server) this.#kickHere(session.user, session.device);
    else this.#link.kick(session);
  }

  #answer(message: Message): void {
    if (message.answered || message.done === undefined) return;
    if (message.copies !== undefined && message.copies.done === undefined) return;
    this.#close(message);
    const status = message.done === "held" ? "held" : "delivered";
    const route: Route = status === "held" ? "wake" : message.ackedHere ? "local" : "remote";
    this.#parts.counters.answered(status);
    message.reply?.ack(message.send, status, route);
  }

  #refuse(part: Message, code: SendErrorCode): void {
    const message = part.main ?? part;
    part.holding = false;
    unblock(part);
    if (message.answered) return;
    message.done ??= "held";
    unblock(message);
    if (message.copies !== undefined) {
      message.copies.done ??= "held";
      unblock(message.copies);
    }
    this.#close(message);
    this.#parts.counters.refused(code);
    this.#parts.observer?.refused({ ...observed(message), code });
    message.reply?.refuse(message.send, code, message);
  }

  #close(message: Message): void {
    message.answered = true;
    this.#open--;
    const inFlight = this.#inFlight.get(message.origin.key);
    if (inFlight?.get(message.key) === message) inFlight.delete(message.key);
  }

  #inFlightOf(origin: Origin): Map<number, Message> {
    let messages = this.#inFlight.get(origin.key);
    if (messages === undefined) this.#inFlight.set(origin.key, (messages = new Map()));
    return messages;
  }

  /** Runs every tick while anything is under way. Answers whether anything still is. */
  #sweep(): boolean {
    const now = this.#attention.now;
    for (const destination of this.#busy) {
      const deadline = now - destination.deadline;
      for (const attempt of destination.tries) {
        if (attempt.since > deadline) break;
        if (attempt.state === "open") this.#overdue(attempt);
      }
      if (destination.idle) this.#busy.delete(destination);
    }
    const { acknowledgeMs } = this.#parts;
    for (const recipient of this.#awaiting) {
      if (recipient.open === 0) this.#awaiting.delete(recipient);
      else if (now - recipient.progress >= acknowledgeMs) {
        this.#awaiting.delete(recipient);
        recipient.silent();
      }
    }
    for (const [key, messages] of this.#inFlight) {
      if (messages.size === 0) this.#inFlight.delete(key);
    }
    return this.#busy.size > 0 || this.#awaiting.size > 0 || this.#inFlight.size > 0;
  }

  #tableChanged(change: SessionChange): void {
    const { session } = change;
    const destinations = this.#destinations.get(session.user);
    const destination = destinations?.find((one) => one.session.device === session.device);
    switch (change.kind) {
      case "appeared":
        this.#fence(session);
        if (destination !== undefined) this.#destination(session);
        if (this.#watch.has(session.user)) this.#kick(session);
        return;
      case "changed":
        if (destination?.session.epoch === session.epoch) destination.session = session;
        return;
      case "revoked":
        for (const recipient of (this.#recipients.get(session.user) ?? []).slice()) {
          if (recipient.device === session.device && recipient.epoch === session.epoch) {
            recipient.revoked();
          }
        }
        return;
      case "gone":
        if (destination === undefined || destination.session.epoch !== session.epoch) return;
        destinations!.splice(destinations!.indexOf(destination), 1);
        if (destinations!.length === 0) this.#destinations.delete(session.user);
        this.#busy.delete(destination);
        for (const attempt of destination.takeAll()) this.#lost(attempt, true);
    }
  }

  // ── For who watches ───────────────────────────────────────────────────────────────────────────

  /** Where nobody was away after all, nothing was held. */
  #observeHeld(message: Message, rows: number): void {
    const { observer } = this.#parts;
    if (observer === undefined || rows === 0 || message.main !== undefined) return;
    const now = this.#parts.clock.monotonic();
    observer.held({ ...observed(message), ms: now - (this.#acceptedAt?.get(message) ?? now) });
  }

  #observeLive(observer: Observer, { message, destination }: Try): void {
    const { device, server } = destination.session;
    const accepted = this.#parts.server;
    observer.delivered({ ...observed(message), device, accepted, server, stored: false });
  }

  #observeStored(observer: Observer, { body }: PendingRow, user: string, device: string): void {
    const { id, from, to, server: accepted } = decodeDeliverBody(body);
    if (to !== user) return;
    const { server } = this.#parts;
    observer.delivered({ id: formatUuid(id), from, to, device, accepted, server, stored: true });
  }

  // ── The termination point ─────────────────────────────────────────────────────────────────────

  /** A device is connecting here. Call `start` when it is in the session table. */
  connect(sink: DeliverSink, who: RecipientOptions): Recipient {
    const recipient = new Recipient(this.#recipientParts, sink, who);
    const recipients = this.#recipients.get(who.user);
    if (recipients === undefined) this.#recipients.set(who.user, [recipient]);
    else recipients.push(recipient);
    return recipient;
  }

  /** Another server's message for a device here: whom it brings nearer to whom (M13), and whether one of the two is to be moved (B2). */
  #crossed(recipient: Recipient, { body, bid }: DeliverRecord, isTaken: boolean): void {
    const message = decodeDeliverBody(body);
    if (isOfCall(message)) recipient.called();
    const { from, fromDevice, server } = message;
    const { user } = recipient;
    // A copy, or an application's backend.
    if (from === user || fromDevice === "") return;
    // Once for all of the user's devices here.
    if (this.#recipients.get(user)?.[0] === recipient) this.#parts.heard?.(user, from);
    if (!isTaken || this.#parts.mover?.crossed(recipient, from, bid) !== true) return;
    const session = this.#table.find(from, fromDevice);
    if (session?.server === server) this.#link.move(session);
  }

  disconnect(recipient: Recipient): void {
    const recipients = this.#recipients.get(recipient.user);
    const at = recipients?.indexOf(recipient) ?? -1;
    if (at >= 0) recipients!.splice(at, 1);
    if (recipients?.length === 0) this.#recipients.delete(recipient.user);
    this.#awaiting.delete(recipient);
    recipient.close();
    if (recipient.isOwed) this.#settler.after(() => this.#left(recipient));
  }

  /** L5: a device that came and went without its messages is woken for them again, unless it is back already. */
  #left({ user, device }: TailEntry): void {
    if (this.#table.find(user, device) !== undefined) return;
    this.#parts.store.wakes.leave(user, device).then(
      () => this.#parts.wake.poke(),
      // The store is away: the intent falls due by itself.
      () => undefined,
    );
  }

  #recipient(user: string, device: string): Recipient | undefined {
    const recipients = this.#recipients.get(user);
    if (recipients === undefined) return undefined;
    // The last to connect is the one with the highest epoch.
    for (let at = recipients.length - 1; at >= 0; at--) {
      if (recipients[at]!.device === device) return recipients[at];
    }
    return undefined;
  }

  /** One device, one live connection: the higher epoch wins; a tie goes to the greater server name. */
  #fence(session: Session): void {
    const here = session.server === this.#parts.server;
    for (const recipient of (this.#recipients.get(session.user) ?? []).slice()) {
      if (recipient.device !== session.device) continue;
      if (recipient.epoch < session.epoch || (recipient.epoch === session.epoch && !here)) {
        recipient.replaced();
      }
    }
  }

  #kickHere(user: string, device: string): void {
    const recipient = this.#recipient(user, device);
    if (recipient !== undefined) recipient.kick();
    // It has gone before it could read what is there.
    else if (device !== "") this.#left({ user, device });
  }

  /** L4, the second mechanism. */
  #tailFound({ user, device }: TailEntry): void {
    for (const recipient of this.#recipients.get(user) ?? []) {
      if (device === "" || recipient.device === device) recipient.probe();
    }
  }
}

/** The message's next hold has its number, or will never come. */
function unblock(message: Message): void {
  for (const destination of message.blocks) destination.unheld--;
  message.blocks = [];
}

function observed({ content, origin, to }: Message): ObservedMessage {
  return { id: formatUuid(content.id), from: origin.user, to };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}
