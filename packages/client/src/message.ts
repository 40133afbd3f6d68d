import type { AckStatus, Millis, Route, WakeClass } from "@beckon/protocol";

/** A message that was received. */
export interface Message {
  /** The sender's id of it, the same at every device: a UUID. */
  readonly id: string;
  /** User and device that sent it. */
  readonly from: string;
  readonly fromDevice: string;
  /** The recipient: another user than one's own marks a copy of what one's own user sent from another device. */
  readonly to: string;
  readonly payload: Uint8Array;
  /** The payload as UTF-8; what is not becomes U+FFFD. */
  text(): string;
  /** "call": somebody calls. */
  readonly wake: WakeClass;
  /** Id of the call that it answers, declines or ends; undefined: none. */
  readonly ends: string | undefined;
  /** When the accepting server took it. */
  readonly at: Millis;
  /** Position in its lane (what one device sends to one user), from 1; 0: it has none. */
  readonly n: number;
  /** It waited in the store. */
  readonly held: boolean;
  /** It may have been handed over before: by a process that ended, or to a handler that failed. */
  readonly redelivered: boolean;
  /** Something before it in its lane is missing. */
  readonly gap: boolean;
  /** It was missing when a later one was handed over. */
  readonly late: boolean;
  /** Name of the server of the connection that it came over. */
  readonly server: string;
}

/** Takes a message; it is acknowledged when what this answers has resolved. */
export type MessageHandler = (message: Message) => void | Promise<void>;

/** What became of a message that was sent. */
export interface Ack {
  readonly id: string;
  /** `delivered`: every device of the recipient that is owed it has it. `held`: it is stored for those that have not. */
  readonly status: AckStatus;
  readonly route: Route;
  /** The server's time. */
  readonly at: Millis;
  /** Name of the server that took it. */
  readonly server: string;
}

/** A message in the outbox. */
export interface Unsent {
  /** Names it in this outbox, for good. */
  readonly key: string;
  /** The message id; undefined until it is first transmitted. */
  readonly id: string | undefined;
  readonly to: string;
  readonly payload: Uint8Array;
  /** The payload as UTF-8. */
  text(): string;
  /** When it was given to `send`. */
  readonly created: Millis;
  /** What its `send` answers, also when that was called by a process that has ended. */
  readonly ack: Promise<Ack>;
}
