/** The one schema of the file and the variables. */
import { type Address, LIMITS } from "@beckon/protocol";
import * as z from "zod";

import { parseRange } from "../gateway/address.ts";
import type { AddressRange } from "../gateway/address.ts";
import type { TokenOptions } from "../gateway/jwt.ts";
import { formatDuration, parseDuration } from "../lib/duration.ts";
import type { Gain } from "../placement/rule.ts";
import { LONGEST_TEXT } from "../push/fcm-message.ts";
import { DEFAULT_STORE_LIMITS } from "../store/store.ts";
import type { ApnsChoice, Config, HostPort, PushChoice } from "./config.ts";
import { bus, type GivenBus, type GivenNats, type GivenPostgres } from "./engines.ts";
import { type GivenSecret, type GivenStore, nats, postgres, store } from "./engines.ts";

type Resolved = "store" | "bus" | "clusterKey" | "auth" | "send" | "apiToken" | "push";

/** What was said, before the files that it names are read. */
export interface Given extends Omit<Config, Resolved> {
  readonly store: GivenStore;
  readonly postgres: GivenPostgres;
  readonly bus: GivenBus;
  readonly nats: GivenNats;
  readonly clusterKey: GivenSecret;
  readonly auth: GivenAuth;
  readonly apiToken: GivenSecret;
  readonly push: Pick<PushChoice, "dev"> & {
    readonly apns?: GivenApns;
    readonly webpush?: GivenWebPush;
    readonly fcm?: GivenFcm;
    readonly webhook?: GivenWebhook;
  };
}

export interface GivenApns extends Omit<ApnsChoice, "key"> {
  readonly keyFile: string;
  readonly keyId: string;
  readonly teamId: string;
}

export interface GivenWebPush {
  readonly keyFile: string;
  readonly subject: string;
  readonly allow: readonly AddressRange[];
}

export interface GivenFcm extends Omit<NonNullable<PushChoice["fcm"]>, "account"> {
  readonly serviceAccountFile: string;
}

export interface GivenWebhook {
  readonly url: URL;
  readonly secret: GivenSecret;
}

export interface GivenAuth {
  readonly secret: GivenSecret;
  readonly jwks: URL | undefined;
  readonly publicKeyFile: string | undefined;
  readonly tokens: Omit<TokenOptions, "keys">;
  readonly send: "anyone" | "claim" | URL;
  readonly sendToken: GivenSecret;
}

const hostPort = z.string().transform((text, context): HostPort => {
  const [, host, port] = /^(\[[\da-fA-F:.]+\]|[\w.-]*):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) < 65_536) {
    return { host: host.replace(/^\[|\]$/g, "") || "0.0.0.0", port: Number(port) };
  }
  context.addIssue('must be "host:port", such as "0.0.0.0:8080"');
  return z.NEVER;
});

/** A list is looked through for each connection from one of them. */
const MOST_RANGES = 256;

const range = z.string().transform((text, context): AddressRange => {
  const range = parseRange(text);
  if (range !== undefined) return range;
  context.addIssue('must be an address or a range of them, such as "10.0.0.0/8" or "::1"');
  return z.NEVER;
});

const tls = z
  .strictObject({ cert_file: z.string().optional(), key_file: z.string().optional() })
  .superRefine(({ cert_file, key_file }, context) => {
    if ((cert_file === undefined) === (key_file === undefined)) return;
    const missing = cert_file === undefined ? "cert_file" : "key_file";
    const other = cert_file === undefined ? "key_file" : "cert_file";
    context.addIssue({ code: "custom", path: [missing], message: `missing; ${other} is there` });
  })
  .transform(({ cert_file: certFile, key_file: keyFile }): Config["tls"] =>
    certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
  );

const duration = (least: string, most: string): z.ZodType<number, string> =>
  z.string('must be a duration with its unit, such as "30s"').transform((text, context) => {
    const ms = parseDuration(text);
    if (ms === undefined) {
      context.addIssue('must be a duration with its unit, such as "30s"');
      return z.NEVER;
    }
    if (ms < parseDuration(least)! || ms > parseDuration(most)!) {
      context.addIssue(`must be between ${least} and ${most}`);
      return z.NEVER;
    }
    return ms;
  });

