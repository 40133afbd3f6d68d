import type { SessionRecord } from "../../cluster/session-messages.ts";
import { isOnlyAdded, RecentSets, type SetFact } from "../recent-sets.ts";
import type { SessionIndexOptions } from "../session-index.ts";
import type { Session, SessionChange } from "../table.ts";

/** An entry that lost to one with a higher epoch. */
interface Hidden {
  entry: Session;
  /** When it is shown after all; undefined: not while the one that won is there. */
  until: number | undefined;
}

interface Partition {
  readonly users: Set<string>;
  size: number;
  /** Entries in doubt, by device and user. */
  unconfirmed: Set<string>;
}

const NONE: readonly Session[] = [];

/** What {@link SessionIndex} does, in plain maps and objects. */
export class PlainIndex {
  readonly #options: SessionIndexOptions;
  /** What is shown, by user. The arrays are never changed, so that a caller may keep one. */
  readonly #shown = new Map<string, readonly Session[]>();
  /** By user; there are few. */
  readonly #hidden = new Map<string, Hidden[]>();
  readonly #partitions = new Map<string, Partition>();
  readonly #sets: RecentSets;
  /** Changes to be told once the state is whole: a listener may call back. */
  #changes: SessionChange[] = [];
  #isTelling = false;

  constructor(options: SessionIndexOptions) {
    this.#options = options;
    const { horizonMs, onForgotten } = options;
    this.#sets = new RecentSets({ horizonMs, onForgotten });
  }

  lookup(user: string): readonly Session[] {
    return this.#shown.get(user) ?? NONE;
  }

  find(user: string, device: string): Session | undefined {
    for (const entry of this.lookup(user)) if (entry.device === device) return entry;
    return undefined;
  }

  /** The entry of one partition, shown or hidden. */
  get(server: string, user: string, device: string): Session | undefined {
    for (const entry of this.lookup(user)) {
      if (entry.device === device && entry.server === server) return entry;
    }
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
    return this.#partitions.get(server)?.size ?? 0;
  }

  /** Users with an entry in a partition. Those that come while it runs are among them. */
  usersOf(server: string): Iterable<string> {
    return this.#partition(server).users;
  }

  /** The entries of a user in one partition. */
  entriesOf(server: string, user: string): Session[] {
    const entries = this.lookup(user).filter((entry) => entry.server === server);
    for (const { entry } of this.#hidden.get(user) ?? []) {
      if (entry.server === server) entries.push(entry);
    }
    return entries;
  }

  /** Adds or replaces the entry of this device in the partition of `server`. */
  put(next: SessionRecord, server: string): void {
    const { user, device } = next;
    this.#partition(server).unconfirmed.delete(keyOf(next));
    const before = this.get(server, user, device);
    const fact = newer(this.#setOf(user), next);
    if (before !== undefined && isSame(before, next, fact)) return;
    const entry = makeSession(next, server, fact);
    if (before === undefined) {
      const partition = this.#partition(server);
      partition.size++;
      partition.users.add(user);
      this.#contend(entry);
    } else if (before.epoch === entry.epoch) {
      this.#replace(before, entry);
    } else {
      this.#supersede(before, entry);
    }
    this.#lift(user, fact);
    this.#tell();
  }

  remove(server: string, user: string, device: string, goodbye = false): Session | undefined {
    const entry = this.get(server, user, device);
    if (entry !== undefined) this.#withdraw(entry, goodbye);
    this.#tell();
    return entry;
  }

  /** Removes a partition whole. */
  drop(server: string): void {
    const users = this.#partitions.get(server)?.users ?? [];
    for (const user of users) {
      for (const entry of this.entriesOf(server, user)) this.#withdraw(entry);
    }
    this.#partitions.delete(server);
    this.#tell();
  }

  doubt(server: string): void {
    const partition = this.#partition(server);
    for (const user of partition.users) {
      for (const entry of this.entriesOf(server, user)) partition.unconfirmed.add(keyOf(entry));
    }
  }

  sweep(server: string): void {
    const partition = this.#partition(server);
    for (const user of partition.users) {
      for (const entry of this.entriesOf(server, user)) {
        if (partition.unconfirmed.has(keyOf(entry))) this.#withdraw(entry);
      }
    }
    partition.unconfirmed.clear();
    this.#tell();
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
    const now = this.#options.now();
    for (const hidden of [...this.#hidden.values()].flat()) {
      if (hidden.until === undefined || hidden.until > now) continue;
      this.#unhide(hidden.entry);
      this.#contend(hidden.entry);
    }
    this.#tell();
  }

  /** A new entry of a partition: shown, or hidden if it loses. */
  #contend(entry: Session): void {
    const current = this.find(entry.user, entry.device);
    if (current === undefined) {
      const others = this.#shown.get(entry.user);
      this.#shown.set(entry.user, others === undefined ? [entry] : [...others, entry]);
      this.#changes.push({ kind: "appeared", session: entry, before: undefined });
    } else if (wins(entry, current)) {
      this.#show(current, entry);
      this.#hide(current, undefined);
      this.#changes.push({ kind: "appeared", session: entry, before: current });
    } else {
      this.#hide(entry, undefined);
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
      return;
    }
    this.#show(before, entry);
    this.#changes.push({ kind: "changed", session: entry });
  }

  /** Another connection to the same server. */
  #supersede(before: Session, entry: Session): void {
    if (this.#unhide(before)) {
      this.#contend(entry);
    } else if (entry.epoch > before.epoch) {
      this.#show(before, entry);
      this.#changes.push({ kind: "appeared", session: entry, before });
    } else {
      this.#unshow(before);
      this.#contend(entry);
    }
  }

