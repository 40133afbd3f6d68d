import { createNameHash, type NameHash } from "./name-hash.ts";
import { type Partition, Records } from "./records.ts";
import { Slots } from "./slots.ts";
import type { Session } from "./table.ts";

const NONE: readonly Session[] = [];
/** Users whose sessions are kept as objects once they were asked for; one more takes the place of another. A power of two. */
const CACHE = 32_768;

/**
 * What is shown, by user; of one device at most one session. Compact: sessions are bytes, and become objects when they are asked for.
 * Neither an array nor an object that was handed out is changed later.
 */
export class ShownSessions {
  readonly #hash: NameHash;
  /** What was hashed last: one call of the index asks several times. */
  #lastUser = "";
  #lastHash: number;
  readonly #slots = new Slots();
  readonly #records = new Records();
  /** By hash. Users who are active would else be made into objects again and again. */
  readonly #cache: (readonly Session[] | undefined)[] = Array.from({ length: CACHE });
  /** Their hashes: to look into what is there for someone else would cost more than all the rest. */
  readonly #cached = new Int32Array(CACHE).fill(-1);
  readonly #found: number[] = [];

  constructor(hash: NameHash = createNameHash()) {
    this.#hash = hash;
    this.#lastHash = hash("");
  }

  /** Memory outside of the heap. */
  get bytes(): { readonly slots: number; readonly records: number } {
    return { slots: this.#slots.bytes, records: this.#records.bytes };
  }

  /** In the order in which they came. */
  of(user: string): readonly Session[] {
    const hash = this.#hash(user);
    this.#lastUser = user;
    this.#lastHash = hash;
    const place = hash % CACHE;
    if (this.#cached[place] === hash) {
      const sessions = this.#cache[place]!;
      if (sessions[0]!.user === user) return sessions;
    }
    const sessions = this.#read(hash, user);
    if (sessions !== NONE) {
      this.#cached[place] = hash;
      this.#cache[place] = sessions;
    }
    return sessions;
  }

  /** As {@link of}, of a user who is not active for it. */
  peek(user: string): readonly Session[] {
    return this.#read(this.#hashOf(user), user);
  }

  add(session: Session, partition: Partition, isConfirmed: boolean): void {
    const hash = this.#changing(session.user);
    this.#slots.insert(hash, this.#records.add(session, partition, isConfirmed));
  }

  /** Puts `next`, of `partition`, where `before` is, of the same device. */
  replace(before: Session, next: Session, partition: Partition, isConfirmed: boolean): void {
    const hash = this.#changing(next.user);
    const ref = this.#refOf(hash, before);
    if (this.#records.partitionOf(ref) === partition && this.#records.update(ref, next)) {
      if (isConfirmed) this.#records.confirm(ref);
      return;
    }
    this.#slots.replace(hash, ref, this.#records.add(next, partition, isConfirmed));
    this.#records.remove(ref);
  }

  remove(session: Session): void {
    const hash = this.#changing(session.user);
    const ref = this.#refOf(hash, session);
    this.#slots.delete(hash, ref);
    this.#records.remove(ref);
  }

  partitionOf(session: Session): Partition {
    return this.#records.partitionOf(this.#refOf(this.#hashOf(session.user), session));
  }

  /** From now on all sessions of the partition are in doubt, until they are confirmed. */
  doubt(partition: Partition): void {
    this.#records.doubt(partition);
  }

  confirm(session: Session): void {
    this.#records.confirm(this.#refOf(this.#hashOf(session.user), session));
  }

  isConfirmed(session: Session): boolean {
    return this.#records.isConfirmed(this.#refOf(this.#hashOf(session.user), session));
  }

  /** The sessions of a partition. Those that come while it runs may be among them, and those may be removed that it has named. */
  *in(partition: Partition): Generator<Session, void> {
    for (const ref of this.#records.refsOf(partition)) yield this.#records.read(ref);
  }

  /** As {@link in}, those that are in doubt; `undefined` for each that is not. */
  *inDoubt(partition: Partition): Generator<Session | undefined, void> {
    for (const ref of this.#records.refsOf(partition)) {
      yield this.#records.isConfirmed(ref) ? undefined : this.#records.read(ref);
    }
  }

  /** Gives back the memory of a partition whose sessions have been removed. */
  release(partition: Partition): void {
    this.#records.release(partition);
  }

  #read(hash: number, user: string): readonly Session[] {
    const found = this.#found;
    const count = this.#slots.find(hash, found);
    let sessions: Session[] | undefined;
    for (let i = 0; i < count; i++) {
      if (!this.#records.isOf(found[i]!, user)) continue;
      const session = this.#records.read(found[i]!, user);
      if (sessions === undefined) sessions = [session];
      else sessions.push(session);
    }
    return sessions ?? NONE;
  }

  #refOf(hash: number, { user, device }: Session): number {
    const found = this.#found;
    const count = this.#slots.find(hash, found);
    for (let i = 0; i < count; i++) {
      if (this.#records.isOf(found[i]!, user, device)) return found[i]!;
    }
    throw new RangeError("no such session");
  }

  #hashOf(user: string): number {
    if (user !== this.#lastUser) {
      this.#lastHash = this.#hash(user);
      this.#lastUser = user;
    }
    return this.#lastHash;
  }

  #changing(user: string): number {
    const hash = this.#hashOf(user);
    if (this.#cached[hash % CACHE] === hash) {
      this.#cached[hash % CACHE] = -1;
      this.#cache[hash % CACHE] = undefined;
    }
    return hash;
  }
}
