import type { Clock } from "../lib/clock.ts";
import { TurnBatch } from "../lib/turn.ts";
import type { RefusalReason, SenderBid, ServerBus, ServerRecord } from "../cluster/server-bus.ts";
import type { Session } from "../sessions/table.ts";
import type { Try } from "./message.ts";
import { bodyKey } from "./recipient.ts";
import type { Outstanding, Peer } from "./recipient.ts";

export type DeliverRecord = Extract<ServerRecord, { kind: "deliver" }>;

export interface LinkParts {
  readonly clock: Clock;
  readonly bus: ServerBus;
  /** Another server's message for a device that is connected here, it thinks. */
  deliver(record: DeliverRecord, outstanding: Outstanding, peer: Peer): "sent" | RefusalReason;
  kick(user: string, device: string): void;
  /** Another server has found that this device is the one to be moved (B2). */
  move(user: string, device: string, epoch: number): void;
  acknowledged(attempt: Try): void;
  refused(attempt: Try, sent: boolean): void;
}

/** Kicks that wait for the bus: to one server, and servers with any. What is beyond it is left to the tail. */
const KICKS = 4096;
const KICKED_SERVERS = 1024;

type Kick = Extract<ServerRecord, { kind: "kick" }>;

interface Outgoing {
  readonly server: string;
  readonly record: ServerRecord;
}

