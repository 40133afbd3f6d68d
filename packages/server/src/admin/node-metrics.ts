import { localityOf } from "../cluster/overview.ts";
import type { Counters } from "../delivery/counters.ts";
import type { Labels, Metrics } from "../lib/metrics.ts";

/** What a communication server says of itself; read at each scrape. */
export interface NodeFigures {
  readonly name: string;
  readonly counters: Counters;
  readonly circles: CircleFigures;
  /** Undefined: placement is off. */
  readonly placement: PlacementFigures | undefined;
  /** Connections that terminate here. */
  readonly connections: () => number;
  /** Servers of the system that are known here, this one among them. */
  readonly servers: () => number;
  /** Whether it is being emptied. */
  readonly draining: () => boolean;
  /** ms since the replica that is furthest behind was known to be complete; 0: there is none. */
  readonly replicationLag: () => number;
  /** Messages accepted and not answered. */
  readonly open: () => number;
  /** What has to reach the store before this server may go. */
  readonly unsaved: () => number;
  /** Whether the session table may be relied on. */
  readonly trusted: () => boolean;
  /** Tables of other servers that had to be read whole. */
  readonly snapshots: () => number;
  /** Whether they answer. */
  readonly bus: () => boolean;
  readonly store: () => boolean;
  /** Milliseconds since 1970; undefined: there is none. */
  readonly certificateExpires: () => number | undefined;
}

export interface CircleFigures {
  readonly associates: {
    /** Users whose associates are in memory. */
    readonly users: number;
    /** Pairs whose changes wait to be stored. */
    readonly waiting: number;
  };
  /** Changes that will never be stored. */
  readonly lost: number;
  /** Circles that were not there in time. */
  readonly unread: number;
}

export interface PlacementFigures {
  /** By what they were for. */
  readonly redirects: Readonly<Record<string, number>>;
  readonly unreached: number;
  /** Devices that were asked to move, those of them that did not, and those that came here by a move. */
  readonly moves: number;
  readonly declined: number;
  readonly moved: number;
}

type Samples = Iterable<readonly [Labels, number]>;

