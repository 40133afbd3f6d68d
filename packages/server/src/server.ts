import { hkdfSync } from "node:crypto";

import { type Address, LIMITS, type Millis, type ProtocolLimits } from "@beckon/protocol";

import { createAdminApp } from "./admin/app.ts";
import type { Health } from "./admin/backend.ts";
import { listenAdmin } from "./admin/listen.ts";
import type { AdminListener } from "./admin/listen.ts";
import { exposeNode } from "./admin/node-metrics.ts";
import type { NodeFigures } from "./admin/node-metrics.ts";
import type { Bus } from "./cluster/bus.ts";
import type { Departure } from "./cluster/control-messages.ts";
import { type Control, createControl } from "./cluster/control.ts";
import { createMemoryBus } from "./cluster/memory-bus.ts";
import { checkSecrets } from "./config.ts";
import type { Config } from "./config.ts";
import { createAuthorize, embeddedAuthorize } from "./delivery/authorize.ts";
import type { Authorize, EmbeddedAuthorize } from "./delivery/authorize.ts";
import type { Observer } from "./delivery/observer.ts";
import { inRanges } from "./gateway/address.ts";
import type { AddressRange } from "./gateway/address.ts";
import { CertificateWatch, loadCertificate } from "./gateway/certificate-watch.ts";
import type { TlsPair } from "./gateway/certificate.ts";
import { failureLog, proxyLog } from "./gateway/failure-log.ts";
import type { Authenticate } from "./gateway/identity.ts";
import { createAuthenticate } from "./gateway/jwt.ts";
import { listenTcp } from "./gateway/listen-tcp.ts";
import { listenWs } from "./gateway/listen-ws.ts";
import type { Listener, ListenerOptions } from "./gateway/listener.ts";
import type { HttpHandler } from "./gateway/registration-http.ts";
import { createTickets } from "./gateway/ticket.ts";
import { systemClock } from "./lib/clock.ts";
import type { Clock } from "./lib/clock.ts";
import { createCpuMeter } from "./lib/cpu.ts";
import { processLog, silentLog } from "./lib/log.ts";
import type { Log } from "./lib/log.ts";
import { openFilesLimit } from "./lib/open-files.ts";
import { createMetrics } from "./lib/metrics.ts";
import { createNode } from "./node.ts";
import type { Node, PlacementChoice, StopOptions } from "./node.ts";
import { ruleOf } from "./placement/rule.ts";
import { apnsProvider } from "./push/apns.ts";
import { composeWake } from "./push/compose.ts";
import { devHttpProvider } from "./push/dev-http.ts";
import { fcmProvider } from "./push/fcm.ts";
import type { PushProvider } from "./push/provider.ts";
import { sealWithNodeCrypto } from "./push/seal.ts";
import { webhookProvider } from "./push/webhook.ts";
import { webPushProvider } from "./push/webpush.ts";
import { adminBackend, statusOf } from "./service.ts";
import { openPostgres } from "./store/postgres.ts";
import { lockFile } from "./store/sqlite-lock.ts";
import { openSqlite } from "./store/sqlite.ts";
import type { Store } from "./store/store.ts";

export { createMemoryBus } from "./cluster/memory-bus.ts";
export { removePostgres } from "./store/postgres.ts";
export { openSqlite, type SqliteStore } from "./store/sqlite.ts";

const WATCH_MS = 5_000;
/** In the OpenAPI document and in heartbeats. */
const VERSION = "0.1.0";

/** Files beside the connections of devices: the store, the bus, the admin API, the program's own. */
const OTHER_FILES = 200;

const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;