/** Nobody on the way may change what it answers. */
const httpsUrl = z.string().transform((text, context): URL => {
  const url = parseUrl(text);
  if (url?.protocol === "https:") return url;
  if (url?.protocol === "http:" && LOOPBACK.test(url.hostname)) return url;
  context.addIssue("must be an https:// URL (http:// only to this machine)");
  return z.NEVER;
});

/** Pushes are sealed: beside this machine, plain HTTP goes to a name without a dot, which only a private network has. */
const pushUrl = z.string().transform((text, context): URL => {
  const url = parseUrl(text);
  if (url?.protocol === "http:" && /^[\w-]*[a-z][\w-]*$/.test(url.hostname)) return url;
  const secure = httpsUrl.safeParse(text);
  if (secure.success) return secure.data;
  context.addIssue(
    "must be an https:// URL (http:// only to this machine, or to a name without a dot)",
  );
  return z.NEVER;
});

const sendRule = z
  .string(
    "missing; say who may write to whom: anyone, claim (the token's list), or an https:// URL to ask",
  )
  .transform((text, context): "anyone" | "claim" | URL => {
    if (text === "anyone" || text === "claim") return text;
    const url = httpsUrl.safeParse(text);
    if (url.success) return url.data;
    context.addIssue("must be anyone, claim, or an https:// URL (http:// only to this machine)");
    return z.NEVER;
  });

const PROTOCOLS: Readonly<Record<string, { protocol: string; secure: boolean }>> = {
  "ws:": { protocol: "ws", secure: false },
  "wss:": { protocol: "ws", secure: true },
  "tcp:": { protocol: "tcp", secure: false },
  "tls:": { protocol: "tcp", secure: true },
};

/** Bytes: a wake carries up to four of them. */
const LONGEST_URL = 500;

const label = z.string().regex(/^[\w.-]{0,64}$/, "must be up to 64 letters, digits, dots, - and _");

const address = z
  .strictObject({
    url: z.string(),
    protocol: z.string().optional(),
    network: label.default(""),
    region: label.default(""),
    priority: z.int().min(0).max(65_535).default(0),
  })
  .transform((given, context): Address => {
    const url = parseUrl(given.url);
    const kind = PROTOCOLS[url?.protocol ?? ""];
    const isPlain =
      /^\w+:\/\/[^/]/.test(given.url) &&
      url?.username === "" &&
      url.password === "" &&
      url.hash === "";
    if (url === undefined || kind === undefined || !isPlain || given.url.length > LONGEST_URL) {
      const message = "must be a URL that begins with wss://, ws://, tls:// or tcp://";
      context.addIssue({ code: "custom", path: ["url"], message });
      return z.NEVER;
    }
    if (kind.protocol === "tcp" && url.port === "") {
      context.addIssue({ code: "custom", path: ["url"], message: "must name the port" });
    }
    if (given.protocol !== undefined && given.protocol !== kind.protocol) {
      const message = `must be ${kind.protocol}, by the URL`;
      context.addIssue({ code: "custom", path: ["protocol"], message });
    }
    const { network, region, priority } = given;
    return { url: given.url, ...kind, network, region, priority };
  });

const listener = z.strictObject({
  protocol: z.literal("tcp", 'must be "tcp"'),
  listen: hostPort,
  tls: z.boolean().optional(),
  proxy_protocol: z.boolean().default(false),
});

const auth = z
  .strictObject({
    secret: z.string().optional(),
    secret_file: z.string().optional(),
    jwks: httpsUrl.optional(),
    public_key_file: z.string().optional(),
    issuer: z.string().min(1).optional(),
    audience: z.string().min(1).optional(),
    device_claim: z.string().min(1).default("device"),
    to_claim: z.string().min(1).default("to"),
    clock_tolerance: duration("0s", "5m").default(5000),
    send: sendRule,
    send_token: z.string().optional(),
    send_token_file: z.string().optional(),
  })
  .transform((given): GivenAuth => ({
    secret: { text: given.secret, file: given.secret_file },
    jwks: given.jwks,
    publicKeyFile: given.public_key_file,
    tokens: {
      ...(given.issuer === undefined ? {} : { issuer: given.issuer }),
      ...(given.audience === undefined ? {} : { audience: given.audience }),
      deviceClaim: given.device_claim,
      toClaim: given.to_claim,
      tolerance: given.clock_tolerance,
    },
    send: given.send,
    sendToken: { text: given.send_token, file: given.send_token_file },
  }));

