/** The frames of the device protocol as the code sees them; `beckon.proto` is their schema. */

/** Milliseconds since 1970. */
export type Millis = number;

export type WakeClass = "message" | "call" | "silent" | "none";
export type AckStatus = "delivered" | "held";
export type Route = "local" | "remote" | "wake";

export interface SendFrame {
  readonly type: "send";
  /** UUIDv7, 16 bytes. */
  readonly id: Uint8Array;
  readonly to: string;
  /** Position in the lane, from 1; 0: no lane. */
  readonly n: number;
  /** The `n` before it that was not finally refused; 0: none. */
  readonly prev: number;
  readonly payload: Uint8Array;
  readonly wake: WakeClass;
  readonly preview: string;
  /** Id of the call that this answers, declines or ends, 16 bytes; empty: none. */
  readonly ends: Uint8Array;
  /** The encoded fields, as they came, without fields that this version does not know. Set by the decoder. */
  readonly raw?: Uint8Array;
}

export interface DeliverFrame extends Omit<SendFrame, "type" | "raw"> {
  readonly type: "deliver";
  readonly from: string;
  readonly fromDevice: string;
  readonly outbox: number;
  readonly at: Millis;
  readonly held: boolean;
  readonly redelivered: boolean;
  /** Name of the server that accepted it. */
  readonly server: string;
}

export interface ReceivedFrame {
  readonly type: "received";
  /** Pairs: number of the first DELIVER, how many without a hole. */
  readonly ranges: readonly number[];
}

export interface AckFrame {
  readonly type: "ack";
  readonly send: number;
  readonly count: number;
  readonly status: AckStatus;
  readonly route: Route;
  readonly at: Millis;
}

export interface PingFrame {
  readonly type: "ping";
}

export interface PongFrame {
  readonly type: "pong";
  readonly time: Millis;
}

export interface PullFrame {
  readonly type: "pull";
}

export interface PulledFrame {
  readonly type: "pulled";
  readonly pull: number;
}

export interface ErrorFrame {
  readonly type: "error";
  /** A number of the catalogue in `errors.ts`. */
  readonly code: number;
  readonly message: string;
  /** The SEND that it refuses; 0: the connection. */
  readonly send: number;
  /** Milliseconds; 0: at will. */
  readonly retryAfter: number;
}

export interface WakeKey {
  readonly id: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

export interface PushRegistration {
  readonly provider: string;
  readonly token: string;
  readonly key: WakeKey;
}

export interface HelloFrame {
  readonly type: "hello";
  readonly token: string;
  readonly ticket: Uint8Array;
  readonly device: string;
  readonly durable: boolean;
  readonly protocols: readonly string[];
  readonly push?: PushRegistration;
  readonly epoch: number;
  readonly outbox: number;
  readonly hinted: string;
  readonly intent: string;
  readonly noRedirect: boolean;
  readonly noCopies: boolean;
  readonly client: string;
  readonly capabilities: number;
  readonly background: boolean;
}

export interface Limits {
  readonly payload: number;
  readonly messageBytes: number;
  readonly messageFrames: number;
  readonly inFlight: number;
  readonly window: number;
  readonly rate: number;
  readonly burst: number;
}

export interface Address {
  readonly url: string;
  readonly protocol: string;
  readonly secure: boolean;
  readonly network: string;
  readonly region: string;
  /** Lower is better. */
  readonly priority: number;
}

export interface ServerAddresses {
  readonly name: string;
  readonly addresses: readonly Address[];
}

export interface WelcomeFrame {
  readonly type: "welcome";
  readonly connection: string;
  readonly server: string;
  readonly user: string;
  readonly epoch: number;
  readonly ticket: Uint8Array;
  readonly time: Millis;
  readonly heartbeat: Millis;
  readonly limits: Limits;
  readonly servers: readonly ServerAddresses[];
  readonly held: number;
  readonly recovered: boolean;
  readonly capabilities: number;
}

export interface AuthFrame {
  readonly type: "auth";
  readonly token: string;
}

export interface StateFrame {
  readonly type: "state";
  readonly background: boolean;
}

export interface ByeFrame {
  readonly type: "bye";
}

export interface RedirectFrame {
  readonly type: "redirect";
  readonly server: ServerAddresses;
  readonly reason: string;
}

export interface MoveFrame {
  readonly type: "move";
  readonly server: ServerAddresses;
  readonly reason: string;
}

export interface DrainFrame {
  readonly type: "drain";
  readonly within: Millis;
  readonly servers: readonly ServerAddresses[];
}

/** How long nobody is woken: by one conversation, or on this device at all. */
export interface QuietFrame {
  readonly type: "quiet";
  /** The user who writes; "": this device. */
  readonly conversation: string;
  /** 0, or past: no longer. */
  readonly until: Millis;
}

export interface QuietedFrame {
  readonly type: "quieted";
  /** QUIETs of this connection that are stored. */
  readonly count: number;
}

/** Log-out: the system forgets this device. */
export interface ForgetFrame {
  readonly type: "forget";
}

/** A frame of a kind that this version does not know: number of its field in `Frame`. */
export interface UnknownFrame {
  readonly type: "unknown";
  readonly field: number;
}

export type Frame =
  | SendFrame
  | ReceivedFrame
  | DeliverFrame
  | AckFrame
  | PingFrame
  | PongFrame
  | PullFrame
  | PulledFrame
  | ErrorFrame
  | HelloFrame
  | WelcomeFrame
  | AuthFrame
  | StateFrame
  | ByeFrame
  | RedirectFrame
  | MoveFrame
  | DrainFrame
  | QuietFrame
  | QuietedFrame
  | ForgetFrame;

/** The envelope in a push. */
export interface Wake {
  readonly key: number;
  readonly nonce: Uint8Array;
  readonly sealed: Uint8Array;
}

/** What is sealed in a {@link Wake}. */
export interface Hint {
  readonly server: ServerAddresses;
  readonly conversation: string;
  readonly activity: number;
  readonly wake: WakeClass;
  readonly expires: Millis;
  readonly preview: string;
  /** Id of the call that it is for, 16 bytes; empty: it is for messages. */
  readonly call: Uint8Array;
  /** The call is over: what was shown for it is to be taken back. */
  readonly ended: boolean;
}