/** What a server is made from, when its parts are at hand. */
export interface ServerParts {
  readonly name: string;
  readonly listen: { readonly hostname: string; readonly port: number };
  /** Where they connect by TCP, too. */
  readonly tcp?: readonly TcpChoice[];
  /** With it devices connect by wss. */
  readonly tls?: TlsPair | undefined;
  /** Proxies that are believed when they say where a device is. Default: none. */
  readonly trustedProxies?: readonly AddressRange[];
  /** Where it says which connections it refuses. Default: nowhere. */
  readonly log?: Log;
  /** How devices reach it. Default: where it listens. */
  readonly addresses?: readonly Address[];
  readonly bus: Bus;
  readonly store: Store;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  /** 32 bytes, the same on every server: for tickets. */
  readonly clusterKey: Uint8Array;
  readonly providers: readonly PushProvider[];
  readonly limits?: Partial<ProtocolLimits>;
  readonly maxConnections?: number;
  readonly retentionMs?: Millis;
  readonly wakeNames?: (accepting: string) => string;
  readonly tableBatchMs?: Millis;
  readonly observer?: Observer | undefined;
  /** Other servers are in this process, too: what CPU it uses says nothing of this one. */
  readonly sharesProcess?: boolean;
  /** Default: devices stay where they come. */
  readonly placement?: PlacementChoice | undefined;
}

export interface TcpChoice {
  readonly hostname: string;
  readonly port: number;
  /** With the certificate in `tls`. */
  readonly isSecure?: boolean;
  /** Trusted proxies say first, by the PROXY protocol, where a device is. */
  readonly proxyProtocol?: boolean;
}

/** One running communication server. */
export interface Server {
  readonly name: string;
  /** Where devices connect by WebSocket. */
  readonly url: string;
  /** Wherever they connect; that one first. */
  readonly urls: readonly string[];
  readonly node: Node;
  /** From now on new connections get this certificate; see `Listener`. */
  secure(tls: TlsPair): Promise<void>;
  /** Graceful: nothing that was acknowledged is lost, and what is under way is finished or held. */
  stop(options?: StopOptions): Promise<void>;
  /** As if the process had been killed: sockets are reset, and nobody hears a last word. The bus handle is the caller's to kill. */
  kill(): void;
}

/** Listens, and joins the others on the bus. */
export function startServer(parts: ServerParts): Server {
  const { clock, kill: stopClock } = mortal(systemClock);
  const { listen: _, tcp: __, clusterKey, tls: ___, trustedProxies: ____, ...others } = parts;
  const { log = silentLog, ...rest } = others;
  const accept: ListenerOptions["accept"] = (socket) => node.gateway.accept(socket);
  const http: HttpHandler = (request, remote) => node.registration(request, remote);
  const listeners = listen(parts, accept, http, log, clock);
  const urls = listeners.map(({ url }) => url);
  const each = (act: (listener: Listener) => void): void => listeners.forEach(act);
  const node: Node = createNode({
    ...rest,
    clock,
    about: {
      cpu:
        parts.sharesProcess === true
          ? () => 0
          : createCpuMeter(cpuTime, () => systemClock.monotonic()),
      software: VERSION,
    },
    random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    tickets: createTickets(clusterKey),
    addresses: parts.addresses ?? urls.map(addressOf),
    compose: (intent, server, largest) => composeWake(intent, server, sealWithNodeCrypto, largest),
    onFailure: failureLog(log, clock),
  });
  node.start();
  return {
    name: parts.name,
    url: urls[0]!,
    urls,
    node,
    async secure(tls) {
      await Promise.all(listeners.map((listener) => listener.secure(tls)));
    },
    async stop(options) {
      // As long as there are devices, who comes is told to go elsewhere.
      await node.stop(options, () => each((listener) => listener.close()));
      each((listener) => listener.kill());
      stopClock();
    },
    kill() {
      stopClock();
      each((listener) => listener.kill());
    },
  };
}

/** WebSocket first. None is left where one cannot be had. */
function listen(
  parts: ServerParts,
  accept: ListenerOptions["accept"],
  http: HttpHandler,
  log: Log,
  clock: Clock,
): Listener[] {
  const { tls, limits = {}, tcp = [] } = parts;
  const isTrusted = inRanges(parts.trustedProxies ?? []);
  const common = { accept, maxBufferedBytes: MAX_BUFFERED_BYTES, isTrusted, clock };
  const maxMessageBytes = limits.messageBytes ?? LIMITS.messageBytes;
  const listeners: Listener[] = [
    listenWs({ ...common, ...parts.listen, maxMessageBytes, http, tls }),
  ];
  const refused = proxyLog(log, clock);
  try {
    for (const { hostname, port, isSecure = false, proxyProtocol = false } of tcp) {
      const openMs = limits.helloTimeout ?? LIMITS.helloTimeout;
      const own = { hostname, port, tls: isSecure ? tls : undefined, proxyProtocol };
      listeners.push(listenTcp({ ...common, ...own, openMs, refused }));
    }
  } catch (error) {
    for (const listener of listeners) listener.kill();
    throw error;
  }
  return listeners;
}

