/** What tabs say to each other. Everything that comes twice is as if it had come once. */
import type { ErrorCode, Millis, WakeClass } from "@beckon/protocol";

import { BeckonError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { State } from "../state.ts";
import type { Wake } from "../wake-event.ts";

/** Names a call of a tab, for as long as the tab lives: also to a leader that comes later. */
export type Call = string;

export interface SendCall {
  readonly kind: "send";
  readonly call: Call;
  readonly to: string;
  readonly payload: Uint8Array;
  readonly wake: WakeClass | undefined;
  readonly preview: string | undefined;
  readonly ends: string | undefined;
}

/** What a tab asks the leader, and is answered by `settled`. */
export type Asking =
  | SendCall
  | { readonly kind: "outbox"; readonly call: Call }
  /** What becomes of a message that was listed before. */
  | { readonly kind: "watch"; readonly call: Call; readonly key: string }
  | { readonly kind: "wake"; readonly call: Call; readonly data: unknown }
  | {
      readonly kind: "quiet";
      readonly call: Call;
      readonly conversation: string;
      readonly until: Millis;
    }
  | { readonly kind: "forget"; readonly call: Call };

export type FromTab =
  | Asking
  | { readonly kind: "join"; readonly background: boolean }
  | { readonly kind: "background"; readonly background: boolean }
  /** The ACK of the call has reached its caller. */
  | { readonly kind: "got"; readonly call: Call }
  | { readonly kind: "abort"; readonly call: Call }
  /** A handler is done with the message of that number. */
  | { readonly kind: "handled"; readonly seq: number }
  /** Nothing comes after it; it is answered when all that came before is stored. */
  | { readonly kind: "leave"; readonly call: Call };

export type FromLeader =
  | { readonly kind: "state"; readonly state: Omit<State, "error">; readonly error?: Failure }
  | { readonly kind: "message"; readonly seq: number; readonly message: PlainMessage }
  | { readonly kind: "wake"; readonly wake: Wake }
  | { readonly kind: "error"; readonly error?: Failure }
  | {
      readonly kind: "settled";
      readonly call: Call;
      readonly value?: unknown;
      readonly error?: Failure;
    }
  /** There is no client any more, and there shall be no next leader. */
  | { readonly kind: "ended"; readonly error?: Failure };

type Failure = BeckonError | undefined;

/** A message without its function, as it can be cloned. */
export type PlainMessage = Omit<Message, "text"> & { readonly text: undefined };

/** What goes over the channel. */
export type Packet =
  /** Whoever leads shall say so. */
  | { readonly kind: "who" }
  /** A lead that began later has a higher term. */
  | { readonly kind: "lead"; readonly leader: string; readonly term: number }
  /** To oneself. */
  | { readonly kind: "echo"; readonly tab: string }
  | { readonly kind: "up"; readonly tab: string; readonly leader: string; readonly frame: FromTab }
  | {
      readonly kind: "down";
      readonly leader: string;
      /** "": all tabs. */
      readonly tab: string;
      readonly frame: FromLeader;
    };

interface PlainError {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly cause: string | undefined;
}

/** In a form that can be cloned: an error's class and cause cannot, always. */
export function pack(packet: Packet): unknown {
  if (packet.kind !== "down" || !("error" in packet.frame)) return packet;
  const { error } = packet.frame;
  return { ...packet, frame: { ...packet.frame, error: error && toPlain(error) } };
}

export function unpack(data: unknown): Packet {
  const packet = data as Packet;
  if (packet.kind !== "down" || !("error" in packet.frame)) return packet;
  const plain = packet.frame.error as PlainError | undefined;
  return { ...packet, frame: { ...packet.frame, error: plain && fromPlain(plain) } };
}

function toPlain({ code, message, cause }: BeckonError): PlainError {
  const detail = message.slice(code.length + ": ".length);
  return { code, detail, cause: cause instanceof Error ? String(cause) : undefined };
}

function fromPlain({ code, detail, cause }: PlainError): BeckonError {
  return new BeckonError(code, detail, cause === undefined ? undefined : { cause });
}
