import { encodeOrigin, formatUuid, LIMITS, uuidv7 } from "@beckon/protocol";
import type {
  Address,
  AckStatus,
  Millis,
  ProtocolLimits,
  PushRegistration,
  Route,
  SendErrorCode,
  SendFrame,
  ServerAddresses,
} from "@beckon/protocol";

import type { Bus } from "./cluster/bus.ts";
import type { Member, Membership, ServerAbout } from "./cluster/membership.ts";
import { metered } from "./cluster/metered-bus.ts";
import { createServerBus } from "./cluster/record-bus.ts";
import type { Authorize } from "./delivery/authorize.ts";
import { Counters } from "./delivery/counters.ts";
import { Delivery } from "./delivery/delivery.ts";
import { WakeDispatcher } from "./delivery/wake.ts";
import type { WakeParts } from "./delivery/wake.ts";
import type { Observer } from "./delivery/observer.ts";
import { type DrainPace, planDrain } from "./gateway/drain-plan.ts";
import type { ConnectionFailure } from "./gateway/failure-log.ts";
import { type Departures, Gateway } from "./gateway/gateway.ts";
import type { Authenticate, Tickets } from "./gateway/identity.ts";
import { createRegistration } from "./gateway/registration-http.ts";
import type { HttpHandler } from "./gateway/registration-http.ts";
import type { Clock } from "./lib/clock.ts";
import { Associates } from "./placement/associates.ts";
import { Circles } from "./placement/circles.ts";
import { planEmptying } from "./placement/emptying.ts";
import { Mover } from "./placement/mover.ts";
import { Placement } from "./placement/placement.ts";
import type { Rule } from "./placement/policy.ts";
import { addressesOf, selectAddresses, takesDevices } from "./push/select.ts";
import type { PushProvider } from "./push/provider.ts";
import { createReplicator } from "./sessions/replicator.ts";
import type { Replicator } from "./sessions/replicator.ts";
import type { Session, SessionTable } from "./sessions/table.ts";
import type { Store } from "./store/store.ts";

/** Everything that a communication server is made of and that is not its own. */
export interface NodeParts {
  /** Unique in the system. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: (bytes: Uint8Array) => void;
  readonly bus: Bus;
  readonly store: Store;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  readonly tickets: Tickets;
  readonly providers: readonly PushProvider[];
  readonly compose: WakeParts["compose"];
  /** How a device reaches this very server. */
  readonly addresses: readonly Address[];
  readonly limits?: Partial<ProtocolLimits>;
  /** Default 100,000. */
  readonly maxConnections?: number;
  /** Told to the other servers, for the operator. */
  readonly about?: Pick<ServerAbout, "cpu" | "software">;
  /** How long changes of the session table wait for others before the other servers are told; 0: no longer than a turn. Default 5 ms. */
  readonly tableBatchMs?: Millis;
  /** Which server a wake names, given the one that accepted the message. Default: that one (M7). For comparisons. */
  readonly wakeNames?: (accepting: string) => string;
  /** Hears what happens here. Default: nobody. */
  readonly observer?: Observer | undefined;
  /** A connection is closed for an error; it is counted all the same. */
  readonly onFailure?: (failure: ConnectionFailure) => void;
  /** Undefined: devices stay where they come, and wakes alone bring people together. */
  readonly placement?: PlacementChoice | undefined;
  /** How long messages are kept at least, by their ids' time; default 30 days. */
  readonly retentionMs?: Millis;
}

/** Who belongs where (M13). */
export interface PlacementChoice {
  readonly rule: Rule;
  /** Whether connected devices are moved, too (B2). */
  readonly moves: boolean;
  /** The time by which ties age, and servers that have just come get their share, milliseconds since 1970. Default: the clock's. */
  readonly now?: (() => Millis) | undefined;
  /** Chooses between servers of which nothing is known: from 0 to 1, without 1. Default: `random` does. */
  readonly choose?: (() => number) | undefined;
}

/** Default: all devices at once, and 10 s; after that what is not finished is left to the store and to the devices' repeats. */
export type StopOptions = Partial<DrainPace>;

export interface ServiceMessage {
  /** The named service that sends. */
  readonly from: string;
  readonly send: SendFrame;
}

export interface ServiceAnswer {
  readonly status: AckStatus;
  readonly route: Route;
}

export class SendRefused extends Error {
  override readonly name = "SendRefused";
  readonly code: SendErrorCode;
  constructor(code: SendErrorCode) {
    super(code);
    this.code = code;
  }
}