/** What an application may bring of its own, beside the configuration. */
export interface Embedding {
  /** Instead of `auth.send`: who may write to whom. */
  readonly authorize?: EmbeddedAuthorize;
  /** Shared by the servers of one process; by default this one is alone. */
  readonly sharedBus?: Bus;
  /** Beside the configured ones; of one name, this one. */
  readonly providers?: readonly PushProvider[];
  /** What comes between this server and each of its push services, to try what happens when one fails. Default: nothing. */
  readonly throughPush?: (provider: PushProvider) => PushProvider;
  /** Default: to the process's standard error, at the configured level. */
  readonly logger?: Log;
  /** Which server a wake names, given the one that accepted the message. Default: that one (M7). For comparisons. */
  readonly wakeNames?: (accepting: string) => string;
  /** How long changes of the session table wait for others before the other servers are told; 0: no longer than a turn. Default 5 ms. */
  readonly tableBatchMs?: Millis;
  /** Whether it tells of the process, in metrics and to other servers. Default: true; for one of several servers in a process: false. */
  readonly processMetrics?: boolean;
  /** Hears what happens on this server. Default: nobody. */
  readonly observer?: Observer;
  /** The time by which ties between people age, milliseconds since 1970. Default: the system's; a replay has its own. */
  readonly placementNow?: () => Millis;
  /** Chooses between servers of which nothing is known: from 0 to 1, without 1. Default: chance does; a replay repeats itself. */
  readonly placementChoose?: () => number;
}

/** A server as it is configured, with its admin API. */
export interface ConfiguredServer {
  /** Resolves when devices and the admin API are served. Rejects where the store or a port cannot be had. */
  start(): Promise<void>;
  /** Where devices connect by WebSocket; undefined before `start`. */
  readonly url: string | undefined;
  /** Wherever they connect; that one first. */
  readonly urls: readonly string[];
  readonly adminUrl: URL | undefined;
  /** Looks at once whether its certificate's files have changed, which it does every few seconds. */
  reloadCertificate(): Promise<void>;
  /** While it is up. */
  readonly node: Node | undefined;
  /**
   * As if its process had been killed: sockets are reset, and nobody hears a last word. It is over; the bus handle is the caller's to kill. Resolves
   * when its handle on the store is closed, which would be gone with the process.
   */
  kill(): Promise<void>;
  /** Sends the devices elsewhere at the configured rate, finishes what is under way, and stops. Nothing acknowledged is lost. */
  drain(): Promise<void>;
  /** Resolves when it has drained, whoever has asked for it: the admin API may. */
  readonly stopped: Promise<void>;
}

/** A store, and what has to be given back with it. */
interface OpenStore extends Store {
  close(): Promise<void>;
}

interface Running {
  readonly server: Server;
  readonly store: OpenStore;
  readonly admin: AdminListener;
  readonly bus: Bus;
  /** Those that are the application's are its to close. */
  readonly ownProviders: readonly PushProvider[];
  readonly control: Control;
  readonly health: ReturnType<typeof watch>;
  readonly certificate: CertificateWatch | undefined;
}

/**
 * A communication server from its configuration (see `loadConfig`).
 * @throws {ConfigError} where a secret that everybody knows would be served to others.
 */
