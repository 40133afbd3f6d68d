/** What a server is told. */
import type { Address, ProtocolLimits } from "@beckon/protocol";

import type { SendRule } from "../delivery/authorize.ts";
import type { AddressRange } from "../gateway/address.ts";
import type { TlsFiles } from "../gateway/certificate-watch.ts";
import type { TokenOptions } from "../gateway/jwt.ts";
import type { LogLevel } from "../lib/log.ts";
import type { Gain } from "../placement/rule.ts";
import type { ApnsKey } from "../push/apns-key.ts";
import type { AlertTexts } from "../push/apns-notification.ts";
import type { FcmText } from "../push/fcm-message.ts";
import type { ServiceAccount } from "../push/service-account.ts";
import type { VapidKey } from "../push/vapid.ts";
import type { StoreLimits } from "../store/store.ts";

export interface Config {
  /** Unique in the system. */
  readonly name: string;
  readonly log: LogLevel;
  /** Where devices connect. */
  readonly listen: HostPort;
  /** Where they connect, too, by another protocol. */
  readonly listeners: readonly ListenerChoice[];
  /** Where the operator and the application's backend connect. */
  readonly admin: HostPort;
  /** Undefined: devices connect without TLS. */
  readonly tls: TlsFiles | undefined;
  /** Proxies that are believed when they say where a device is. */
  readonly trustedProxies: readonly AddressRange[];
  readonly store: StoreChoice;
  readonly bus: BusChoice;
  /** 32 bytes; the same on all servers of the system. */
  readonly clusterKey: Uint8Array;
  /** How a device reaches this very server. */
  readonly addresses: readonly Address[];
  readonly auth: TokenOptions;
  /** Who may write to whom. */
  readonly send: SendRule;
  /** Of the application's backend; undefined: it may do nothing. */
  readonly apiToken: string | undefined;
  readonly push: PushChoice;
  readonly limits: ProtocolLimits;
  readonly maxConnections: number;
  readonly storeLimits: StoreLimits;
  readonly drain: DrainTimes;
  readonly placement: PlacementSettings;
}

/** Which server a device belongs to. */
export interface PlacementSettings {
  /**
   * `move`: where its associates are, when it connects and while it is connected; `place`: when it connects alone; `wake`: the
   * addresses in notifications are all.
   */
  readonly policy: "move" | "place" | "wake";
  readonly gain: Gain;
  /** Times its fair share of the devices: with so many a server attracts nobody. */
  readonly cap: number;
}

/** Push services that are used. */
export interface PushChoice {
  readonly apns?: ApnsChoice;
  readonly dev?: { readonly url: URL };
  readonly webpush?: {
    readonly key: VapidKey;
    /** Whom a push service's operators can turn to: `mailto:` or `https:`. */
    readonly subject: string;
    /** Beside the public internet: where endpoints may lead. */
    readonly allow: readonly AddressRange[];
  };
  readonly fcm?: {
    readonly account: ServiceAccount;
    readonly url: URL;
    readonly text: FcmText;
  };
  readonly webhook?: {
    readonly url: URL;
    /** What requests are signed with. */
    readonly secrets: readonly Uint8Array[];
  };
}

/** Apple's. */
export interface ApnsChoice {
  readonly key: ApnsKey;
  readonly url: URL;
  /** Bundle ids; that of devices that name none first. */
  readonly topics: readonly [string, ...string[]];
  readonly alerts: AlertTexts;
}

/** What holds what must survive. */
export type StoreChoice = { readonly kind: "sqlite"; readonly path: string } | PostgresChoice;

export interface PostgresChoice {
  readonly kind: "postgres";
  /** With the password, if it has one. */
  readonly url: URL;
  /** Where the tables are. */
  readonly schema: string;
  readonly connections: number;
  /** Whom the database's certificate has to come from, PEM; undefined: as the URL's `sslmode` has it. */
  readonly ca: string | undefined;
}

/** What carries what servers say to each other. */
export type BusChoice = { readonly kind: "memory" } | NatsChoice;

export interface NatsChoice {
  readonly kind: "nats";
  /** `nats://host:port` or `tls://host:port`; any that answers will do. */
  readonly servers: readonly string[];
  readonly credentials: NatsCredentials | undefined;
  /** Undefined: none, unless NATS asks for it. PEM. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
}

export type NatsCredentials =
  | { readonly user: string; readonly password: string }
  | { readonly token: string }
  /** What a `.creds` file has: a JWT and the seed that it is used with. */
  | { readonly creds: string };

export interface ListenerChoice {
  readonly protocol: "tcp";
  readonly listen: HostPort;
  /** With the certificate of `tls`. */
  readonly isSecure: boolean;
  /** Trusted proxies say first, by the PROXY protocol, where a device is. */
  readonly proxyProtocol: boolean;
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
