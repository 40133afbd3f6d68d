import type { Address } from "@beckon/protocol";
import { type Bus, BusUnavailable } from "../cluster/bus.ts";
import { BadMessage } from "../cluster/bytes.ts";
import { Members, type Membership, type ServerAbout } from "../cluster/membership.ts";
import {
  decodeSessionMessage,
  encodeSessionMessage,
  type Heartbeat,
  type SessionMessage,
  SESSIONS_SUBJECT,
  type SetRecord,
} from "../cluster/session-messages.ts";
import type { Clock } from "../lib/clock.ts";
import { MemberReading, type UserDevices } from "./member-reading.ts";
import { Replication, type ReplicaStats } from "./replication.ts";
import { OwnedTable } from "./session-table.ts";
import { SetReading } from "./set-reading.ts";
import type { SessionTable } from "./table.ts";
import { Trust } from "./trust.ts";

export interface ReplicatorOptions {
  /** Name of this server; unique in the system. */
  readonly server: string;
  /** Greater at every start. Default: the clock's time. */
  readonly incarnation?: number;
  readonly clock: Clock;
  readonly bus: Bus;
  readonly addresses: readonly Address[];
  /** What else heartbeats tell of this server. */
  readonly about?: ServerAbout | undefined;
  /** The time by which heartbeats say when this server came up. Default: the clock's. */
  readonly sinceWhen?: (() => number) | undefined;
  /** `DeviceStore.sets`. */
  readonly refreshSets: (users: readonly string[]) => Promise<readonly SetRecord[]>;
  /** `DeviceStore.devices`. */
  readonly readDevices: (user: string) => Promise<UserDevices>;
  /** Default 1 s. */
  readonly heartbeatMs?: number;
  /** Silence after which another server is dropped. Default 5 s. */
  readonly leaseMs?: number;
  /** From one reading of all own users' sets to the next, whether or not anything seems to have been missed. Default 5 min. */
  readonly rereadMs?: number;
  /** How long changes wait for others to go out with them; 0: until the end of the turn. Default 5 ms. */
  readonly batchMs?: number;
}

export interface ReplicatorStats {
  /** Messages that could not be read. */
  readonly malformed: number;
  readonly gaps: number;
  readonly snapshotsTaken: number;
  readonly snapshotsSent: number;
  /** Servers that were silent for the lease. */
  readonly dropped: number;
  /** Heartbeats of another process with this server's name: a mistake of the operator's. */
  readonly strangers: number;
  /** Of the own partition, as the others were told last. */
  readonly published: number;
  readonly incarnation: number;
  readonly replicas: readonly ReplicaStats[];
}

/** A server's session table and membership, kept up to date over the bus. */
export interface Replicator {
  readonly table: SessionTable;
  readonly members: Membership;
  start(): void;
  /** Says goodbye, so that the others need not wait for the lease. */
  stop(): void;
  stats(): ReplicatorStats;
}

/** In heartbeats: for this long a start or a loss makes the table untrusted at least. */
const QUIET = 1.5;
/** In heartbeats: a silence after which another server may have gone with an announcement on its lips. */
const SUSPICION = 2.5;
/** Between two looks at the clock; in heartbeats. */
const TICK = 0.25;
/** How long `arrive` may take before its session is opened. */
const HORIZON_MS = 10_000;
const RETRY_MS = 1000;
/** Requests of a snapshot that come within it are served by one. */
const GATHER_MS = 10;
/** Bounds how long a change stays unknown that nobody could tell: made on a server that only this one could not hear, and that then died. */
const REREAD_MS = 5 * 60_000;
const USERS_PER_READ = 500;
const MAX_READ_BACKOFF_MS = 2000;

export function createReplicator(options: ReplicatorOptions): Replicator {
  return new Shell(options);
}

/** The thin shell around {@link Replication}: bus, timers, the store. */
class Shell implements Replicator {
  readonly table: OwnedTable;
  readonly members: Members;
  readonly #options: ReplicatorOptions;
  readonly #incarnation: number;
  readonly #heartbeatMs: number;
  readonly #leaseMs: number;
  readonly #replication: Replication;
  readonly #reading: SetReading;
  readonly #memberReading: MemberReading;
  readonly #trust: Trust;
  #isRunning = false;
  #undo: (() => void)[] = [];
  #tickedAt = 0;
  #beatAt = 0;
  #isFlushSet = false;
  /** A change could not be told though the link seemed to be up. */
  #isUntold = false;
  /** Another server is silent for so long that it may be dead. */
  #isSuspicious = false;
  #isSnapshotSet = false;
  #isWorkSet = false;
  #isReading = false;
  /** When the last pass over the own users began. */
  #readingSince = 0;
  #readBackoffMs = 0;
  /** Until then sessions may be opened with sets that were read before a loss. */
  #verifyUntil = 0;
  #malformed = 0;
  #snapshotsSent = 0;
  #dropped = 0;

