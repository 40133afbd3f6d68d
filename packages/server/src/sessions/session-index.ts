import type { SessionRecord } from "../cluster/session-messages.ts";
import type { NameHash } from "./name-hash.ts";
import { isOnlyAdded, RecentSets, type SetFact } from "./recent-sets.ts";
import { makePartition, type Partition } from "./records.ts";
import { ShownSessions } from "./shown-sessions.ts";
import type { Session, SessionChange } from "./table.ts";

/** An entry that lost to one with a higher epoch. */
interface Hidden {
  entry: Session;
  /** When it is shown after all; undefined: not while the one that won is there. */
  until: number | undefined;
  isConfirmed: boolean;
}

interface OwnerState {
  readonly partition: Partition;
  /** Users with an entry; only of the own partition, whose users are asked for again and again. */
  readonly users: Set<string> | undefined;
  /** Entries, shown or hidden. */
  size: number;
}

export interface SessionIndexOptions {
  /** Name of the server whose own partition is in here. */
  readonly own: string;
  /** Monotonic. */
  readonly now: () => number;
  /** How long an entry that lost stays hidden after the one that won is gone. */
  readonly hideMs: number;
  /** How long a set that was heard of is kept for sessions that are being opened. */
  readonly horizonMs: number;
  /** An own entry has taken on a newer set. */
  readonly onLifted: (entry: Session) => void;
  readonly onChange: (change: SessionChange) => void;
  /** Sets younger than `horizonMs` had to be forgotten. */
  readonly onForgotten: () => void;
  /** Default: one with a key of its own. */
  readonly hash?: NameHash;
}

/** Entries that one step of a chore removes, or passes over, at most. */
const REMOVED_PER_STEP = 500;
const PASSED_PER_STEP = 20_000;

/**
 * All partitions, by user. Of one device at most one entry is shown: the one with the highest epoch. One that lost is hidden: its
 * owner will close the connection, and until it has said so the entry names a connection that its device has given up. If the one that
 * won goes away first, the other stays hidden for `hideMs`; if its owner has not withdrawn it by then (it may never have seen the
 * winner), the owner's word counts again, because an owner is the only writer of its partition.
 *
 * A user's set of durable devices is one fact, the highest version wins: all entries of a user carry the newest that was heard of. Whether
 * an entry's device is one of it is known as long as only additions were heard of; then its owner has to find out.
 *
 * What would take long, because a partition is large, is a chore: its first step is done at once, the others in {@link work}.
 */
export class SessionIndex {
  readonly #options: SessionIndexOptions;
  readonly #shown: ShownSessions;
  /** By user; there are few. */
  readonly #hidden = new Map<string, Hidden[]>();
  readonly #owners = new Map<string, OwnerState>();
  /** Partitions of servers that were dropped, with the entries that are still to be withdrawn. */
  readonly #leaving = new Set<Partition>();
  /** Each step withdraws some entries. At most one a partition. */
  readonly #chores = new Map<Partition, Iterator<void>>();
  readonly #sets: RecentSets;
  /** Changes to be told once the state is whole: a listener may call back. */
  #changes: SessionChange[] = [];
  #isTelling = false;

  constructor(options: SessionIndexOptions) {
    this.#options = options;
    const { horizonMs, onForgotten, hash } = options;
    this.#shown = new ShownSessions(hash);
    this.#sets = new RecentSets({ horizonMs, onForgotten });
  }

  lookup(user: string): readonly Session[] {
    return this.#shown.of(user);
  }

  find(user: string, device: string): Session | undefined {
    return ofDevice(this.lookup(user), device);
  }