export function createServer(options: Config & Embedding): ConfiguredServer {
  checkSecrets(options);
  const log = options.logger ?? processLog(options.log);
  const metrics = createMetrics();
  let state: Health["state"] = "starting";
  let running: Running | undefined;
  let starting: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  const stopped = Promise.withResolvers<void>();
  // Whoever has asked for the drain is told by that.
  stopped.promise.catch(() => undefined);

  const start = async (): Promise<void> => {
    if (running !== undefined) return;
    const tls = options.tls === undefined ? undefined : await loadCertificate(options.tls);
    const store = await openStore(options, log);
    const bus = options.sharedBus ?? (await openBus(options, log));
    const ownProviders = configuredProviders(options, log);
    const { throughPush = (provider) => provider } = options;
    let server: Server | undefined;
    let stopWatching = (): void => undefined;
    try {
      server = startServer({
        name: options.name,
        listen: { hostname: options.listen.host, port: options.listen.port },
        tcp: options.listeners.map(({ listen, isSecure, proxyProtocol }) => ({
          hostname: listen.host,
          port: listen.port,
          isSecure,
          proxyProtocol,
        })),
        tls,
        trustedProxies: options.trustedProxies,
        log,
        ...(options.addresses.length === 0 ? {} : { addresses: options.addresses }),
        bus,
        store,
        authenticate: createAuthenticate(options.auth, systemClock),
        authorize:
          options.authorize === undefined
            ? createAuthorize(options.send, systemClock, fetch)
            : embeddedAuthorize(options.authorize, systemClock),
        clusterKey: options.clusterKey,
        providers: [...ownProviders, ...(options.providers ?? [])].map(throughPush),
        limits: options.limits,
        maxConnections: options.maxConnections,
        retentionMs: options.storeLimits.retentionMs,
        ...(options.wakeNames === undefined ? {} : { wakeNames: options.wakeNames }),
        ...(options.tableBatchMs === undefined ? {} : { tableBatchMs: options.tableBatchMs }),
        observer: options.observer,
        placement: placementOf(options),
        sharesProcess: options.processMetrics === false,
      });
      const up = server;
      const { node } = up;
      const certificate =
        options.tls === undefined || tls === undefined
          ? undefined
          : new CertificateWatch({
              files: options.tls,
              first: tls,
              clock: systemClock,
              log,
              use: (pair) => up.secure(pair),
            });
      const health = watch(store, node, log);
      const control = createControl({
        bus,
        server: options.name,
        status: () => statusOf(node, health.isUp()),
        drain: () => depart(node),
        forget: (user) => node.circles.forget(user),
        decided: (user, device) => node.placement?.decisionOf(user, device),
      });
      stopWatching = () => {
        certificate?.stop();
        control.stop();
        health.stop();
      };
      // One that has never met the others may be told wrongly where they are; later it serves on without them (L8).
      let hasMet = bus.up;
      bus.onLink((up) => (hasMet ||= up));
      node.members.onChange(({ kind, member }) => {
        if (kind !== "changed") log.info(`peer.${kind}`, { peer: member.name });
      });
      if (options.processMetrics !== false) metrics.observeProcess();
      exposeNode(metrics, {
        ...figuresOf(node),
        bus: () => bus.up,
        store: health.isUp,
        certificateExpires: () => certificate?.expires,
      });
      const app = createAdminApp({
        backend: adminBackend(node, store, control, options.limits, metrics, () => ({
          server: options.name,
          state: state === "up" && !hasMet ? "starting" : state,
          connections: node.gateway.size,
          checks: { store: health.isUp(), bus: bus.up },
        })),
        token: options.apiToken,
        payloadLimit: options.limits.payload,
        version: VERSION,
        log,
      });
      const admin = listenAdmin(app, options.admin.host, options.admin.port);
      running = { server, store, admin, bus, ownProviders, control, health, certificate };
    } catch (error) {
      stopWatching();
      server?.kill();
      await closeAll(ownProviders);
      if (options.sharedBus === undefined) await bus.close();
      await store.close();
      throw error;
    }
    state = "up";
    log.info("server.up", { server: options.name });
    if (options.sharedBus === undefined) warnOfFiles(options.maxConnections, log);
  };

  const drain = async (): Promise<void> => {
    await starting?.catch(() => undefined);
    if (running === undefined) return;
    const { server, admin, health, certificate } = running;
    state = "draining";
    certificate?.stop();
    log.info("server.draining", { server: options.name, count: server.node.gateway.size });
    const { batch, interval, deadline } = options.drain;
    const end = systemClock.monotonic() + deadline;
    await server.stop({ batch, intervalMs: interval, deadlineMs: deadline });
    health.stop();
    if (!(await within(end - systemClock.monotonic(), close(running)))) {
      // It is safe in the store, or was never acknowledged (L1).
      log.warn("server.unfinished", { server: options.name, count: server.node.delivery.unsaved });
      admin.kill();
    }
    state = "stopped";
    log.info("server.stopped", { server: options.name });
  };

  const begin = (): Promise<void> => {
    if (stopping === undefined) {
      stopping = drain();
      stopping.then(stopped.resolve, stopped.reject);
    }
    return stopping;
  };

  const depart = (node: Node): Departure => {
    // What it fails of is told by `stopped`.
    begin().catch(() => undefined);
    return { connections: node.table.ownSize, within: options.drain.deadline };
  };

  const kill = async (): Promise<void> => {
    if (running === undefined) return;
    const { server, store, admin, ownProviders, health, certificate } = running;
    certificate?.stop();
    server.kill();
    admin.kill();
    health.stop();
    state = "stopped";
    running = undefined;
    await closeAll(ownProviders);
    await store.close();
  };

  return {
    start: () => (starting = start()),
    get node() {
      return running?.server.node;
    },
    kill,
    get url() {
      return running?.server.url;
    },
    get urls() {
      return running?.server.urls ?? [];
    },
    get adminUrl() {
      return running?.admin.url;
    },
    async reloadCertificate() {
      await running?.certificate?.look();
    },
    drain: begin,
    stopped: stopped.promise,
  };
}

