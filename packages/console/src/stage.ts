/**
 * What `beckon dev` tells those who watch it, and what they may ask of it. The page reads it as server-sent events; the same events
 * make the lines in the terminal.
 *
 * * `GET /dev/events`: server-sent events, each a {@link StageEvent} in JSON; the first is `stage`. With `?phones=ID` the page brings
 *   the demo's phones itself: the process puts its own away before the first event, and takes them back when the stream has ended. ID is any
 *   text that the page made; of two such pages the older is told `phones-taken`.
 * * `POST /dev/acts`: one {@link Act} in JSON; 204, or 400 with `{error: {code, message, hint}}`.
 * * `GET /dev/stage`: what the first event says.
 * * `GET /dev/token?user=USER`: a token for that user, as text. The page and examples use it in place of an application's backend.
 * * `GET /worker.js`: the page's service worker.
 * * `/push/…`: the dev push service over HTTP (`GET /push/v1/phones/TOKEN` is a phone's ear).
 */

/** One server, in the words of its own counters and table. A killed one is said to be `down`, with its last counters. */
export interface ServerView {
  readonly name: string;
  /** Where devices connect. */
  readonly url: string;
  /** Its admin API. */
  readonly admin: string;
  readonly state: "up" | "down";
  /** Devices that are connected. */
  readonly connections: number;
  /**
   * Deliveries of messages that were accepted where the device is connected, and of others. Live ones are counted by the server that accepted them,
   * those from the store by the one that delivers.
   */
  readonly local: number;
  readonly remote: number;
  /** Messages that it stored because a device was away. */
  readonly held: number;
  /** Pushes that it has sent. */
  readonly pushed: number;
  /** Messages that it has acknowledged. */
  readonly acknowledged: number;
}

/** A device and where it is, by the servers' table. */
export interface DeviceView {
  readonly user: string;
  readonly device: string;
  /** Where it is connected; undefined: nowhere. */
  readonly server: string | undefined;
  /** Where it was connected last, or is. */
  readonly last: string | undefined;
}

/** Which server a push names: the sender's, or the one with the fewest devices, as a load balancer would. */
export type WakePolicy = "sender" | "balanced";

/** What can be wrong on purpose: the disk is full, the push service does not answer. */
export type Fault = "disk-full" | "push-down";

/** A generated community's day, through four servers of its own in another process, one policy after the other. */
export interface DayView {
  readonly state: "running" | "done" | "failed";
  readonly balanced: DayRun;
  readonly sender: DayRun;
  /** Why it failed. */
  readonly problem?: string;
}

export interface DayRun {
  /** Messages sent, and of how many. */
  readonly done: number;
  readonly of: number;
  /** Share of the deliveries that stayed on one server, by the devices; undefined before the first. */
  readonly locality: number | undefined;
  /** Deliveries by the servers' counters; at the end. */
  readonly local: number;
  readonly remote: number;
  readonly lost: number;
}

export interface Stage {
  readonly servers: readonly ServerView[];
  readonly devices: readonly DeviceView[];
  readonly wakes: WakePolicy;
  readonly faults: readonly Fault[];
  readonly day: DayView | undefined;
  /** What a page subscribes with for Web Push: the public half of the VAPID key. */
  readonly applicationServerKey: string;
}

export type StageEvent =
  | ({ readonly type: "stage" } & Stage)
  /** At most five a second, and only when something has changed. */
  | { readonly type: "servers"; readonly servers: readonly ServerView[] }
  | ({ readonly type: "device" } & DeviceView)
  /** Stored durably before the ACK. `ms`: from its acceptance until the commit. */
  | {
      readonly type: "held";
      readonly server: string;
      readonly id: string;
      readonly from: string;
      readonly to: string;
      readonly ms: number;
    }
  /** The push service has taken it. `names` is the server that it names, `sealed` its body: all that the push service sees. */
  | {
      readonly type: "pushed";
      readonly server: string;
      readonly names: string;
      readonly user: string;
      readonly device: string;
      readonly sealed: string;
    }
  /** A device has acknowledged it: `server` is where that device is, `accepted` where the sender was; `stored` if it came from the disk. */
  | {
      readonly type: "delivered";
      readonly server: string;
      readonly accepted: string;
      readonly id: string;
      readonly from: string;
      readonly to: string;
      readonly device: string;
      readonly stored: boolean;
    }
  | { readonly type: "wakes"; readonly wakes: WakePolicy }
  | { readonly type: "faults"; readonly faults: readonly Fault[] }
  /** Something does not work: what a server says of its store, or of the push service. */
  | {
      readonly type: "trouble";
      readonly server: string;
      readonly what: "store" | "push" | "server";
      readonly text: string;
    }
  /** That works again. */
  | {
      readonly type: "recovered";
      readonly server: string;
      readonly what: "store" | "push" | "server";
      readonly text: string;
    }
  | ({ readonly type: "day" } & DayView)
  | { readonly type: "phones-taken" };

export type Act =
  /** As kill -9: sockets are reset, and nobody hears a last word. It starts again after 5 s, or at `start`. */
  | { readonly act: "kill"; readonly server: string }
  | { readonly act: "start"; readonly server: string }
  | { readonly act: "wakes"; readonly wakes: WakePolicy }
  | { readonly act: "fault"; readonly fault: Fault; readonly on: boolean }
  | { readonly act: "day" }
  /** A page's phone tells what happened to it, for the terminal. */
  | { readonly act: "report"; readonly report: PhoneReport };

/** What a demo phone tells: the terminal makes lines of it. */
export type PhoneReport =
  /** Its owner tapped the notification, and `ms` later it was connected. */
  | { readonly kind: "woke"; readonly user: string; readonly server: string; readonly ms: number }
  | { readonly kind: "asleep"; readonly user: string; readonly last: string | undefined };