  /** The entry of one partition, shown or hidden. */
  get(server: string, user: string, device: string): Session | undefined {
    const shown = this.find(user, device);
    if (shown?.server === server && !this.#isLeaving(shown)) return shown;
    return this.#findHidden(server, user, device)?.entry;
  }

  /** 0: no entry of the device is known. */
  highestEpoch(user: string, device: string): number {
    let highest = this.find(user, device)?.epoch ?? 0;
    for (const { entry } of this.#hidden.get(user) ?? []) {
      if (entry.device === device) highest = Math.max(highest, entry.epoch);
    }
    return highest;
  }

  /** Number of entries of a partition. */
  sizeOf(server: string): number {
    return this.#owners.get(server)?.size ?? 0;
  }

  /** Memory outside of the heap. */
  get bytes(): { readonly slots: number; readonly records: number } {
    return this.#shown.bytes;
  }

  /** Users with an entry in a partition. Of the own one it is cheap, and those that come while it runs are among them. */
  usersOf(server: string): Iterable<string> {
    const { users, partition } = this.#owner(server);
    if (users !== undefined) return users;
    const found = new Set<string>();
    for (const { user } of this.#shown.in(partition)) found.add(user);
    for (const { entry } of this.#allHidden()) if (entry.server === server) found.add(entry.user);
    return found;
  }

  /** The entries of a user in one partition. */
  entriesOf(server: string, user: string): Session[] {
    const entries = this.#shown
      .peek(user)
      .filter((entry) => entry.server === server && !this.#isLeaving(entry));
    for (const { entry } of this.#hidden.get(user) ?? []) {
      if (entry.server === server) entries.push(entry);
    }
    return entries;
  }

  /** Adds or replaces the entry of this device in the partition of `server`, and confirms it. */
  put(next: SessionRecord, server: string): void {
    const { user, device } = next;
    this.#withdrawLeaving(user);
    const shown = this.lookup(user);
    const current = ofDevice(shown, device);
    const hidden = this.#findHidden(server, user, device);
    const before = current?.server === server ? current : hidden?.entry;
    const known = shown[0] ?? this.#setOfAbsent(user);
    const fact = newer(known, next);
    if (before !== undefined && isSame(before, next, fact)) {
      this.#confirm(before, server);
      return;
    }
    const entry = makeSession(next, server, fact);
    if (before === undefined) {
      const owner = this.#owner(server);
      owner.size++;
      owner.users?.add(user);
      this.#contend(entry, current, true);
    } else if (before.epoch === entry.epoch) {
      this.#replace(before, entry);
    } else {
      this.#supersede(before, entry);
    }
    if (known !== undefined) this.#lift(user, fact);
    this.#tell();
  }

  remove(server: string, user: string, device: string, goodbye = false): Session | undefined {
    this.#withdrawLeaving(user);
    const entry = this.get(server, user, device);
    if (entry !== undefined) this.#withdraw(entry, goodbye);
    this.#tell();
    return entry;
  }

  /** Removes a partition whole; if it is large, in steps: till then its entries are stale (L7). It may come anew at once. */
  drop(server: string): void {
    const owner = this.#owners.get(server);
    if (owner === undefined) return;
    for (const { entry } of this.#allHidden()) if (entry.server === server) this.#withdraw(entry);
    this.#owners.delete(server);
    this.#leaving.add(owner.partition);
    this.#begin(owner.partition, this.#leave(owner.partition));
  }

  /** A snapshot of a partition begins: what is not put before it is complete is not there any more. */
  doubt(server: string): void {
    const { partition } = this.#owner(server);
    this.#chores.delete(partition);
    this.#shown.doubt(partition);
    for (const hidden of this.#allHidden()) {
      if (hidden.entry.server === server) hidden.isConfirmed = false;
    }
  }

  /** The snapshot is complete: withdraws what is in doubt, in steps. */
  sweep(server: string): void {
    const { partition } = this.#owner(server);
    for (const { entry, isConfirmed } of this.#allHidden()) {
      if (entry.server === server && !isConfirmed) this.#withdraw(entry);
    }
    this.#begin(partition, this.#sweep(partition));
  }

  /** Whether there are chores. */
  get hasWork(): boolean {
    return this.#chores.size > 0;
  }

  /** One step of each chore: a millisecond or so. */
  work(): void {
    for (const [partition, chore] of this.#chores) this.#step(partition, chore);
  }

  /** A user's set has changed. False: this version was known, or a newer one; 0 is the version of no set. */
  takeSet(user: string, fact: SetFact): boolean {
    if ((this.#setOf(user)?.setVersion ?? 0) >= fact.setVersion) return false;
    this.#sets.add(user, fact, this.#options.now());
    this.#lift(user, fact);
    this.#tell();
    return true;
  }

  /** Shows what was hidden for long enough. */
  expireHidden(): void {
    if (this.#hidden.size === 0) return;
    const now = this.#options.now();
    for (const { entry, until, isConfirmed } of this.#allHidden()) {
      if (until === undefined || until > now) continue;
      this.#withdrawLeaving(entry.user);
      this.#unhide(entry);
      this.#contend(entry, this.find(entry.user, entry.device), isConfirmed);
    }
    this.#tell();
  }

  /** A new entry of a partition: shown, or hidden if it loses to `current`. */
  #contend(entry: Session, current: Session | undefined, isConfirmed: boolean): void {
    const { partition } = this.#owner(entry.server);
    if (current === undefined) {
      this.#shown.add(entry, partition, isConfirmed);
      this.#changes.push({ kind: "appeared", session: entry, before: undefined });
    } else if (wins(entry, current)) {
      this.#hide(current, undefined, this.#shown.isConfirmed(current));
      this.#shown.replace(current, entry, partition, isConfirmed);
      this.#changes.push({ kind: "appeared", session: entry, before: current });
    } else {
      this.#hide(entry, undefined, isConfirmed);
      // Its connection is to be closed as `replaced`, as if it had been here first.
      if (entry.server === this.#options.own) {
        this.#changes.push({ kind: "appeared", session: current, before: entry });
      }
    }
  }

  /** Another state of the same connection. */
  #replace(before: Session, entry: Session): void {
    const hidden = this.#findHidden(before.server, before.user, before.device);
    if (hidden !== undefined) {
      hidden.entry = entry;
      hidden.isConfirmed = true;
      return;
    }
    this.#shown.replace(before, entry, this.#owner(entry.server).partition, true);
    this.#changes.push({ kind: "changed", session: entry });
  }

  /** Another connection to the same server. */
  #supersede(before: Session, entry: Session): void {
    if (!this.#unhide(before)) {
      if (entry.epoch > before.epoch) {
        this.#shown.replace(before, entry, this.#owner(entry.server).partition, true);
        this.#changes.push({ kind: "appeared", session: entry, before });
        return;
      }
      this.#unshow(before);
    }
    this.#contend(entry, this.find(entry.user, entry.device), true);
  }

  /** The entry's owner has withdrawn it. */
  #withdraw(entry: Session, goodbye = false): void {
    const { server, user } = entry;
    if (!this.#unhide(entry)) this.#unshow(entry, goodbye);
    this.#remember(entry);
    const owner = this.#owner(server);
    owner.size--;
    if (owner.users !== undefined && this.entriesOf(server, user).length === 0) {
      owner.users.delete(user);
    }
  }

  /** What an entry that goes said of the set stays true. */
  #remember(entry: Session): void {
    if (entry.setVersion > 0) this.#sets.add(entry.user, entry, this.#options.now());
  }

  #isLeaving(entry: Session): boolean {
    return this.#leaving.size > 0 && this.#leaving.has(this.#shown.partitionOf(entry));
  }

  /** What is heard of a user meets no entry of a server that was dropped. */
  #withdrawLeaving(user: string): void {
    if (this.#leaving.size === 0) return;
    for (const entry of this.lookup(user)) {
      if (!this.#isLeaving(entry)) continue;
      this.#unshow(entry);
      this.#remember(entry);
    }
  }

  #begin(partition: Partition, chore: Iterator<void>): void {
    this.#chores.set(partition, chore);
    this.#step(partition, chore);
  }

  #step(partition: Partition, chore: Iterator<void>): void {
    if (chore.next().done === true && this.#chores.get(partition) === chore) {
      this.#chores.delete(partition);
    }
    this.#tell();
  }

  *#leave(partition: Partition): Generator<void, void> {
    let removed = 0;
    for (const entry of this.#shown.in(partition)) {
      if (++removed % REMOVED_PER_STEP === 0) yield;
      this.#unshow(entry);
      this.#remember(entry);
    }
    this.#shown.release(partition);
    this.#leaving.delete(partition);
  }

  *#sweep(partition: Partition): Generator<void, void> {
    let removed = 0;
    let passed = 0;
    for (const entry of this.#shown.inDoubt(partition)) {
      if (entry === undefined) {
        if (++passed % PASSED_PER_STEP === 0) yield;
        continue;
      }
      this.#withdraw(entry);
      if (++removed % REMOVED_PER_STEP === 0) yield;
    }
    partition.isConfirmed = true;
  }

  #unshow(entry: Session, goodbye = false): void {
    this.#shown.remove(entry);
    const until = this.#options.now() + this.#options.hideMs;
    for (const hidden of this.#hidden.get(entry.user) ?? []) {
      if (hidden.entry.device === entry.device) hidden.until = until;
    }
    this.#changes.push({ kind: "gone", session: entry, goodbye });
  }

