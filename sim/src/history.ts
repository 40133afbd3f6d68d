/**
 * What happened in a run, as somebody sees it who watches the devices' applications, the wires between devices and servers,
 * the database and the push service, and who knows nothing of how servers and SDK work.
 */
import type { AckStatus, Route, WakeClass } from "@beckon/protocol";

/** "user/device". */
export type DeviceName = string;
/** What the application calls a message; no two have the same. */
export type MessageName = string;
/** One connection, from dialling to its end. */
export type ConnectionName = string;

/** By which frame a server sends a device elsewhere. */
export type Sending = "redirect" | "move" | "drain";

type Happening =
  // ── The application on a device ──
  /** The device's process begins; `storage`: what the SDK had stored is there, is gone, or there never was any. */
  | {
      readonly kind: "started";
      readonly device: DeviceName;
      readonly storage: "kept" | "lost" | "none";
    }
  /** It ends. After `crash` nothing had the time to finish. */
  | { readonly kind: "stopped"; readonly device: DeviceName; readonly how: "crash" | "exit" }
  /** The SDK has closed itself for good, as a server has told it to. */
  | { readonly kind: "expelled"; readonly device: DeviceName; readonly code: string }
  /** The SDK says how it is connected. */
  | { readonly kind: "state"; readonly device: DeviceName; readonly name: string }
  /** The operating system suspends the process, and lets it go on. */
  | { readonly kind: "asleep" | "awake"; readonly device: DeviceName }
  /** The application calls `send`. */
  | {
      readonly kind: "sent";
      readonly message: MessageName;
      readonly device: DeviceName;
      readonly to: string;
      readonly wake: WakeClass;
      /** The call that it ends. */
      readonly ends?: MessageName | undefined;
    }
  /** `send` has rejected for good. `expected`: the application's authoriser has said no. */
  | {
      readonly kind: "refused";
      readonly message: MessageName;
      readonly device: DeviceName;
      readonly code: string;
      readonly expected: boolean;
    }
  /** `send` has resolved. */
  | { readonly kind: "confirmed"; readonly message: MessageName; readonly device: DeviceName }
  | {
      readonly kind: "handed";
      readonly device: DeviceName;
      readonly message: MessageName;
      readonly gap: boolean;
      readonly late: boolean;
      readonly redelivered: boolean;
    }
  | {
      readonly kind: "handled";
      readonly device: DeviceName;
      readonly message: MessageName;
      readonly outcome: "finished" | "failed";
    }

  // ── Between devices and servers ──
  | {
      readonly kind: "dialled";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly server: string;
    }
  /** The device has written HELLO. */
  | {
      readonly kind: "greeted";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly server: string;
      readonly noRedirect: boolean;
      readonly background: boolean;
    }
  /** A server has written that the device is to go elsewhere. */
  | {
      readonly kind: "told";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly server: string;
      readonly by: Sending;
      /** The servers that it names, the best first. */
      readonly to: readonly string[];
    }
  /** The device has read it. */
  | {
      readonly kind: "heard";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly by: Sending;
    }
  /** A server has written WELCOME. */
  | {
      readonly kind: "welcomed";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly server: string;
      readonly epoch: number;
      readonly durable: boolean;
      readonly recovered: boolean;
    }
  /** The device has read WELCOME. */
  | {
      readonly kind: "online";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly background: boolean;
    }
  /** From now on the connection carries nothing, or too slowly, and nobody is told. */
  | {
      readonly kind: "broken" | "slow";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
    }
  /** One side has closed it, or learnt that it is closed. `code`: that the device was told. */
  | {
      readonly kind: "closed";
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly side: "device" | "server";
      readonly code?: number | undefined;
    }
  /** The device has written a SEND of it: the first, or a repeat. */
  | { readonly kind: "transmitted"; readonly message: MessageName; readonly device: DeviceName }
  /** A server has written an ACK: from here on the message is its responsibility, whether the ACK arrives or not. */
  | {
      readonly kind: "acked";
      readonly message: MessageName;
      readonly device: DeviceName;
      readonly server: string;
      readonly status: AckStatus;
      readonly route: Route;
    }
  /** A server has written an ERROR for it, and not one after which it is sent again. */
  | {
      readonly kind: "denied";
      readonly message: MessageName;
      readonly device: DeviceName;
      readonly code: string;
    }
  /** A server has written a DELIVER. `held`: from the store. */
  | {
      readonly kind: "delivered";
      readonly message: MessageName;
      readonly device: DeviceName;
      readonly connection: ConnectionName;
      readonly held: boolean;
    }
  /** The device has read it. */
  | { readonly kind: "arrived"; readonly message: MessageName; readonly device: DeviceName }
  /** The device has written RECEIVED for it. */
  | { readonly kind: "received"; readonly message: MessageName; readonly device: DeviceName }
  | { readonly kind: "background"; readonly device: DeviceName; readonly value: boolean }

  // ── The database ──
  /** The device is one of its user's durable devices from now on (or is no more). `push`: it can be pushed to. */
  | { readonly kind: "registered"; readonly device: DeviceName; readonly push: boolean }
  /** A server has answered the registration that came without a connection. */
  | { readonly kind: "admitted"; readonly device: DeviceName; readonly server: string }
  | { readonly kind: "forgotten"; readonly device: DeviceName }
  /** Rows for these devices are committed; none and `user`: one for the user alone. */
  | {
      readonly kind: "held";
      readonly message: MessageName;
      readonly devices: readonly DeviceName[];
      readonly user: string | undefined;
      readonly wake: WakeClass;
    }
  | { readonly kind: "settled"; readonly message: MessageName; readonly device: DeviceName }
  /** The database has crashed and come back without what it had not yet written: the row is there again. */
  | { readonly kind: "unsettled"; readonly message: MessageName; readonly device: DeviceName }
  /** Its row was dropped unsettled. */
  | { readonly kind: "dropped"; readonly message: MessageName; readonly device: DeviceName }

  // ── The push service ──
  /** It was given a push for the device. */
  | {
      readonly kind: "pushed";
      readonly device: DeviceName;
      readonly outcome: "sent" | "retry" | "gone";
      /** The call that it is for, or whose end it tells; undefined: it is for messages. */
      readonly call?: MessageName | undefined;
      readonly ended?: boolean;
    }
  /** The push has reached the device. */
  | { readonly kind: "opened"; readonly device: DeviceName }

  // ── Faults ──
  /** Somebody's clock is set. */
  | { readonly kind: "jumped" }
  | {
      readonly kind: "server";
      readonly server: string;
      /** `stopped`: in an orderly way, as it was told to. */
      readonly state: "started" | "stopped" | "crashed" | "stalled" | "resumed";
    }
  /** A server's link. `server` undefined: those of all. */
  | {
      readonly kind: "store";
      readonly server: string | undefined;
      /** `hung`: one transaction does not end, and keeps the locks of its users. */
      readonly state: "away" | "back" | "slow" | "fast" | "hung" | "freed";
    }
  /** `away` also while a server does not hear one of the others, though each has its link. */
  | { readonly kind: "bus"; readonly server: string; readonly state: "away" | "back" }
  | { readonly kind: "push service"; readonly state: "away" | "back" }
  /** Every fault is over; devices that sleep are left to be woken by push. */
  | { readonly kind: "healed" }
  /** Every device is made to run and to connect. */
  | { readonly kind: "woken" }
  /** Nothing more is to be waited for. */
  | { readonly kind: "ended" }
  /** Code under test has thrown where nobody catches. */
  | { readonly kind: "threw"; readonly process: string; readonly error: string };

export type HistoryEvent = { /** Milliseconds since the start. */ readonly at: number } & Happening;
export type History = readonly HistoryEvent[];
export type { Happening };

export function userOf(device: DeviceName): string {
  return device.slice(0, device.indexOf("/"));
}

/** One line for a person. */
export function describe(event: HistoryEvent): string {
  const { at, kind, ...rest } = event;
  const particulars = Object.entries(rest)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([name, value]) => (value === true ? name : `${name}=${String(value)}`));
  return `${at.toFixed(1).padStart(9)} ms  ${kind.padEnd(12)} ${particulars.join(" ")}`;
}