  constructor(options: ReplicatorOptions) {
    const { server, clock, addresses, about, sinceWhen } = options;
    const incarnation = options.incarnation ?? clock.now();
    const now = (): number => clock.monotonic();
    this.#options = options;
    this.#incarnation = incarnation;
    this.#heartbeatMs = options.heartbeatMs ?? 1000;
    this.#leaseMs = options.leaseMs ?? 5000;
    this.table = new OwnedTable({
      server,
      incarnation,
      clock,
      hideMs: this.#leaseMs,
      horizonMs: HORIZON_MS,
      isTrusted: () => this.#isTrusted(),
      onOwnChange: () => this.#setFlush(),
      onOpened: (user) => this.#opened(user),
      onDoubted: (user) => this.#memberReading.add(user),
      onForgotten: () => this.#verify(),
    });
    const { index } = this.table;
    const load = (): number => this.table.ownSize;
    this.members = new Members({
      server,
      incarnation,
      clock,
      addresses,
      load,
      sinceWhen,
      about,
    });
    const onLoss = (): void => this.#lose();
    this.#replication = new Replication({ index, now, retryMs: RETRY_MS, onLoss });
    this.#reading = new SetReading(() => this.table.ownUsers());
    this.#memberReading = new MemberReading({
      clock,
      read: options.readDevices,
      take: (user, read) => this.table.takeDevices(user, read),
    });
    this.#trust = new Trust(now, QUIET * this.#heartbeatMs);
  }

  start(): void {
    const { bus, clock } = this.#options;
    this.#isRunning = true;
    this.#tickedAt = clock.monotonic();
    this.#readingSince = this.#tickedAt;
    this.#undo = [
      bus.subscribe(SESSIONS_SUBJECT, (bytes) => this.#heard(bytes)),
      bus.onLink((up) => {
        if (up) this.#linkIsBack();
      }),
      this.members.onChange(({ kind, member }) => {
        if (kind === "changed" && member.name === this.table.server) this.#beat();
      }),
    ];
    this.#trust.lose();
    this.#beat();
    this.#setTick();
  }

  stop(): void {
    if (!this.#isRunning) return;
    this.#flush();
    this.#say(this.members.heartbeat(this.table.publication.published, false, true));
    this.#isRunning = false;
    this.#memberReading.stop();
    for (const undo of this.#undo) undo();
  }

  stats(): ReplicatorStats {
    return {
      malformed: this.#malformed,
      gaps: this.#replication.gaps,
      snapshotsTaken: this.#replication.snapshotsTaken,
      snapshotsSent: this.#snapshotsSent,
      dropped: this.#dropped,
      strangers: this.members.strangers,
      published: this.table.publication.published,
      incarnation: this.#incarnation,
      replicas: this.#replication.replicas(),
    };
  }

  #isTrusted(): boolean {
    return (
      this.#trust.isCaughtUp &&
      this.#isRunning &&
      this.#options.bus.up &&
      !this.#isUntold &&
      !this.#isSuspicious &&
      // After a stall what the others said meanwhile is still to be read.
      this.#options.clock.monotonic() - this.#tickedAt <= SUSPICION * this.#heartbeatMs
    );
  }

  #heard(bytes: Uint8Array): void {
    const message = decode(bytes);
    switch (message?.kind) {
      case "heartbeat":
        this.#heardHeartbeat(message);
        break;
      case "delta":
        this.#replication.delta(message);
        break;
      case "page":
        this.#replication.page(message);
        break;
      case "snapshot-request":
        if (message.owner === this.table.server) this.#setSnapshot();
        return;
      case undefined:
        this.#malformed++;
        return;
    }
    this.#request();
    this.#setWork();
  }

  #heardHeartbeat(heartbeat: Heartbeat): void {
    const hearing = this.members.heard(heartbeat);
    if (hearing === "ignored") return;
    if (hearing === "left") {
      this.#replication.farewell(heartbeat);
      this.#review();
      return;
    }
    this.#replication.heartbeat(heartbeat);
    // One that is new here need not wait for our next.
    if (hearing !== "known") this.#beat();
    this.#review();
  }

  /** Something may have passed this server by. */
  #lose(): void {
    this.#trust.lose();
    this.#replication.lose();
    this.#verify();
    this.#rereadSets();
  }

  #rereadSets(): void {
    this.#readingSince = this.#options.clock.monotonic();
    this.#reading.begin();
    this.#read();
  }

  #linkIsBack(): void {
    this.members.pardon(Infinity);
    this.#lose();
    this.#beat();
  }

  #setTick(): void {
    this.#options.clock.after(TICK * this.#heartbeatMs, () => {
      if (!this.#isRunning) return;
      this.#tick();
      this.#setTick();
    });
  }

  #tick(): void {
    const now = this.#options.clock.monotonic();
    const late = now - this.#tickedAt - TICK * this.#heartbeatMs;
    this.#tickedAt = now;
    // A silence counts while this server was reading (L6).
    if (late > TICK * this.#heartbeatMs) this.members.pardon(late);
    if (late > SUSPICION * this.#heartbeatMs) this.#lose();
    this.table.index.expireHidden();
    // Without a link of its own a server hears nobody: what it knows of the others stays as it was (L8).
    if (!this.#options.bus.up) return;
    this.#dropSilent();
    if (now - this.#beatAt >= this.#heartbeatMs) this.#beat();
    this.#request();
    this.#review();
    if (now - this.#readingSince >= (this.#options.rereadMs ?? REREAD_MS)) this.#rereadSets();
  }

  #dropSilent(): void {
    for (const server of this.members.silentFor(this.#leaseMs)) {
      this.#dropped++;
      this.members.forget(server);
      this.#replication.drop(server);
      this.#lose();
    }
    this.#setWork();
    this.#isSuspicious = this.members.silentFor(SUSPICION * this.#heartbeatMs).length > 0;
  }

  /** Large partitions are withdrawn a step a turn, so that devices are served in between. */
  #setWork(): void {
    const { index } = this.table;
    if (this.#isWorkSet || !this.#isRunning || !index.hasWork) return;
    this.#isWorkSet = true;
    this.#options.clock.defer(() => {
      this.#isWorkSet = false;
      if (!this.#isRunning) return;
      index.work();
      this.#setWork();
    });
  }

  #review(): void {
    this.#trust.review(this.#reading.isDone && this.#replication.isComplete);
  }

  /** The version in a heartbeat is that of the deltas before it: whoever has another has missed one. */
  #beat(): void {
    this.#flush();
    if (this.#isUntold) return;
    this.#beatAt = this.#options.clock.monotonic();
    const { published } = this.table.publication;
    this.#say(this.members.heartbeat(published, this.#reading.isDone, false));
  }

  #request(): void {
    for (const owner of this.#replication.requestsDue()) {
      this.#say({ kind: "snapshot-request", server: this.table.server, owner });
    }
  }

  #setFlush(): void {
    if (this.#isFlushSet || !this.#isRunning) return;
    this.#isFlushSet = true;
    const { clock, bus, batchMs = 5 } = this.#options;
    const flush = (): void => {
      this.#isFlushSet = false;
      if (this.#isRunning && bus.up) this.#flush();
    };
    if (batchMs === 0) clock.defer(flush);
    else clock.after(batchMs, flush);
  }

  #flush(): void {
    try {
      this.table.publication.flush((delta) => this.#publish(delta));
      this.#isUntold = false;
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      this.#isUntold = true;
    }
  }

  #setSnapshot(): void {
    if (this.#isSnapshotSet || this.table.publication.isInSnapshot) return;
    this.#isSnapshotSet = true;
    this.#options.clock.after(GATHER_MS, () => {
      this.#isSnapshotSet = false;
      if (!this.#isRunning) return;
      this.table.publication.beginSnapshot();
      this.#sendPage();
    });
  }

  /** One page a turn, so that devices are served in between. */
  #sendPage(): void {
    const { publication } = this.table;
    this.#flush();
    const page = this.#isUntold || !this.#isRunning ? undefined : publication.nextPage();
    if (page === undefined || !this.#say(page)) {
      publication.abandonSnapshot();
    } else if (page.last) {
      this.#snapshotsSent++;
    } else {
      this.#options.clock.defer(() => this.#sendPage());
    }
  }

  #opened(user: string): void {
    if (this.#options.clock.monotonic() >= this.#verifyUntil) return;
    this.#reading.add(user);
    this.#read();
  }

  #verify(): void {
    this.#verifyUntil = this.#options.clock.monotonic() + HORIZON_MS;
  }

  #read(): void {
    if (this.#isReading || !this.#isRunning) return;
    const batch = this.#reading.next(USERS_PER_READ);
    if (batch === undefined) {
      this.#review();
      return;
    }
    this.#isReading = true;
    this.#options.refreshSets(batch.users).then(
      (sets) => {
        this.#isReading = false;
        this.#readBackoffMs = 0;
        for (const set of sets) this.table.index.takeSet(set.user, set);
        this.#read();
      },
      () => {
        // The store is away.
        this.#reading.failed(batch);
        this.#readBackoffMs = Math.min(2 * this.#readBackoffMs + 100, MAX_READ_BACKOFF_MS);
        this.#options.clock.after(this.#readBackoffMs, () => {
          this.#isReading = false;
          this.#read();
        });
      },
    );
  }

  /** False: the link is down. */
  #say(message: SessionMessage): boolean {
    try {
      this.#publish(message);
      return true;
    } catch (error) {
      if (error instanceof BusUnavailable) return false;
      throw error;
    }
  }

  #publish(message: SessionMessage): void {
    this.#options.bus.publish(SESSIONS_SUBJECT, encodeSessionMessage(message));
  }
}

function decode(bytes: Uint8Array): SessionMessage | undefined {
  try {
    return decodeSessionMessage(bytes);
  } catch (error) {
    if (error instanceof BadMessage) return undefined;
    throw error;
  }
}