const api = z.strictObject({
  token: z.string().optional(),
  token_file: z.string().optional(),
});

/** Push services refuse what they cannot turn to; Apple's, even `mailto:` with a name without a dot. */
const SUBJECT = /^(mailto:[^\s@]+@[^\s@.]+\.[^\s@]+|https:\/\/[^\s/]+\.[^\s]+)$/;

const webpush = z
  .strictObject({
    key_file: z.string(),
    subject: z
      .string()
      .max(256)
      .regex(SUBJECT, 'must be "mailto:" and an address, or an https:// URL: yours'),
    allow: z
      .array(range, 'must be a list of addresses and ranges, such as ["10.0.0.0/8"]')
      .max(MOST_RANGES)
      .default([]),
  })
  .transform(({ key_file: keyFile, subject, allow }): GivenWebPush => ({
    keyFile,
    subject,
    allow,
  }));

const shownText = z
  .string()
  .refine(
    (text) => Buffer.byteLength(text) <= LONGEST_TEXT,
    `must have ${LONGEST_TEXT} bytes or fewer`,
  );

const fcm = z
  .strictObject({
    service_account_file: z.string(),
    url: httpsUrl.default(new URL("https://fcm.googleapis.com/")),
    notification: z.boolean().default(false),
    title: shownText.default(""),
    body: shownText.min(1, "must not be empty").default("New message"),
    call_body: shownText.min(1, "must not be empty").default("Incoming call"),
  })
  .transform(({ service_account_file, url, notification, title, body, call_body }): GivenFcm => ({
    serviceAccountFile: service_account_file,
    url,
    text: { title, body, callBody: call_body, isShown: notification },
  }));

const webhook = z
  .strictObject({
    url: pushUrl,
    secret: z.string().optional(),
    secret_file: z.string().optional(),
  })
  .transform(({ url, secret, secret_file }): GivenWebhook => ({
    url,
    secret: { text: secret, file: secret_file },
  }));

/** Of a key, and of a team. */
const appleId = z.string().regex(/^[A-Z\d]{10}$/, "must be 10 capital letters and digits");
const bundleId = z
  .string()
  .regex(/^[\w-]+(\.[\w-]+)+$/, 'must be a bundle id, such as "com.example.chat"')
  .max(155);
/** What a lock screen shows; it takes room from the addresses in a wake. */
const alertText = z.string().regex(/^.{1,200}$/su, "must have 1 to 200 characters");

const APNS = {
  production: new URL("https://api.push.apple.com"),
  sandbox: new URL("https://api.sandbox.push.apple.com"),
};

const apns = z
  .strictObject({
    key_file: z.string(),
    key_id: appleId,
    team_id: appleId,
    topic: bundleId,
    topics: z
      .array(bundleId, 'must be a list of bundle ids, such as ["com.example.chat"]')
      .max(100)
      .default([]),
    environment: z.enum(["production", "sandbox"]).default("production"),
    url: httpsUrl
      .refine(({ pathname, search }) => pathname + search === "/", "must have no path")
      .optional(),
    alert_title: alertText.optional(),
    alert_body: alertText.default("New message"),
    alert_loc_key: alertText.optional(),
    call_body: alertText.default("Incoming call"),
    call_loc_key: alertText.optional(),
  })
  .transform((given): GivenApns => ({
    keyFile: given.key_file,
    keyId: given.key_id,
    teamId: given.team_id,
    url: given.url ?? APNS[given.environment],
    topics: [given.topic, ...given.topics],
    alerts: {
      title: given.alert_title,
      message:
        given.alert_loc_key === undefined
          ? { text: given.alert_body }
          : { key: given.alert_loc_key },
      call:
        given.call_loc_key === undefined ? { text: given.call_body } : { key: given.call_loc_key },
    },
  }));

