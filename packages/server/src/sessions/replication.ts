import type { Delta, Heartbeat, SetRecord, SnapshotPage } from "../cluster/session-messages.ts";
import type { SessionIndex } from "./session-index.ts";

export interface ReplicationOptions {
  readonly index: SessionIndex;
  /** Monotonic. */
  readonly now: () => number;
  /** From one request of a snapshot to the next, if no page comes; doubled each time up to eight times. */
  readonly retryMs: number;
  /** Something that was said may have passed this server by: a delta, and with it an announcement. */
  readonly onLoss: () => void;
}

/** How far the replica of another server's partition is. */
export interface ReplicaStats {
  /** Its owner. */
  readonly server: string;
  readonly incarnation: number;
  /** The owner's published version that it has reached; undefined: a snapshot is needed, or coming in. */
  readonly version: number | undefined;
  /** How long ago it was last known to be all that its owner had published, ms; if never, since the owner was met. */
  readonly confirmed: number;
}

/** How much of another server's partition is known. */
interface Replica {
  readonly incarnation: number;
  /** When it was last known to be complete. */
  confirmedAt: number;
  /** Position in the owner's stream of deltas; undefined: lost, a snapshot is needed. */
  version: number | undefined;
  taking: Taking | undefined;
  /** What the owner's last heartbeat said, after the last loss here. */
  isSettled: boolean;
  /** Requests in a row that brought no snapshot. */
  requests: number;
  /** When to request a snapshot, if one is needed. */
  requestAt: number;
  /** Till then a page of it may be on its way. */
  awaitedUntil: number;
}

/** A snapshot that is coming in. */
interface Taking {
  readonly snapshot: number;
  /** The page that has to come next. */
  page: number;
}

const MAX_BACKOFF = 8;

/**
 * The receiving side of replication: what deltas, pages and heartbeats of the other servers do to their partitions here. Pure: time
 * comes in, messages come in, and requests are asked for.
 *
 * Each owner's stream is FIFO and may have holes. A delta applies if it builds on the version that was reached; else there was a
 * hole, and the replica stays as it is, a little stale (L7), until a snapshot has come. A heartbeat with the version that was reached
 * confirms a replica without one. A snapshot is applied page by page as it comes, the deltas between its pages too; what no page and
 * no delta confirmed is swept away at its end.
 */
export class Replication {
  /** Deltas, pages or heartbeats that did not follow what was known. */
  gaps = 0;
  snapshotsTaken = 0;
  readonly #options: ReplicationOptions;
  readonly #replicas = new Map<string, Replica>();

  constructor(options: ReplicationOptions) {
    this.#options = options;
  }

  /** Every partition is as its owner last said, and every owner has read its users' sets again since the last loss. */
  get isComplete(): boolean {
    for (const { version, taking, isSettled } of this.#replicas.values()) {
      if (version === undefined || taking !== undefined || !isSettled) return false;
    }
    return true;
  }

  /** To be called with heartbeats that membership has not ignored. */
  heartbeat({ server, incarnation, version, settled }: Heartbeat): void {
    let replica = this.#known(server, incarnation);
    if (replica === undefined) {
      replica = this.#meet(server, incarnation, version);
    } else if (replica.version !== undefined && replica.version !== version) {
      this.#miss(replica);
    }
    replica.isSettled = settled;
    if (replica.version === version && replica.taking === undefined) {
      replica.confirmedAt = this.#options.now();
    }
  }

