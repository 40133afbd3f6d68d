import type { AckStatus, Millis, PushRegistration, Route, WakeClass } from "@beckon/protocol";

import type { Departure, DeviceDecision } from "../cluster/control-messages.ts";
import type { SystemOverview } from "../cluster/overview.ts";
import type { AssociateReason, PlaceReason, Verdict } from "../placement/why.ts";

/**
 * What the admin API asks of the server. A call that cannot be done rejects with an error whose `code` is one of the
 * catalogue, or with the store's `StoreUnavailable`; all else is answered as `internal`, and logged.
 */
export interface AdminBackend {
  /** Under the same laws as a device's SEND (L1, L2): answers when it is delivered or held. */
  sendMessage(message: OutgoingMessage): Promise<SentMessage>;
  registerDevice(device: DeviceRegistration): Promise<void>;
  /** Those that are connected anywhere, and those that messages are held for. */
  devices(user: string): Promise<readonly UserDevice[]>;
  /** Why the user's devices are where they are (B4). */
  placement(user: string): Promise<UserPlacement>;
  /** Log-out. A device that is not there is forgotten already. */
  forgetDevice(user: string, device: string): Promise<void>;
  /** Not pushed to until then; one that is past ends it. Rejects with `bad-argument` where there is no such device. */
  quietDevice(user: string, device: string, until: Millis): Promise<void>;
  /** Wakes none of the user's devices until then; one that is past ends it. */
  mute(user: string, conversation: string, until: Millis): Promise<void>;
  mutes(user: string): Promise<readonly Mute[]>;
  /**
   * Nothing that says with whom the user exchanges messages is left in the store, nor in the servers' memory. Answers the names of servers that
   * did not say so; what these know they may use, and store, again.
   */
  eraseAssociates(user: string): Promise<readonly string[]>;
  /** Of the whole system, each asked how it is. */
  servers(): Promise<SystemOverview>;
  /** Answers when that server, which may be another one, has begun to send its devices elsewhere; then it ends. */
  drainServer(server: string): Promise<Departure>;
  health(): Health;
  /** In Prometheus's text format. */
  metrics(): Promise<string>;
}

/** Its shape has been checked; its size, its id's age and its recipient have not. */
export interface OutgoingMessage {
  /** UUIDv7, 16 bytes; the same again is the same message. Undefined: the server makes one. */
  readonly id: Uint8Array | undefined;
  /** The service that sends: a user id. Who holds the admin token may send as anybody, to anybody. */
  readonly from: string;
  readonly to: string;
  readonly payload: Uint8Array;
  readonly wake: WakeClass;
  readonly preview: string;
}

export interface SentMessage {
  readonly id: Uint8Array;
  readonly status: AckStatus;
  readonly route: Route;
}

export interface DeviceRegistration {
  readonly user: string;
  readonly device: string;
  readonly protocols: readonly string[];
  readonly push: PushRegistration;
}

export interface UserDevice {
  readonly device: string;
  /** Where it is connected, as this server's session table says; null: nowhere. */
  readonly server: string | null;
  /** Messages are held for it while it is away. */
  readonly durable: boolean;
  /** Connected, and woken by push all the same. */
  readonly background: boolean;
  /**
   * Connected: since when, by the clock of its server. Else: when it connected or registered last, to the hour.
   */
  readonly since: Millis;
  /** The push service that it is registered with; null: none. */
  readonly push: string | null;
  /** It is not pushed to before then; null: it is. */
  readonly quiet: Millis | null;
}

export interface UserPlacement {
  /** `wake`: nobody is placed; then there are neither servers nor associates. */
  readonly policy: "wake" | "place" | "move";
  /** What a redirect and a move have to bring, in weight; null: there are none. */
  readonly gains: { readonly redirect: number | null; readonly move: number | null };
  readonly devices: readonly PlacedDevice[];
  readonly servers: readonly PlaceReason[];
  /** How many associates of the user are known. */
  readonly associates: number;
  /** The ten strongest of them, the strongest first. */
  readonly strongest: readonly AssociateReason[];
  /** Servers that did not say what they have decided. */
  readonly silent: readonly string[];
}

export interface PlacedDevice {
  readonly device: string;
  /** Null: connected nowhere. */
  readonly server: string | null;
  /** Connected, and woken by push all the same. */
  readonly background: boolean;
  /** As of `UserDevice`. */
  readonly since: Millis;
  /** What would become of it now; null: nobody is placed. */
  readonly now: Verdict | null;
  /** The last redirect or move that was decided about it, by any server; null: none that is remembered. */
  readonly last: DeviceDecision | null;
}

export interface Mute {
  readonly conversation: string;
  readonly until: Millis;
}

export interface Health {
  readonly server: string;
  readonly state: "starting" | "up" | "draining" | "stopped";
  readonly connections: number;
  /** Whether each engine that the server needs answers. */
  readonly checks: { readonly store: boolean; readonly bus: boolean };
}