  #confirm(entry: Session, server: string): void {
    if (this.#owner(server).partition.isConfirmed) return;
    const hidden = this.#findHidden(server, entry.user, entry.device);
    if (hidden === undefined) this.#shown.confirm(entry);
    else hidden.isConfirmed = true;
  }

  #hide(entry: Session, until: number | undefined, isConfirmed: boolean): void {
    const hidden = this.#hidden.get(entry.user);
    if (hidden === undefined) this.#hidden.set(entry.user, [{ entry, until, isConfirmed }]);
    else hidden.push({ entry, until, isConfirmed });
  }

  /** False: it was not hidden. */
  #unhide(entry: Session): boolean {
    const all = this.#hidden.get(entry.user);
    if (all === undefined) return false;
    const left = all.filter((hidden) => hidden.entry !== entry);
    if (left.length === 0) this.#hidden.delete(entry.user);
    else this.#hidden.set(entry.user, left);
    return left.length < all.length;
  }

  #findHidden(server: string, user: string, device: string): Hidden | undefined {
    if (this.#hidden.size === 0) return undefined;
    return this.#hidden
      .get(user)
      ?.find(({ entry }) => entry.device === device && entry.server === server);
  }

  #allHidden(): Hidden[] {
    return this.#hidden.size === 0 ? [] : [...this.#hidden.values()].flat();
  }

  /** The newest set of the user that was heard of. */
  #setOf(user: string): SetFact | undefined {
    return this.lookup(user)[0] ?? this.#setOfAbsent(user);
  }

  /** Of a user of whom nothing is shown. */
  #setOfAbsent(user: string): SetFact | undefined {
    const hidden = this.#hidden.size === 0 ? undefined : this.#hidden.get(user);
    return hidden?.[0]?.entry ?? this.#sets.of(user);
  }

  /** All entries of the user take on a set, if theirs is older. */
  #lift(user: string, fact: SetFact): void {
    for (const entry of this.lookup(user)) {
      if (entry.setVersion >= fact.setVersion) continue;
      const lifted = makeSession(entry, entry.server, fact);
      const partition = this.#shown.partitionOf(entry);
      this.#shown.replace(entry, lifted, partition, this.#shown.isConfirmed(entry));
      this.#changes.push({ kind: "changed", session: lifted });
      if (lifted.server === this.#options.own) this.#options.onLifted(lifted);
    }
    for (const hidden of this.#hidden.get(user) ?? []) {
      if (hidden.entry.setVersion >= fact.setVersion) continue;
      hidden.entry = makeSession(hidden.entry, hidden.entry.server, fact);
      if (hidden.entry.server === this.#options.own) this.#options.onLifted(hidden.entry);
    }
  }

  #owner(server: string): OwnerState {
    let owner = this.#owners.get(server);
    if (owner === undefined) {
      const users = server === this.#options.own ? new Set<string>() : undefined;
      owner = { partition: makePartition(server), users, size: 0 };
      this.#owners.set(server, owner);
    }
    return owner;
  }

  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    try {
      while (this.#changes.length > 0) {
        const changes = this.#changes;
        this.#changes = [];
        for (const change of changes) this.#options.onChange(change);
      }
    } finally {
      this.#isTelling = false;
    }
  }
}

