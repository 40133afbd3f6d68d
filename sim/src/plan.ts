/** What happens in a run: data, so that a run can be repeated without a part of it. */
import type { WakeClass } from "@beckon/protocol";

import type { Rule } from "../../packages/server/src/placement/policy.ts";
import type { DeviceName, MessageName, Sending } from "./history.ts";
import type { PhonePlan } from "./phone.ts";

type Action =
  | {
      readonly do: "send";
      readonly device: DeviceName;
      readonly to: string;
      readonly message: MessageName;
      readonly wake: WakeClass;
      /** Bytes of the payload, at least the name. */
      readonly size: number;
      /** The call that it ends, if that was transmitted by then. */
      readonly ends?: MessageName;
    }
  /** The application's backend sends, as a named service. */
  | {
      readonly do: "send as service";
      readonly to: string;
      readonly message: MessageName;
      readonly wake: WakeClass;
    }
  /** `start` also wakes one that is suspended. `storage`: what it had stored is gone, if it did not run. */
  | { readonly do: "start"; readonly device: DeviceName; readonly storage: "kept" | "lost" }
  | { readonly do: "exit"; readonly device: DeviceName }
  | { readonly do: "kill"; readonly device: DeviceName; readonly says: "reset" | "nothing" }
  | { readonly do: "suspend"; readonly device: DeviceName; readonly says: "reset" | "nothing" }
  | { readonly do: "background"; readonly device: DeviceName; readonly value: boolean }
  | { readonly do: "forget"; readonly device: DeviceName }
  /** The application's backend removes the device, which goes on as if nothing were. */
  | { readonly do: "revoke"; readonly device: DeviceName }
  /** The application's backend registers the device for push, whether it has ever connected or not. */
  | { readonly do: "register"; readonly device: DeviceName }
  /** Its wall clock is set forward, or back. */
  | { readonly do: "jump"; readonly device: DeviceName; readonly ms: number }
  | { readonly do: "jump server"; readonly server: string; readonly ms: number }
  | { readonly do: "renew push token"; readonly device: DeviceName }
  /** Of its present connection. */
  | { readonly do: "reset" | "break" | "slow"; readonly device: DeviceName }
  /** Its connection is reset or half-open, and for a while it cannot go back to the same server. */
  | {
      readonly do: "move";
      readonly device: DeviceName;
      readonly ms: number;
      readonly says: "reset" | "nothing";
    }
  /** For a while it cannot reach the server anew. */
  | {
      readonly do: "block";
      readonly device: DeviceName;
      readonly server: string;
      readonly ms: number;
    }
  | { readonly do: "crash"; readonly server: string; readonly says: "reset" | "nothing" }
  /** In the moment after its next hold was committed, before anybody hears of it. */
  | {
      readonly do: "crash after commit";
      readonly server: string;
      readonly says: "reset" | "nothing";
    }
  | { readonly do: "stop"; readonly server: string }
  | { readonly do: "launch"; readonly server: string }
  /** The next time that a server sends a device elsewhere something fails, so much later and for so long. */
  | {
      readonly do: "fail a sending";
      readonly by: Sending;
      readonly what:
        | "the server there dies"
        | "the server here dies"
        | "the server there stalls"
        | "the server here stalls"
        | "the bus there is away"
        | "the bus here is away"
        | "the store there is away"
        | "the way there is blocked"
        | "the connection is lost"
        | "the connection is slow"
        | "the device dies"
        | "the device sleeps"
        | "the device is in the background";
      readonly afterMs: number;
      readonly ms: number;
      readonly says: "reset" | "nothing";
    }
  | { readonly do: "stall"; readonly server: string; readonly ms: number }
  /** `detectMs`: until the server learns of it. */
  | { readonly do: "cut bus"; readonly server: string; readonly detectMs: number }
  | { readonly do: "restore bus"; readonly server: string }
  | { readonly do: "cut store"; readonly server: string }
  | { readonly do: "restore store"; readonly server: string }
  | { readonly do: "store slowness"; readonly times: number }
  // What only NATS does; the bus in memory takes no notice.
  /** One of its nodes, or (undefined) all of them. `says`: what the servers' operating systems hear of it. */
  | {
      readonly do: "restart nats";
      readonly node: number | undefined;
      readonly ms: number;
      readonly says: "reset" | "nothing";
    }
  /** Two nodes do not hear each other. What is sent meanwhile is gone, or comes late. */
  | {
      readonly do: "break route";
      readonly between: readonly [number, number];
      readonly ms: number;
      readonly meanwhile: "gone" | "late";
    }
  /** Everything that NATS is given takes it this many times as long to read. */
  | { readonly do: "nats slowness"; readonly times: number }
  // What only PostgreSQL does; the store in memory takes no notice.
  /** After `crash` what was committed without waiting for the disk is undone. */
  | { readonly do: "restart postgres"; readonly ms: number; readonly how: "stop" | "crash" }
  /** It crashes in the moment after it has answered the next settling. */
  | { readonly do: "crash postgres after settling"; readonly ms: number }
  /** Nothing passes between a server and the database, in either direction, and nobody is told. */
  | { readonly do: "silence store"; readonly server: string; readonly ms: number }
  /** The next commit that waits for the disk waits this long, and so do all who want its users' locks. */
  | { readonly do: "hang a commit"; readonly ms: number }
  | { readonly do: "push service"; readonly isAway: boolean };

export type Step = Action & { /** Milliseconds from the start. */ readonly at: number };

/** What carries, and what keeps. */
export interface Engines {
  readonly bus: "memory" | "nats";
  readonly store: "memory" | "postgres";
}

/** Who is sent elsewhere (M13), and whether those who are connected are, too (B2). */
export interface PlacementPlan {
  readonly rule: Rule;
  readonly moves: boolean;
}

/** How NATS is laid out. */
export interface NatsPlan {
  /** Nodes of its cluster. */
  readonly nodes: number;
  /** Bytes that it may not have confirmed; more, and `publish` fails. */
  readonly unconfirmedLimit: number;
  /** Bytes that wait for a server which does not read; more, and NATS closes its connection. */
  readonly pendingLimit: number;
}

export interface ServerPlan {
  readonly name: string;
  readonly skew: number;
  /** Connections that it takes; undefined: more than there are. */
  readonly room?: number;
}

export interface Plan {
  readonly scenario: string;
  readonly seed: number;
  readonly engines: Engines;
  readonly nats: NatsPlan;
  readonly servers: readonly ServerPlan[];
  readonly phones: readonly PhonePlan[];
  /** In order of time. */
  readonly steps: readonly Step[];
  /** When faults end, ms. */
  readonly duration: number;
  /** Shares of questions that the application's authoriser answers with no, not at all, and slowly. */
  readonly authorizer: { readonly no: number; readonly fails: number; readonly slow: number };
  /** Shares of pushes that the push service wants again, and that it loses. */
  readonly push: { readonly retries: number; readonly losses: number };
  /** Undefined: devices stay where they come. */
  readonly placement: PlacementPlan | undefined;
  /** How long messages are kept, ms. */
  readonly retentionMs: number;
}