const push = z
  .strictObject({
    dev: z.strictObject({ url: pushUrl }).optional(),
    apns: apns.optional(),
    webpush: webpush.optional(),
    fcm: fcm.optional(),
    webhook: webhook.optional(),
  })
  .transform(({ dev, apns, webpush, fcm, webhook }): Given["push"] => ({
    ...(dev === undefined ? {} : { dev }),
    ...(apns === undefined ? {} : { apns }),
    ...(webpush === undefined ? {} : { webpush }),
    ...(fcm === undefined ? {} : { fcm }),
    ...(webhook === undefined ? {} : { webhook }),
  }));

const count = (most: number, byDefault: number): z.ZodDefault<z.ZodInt> =>
  z.int().min(1).max(most).default(byDefault);

const MIB = 1024 * 1024;

const limits = z
  .strictObject({
    /** Connections of this server. */
    connections: count(10_000_000, 100_000),
    payload: count(MIB, LIMITS.payload),
    message_bytes: count(16 * MIB, LIMITS.messageBytes),
    message_frames: count(65_536, LIMITS.messageFrames),
    in_flight: count(65_536, LIMITS.inFlight),
    window: count(65_536, LIMITS.window),
    rate: count(1_000_000, LIMITS.rate),
    burst: count(1_000_000, LIMITS.burst),
    hello_timeout: duration("100ms", "1m").default(LIMITS.helloTimeout),
    heartbeat: duration("1s", "10m").default(LIMITS.heartbeat),
    idle: duration("2s", "1h").default(LIMITS.idle),
    held_per_device: count(1_000_000, DEFAULT_STORE_LIMITS.heldPerDevice),
    durable_devices: count(1000, DEFAULT_STORE_LIMITS.durableDevicesPerUser),
    dormant_after: duration("1h", "3650d").default(DEFAULT_STORE_LIMITS.dormantAfterMs),
    gone_dormant_after: duration("1h", "3650d").default(DEFAULT_STORE_LIMITS.goneDormantAfterMs),
    retention: duration("1h", "3650d").default(DEFAULT_STORE_LIMITS.retentionMs),
  })
  .superRefine((given, context) => {
    if (given.message_bytes < given.payload + AROUND_PAYLOAD) {
      const message = `must be ${AROUND_PAYLOAD} or more above payload, so that such a SEND fits`;
      context.addIssue({ code: "custom", path: ["message_bytes"], message });
    }
    if (given.idle < given.heartbeat + LIMITS.pongTimeout) {
      const message = `must be ${formatDuration(LIMITS.pongTimeout)} or more above heartbeat`;
      context.addIssue({ code: "custom", path: ["idle"], message });
    }
  })
  .transform((given) => ({
    limits: {
      ...LIMITS,
      payload: given.payload,
      messageBytes: given.message_bytes,
      messageFrames: given.message_frames,
      inFlight: given.in_flight,
      window: given.window,
      rate: given.rate,
      burst: given.burst,
      helloTimeout: given.hello_timeout,
      heartbeat: given.heartbeat,
      idle: given.idle,
      heldPerDevice: given.held_per_device,
      durableDevices: given.durable_devices,
    },
    storeLimits: {
      heldPerDevice: given.held_per_device,
      durableDevicesPerUser: given.durable_devices,
      dormantAfterMs: given.dormant_after,
      goneDormantAfterMs: given.gone_dormant_after,
      retentionMs: given.retention,
    },
    maxConnections: given.connections,
  }));

/** Bytes of a SEND that are not its payload, at most: ids, preview and numbers. */
const AROUND_PAYLOAD = 2048;

const drain = z.strictObject({
  batch: count(1_000_000, 500),
  interval: duration("0s", "1m").default(100),
  deadline: duration("0s", "1h").default(10_000),
});

const MOST_GAIN = 100_000;

/** A number comes as text where a variable has it. */
const gain = z.union([z.number(), z.string()]).transform((given, context): Gain => {
  if (given === "cost" || given === "locality") return given;
  const weight = given === "" ? Number.NaN : Number(given);
  if (weight >= 0 && weight <= MOST_GAIN) return weight;
  context.addIssue(`must be cost, locality, or a number between 0 and ${MOST_GAIN}`);
  return z.NEVER;
});

