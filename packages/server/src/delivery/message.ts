import { decodeDeliverBody } from "@beckon/protocol";
import type { AckStatus, DeliverFrame, Route, SendErrorCode } from "@beckon/protocol";
import type { RowRef } from "../store/store.ts";
import type { Destination } from "./destination.ts";
import { messageKey } from "./recipient.ts";
import type { Outstanding } from "./recipient.ts";

/** Where the answer to a SEND goes. */
export interface Reply {
  ack(send: number, status: AckStatus, route: Route): void;
  /** `lane`: where in which lane the refused SEND stands. */
  refuse(
    send: number,
    code: SendErrorCode,
    lane: { readonly to: string; readonly n: number },
  ): void;
}

/** The sending device on one connection. */
export interface Origin {
  /** User and device. */
  readonly key: string;
  readonly user: string;
  /** "": a named service of the application's backend. */
  readonly device: string;
  readonly outbox: number;
  /** `encodeOrigin` of the above and of this server's name. */
  readonly encoded: Uint8Array;
  /** Whether the user's other devices get copies of what this one sends. */
  readonly copies: boolean;
}

/** 48 random bits of a UUIDv7: enough to find a repeat among one device's few messages in flight; the finder compares whole ids. */
export function idKey(id: Uint8Array): number {
  let key = 0;
  for (let i = 10; i < 16; i++) key = key * 256 + id[i]!;
  return key;
}

const NONE: readonly never[] = [];

/**
 * A message, or the copies of it, on the way to the devices of one user. Alive from `accept` to the answer; tries may outlive it. There
 * are as many as there are messages under way: what only a hold or a repeat needs is read from the body, or made, by whoever needs it.
 */
export class Message {
  readonly origin: Origin;
  /** {@link idKey} of its id. */
  readonly key: number;
  readonly to: string;
  readonly n: number;
  /** The DELIVER body, encoded once for all devices. */
  readonly body: Uint8Array;
  /** Whose devices it is for: the recipient, or for copies the sender. */
  readonly user: string;
  /** Of copies: the message that is copied. */
  readonly main: Message | undefined;
  copies: Message | undefined = undefined;

  reply: Reply | undefined;
  send: number;
  answered = false;

  /** The last of the live tries, one a device at most, which leads to those before it. */
  lastTry: Try | undefined = undefined;
  openDurable = 0;
  openSession = 0;
  /** How many devices acknowledged; all of them over a connection to this very server? */
  acked = 0;
  ackedHere = true;
  /** Durable devices of `user`, as the session table shows. */
  setSize = 0;
  /** Somebody is owed it whom no live try can reach, or may be: ask the store. */
  mustHold = false;
  /** A hold is queued or being committed. */
  holding = false;
  /** Devices that have a row; "" for the user's own. */
  held: readonly string[] = NONE;
  /** Destinations that get nothing live before this message's next hold is over. */
  blocks: readonly Destination[] = NONE;
  /** Nothing more is to be done for its devices but to wait for late acknowledgements. */
  done: "delivered" | "held" | undefined = undefined;
  /** Only devices that are connected and silent are being held for: no hurry with the wake. */
  silentOnly = true;

  constructor(
    origin: Origin,
    key: number,
    to: string,
    n: number,
    body: Uint8Array,
    reply: Reply | undefined,
    number: number,
    main?: Message,
  ) {
    this.origin = origin;
    this.key = key;
    this.to = to;
    this.n = n;
    this.body = body;
    this.user = main === undefined ? to : origin.user;
    this.main = main;
    this.reply = reply;
    this.send = number;
  }

  /** What it says, decoded anew each time. */
  get content(): DeliverFrame {
    return decodeDeliverBody(this.body);
  }
}

/** Whether both are of one lane, and which was sent first. */
export function isBefore(one: Message, other: Message): boolean {
  return (
    one.n < other.n &&
    one.n > 0 &&
    one.to === other.to &&
    one.origin.key === other.origin.key &&
    one.origin.outbox === other.origin.outbox
  );
}

/**
 * open → acked, or overdue (deadline passed: held, but may still acknowledge), or lost (refused, connection gone).
 * overdue → acked, or lost.
 */
export type TryState = "open" | "overdue" | "acked" | "lost";

/** Told what becomes of a try. */
export interface TryOwner {
  acknowledged(attempt: Try): void;
  /** Its connection is gone. */
  lost(attempt: Try): void;
}

/** One live attempt to deliver a message to one connected device; at the termination point, what a DELIVER stands for. */
export class Try implements Outstanding {
  readonly message: Message;
  readonly destination: Destination;
  readonly durable: boolean;
  /** Of the same message. */
  readonly before: Try | undefined;
  /** Attentive time. */
  readonly since: number;
  state: TryState = "open";
  /** Whether it went out on the socket, as far as is known. */
  sent = true;
  /** Names it in what servers say to each other; 0: the device is connected here. */
  ref = 0;
  /** Once held: the row to settle when an acknowledgement comes after all. */
  row: RowRef | undefined = undefined;

  constructor(message: Message, destination: Destination, durable: boolean, since: number) {
    this.message = message;
    this.before = message.lastTry;
    message.lastTry = this;
    this.destination = destination;
    this.durable = durable;
    this.since = since;
  }

  get key(): string {
    const { origin, content } = this.message;
    return messageKey(origin.user, origin.device, content.id);
  }

  acknowledged(): void {
    this.destination.owner.acknowledged(this);
  }

  lost(): void {
    this.destination.owner.lost(this);
  }
}

export type Verdict = "wait" | "hold" | "delivered" | "held";

/**
 * What is due for a message now. Pure. L1: `delivered` only when every durable device has acknowledged and one device at least
 * has; `held` only when all others have a committed row. An empty set of devices never yields `delivered`.
 */
export function verdict(message: Message): Verdict {
  if (message.holding) return "wait";
  if (message.mustHold) return "hold";
  if (message.openDurable > 0) return "wait";
  if (message.held.length > 0) return "held";
  if (message.acked > 0) return "delivered";
  if (message.main !== undefined) return "delivered";
  if (message.openSession > 0) return "wait";
  return "hold";
}