/** A communication server without its listeners and backends: what the simulation runs, and `server.ts` dresses. */
export interface Node {
  readonly name: string;
  readonly gateway: Gateway;
  /** What devices ask without a connection. */
  readonly registration: HttpHandler;
  readonly delivery: Delivery;
  readonly table: SessionTable;
  readonly members: Membership;
  readonly replicator: Replicator;
  readonly counters: Counters;
  readonly circles: Circles;
  /** Undefined: devices stay where they come. */
  readonly placement: Placement | undefined;
  /** What its push service would find wrong with a registration, as far as can be seen; undefined: nothing. */
  pushFault(push: PushRegistration): string | undefined;
  start(): void;
  /** A message from the application's backend, under the same laws. Rejects with {@link SendRefused}. */
  sendAsService(message: ServiceMessage): Promise<ServiceAnswer>;
  /** Takes no more connections, sends the devices elsewhere (B3), finishes or holds what is under way, says goodbye. `emptied`: all devices have gone. */
  stop(options?: StopOptions, emptied?: () => void): Promise<void>;
}

const EXPIRE_MS = 3_600_000;
const DAY_MS = 86_400_000;
const STOP_POLL_MS = 20;

export function createNode(parts: NodeParts): Node {
  const { name, clock, store, random, addresses } = parts;
  const limits: ProtocolLimits = { ...LIMITS, ...parts.limits };
  const maxConnections = parts.maxConnections ?? 100_000;
  const counters = new Counters(
    name,
    parts.providers.map((provider) => provider.name),
    () => clock.monotonic(),
  );
  const bus = metered(parts.bus, counters.bus);
  const replicator = createReplicator({
    server: name,
    clock,
    bus,
    addresses,
    about: { capacity: maxConnections, cpu: () => 0, software: "", ...parts.about },
    sinceWhen: parts.placement?.now,
    refreshSets: (users) => store.devices.sets(users),
    readDevices: (user) => store.devices.devices(user),
    ...(parts.tableBatchMs === undefined ? {} : { batchMs: parts.tableBatchMs }),
  });
  const { table, members } = replicator;
  const self: ServerAddresses = { name, addresses };
  const wakeNames = parts.wakeNames ?? ((accepting) => accepting);
  let turn = 0;
  const elsewhere = (): ServerAddresses[] => {
    const others = members.list().filter((other) => other.name !== name && takesDevices(other));
    return rotated(others, turn++).map((other) => addressesOf(other));
  };
  /** Where the message was accepted (M7); else here; else wherever there is room. */
  const wakeTo = (accepting: string): ServerAddresses => {
    const named = [members.get(wakeNames(accepting)), members.get(name)].find(takesDevices);
    return named === undefined ? (elsewhere()[0] ?? addressesOf(undefined)) : addressesOf(named);
  };

  const tieNow = parts.placement?.now ?? ((): Millis => clock.now());
  const associates = new Associates({ now: tieNow });
  const circles = new Circles({ clock, now: tieNow, store: store.associates, associates });
  const choose = parts.placement?.choose ?? ((): number => fraction(random));
  const suitable = (to: Member, protocols: readonly string[]): ServerAddresses =>
    selectAddresses(to, { protocols });
  const placement =
    parts.placement &&
    new Placement({
      server: name,
      clock,
      now: tieNow,
      members,
      table,
      circles,
      rule: parts.placement.rule,
      moves: parts.placement.moves,
      addresses: suitable,
      random: choose,
    });
  const mover =
    placement && parts.placement.moves
      ? new Mover({
          server: name,
          clock,
          now: tieNow,
          pace: parts.placement.now ?? ((): Millis => clock.monotonic()),
          rule: parts.placement.rule,
          placement,
          associates,
          members,
          table,
          addresses: suitable,
        })
      : undefined;
  if (placement !== undefined) {
    table.onChange(({ kind, session: { user, device, server } }) => {
      if (kind !== "appeared") return;
      placement.appeared(user, device);
      if (server !== name) mover?.appearedElsewhere(user, device);
    });
  }
  const planDepartures = async (
    devices: ReadonlyMap<string, number>,
    most: Millis,
  ): Promise<Departures> => {
    const emptying = await planEmptying(devices, most, {
      server: name,
      clock,
      placement: placement!,
      table,
      associates,
      rule: parts.placement!.rule,
      random: choose,
      isOpen: (server) => takesDevices(members.get(server)),
    });
    return {
      users: emptying.users,
      send(user, device) {
        const to = emptying.send(user, device);
        if (to === undefined) return undefined;
        const others = elsewhere().filter((other) => other.name !== to);
        return [addressesOf(members.get(to)), ...others.slice(0, 2)];
      },
    };
  };

  const providers = new Map(parts.providers.map((provider) => [provider.name, provider]));
  const pushFault = ({ provider, token }: PushRegistration): string | undefined =>
    providers.get(provider)?.fault?.(token);
  const wake = new WakeDispatcher({
    clock,
    wakes: store.wakes,
    table,
    owner: `${name}:${clock.now()}`,
    providers,
    addressesOf: wakeTo,
    compose: parts.compose,
    onConnected: (session) => delivery.remind(session),
    counters,
    observer: parts.observer,
  });
  const delivery: Delivery = new Delivery({
    server: name,
    clock,
    store,
    table,
    bus: createServerBus({
      bus,
      server: name,
      stream: clock.now(),
      incarnationOf: (other) => members.get(other)?.incarnation,
    }),
    wake,
    counters,
    observer: parts.observer,
    acknowledgeMs: limits.acknowledge,
    // Where nobody is placed nothing is kept of who talks to whom.
    ...(placement && {
      exchanged: (from, to) => associates.exchanged(from, to),
      heard: (to, from) => associates.heard(to, from),
    }),
    mover,
  });
  if (parts.observer !== undefined) observeTable(table, parts.observer);
  const state = (): "up" | "draining" =>
    members.get(name)?.state === "draining" ? "draining" : "up";
  const onFailure = (failure: ConnectionFailure): void => {
    counters.failed(failure.code);
    parts.onFailure?.(failure);
  };
  const uuid = (): string => formatUuid(uuidv7(clock.now(), random));
  const gateway = new Gateway({
    server: name,
    clock,
    limits,
    maxConnections,
    table,
    store,
    delivery,
    authenticate: parts.authenticate,
    authorize: parts.authorize,
    tickets: parts.tickets,
    connectionId: uuid,
    servers: () => [self, ...otherServers(members, name)],
    elsewhere,
    state,
    placement,
    mover,
    planEmptying: placement && planDepartures,
    pushFault,
    onFailure,
    onWoken: (wake, hinted) => counters.arrived(wake, hinted),
  });
  const registration = createRegistration({
    clock,
    devices: store.devices,
    table,
    authenticate: parts.authenticate,
    state,
    pushFault,
    onFailure,
  });

  let cancelExpiry: (() => void) | undefined;
  const expire = (): void => {
    const retention = parts.retentionMs ?? 30 * DAY_MS;
    const oldest = clock.now() - retention;
    // By whole days, where one is little of it: a store that keeps days apart drops them then, and deletes no row.
    const before = retention > DAY_MS ? oldest - (oldest % DAY_MS) : oldest;
    // The store away: the next hour will do.
    store.messages.expire(before).catch(() => undefined);
    store.devices.retire(clock.now()).then(
      (sets) => {
        for (const set of sets) table.announceSet(set.user, set.setVersion, set.setSize);
      },
      () => undefined,
    );
    cancelExpiry = clock.after(EXPIRE_MS, expire);
  };

  return {
    name,
    gateway,
    registration,
    delivery,
    table,
    members,
    replicator,
    counters,
    circles,
    placement,
    pushFault,
    start() {
      replicator.start();
      delivery.start();
      gateway.start();
      if (placement !== undefined) circles.start();
      expire();
    },
    sendAsService({ from, send }) {
      const origin = {
        key: `${from}\n`,
        user: from,
        device: "",
        outbox: 0,
        encoded: encodeOrigin(from, "", 0, name),
        copies: false,
      };
      return new Promise((resolve, reject) => {
        delivery.accept(origin, send, 0, {
          ack: (_, status, route) => resolve({ status, route }),
          refuse: (_, code) => reject(new SendRefused(code)),
        });
      });
    },
    async stop({ batch = Infinity, intervalMs = 100, deadlineMs = 10_000 } = {}, emptied) {
      const plan = planDrain({ batch, intervalMs, deadlineMs });
      const deadline = clock.monotonic() + plan.saved;
      cancelExpiry?.();
      members.setState("draining");
      await gateway.drain(plan);
      emptied?.();
      delivery.stop();
      // Nobody is left here who could write; beside what else has to reach the store, within the same time.
      const tiesStored = circles.stop();
      while ((delivery.unsaved > 0 || wake.isBusy) && clock.monotonic() < deadline) {
        await new Promise<void>((resolve) => clock.after(STOP_POLL_MS, resolve));
      }
      gateway.stop();
      mover?.stop();
      await tiesStored;
      replicator.stop();
    },
  };
}

/** Connections that terminate here: one that another server's has displaced is gone, too. */
function observeTable(table: SessionTable, observer: Observer): void {
  const here = (session: Session | undefined): boolean => session?.server === table.server;
  table.onChange((change) => {
    const { user, device } = change.session;
    if (change.kind === "appeared") {
      if (here(change.session)) observer.connected({ user, device });
      else if (here(change.before)) observer.disconnected({ user, device });
    } else if (change.kind === "gone" && here(change.session)) {
      observer.disconnected({ user, device });
    }
  });
}

/** From 0 to 1, without 1. */
function fraction(random: NodeParts["random"]): number {
  const bytes = new Uint8Array(4);
  random(bytes);
  return new DataView(bytes.buffer).getUint32(0) / 2 ** 32;
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const first = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

function otherServers(members: Membership, name: string): ServerAddresses[] {
  return members
    .list()
    .filter((member) => member.name !== name && member.state === "up")
    .map((member) => ({ name: member.name, addresses: member.addresses }));
}