export function exposeNode(metrics: Metrics, node: NodeFigures): void {
  const { counters } = node;
  const count = (name: string, help: string, read: () => Samples): void =>
    metrics.collect(`beckon_${name}_total`, help, "counter", read);
  const flag = (name: string, help: string, read: () => boolean): void =>
    gauge(name, `1: ${help}`, () => (read() ? 1 : 0));
  const gauge = (name: string, help: string, read: () => number): void =>
    void metrics.gauge(`beckon_${name}`, help, {}, read);

  metrics.gauge("beckon_server_info", "1, with the server's name.", {
    server: node.name,
  }).value = 1;
  count("acks", "SENDs answered: delivered to every durable device, or held.", () => [
    [{ status: "delivered" }, counters.ackedDelivered],
    [{ status: "held" }, counters.ackedHeld],
  ]);
  count(
    "deliveries",
    "Messages acknowledged by a device: live or from the store, by the server that accepted them (local) or through another (remote).",
    () => [
      [{ via: "live", route: "local" }, counters.deliveredLocal],
      [{ via: "live", route: "remote" }, counters.deliveredRemote],
      [{ via: "store", route: "local" }, counters.heldDeliveredLocal],
      [{ via: "store", route: "remote" }, counters.heldDeliveredRemote],
    ],
  );
  metrics.collect(
    "beckon_locality_ratio",
    "The part of the deliveries of the last five minutes, and of the last hour, that was local. Absent where there was none.",
    "gauge",
    () => {
      const { fiveMinutes, hour } = counters.lately;
      return [
        [{ window: "5m" }, localityOf(fiveMinutes)] as const,
        [{ window: "1h" }, localityOf(hour)] as const,
      ].flatMap(([labels, value]) => (value === undefined ? [] : [[labels, value] as const]));
    },
  );
  count("held_rows", "Messages held, one for each device that is owed one.", () => [
    [{}, counters.held],
  ]);
  count("refusals", "SENDs refused, by error.", () => byLabel("code", counters.refusals));
  count("connection_errors", "Connections closed for an error.", () =>
    byLabel("code", counters.failures),
  );
  count("pushes", "Wakes, by push service, class and what became of them.", () => pushes(counters));
  count("wakes_coalesced", "Messages for a device whose wake spoke for others already.", () => [
    [{}, counters.coalesced],
  ]);
  count(
    "wakes_connected",
    "Devices that connected here after they had been pushed to: at the server that the push named, at another one, or it named none.",
    () => Object.entries(counters.woken).map(([at, value]) => [{ at }, value]),
  );
  count(
    "wakes_spurious",
    "Wakes that left for a device that was connected elsewhere already.",
    () => [[{}, counters.spurious]],
  );
  metrics.show(
    "beckon_wake_dispatch_seconds",
    "From the acceptance of a message until this server gave its wake to the push service.",
    counters.dispatch,
  );
  for (const [provider, answer] of counters.answers) {
    metrics.show(
      "beckon_push_answer_seconds",
      "How long the push service took to answer a batch of wakes.",
      answer,
      { provider },
    );
  }
  metrics.show(
    "beckon_wake_connect_seconds",
    "From a push until the connection of its device to this server.",
    counters.waking,
  );
  metrics.show(
    "beckon_held_delivery_seconds",
    "From the acceptance of a message that was held until the device had acknowledged it to this server.",
    counters.heldFor,
  );
  count(
    "bus_bytes",
    "Bytes of messages that this server has said over the bus (out), once each however many hear it, and has heard (in).",
    () => [
      [{ direction: "out" }, counters.bus.out],
      [{ direction: "in" }, counters.bus.in],
    ],
  );
  count("table_snapshots", "Tables of other servers that had to be read whole.", () => [
    [{}, node.snapshots()],
  ]);
  gauge("connections", "Connections that terminate here.", node.connections);
  gauge("servers", "Servers of the system, as far as this one knows.", node.servers);
  flag("draining", "this server is being emptied.", node.draining);
  gauge(
    "replication_lag_seconds",
    "Seconds since the copy of another server's sessions that is furthest behind was known to be complete; about 1 where all is well.",
    () => node.replicationLag() / 1_000,
  );
  gauge("messages_open", "Messages accepted and not answered.", node.open);
  gauge("messages_unsaved", "What has to reach the store before this server may go.", node.unsaved);
  flag(
    "table_trusted",
    "what the session table says of other servers may be relied on.",
    node.trusted,
  );
  flag("bus_up", "the bus answers; 0: this server serves its own devices alone.", node.bus);
  flag("store_up", "the store answers; 0: what would have to be held is refused.", node.store);
  const { circles, placement } = node;
  gauge(
    "associates_users",
    "Users of whom this server has in memory whom they talk to.",
    () => circles.associates.users,
  );
  gauge(
    "tie_changes_waiting",
    "Pairs of users who have exchanged messages that are not counted in the store yet.",
    () => circles.associates.waiting,
  );
  count(
    "tie_changes_lost",
    "Changes of such pairs that will never be stored: too many waited, or the store refused them.",
    () => [[{}, circles.lost]],
  );
  count(
    "circles_unread",
    "Users whose associates could not be read in 250 ms: who connected was placed by what this server knew.",
    () => [[{}, circles.unread]],
  );
  if (placement !== undefined) {
    count("redirects", "Devices that were sent to another server as they connected, by why.", () =>
      Object.entries(placement.redirects).map(([why, value]) => [{ why }, value]),
    );
    count("redirects_unreached", "Redirects that led nowhere: the device came back.", () => [
      [{}, placement.unreached],
    ]);
    count("moves", "Devices that were asked to move to another server while connected.", () => [
      [{}, placement.moves],
    ]);
    count("moves_declined", "Moves that were asked for and did not happen within 10 s.", () => [
      [{}, placement.declined],
    ]);
    count("moves_arrived", "Devices that came here by a move, from another server.", () => [
      [{}, placement.moved],
    ]);
  }
  metrics.collect(
    "beckon_tls_certificate_expiry_timestamp_seconds",
    "When the certificate in use expires: seconds since 1970. Absent without TLS.",
    "gauge",
    () => {
      const expires = node.certificateExpires();
      return expires === undefined ? [] : [[{}, expires / 1000]];
    },
  );
}

function pushes({ pushes }: Counters): Samples {
  return [...pushes].flatMap(([provider, classes]) =>
    [...classes].flatMap(([wake, results]) =>
      [...results].map(([outcome, count]) => [{ provider, class: wake, outcome }, count] as const),
    ),
  );
}

function byLabel(label: string, counts: ReadonlyMap<string, number>): Samples {
  return [...counts].map(([value, count]) => [{ [label]: value }, count] as const);
}
