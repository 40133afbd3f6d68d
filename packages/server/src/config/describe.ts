import type { Address } from "@beckon/protocol";
import { stringify } from "smol-toml";

import type { AddressRange } from "../gateway/address.ts";
import type { TokenKeys } from "../gateway/token-keys.ts";
import { drainCapacity } from "../gateway/drain-plan.ts";
import { formatDuration } from "../lib/duration.ts";
import type { ApnsChoice, Config, HostPort, PushChoice } from "./config.ts";

const MASK = "***";

/** The configuration as it was understood, defaults and all, in the form of the file; secrets are masked. */
export function describeConfig(config: Config): string {
  const { auth, send, limits, storeLimits, drain } = config;
  const text = stringify({
    name: config.name,
    log: config.log,
    listen: formatHostPort(config.listen),
    admin: formatHostPort(config.admin),
    trusted_proxies: config.trustedProxies.map(formatRange),
    store:
      config.store.kind === "sqlite" ? `sqlite:${config.store.path}` : maskUrl(config.store.url),
    bus: describeBus(config.bus),
    cluster_key: MASK,
    ...(config.tls === undefined
      ? {}
      : { tls: { cert_file: config.tls.certFile, key_file: config.tls.keyFile } }),
    listener: config.listeners.map(({ protocol, listen, isSecure, proxyProtocol }) => ({
      protocol,
      listen: formatHostPort(listen),
      tls: isSecure,
      proxy_protocol: proxyProtocol,
    })),
    address: config.addresses.map(describeAddress),
    ...describeEngines(config),
    auth: {
      ...describeKeys(auth.keys),
      ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
      ...(auth.audience === undefined ? {} : { audience: auth.audience }),
      device_claim: auth.deviceClaim,
      to_claim: auth.toClaim,
      clock_tolerance: formatDuration(auth.tolerance),
      send: send.kind === "ask" ? maskUrl(send.url) : send.kind,
      ...(send.kind === "ask" && send.token !== undefined ? { send_token: MASK } : {}),
    },
    api: config.apiToken === undefined ? {} : { token: MASK },
    push: describePush(config.push),
    limits: {
      connections: config.maxConnections,
      payload: limits.payload,
      message_bytes: limits.messageBytes,
      message_frames: limits.messageFrames,
      in_flight: limits.inFlight,
      window: limits.window,
      rate: limits.rate,
      burst: limits.burst,
      hello_timeout: formatDuration(limits.helloTimeout),
      heartbeat: formatDuration(limits.heartbeat),
      idle: formatDuration(limits.idle),
      held_per_device: storeLimits.heldPerDevice,
      durable_devices: storeLimits.durableDevicesPerUser,
      dormant_after: formatDuration(storeLimits.dormantAfterMs),
      gone_dormant_after: formatDuration(storeLimits.goneDormantAfterMs),
      retention: formatDuration(storeLimits.retentionMs),
    },
    drain: {
      batch: drain.batch,
      interval: formatDuration(drain.interval),
      deadline: formatDuration(drain.deadline),
    },
    placement: { ...config.placement },
  });
  return text + describeVapid(config.push) + describePace(config);
}

/** What no key says, and an application needs: the public half of `key_file`. */
function describeVapid({ webpush }: PushChoice): string {
  if (webpush === undefined) return "";
  return `# Pages subscribe with the applicationServerKey ${webpush.key.publicKey}\n`;
}

function describePush({ apns, dev, webpush, fcm, webhook }: PushChoice): object {
  return {
    ...(apns === undefined ? {} : { apns: describeApns(apns) }),
    ...(dev === undefined ? {} : { dev: { url: maskUrl(dev.url) } }),
    ...(webpush === undefined
      ? {}
      : {
          webpush: {
            key_file: MASK,
            subject: webpush.subject,
            allow: webpush.allow.map(formatRange),
          },
        }),
    ...(fcm === undefined
      ? {}
      : {
          fcm: {
            service_account_file: MASK,
            url: maskUrl(fcm.url),
            notification: fcm.text.isShown,
            title: fcm.text.title,
            body: fcm.text.body,
            call_body: fcm.text.callBody,
          },
        }),
    ...(webhook === undefined ? {} : { webhook: { url: maskUrl(webhook.url), secret: MASK } }),
  };
}

function describeApns({ key, url, topics: [topic, ...topics], alerts }: ApnsChoice): object {
  const { title, message, call } = alerts;
  return {
    key_file: MASK,
    key_id: key.keyId,
    team_id: key.teamId,
    topic,
    topics,
    url: maskUrl(url),
    ...(title === undefined ? {} : { alert_title: title }),
    ...("key" in message ? { alert_loc_key: message.key } : { alert_body: message.text }),
    ...("key" in call ? { call_loc_key: call.key } : { call_body: call.text }),
  };
}

function formatRange({ address, prefix }: AddressRange): string {
  return `${address}/${prefix}`;
}

/** What no key says: whether the pace and the deadline can both be kept. */
function describePace({ drain, maxConnections }: Config): string {
  const { batch, interval, deadline } = drain;
  const devices = drainCapacity({ batch, intervalMs: interval, deadlineMs: deadline });
  const enough = devices >= maxConnections;
  const than = enough ? "all that limits.connections allows" : "of more, more are told at once";
  return `# At this pace ${devices} devices are sent elsewhere in ${formatDuration(deadline)}: ${than}.\n`;
}

function describeAddress({ url, protocol, network, region, priority }: Address): object {
  return { url, protocol, network, region, priority };
}

function describeBus(bus: Config["bus"]): string {
  if (bus.kind === "memory") return bus.kind;
  const { credentials, servers } = bus;
  const user = credentials !== undefined && "user" in credentials ? `${MASK}:${MASK}@` : "";
  return servers.map((server) => server.replace("//", `//${user}`)).join(",");
}

/** What the engines that were chosen are told beside their URL. */
function describeEngines({ store, bus }: Config): object {
  const mask = (key: string, value: unknown): object =>
    value === undefined ? {} : { [key]: MASK };
  const credentials = bus.kind === "nats" ? bus.credentials : undefined;
  return {
    ...(store.kind === "sqlite"
      ? {}
      : {
          postgres: {
            schema: store.schema,
            connections: store.connections,
            ...mask("ca_file", store.ca),
          },
        }),
    ...(bus.kind === "memory"
      ? {}
      : {
          nats: {
            ...(credentials !== undefined && "token" in credentials ? { token: MASK } : {}),
            ...(credentials !== undefined && "creds" in credentials
              ? { credentials_file: MASK }
              : {}),
            ...mask("ca_file", bus.tls?.ca),
            ...mask("cert_file", bus.tls?.cert),
            ...mask("key_file", bus.tls?.key),
          },
        }),
  };
}

function describeKeys(keys: TokenKeys): object {
  if (keys.kind === "jwks") return { jwks: maskUrl(keys.url) };
  return keys.kind === "secret" ? { secret: MASK } : { public_key_file: MASK };
}

function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** User and password, and what follows a question mark, can be secrets. */
function maskUrl(url: URL): string {
  const shown = new URL(url);
  if (shown.username !== "") shown.username = MASK;
  if (shown.password !== "") shown.password = MASK;
  if (shown.search !== "") shown.search = `?${MASK}`;
  return shown.href;
}