/** Live delivery through the other servers (M6): all that is said to one of them in a turn is one message of the bus. */
export class Link {
  readonly #parts: LinkParts;
  readonly #outgoing: TurnBatch<Outgoing>;
  /** Tries under way to other servers, by the number that stands for them there. */
  readonly #tries = new Map<number, Try>();
  #lastRef: number;
  /** Number of the last refusal said. */
  #lastRefusal: number;
  /** By server, the number of its last refusal that was heard and acted upon. */
  readonly #heard = new Map<string, number>();
  /** By server, the first refusal that it has to have heard of before what it offers is taken: something that it had said was missed. */
  readonly #missed = new Map<string, number>();
  /** By server, kicks that the bus did not take: they go before anything else, so that nothing overtakes what they are about (L3). */
  readonly #kicks = new Map<string, Map<string, Kick>>();
  /** The record that ends what is outgoing, if it can take another acknowledgement. */
  #acks: { readonly server: string; readonly refs: number[] } | undefined;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#outgoing = new TurnBatch(parts.clock, (items) => this.#flush(items));
    // After a restart the answers to what the former incarnation sent must name nothing.
    this.#lastRef = parts.clock.now() * 1024;
    this.#lastRefusal = this.#lastRef;
    parts.bus.onRecords((server, records, missed) => {
      if (missed) this.#hasMissed(server, records);
      this.#arrived(server, records);
    });
  }

  deliver(session: Session, body: Uint8Array, attempt: Try, bid: SenderBid): void {
    attempt.ref = ++this.#lastRef;
    this.#tries.set(attempt.ref, attempt);
    const { server, user, device, epoch } = session;
    const heard = this.#heard.get(server) ?? 0;
    this.#say(server, { kind: "deliver", ref: attempt.ref, user, device, epoch, heard, bid, body });
  }

  kick({ server, user, device }: Session): void {
    this.#say(server, { kind: "kick", user, device });
  }

  /** The sender of something that its server has delivered here is to be moved. Where the bus is away it stays. */
  move({ server, user, device, epoch }: Session): void {
    this.#say(server, { kind: "move", user, device, epoch });
  }

  /** The try is over: its answer will be ignored. */
  forget(attempt: Try): void {
    this.#tries.delete(attempt.ref);
  }

  /** Acknowledgements that follow each other to one server are one record. */
  #received(server: string, ref: number): void {
    if (this.#acks?.server === server) {
      this.#acks.refs.push(ref);
      return;
    }
    const refs = [ref];
    this.#say(server, { kind: "received", refs });
    this.#acks = { server, refs };
  }

  #say(server: string, record: ServerRecord): void {
    this.#acks = undefined;
    this.#outgoing.add({ server, record });
  }

  #flush(items: readonly Outgoing[]): void {
    this.#acks = undefined;
    const byServer = new Map<string, ServerRecord[]>();
    for (const { server, record } of items) {
      const records = byServer.get(server);
      if (records === undefined) byServer.set(server, [record]);
      else records.push(record);
    }
    for (const [server, records] of byServer) {
      const kicks = this.#kicks.get(server);
      const all = kicks === undefined ? records : [...kicks.values(), ...records];
      if (this.#parts.bus.send(server, all)) this.#kicks.delete(server);
      else this.#unsent(server, records);
    }
  }

  /**
   * The bus is away (L8): what should have gone live is held, and before it what is under way to that server, which may have gone
   * nowhere (L3). Lost acknowledgements are made up for by the other side's deadline.
   */
  #unsent(server: string, records: readonly ServerRecord[]): void {
    const unsent = new Set<number>();
    for (const record of records) {
      if (record.kind === "deliver") unsent.add(record.ref);
      else if (record.kind === "kick") this.#keepKick(server, record);
    }
    if (unsent.size === 0) return;
    // In the order in which they were made.
    for (const [ref, attempt] of this.#tries) {
      if (attempt.destination.session.server === server) this.#refused(ref, !unsent.has(ref));
      else if (unsent.has(ref)) this.#refused(ref, false);
    }
  }

  #keepKick(server: string, kick: Kick): void {
    const kicks = this.#kicks.get(server) ?? new Map<string, Kick>();
    if (this.#kicks.size >= KICKED_SERVERS && kicks.size === 0) return;
    this.#kicks.set(server, kicks);
    if (kicks.size < KICKS) kicks.set(`${kick.user}\n${kick.device}`, kick);
  }

  #refused(ref: number, sent: boolean): void {
    const attempt = this.#tries.get(ref);
    if (attempt === undefined) return;
    this.#tries.delete(ref);
    this.#parts.refused(attempt, sent);
  }

  /**
   * What the server has said of our tries may be lost, and what it offers may have overtaken what was lost. So all that is under way in
   * either direction goes to the store, in the order in which it was made (L3); but for what is acknowledged by now.
   */
  #hasMissed(server: string, records: readonly ServerRecord[]): void {
    for (const record of records) {
      if (record.kind === "received") for (const ref of record.refs) this.#acknowledged(ref);
    }
    this.#lose(server);
    // The server is told at once; of no try in particular.
    this.#refuse(server, 0, "missed");
    this.#missed.set(server, this.#lastRefusal);
  }

  /** The device may have each of them. */
  #lose(server: string): void {
    for (const [ref, attempt] of this.#tries) {
      if (attempt.destination.session.server === server) this.#refused(ref, true);
    }
  }

  #arrived(server: string, records: readonly ServerRecord[]): void {
    for (const record of records) {
      switch (record.kind) {
        case "deliver":
          this.#deliver(server, record);
          break;
        case "received":
          for (const ref of record.refs) this.#acknowledged(ref);
          break;
        case "refused":
          if (record.reason === "missed") this.#lose(server);
          this.#refused(record.ref, record.reason === "unacknowledged");
          this.#heard.set(server, record.number);
          break;
        case "kick":
          this.#parts.kick(record.user, record.device);
          break;
        case "move":
          this.#parts.move(record.user, record.device, record.epoch);
      }
    }
  }

  #deliver(server: string, record: DeliverRecord): void {
    const { ref, heard, body } = record;
    if (heard < (this.#missed.get(server) ?? 0)) {
      this.#refuse(server, ref, "missed");
      return;
    }
    this.#missed.delete(server);
    const outstanding = new RemoteDelivery(body, (received) => {
      if (received) this.#received(server, ref);
      else this.#refuse(server, ref, "unacknowledged");
    });
    const peer = { server, heard, refusal: this.#lastRefusal + 1 };
    const outcome = this.#parts.deliver(record, outstanding, peer);
    if (outcome !== "sent") this.#refuse(server, ref, outcome);
  }

  #refuse(server: string, ref: number, reason: RefusalReason): void {
    this.#say(server, { kind: "refused", ref, reason, number: ++this.#lastRefusal });
  }

  #acknowledged(ref: number): void {
    const attempt = this.#tries.get(ref);
    if (attempt === undefined) return;
    this.#tries.delete(ref);
    this.#parts.acknowledged(attempt);
  }
}

/** A DELIVER on a connection here for a message that another server accepted. */
class RemoteDelivery implements Outstanding {
  readonly #body: Uint8Array;
  readonly #over: (received: boolean) => void;

  constructor(body: Uint8Array, over: (received: boolean) => void) {
    this.#body = body;
    this.#over = over;
  }

  get key(): string | undefined {
    return bodyKey(this.#body);
  }

  acknowledged(): void {
    this.#over(true);
  }

  lost(): void {
    this.#over(false);
  }
}
