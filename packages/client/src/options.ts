import type { Address, WakeClass, WakeKey } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Storage } from "./storage.ts";
import type { Dial } from "./transport.ts";

export interface ConnectOptions {
  /** Where to begin: any servers of the system will do. A URL's scheme says the protocol. */
  readonly servers: readonly (string | Address)[];
  /** Asked when there is no ticket, when a ticket was refused, and before the token expires. */
  readonly token: () => string | Promise<string>;
  /** Id of this device, 1 to 64 bytes. Default: made once and kept in `storage`. */
  readonly device?: string;
  /** Messages are held while this device is away. Default: true with `push` or `storage`. */
  readonly durable?: boolean;
  /** What this device sends is copied to the user's other devices. Default: true. */
  readonly copies?: boolean;
  /** Where pushes for this device go. The wake key is made by the SDK. */
  readonly push?: PushOptions;
  /** Begin in the background; "auto" follows the page's visibility. Default: false. */
  readonly background?: boolean | "auto";
  readonly prefer?: Preferences;
  /**
   * Whether a server may move the device to a better one while it is connected; a function is asked each time, before it dials and before it goes.
   * It never does in the background, or within 2 minutes of a message of a call. Default: true.
   */
  readonly moves?: boolean | (() => boolean);
  /** Messages that may wait to be acknowledged; one more is refused `outbox-full`. Default: 1,000. */
  readonly outboxLimit?: number;

  /** Default: none; nothing survives the process. */
  readonly storage?: Storage;
  /** How to dial, by protocol ("ws", "tcp"). Default: "ws" over `webSocket`. */
  readonly transports?: Readonly<Record<string, Dial>>;
  /** Default: the global one. Node 20 has none: pass that of the package `ws`. */
  readonly webSocket?: WebSocketConstructor;
  /** Opens sealed wakes. Default: WebCrypto. */
  readonly crypto?: SealCrypto;
  /** Fills the bytes. Default: WebCrypto; without one `Math.random`, and then `push` is refused. */
  readonly random?: (bytes: Uint8Array) => void;
  readonly clock?: Clock;
  /** Sees every message of the transport. They contain tokens and payloads: for debugging, never for a log. */
  readonly trace?: (direction: "up" | "down", message: Uint8Array) => void;
}

export interface PushOptions {
  /** As the server names it: "webpush", "fcm", "apns", "webhook", "dev". */
  readonly provider: string;
  /** What the push service calls this device; for "webpush" `JSON.stringify(subscription)`. */
  readonly token: string;
  /** Wakes are sealed with it. Default: the SDK makes one. Give your own, of 32 random bytes, where `registerPush` needs it, too. */
  readonly key?: WakeKey;
}

/** Which of a server's addresses are tried first (M10), and which of several wakes is followed (M11). */
export interface Preferences {
  /** Protocols, best first; what is not named comes after them. Default: in the order of `transports`. */
  readonly protocols?: readonly string[];
  /** Secure addresses before others of the same protocol. Default: true. */
  readonly secure?: boolean;
  /** Among those that are equal in protocol, security and the server's own priority: first or last listed, or any. Default: "first". */
  readonly address?: "first" | "last" | "random";
  /** Among wakes that came before the connection: the first or last received, or of the most active conversation. Default: "last". */
  readonly wake?: "first" | "last" | "most-active";
}

export interface SendOptions {
  /** How to wake a recipient who is away. Default: "message". A "call" rings for 30 s, and goes before all other messages, here and at the recipient's. */
  readonly wake?: WakeClass;
  /** Id of a call (`Ack.id`, `Message.id`) between this user and the recipient that this answers, declines or ends: it rings nowhere any more. */
  readonly ends?: string;
  /** Shown by the recipient's notification; sealed. At most 1 KiB. Default: none. */
  readonly preview?: string;
  /**
   * Withdraws the message if it was not transmitted yet. Later, `send` rejects with `aborted` all the same, and the message may
   * still arrive.
   */
  readonly signal?: AbortSignalLike;
}

/** What of an `AbortSignal` is used: its type is not everywhere. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** AES-256-GCM; `sealed` is the ciphertext followed by the tag of 16 bytes. Rejects what was not sealed with these. */
export interface SealCrypto {
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    associatedData: Uint8Array,
  ): Promise<Uint8Array>;
}

/** What of a WebSocket is used: the global one, or that of the package `ws`. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}
