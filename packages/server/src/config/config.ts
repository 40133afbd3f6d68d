/** What a server is told. */
import type { Address, ProtocolLimits } from "@beckon/protocol";

import type { SendRule } from "../delivery/authorize.ts";
import type { TokenOptions } from "../gateway/jwt.ts";
import type { LogLevel } from "../lib/log.ts";
import type { StoreLimits } from "../store/store.ts";

export interface Config {
  /** Unique in the system. */
  readonly name: string;
  readonly log: LogLevel;
  /** Where devices connect. */
  readonly listen: HostPort;
  /** Where the operator and the application's backend connect. */
  readonly admin: HostPort;
  readonly store: { readonly kind: "sqlite"; readonly path: string };
  readonly bus: { readonly kind: "memory" };
  /** 32 bytes; the same on all servers of the system. */
  readonly clusterKey: Uint8Array;
  /** How a device reaches this very server. */
  readonly addresses: readonly Address[];
  readonly auth: TokenOptions;
  /** Who may write to whom. */
  readonly send: SendRule;
  /** Of the application's backend; undefined: it may do nothing. */
  readonly apiToken: string | undefined;
  readonly push: { readonly dev?: { readonly url: URL } };
  readonly limits: ProtocolLimits;
  readonly maxConnections: number;
  readonly storeLimits: StoreLimits;
  readonly drain: DrainTimes;
}

export interface HostPort {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

/** How a server empties itself when it stops. */
export interface DrainTimes {
  /** Connections that are sent elsewhere at once. */
  readonly batch: number;
  /** From one batch to the next, ms. */
  readonly interval: number;
  /** After this long what is not finished is left to the store and to the devices, ms. */
  readonly deadline: number;
}