  /** The server's last heartbeat. */
  farewell({ server, incarnation, version }: Heartbeat): void {
    if (this.#known(server, incarnation)?.version !== version) this.#options.onLoss();
    this.drop(server);
  }

  delta({ server, incarnation, version, base, entries, removed, sets }: Delta): void {
    const replica = this.#known(server, incarnation);
    if (replica?.version === base) {
      for (const { user, device, goodbye } of removed) {
        this.#options.index.remove(server, user, device, goodbye);
      }
      for (const entry of entries) this.#options.index.put(entry, server);
      replica.version = version;
    } else {
      if (replica?.version !== undefined) this.#miss(replica);
      // What is said of a set holds whatever was missed before it, and whoever says it.
      this.#takeSets(entries);
    }
    this.#takeSets(sets);
  }

  page(page: SnapshotPage): void {
    const replica = this.#known(page.server, page.incarnation);
    if (replica === undefined) return;
    const isNeeded = replica.version === undefined || replica.taking !== undefined;
    if (isNeeded && page.page === 0) {
      // Announcements that were made while the position was lost are in no snapshot.
      this.#options.onLoss();
      replica.version = page.version;
      replica.taking = { snapshot: page.snapshot, page: 0 };
      this.#options.index.doubt(page.server);
    }
    const { taking } = replica;
    if (taking === undefined) return;
    const follows = page.snapshot === taking.snapshot && page.page === taking.page;
    if (!follows || page.version !== replica.version) {
      this.#miss(replica);
      return;
    }
    for (const entry of page.entries) this.#options.index.put(entry, page.server);
    taking.page++;
    replica.requestAt = this.#options.now() + this.#options.retryMs;
    replica.awaitedUntil = replica.requestAt;
    if (!page.last) return;
    replica.taking = undefined;
    replica.requests = 0;
    replica.confirmedAt = this.#options.now();
    this.snapshotsTaken++;
    this.#options.index.sweep(page.server);
  }

  /** The server is gone, with all its connections. */
  drop(server: string): void {
    this.#replicas.delete(server);
    this.#options.index.drop(server);
  }

  /** What this server could not hear, an owner may not have heard either: each has to say anew that it is settled. */
  lose(): void {
    for (const replica of this.#replicas.values()) replica.isSettled = false;
  }

  /**
   * Owners whose snapshot is to be requested now. One at a time: together the others send faster than this server reads, and what the
   * bus keeps for a slow reader has a bound, at which the link is lost and all begins anew (L10).
   */
  requestsDue(): readonly string[] {
    const now = this.#options.now();
    let due: [server: string, replica: Replica] | undefined;
    for (const [server, replica] of this.#replicas) {
      if (replica.version !== undefined && replica.taking === undefined) continue;
      if (now < replica.awaitedUntil) return [];
      if (now >= replica.requestAt) due ??= [server, replica];
    }
    if (due === undefined) return [];
    const [server, replica] = due;
    const backoff = Math.min(2 ** replica.requests++, MAX_BACKOFF);
    replica.requestAt = now + this.#options.retryMs * backoff;
    replica.awaitedUntil = now + this.#options.retryMs;
    return [server];
  }

  /** How far each replica is, for the operator. */
  replicas(): readonly ReplicaStats[] {
    const now = this.#options.now();
    return [...this.#replicas].map(([server, { incarnation, version, taking, confirmedAt }]) => ({
      server,
      incarnation,
      version: taking === undefined ? version : undefined,
      confirmed: now - confirmedAt,
    }));
  }

  #known(server: string, incarnation: number): Replica | undefined {
    const replica = this.#replicas.get(server);
    return replica?.incarnation === incarnation ? replica : undefined;
  }

  #meet(server: string, incarnation: number, version: number): Replica {
    const isRestart = this.#replicas.has(server);
    if (isRestart) this.drop(server);
    const replica: Replica = {
      incarnation,
      confirmedAt: this.#options.now(),
      version: version === 0 ? 0 : undefined,
      taking: undefined,
      isSettled: false,
      requests: 0,
      requestAt: this.#options.now(),
      awaitedUntil: -Infinity,
    };
    this.#replicas.set(server, replica);
    if (isRestart || version !== 0) this.#options.onLoss();
    return replica;
  }

  #miss(replica: Replica): void {
    this.gaps++;
    replica.version = undefined;
    replica.taking = undefined;
    replica.requestAt = this.#options.now();
    replica.awaitedUntil = -Infinity;
    this.#options.onLoss();
  }

  #takeSets(sets: readonly SetRecord[]): void {
    for (const set of sets) this.#options.index.takeSet(set.user, set);
  }
}