  /** The entry's owner has withdrawn it, or is gone. */
  #withdraw(entry: Session, goodbye = false): void {
    const { server, user } = entry;
    if (!this.#unhide(entry)) this.#unshow(entry, goodbye);
    // What it said of the set stays true.
    if (entry.setVersion > 0) this.#sets.add(user, entry, this.#options.now());
    const partition = this.#partition(server);
    partition.size--;
    if (this.entriesOf(server, user).length === 0) partition.users.delete(user);
  }

  #unshow(entry: Session, goodbye = false): void {
    const left = this.lookup(entry.user).filter((other) => other !== entry);
    if (left.length === 0) this.#shown.delete(entry.user);
    else this.#shown.set(entry.user, left);
    const until = this.#options.now() + this.#options.hideMs;
    for (const hidden of this.#hidden.get(entry.user) ?? []) {
      if (hidden.entry.device === entry.device) hidden.until = until;
    }
    this.#changes.push({ kind: "gone", session: entry, goodbye });
  }

  /** Puts `entry` where `before` is shown. */
  #show(before: Session, entry: Session): void {
    const entries = this.lookup(entry.user).map((other) => (other === before ? entry : other));
    this.#shown.set(entry.user, entries);
  }

  #hide(entry: Session, until: number | undefined): void {
    const hidden = this.#hidden.get(entry.user);
    if (hidden === undefined) this.#hidden.set(entry.user, [{ entry, until }]);
    else hidden.push({ entry, until });
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

  /** The newest set of the user that was heard of. */
  #setOf(user: string): SetFact | undefined {
    return this.lookup(user)[0] ?? this.#hidden.get(user)?.[0]?.entry ?? this.#sets.of(user);
  }

  /** All entries of the user take on a set, if theirs is older. */
  #lift(user: string, fact: SetFact): void {
    const shown = this.lookup(user);
    for (const entry of shown) {
      if (entry.setVersion >= fact.setVersion) continue;
      const lifted = makeSession(entry, entry.server, fact);
      this.#show(entry, lifted);
      this.#changes.push({ kind: "changed", session: lifted });
      if (lifted.server === this.#options.own) this.#options.onLifted(lifted);
    }
    for (const hidden of this.#hidden.get(user) ?? []) {
      if (hidden.entry.setVersion >= fact.setVersion) continue;
      hidden.entry = makeSession(hidden.entry, hidden.entry.server, fact);
      if (hidden.entry.server === this.#options.own) this.#options.onLifted(hidden.entry);
    }
  }

  #partition(server: string): Partition {
    let partition = this.#partitions.get(server);
    if (partition === undefined) {
      partition = { users: new Set(), size: 0, unconfirmed: new Set() };
      this.#partitions.set(server, partition);
    }
    return partition;
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

function keyOf({ user, device }: { user: string; device: string }): string {
  return `${device} ${user}`;
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