function ofDevice(sessions: readonly Session[], device: string): Session | undefined {
  for (const session of sessions) if (session.device === device) return session;
  return undefined;
}

function wins(a: Session, b: Session): boolean {
  return a.epoch === b.epoch ? a.server > b.server : a.epoch > b.epoch;
}

function newer(known: SetFact | undefined, fact: SetFact): SetFact {
  return known !== undefined && known.setVersion > fact.setVersion ? known : fact;
}

function isSame(entry: Session, next: SessionRecord, fact: SetFact): boolean {
  return (
    entry.epoch === next.epoch &&
    entry.durable === next.durable &&
    entry.background === next.background &&
    entry.setVersion === fact.setVersion &&
    entry.setSize === fact.setSize &&
    entry.member === isMember(next, fact)
  );
}

/** Who takes on a newer set is known to be one of it if nobody can have left since. */
function isMember(session: SessionRecord, fact: SetFact): boolean {
  return session.member && isOnlyAdded(session, fact);
}

/** Field by field, so that all entries have one shape. */
function makeSession(session: SessionRecord, server: string, fact: SetFact): Session {
  return {
    user: session.user,
    device: session.device,
    server,
    epoch: session.epoch,
    durable: session.durable,
    background: session.background,
    setVersion: fact.setVersion,
    setSize: fact.setSize,
    member: isMember(session, fact),
  };
}