/** Who is under way with a request gets an answer; then nobody needs the bus, and last the store. */
async function close({ admin, control, ownProviders, bus, store }: Running): Promise<void> {
  await admin.close();
  control.stop();
  await closeAll(ownProviders);
  await bus.close();
  await store.close();
}

async function closeAll(providers: readonly PushProvider[]): Promise<void> {
  await Promise.all(providers.map((provider) => provider.close()));
}

/** Whether it was done in time. */
async function within(ms: Millis, done: Promise<void>): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const cancel = systemClock.after(Math.max(0, ms), () => late.resolve(false));
  try {
    return await Promise.race([done.then(() => true), late.promise]);
  } finally {
    cancel();
  }
}

function placementOf({
  placement,
  placementNow: now,
  placementChoose: choose,
}: Config & Embedding): PlacementChoice | undefined {
  const { policy, gain, cap } = placement;
  if (policy === "wake") return undefined;
  return { rule: ruleOf(gain, cap), moves: policy === "move", now, choose };
}

/** ms of CPU that this process has used. */
function cpuTime(): Millis {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Rejects with StoreUnavailable where it cannot be used. */
async function openStore({ store, storeLimits }: Config, log: Log): Promise<OpenStore> {
  if (store.kind === "postgres") {
    return openPostgres(store.url.href, storeLimits, {
      schema: store.schema,
      connections: store.connections,
      ca: store.ca,
      warn: (reason) => log.warn("store.unsafe", { reason }),
    });
  }
  const sqlite = await openSqlite(store.path, storeLimits);
  try {
    const unlock = lockFile(store.path);
    const { messages, devices, wakes, associates } = sqlite;
    const close = (): Promise<void> => sqlite.close().finally(unlock);
    return { messages, devices, wakes, associates, close };
  } catch (error) {
    await sqlite.close();
    throw error;
  }
}

/** It connects in the background: until it is up the server serves its own devices alone (L8). */
async function openBus({ bus, name, clusterKey }: Config, log: Log): Promise<Bus> {
  if (bus.kind === "memory") return createMemoryBus({ clock: systemClock }).connect();
  // Where there is no NATS its client is not loaded: that takes a fifth of the time in which a command starts.
  const { createNatsBus } = await import("./cluster/nats-bus.ts");
  const nats = createNatsBus({
    servers: bus.servers,
    name,
    cluster: clusterName(clusterKey),
    credentials: bus.credentials,
    tls: bus.tls,
    clock: systemClock,
    onFailure: (reason) => log.warn("bus.unreachable", { reason }),
  });
  nats.onLink((up) => (up ? log.info("bus.up") : log.warn("bus.down")));
  return nats;
}

/** Servers with another key are of another system: the two do not hear each other, though they share a NATS. */
function clusterName(key: Uint8Array): string {
  return Buffer.from(hkdfSync("sha256", key, "", "beckon cluster v1", 8)).toString("hex");
}

/** Without files left a server can take nobody, and cannot even say so. */
function warnOfFiles(connections: number, log: Log): void {
  const count = openFilesLimit();
  if (count === undefined || count >= connections + OTHER_FILES) return;
  const reason =
    "fewer files may be open than limits.connections needs: raise it (ulimit -n, LimitNOFILE), or lower that";
  log.warn("limits.files", { count, reason });
}

function configuredProviders({ push }: Config, log: Log): PushProvider[] {
  const { apns, dev, webpush, fcm, webhook } = push;
  return [
    ...(dev === undefined ? [] : [devHttpProvider(dev.url, fetch)]),
    ...(apns === undefined ? [] : [apnsProvider({ ...apns, clock: systemClock, log })]),
    ...(webpush === undefined
      ? []
      : [
          webPushProvider({
            key: webpush.key,
            subject: webpush.subject,
            isAllowed: inRanges(webpush.allow),
            clock: systemClock,
            log,
          }),
        ]),
    ...(fcm === undefined ? [] : [fcmProvider({ ...fcm, clock: systemClock, log })]),
    ...(webhook === undefined ? [] : [webhookProvider({ ...webhook, clock: systemClock, log })]),
  ];
}

function figuresOf(node: Node): Omit<NodeFigures, "bus" | "store" | "certificateExpires"> {
  return {
    name: node.name,
    counters: node.counters,
    circles: node.circles,
    placement: node.placement,
    connections: () => node.gateway.size,
    servers: () => node.members.list().length,
    draining: () => node.members.get(node.name)?.state === "draining",
    replicationLag: () =>
      Math.max(0, ...node.replicator.stats().replicas.map(({ confirmed }) => confirmed)),
    open: () => node.delivery.open,
    unsaved: () => node.delivery.unsaved,
    trusted: () => node.table.trusted,
    snapshots: () => node.replicator.stats().snapshotsTaken,
  };
}

/** Looks now and then at what an operator has to know, so that a health check need not wait for the store. */
function watch(store: Store, node: Node, log: Log): { isUp: () => boolean; stop: () => void } {
  let isUp = true;
  let strangers = 0;
  let cancel: () => void = () => undefined;
  const told = (up: boolean): void => {
    if (up === isUp) return;
    isUp = up;
    if (up) log.info("store.up");
    else log.warn("store.down");
  };
  const look = (): void => {
    store.wakes.nextDue().then(
      () => told(true),
      () => told(false),
    );
    const seen = node.replicator.stats().strangers;
    if (seen > strangers) {
      const reason = "another process has this server's name: give each its own (name)";
      log.error("server.name-taken", { server: node.name, reason });
    }
    strangers = seen;
    cancel = systemClock.after(WATCH_MS, look);
  };
  look();
  return { isUp: () => isUp, stop: () => cancel() };
}

function addressOf(url: string): Address {
  const secure = /^(wss|tls):/.test(url);
  const protocol = url.startsWith("ws") ? "ws" : "tcp";
  return { url, protocol, secure, network: "", region: "", priority: 0 };
}

/** A clock whose tasks can be stopped for good, as those of a process that has died. */
function mortal(clock: Clock): { clock: Clock; kill: () => void } {
  let isDead = false;
  const pending = new Set<() => void>();
  return {
    clock: {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after(ms, task) {
        if (isDead) return () => undefined;
        const stop = clock.after(ms, () => {
          pending.delete(stop);
          task();
        });
        pending.add(stop);
        return () => {
          pending.delete(stop);
          stop();
        };
      },
      defer(task) {
        clock.defer(() => {
          if (!isDead) task();
        });
      },
    },
    kill() {
      isDead = true;
      for (const stop of pending) stop();
      pending.clear();
    },
  };
}
