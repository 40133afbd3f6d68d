import type {
  Delta,
  RemovedRecord,
  SessionRecord,
  SetRecord,
  SnapshotPage,
} from "../cluster/session-messages.ts";
import { deviceKey } from "./departures.ts";
import type { SessionIndex } from "./session-index.ts";

export interface PublicationOptions {
  readonly server: string;
  readonly incarnation: number;
  readonly index: SessionIndex;
  /** Records in a delta or a page. Default 500. */
  readonly recordsPerMessage?: number;
  /** Changes that may wait while the link is down. Default 100,000. */
  readonly pendingLimit?: number;
}

/**
 * What a server tells the others of its own partition: deltas, in which only a device's last state counts, and snapshots. A set
 * announcement is never compacted away: it is the only word of a change for users who have no session here.
 */
export class Publication {
  readonly #options: PublicationOptions;
  readonly #recordsPerMessage: number;
  /** One for each change. */
  #version = 0;
  /** The version that the others were told. */
  #published = 0;
  /** Devices whose entry changed since. */
  readonly #changed = new Map<string, RemovedRecord>();
  /** Sets that were announced since. */
  #sets: SetRecord[] = [];
  #snapshot = 0;
  #page = 0;
  /** What of the snapshot under way is still to come. */
  #users: Iterator<string> | undefined;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.#recordsPerMessage = options.recordsPerMessage ?? 500;
  }

  /** The version that heartbeats tell. */
  get published(): number {
    return this.#published;
  }

  get hasChanges(): boolean {
    return this.#version > this.#published;
  }

  get isInSnapshot(): boolean {
    return this.#users !== undefined;
  }

  entryChanged(user: string, device: string, goodbye = false): void {
    this.#version++;
    this.#changed.set(deviceKey(user, device), { user, device, goodbye });
    this.#bound();
  }

  /** If nobody was told of the entry yet, at least they are told what it said of the set. */
  entryRemoved(entry: SessionRecord, goodbye: boolean): void {
    const { user, device, setVersion, setSize } = entry;
    const wasUntold = this.#changed.has(deviceKey(user, device));
    this.entryChanged(user, device, goodbye);
    if (wasUntold && setVersion > 0) this.setAnnounced({ user, setVersion, setSize });
  }

  setAnnounced(set: SetRecord): void {
    this.#version++;
    this.#sets.push(set);
    this.#bound();
  }

  /** Sends all that has changed. What `send` throws is thrown on; then what it was called for has not been told. */
  flush(send: (delta: Delta) => void): void {
    while (this.#changed.size > 0 || this.#sets.length > 0) {
      const keys = firstKeys(this.#changed, this.#recordsPerMessage);
      const sets = this.#sets.slice(0, this.#recordsPerMessage - keys.length);
      const delta = this.#compose(keys, sets);
      send(delta);
      for (const key of keys) this.#changed.delete(key);
      this.#sets.splice(0, sets.length);
      this.#published = delta.version;
    }
    this.#published = this.#version;
  }

  /** Begins a snapshot, unless one is under way. */
  beginSnapshot(): void {
    if (this.#users !== undefined) return;
    this.#users = this.#options.index.usersOf(this.#options.server)[Symbol.iterator]();
    this.#snapshot++;
    this.#page = 0;
  }

  /** Nobody can use the rest: a page could not be sent. */
  abandonSnapshot(): void {
    this.#users = undefined;
  }

  /**
   * The next page of the snapshot under way. To be called right after `flush`, so that a page says what the deltas before it have led
   * to. The snapshot is read as it goes; what changes meanwhile comes as deltas, in the same stream.
   */
  nextPage(): SnapshotPage | undefined {
    if (this.#users === undefined) return undefined;
    const { server, incarnation, index } = this.#options;
    const entries: SessionRecord[] = [];
    let last = false;
    while (!last && entries.length < this.#recordsPerMessage) {
      const next = this.#users.next();
      if (next.done === true) last = true;
      else entries.push(...index.entriesOf(server, next.value));
    }
    if (last) this.#users = undefined;
    const version = this.#published;
    const snapshot = this.#snapshot;
    return {
      kind: "page",
      server,
      incarnation,
      version,
      snapshot,
      page: this.#page++,
      last,
      entries,
    };
  }

  #compose(keys: readonly string[], sets: readonly SetRecord[]): Delta {
    const { server, incarnation, index } = this.#options;
    const entries: SessionRecord[] = [];
    const removed: RemovedRecord[] = [];
    for (const key of keys) {
      const changed = this.#changed.get(key)!;
      const entry = index.get(server, changed.user, changed.device);
      if (entry === undefined) removed.push(changed);
      else entries.push(entry);
    }
    const base = this.#published;
    // Of what was compacted no version is left; each record stands for one change at least, so this stays below the last.
    const records = keys.length + sets.length;
    const isLast = records === this.#changed.size + this.#sets.length;
    const version = isLast ? this.#version : base + records;
    return { kind: "delta", server, incarnation, version, base, entries, removed, sets };
  }

  /** At the bound all is dropped: the others will see the hole, ask for a snapshot, and read their users' sets again. */
  #bound(): void {
    if (this.#changed.size + this.#sets.length <= (this.#options.pendingLimit ?? 100_000)) return;
    this.#changed.clear();
    this.#sets = [];
    this.#published = this.#version;
  }
}

function firstKeys(map: ReadonlyMap<string, unknown>, count: number): string[] {
  const keys: string[] = [];
  for (const key of map.keys()) {
    if (keys.length === count) break;
    keys.push(key);
  }
  return keys;
}