const placement = z.strictObject({
  policy: z.enum(["move", "place", "wake"]).default("move"),
  gain: gain.default("cost"),
  cap: z
    .number()
    .min(1.01, "must be between 1.01 and 10")
    .max(10, "must be between 1.01 and 10")
    .default(1.1),
});

export const schema: z.ZodType<Given> = z
  .strictObject({
    name: z
      .string()
      .regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, dots, - and _")
      .default("beckon"),
    log: z.enum(["debug", "info", "warn", "error"]).default("info"),
    listen: hostPort.default({ host: "0.0.0.0", port: 8080 }),
    admin: hostPort.default({ host: "127.0.0.1", port: 9090 }),
    tls: tls.prefault({}),
    trusted_proxies: z
      .array(range, 'must be a list of addresses and ranges, such as ["10.0.0.0/8"]')
      .max(MOST_RANGES)
      .default([]),
    store: store.default({ kind: "sqlite", path: "beckon.db" }),
    bus: bus.default({ kind: "memory" }),
    postgres: postgres.prefault({}),
    nats: nats.prefault({}),
    cluster_key: z.string().optional(),
    cluster_key_file: z.string().optional(),
    address: z.array(address).max(16).default([]),
    listener: z.array(listener).max(16).default([]),
    auth: auth.prefault({} as z.input<typeof auth>),
    api: api.prefault({}),
    push: push.prefault({}),
    limits: limits.prefault({}),
    drain: drain.prefault({}),
    placement: placement.prefault({}),
  })
  .superRefine(({ bus, store }, context) => {
    if (bus.kind !== "nats" || store.kind !== "sqlite") return;
    const message =
      "must be a postgres:// URL where bus is NATS: servers of several processes need one store";
    context.addIssue({ code: "custom", path: ["store"], message });
  })
  .superRefine(({ listen, admin, listener }, context) => {
    const taken = [{ key: "listen", ...listen }];
    const others = [
      { path: ["admin"], ...admin },
      ...listener.map(({ listen }, at) => ({ path: ["listener", at, "listen"], ...listen })),
    ];
    for (const { path, host, port } of others) {
      const other = taken.find(
        (one) => port !== 0 && one.port === port && isOneHost(one.host, host),
      );
      if (other !== undefined) {
        const message = `must have another port than ${other.key}, which has ${port}, too`;
        context.addIssue({ code: "custom", path, message });
      }
      taken.push({ key: path.join("."), host, port });
    }
  })
  .superRefine(({ listener, tls, trusted_proxies }, context) => {
    for (const [at, one] of listener.entries()) {
      if (one.tls === true && tls === undefined) {
        const message = "there is no certificate; add [tls] with cert_file and key_file";
        context.addIssue({ code: "custom", path: ["listener", at, "tls"], message });
      }
      if (one.proxy_protocol && trusted_proxies.length === 0) {
        const message = "is believed of trusted_proxies alone, and there are none";
        context.addIssue({ code: "custom", path: ["listener", at, "proxy_protocol"], message });
      }
    }
  })
  .transform((given): Given => ({
    name: given.name,
    log: given.log,
    listen: given.listen,
    listeners: given.listener.map(({ protocol, listen, tls, proxy_protocol: proxyProtocol }) => ({
      protocol,
      listen,
      isSecure: tls ?? given.tls !== undefined,
      proxyProtocol,
    })),
    admin: given.admin,
    tls: given.tls,
    trustedProxies: given.trusted_proxies,
    store: given.store,
    bus: given.bus,
    postgres: given.postgres,
    nats: given.nats,
    clusterKey: { text: given.cluster_key, file: given.cluster_key_file },
    addresses: given.address,
    auth: given.auth,
    apiToken: { text: given.api.token, file: given.api.token_file },
    push: given.push,
    ...given.limits,
    drain: given.drain,
    placement: given.placement,
  }));

function isOneHost(a: string, b: string): boolean {
  return a === b || [a, b].some(isAnyHost);
}

function isAnyHost(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Variables of this prefix that are not ours: the CLI's, and those that Kubernetes makes for a service named "beckon…". */
export function isForeign(name: string, value: string): boolean {
  if (name === "BECKON_CONFIG" || KUBERNETES.test(name)) return true;
  return name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value);
}

const KUBERNETES = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
