/**
 * The users that a user has exchanged messages with, and how much:
 *
 *     W(u, v) = Σ over their messages, both ways, of  2^(-age / 30 d) + κ · 2^(-age / 6 h)
 *
 * kept as two sums a tie, which are decayed when the user's ties are touched and at no other time.
 */
import type { Millis } from "@beckon/protocol";

import { AgingMap } from "../lib/aging-map.ts";
import type { TieChange, TieSums } from "../store/store.ts";
import { added } from "../store/ties.ts";
import { longDecay, shortDecay, weigh } from "../store/weight.ts";
import { Names } from "./names.ts";
import { type Block, TieBlocks } from "./tie-blocks.ts";

export interface Tie {
  readonly peer: string;
  readonly weight: number;
}

export interface AssociatesOptions {
  /** Milliseconds since 1970. */
  readonly now: () => Millis;
  /** Associates of one user; of more the weakest is forgotten. */
  readonly perUser?: number;
  /** Users whose ties are kept; of more the one who was touched longest ago is forgotten. */
  readonly users?: number;
  /** Pairs whose changes wait to be stored; of more the changes are not stored, and counted. */
  readonly changes?: number;
}

interface Circle {
  /** The user's number. */
  readonly self: number;
  /** When its sums were decayed last. */
  at: Millis;
  size: number;
  sizeClass: number;
  block: Block;
}

const PER_USER = 64;
const USERS = 1_000_000;
const CHANGES = 65_536;

export class Associates {
  /** Changes of pairs that had no place among those that wait. */
  unstored = 0;
  readonly #options: Required<AssociatesOptions>;
  readonly #names = new Names();
  readonly #blocks = new TieBlocks();
  readonly #circles = new AgingMap<Circle>();
  /** By both ids; an id has no control characters. */
  readonly #changes = new Map<string, TieChange>();

  constructor({ now, perUser = PER_USER, users = USERS, changes = CHANGES }: AssociatesOptions) {
    this.#options = { now, perUser, users, changes };
  }

  /** Users whose ties are kept. */
  get users(): number {
    return this.#circles.size;
  }

  /** Pairs whose changes wait to be stored. */
  get waiting(): number {
    return this.#changes.size;
  }

  /** Users who are known, as somebody's associates at least. */
  get names(): number {
    return this.#names.size;
  }

  /** Of the ties; the names come on top. */
  get bytes(): number {
    return this.#blocks.bytes;
  }

  /** A message between the two was accepted. `share`: of one to a group of n it is 1 / (n - 1). */
  exchanged(from: string, to: string, share: number = 1): void {
    const at = this.#options.now();
    this.#strengthen(from, to, share, share, at);
    this.#strengthen(to, from, share, share, at);
    this.#note(from, to, share, at);
  }

  /** The same for a message to `user`, who is connected here, that another server has accepted: it is for that one to store. */
  heard(user: string, from: string, share: number = 1): void {
    this.#strengthen(user, from, share, share, this.#options.now());
  }

  /** Whether the user's ties together weigh as much. */
  reach(user: string, weight: number): boolean {
    const circle = this.#circles.get(user);
    if (circle === undefined) return weight <= 0;
    const age = this.#options.now() - circle.at;
    const [longAged, shortAged] = [longDecay(age), shortDecay(age)];
    const { long, short } = this.#blocks.page(circle.block);
    const first = this.#blocks.first(circle.block);
    let sum = 0;
    for (let i = first; i < first + circle.size; i++) {
      sum += weigh(long[i]! * longAged, short[i]! * shortAged);
    }
    return sum >= weight;
  }

  /** How many associates are known of the user. */
  count(user: string): number {
    return this.#circles.get(user)?.size ?? 0;
  }

  /** All associates of the user, in no order. */
  each(user: string, visit: (peer: string, weight: number) => void): void {
    const circle = this.#circles.get(user);
    if (circle === undefined) return;
    const age = this.#options.now() - circle.at;
    const [long, short] = [longDecay(age), shortDecay(age)];
    const page = this.#blocks.page(circle.block);
    const first = this.#blocks.first(circle.block);
    for (let i = first; i < first + circle.size; i++) {
      visit(this.#names.name(page.peers[i]!), weigh(page.long[i]! * long, page.short[i]! * short));
    }
  }

  /** The strongest first; of two that are equal the smaller id. */
  top(user: string, k: number): Tie[] {
    const ties: Tie[] = [];
    this.each(user, (peer, weight) => ties.push({ peer, weight }));
    ties.sort((x, y) => y.weight - x.weight || (x.peer < y.peer ? -1 : 1));
    return ties.slice(0, k);
  }

  /** What the store says of a tie, in place of what is known here; changes that wait are added. */
  learn(user: string, peer: string, stored: TieSums): void {
    const waiting = this.#changes.get(keyOf(user, peer));
    const known = waiting === undefined ? stored : added(stored, waiting);
    const now = Math.max(this.#options.now(), known.at);
    const circle = this.#touch(user, now);
    const age = circle.at - known.at;
    const tie = this.#tie(circle, peer);
    const page = this.#blocks.page(circle.block);
    page.long[tie] = known.long * longDecay(age);
    page.short[tie] = known.short * shortDecay(age);
  }

  /** At most so many changes, oldest first: they are the caller's now. */
  takeChanges(most: number): TieChange[] {
    const taken: TieChange[] = [];
    for (const [key, change] of this.#changes) {
      if (taken.length >= most) break;
      this.#changes.delete(key);
      taken.push(change);
    }
    return taken;
  }

  /** Changes that could not be stored wait again, behind those that have come since. */
  putBack(changes: readonly TieChange[]): void {
    for (const change of changes) this.#wait(change);
  }

  /** Puts the user's ties away; the store has them. */
  forget(user: string): void {
    const circle = this.#circles.get(user);
    if (circle === undefined) return;
    const page = this.#blocks.page(circle.block);
    const first = this.#blocks.first(circle.block);
    for (let i = first; i < first + circle.size; i++) this.#names.release(page.peers[i]!);
    this.#names.release(circle.self);
    this.#blocks.release(circle.sizeClass, circle.block);
    this.#circles.delete(user);
  }

  /** Nothing that names the user is left, neither of its own nor with others. Looks at everybody: for the rare wish to be erased. */
  erase(user: string): void {
    this.forget(user);
    for (const [key, { a, b }] of this.#changes)
      if (a === user || b === user) this.#changes.delete(key);
    if (this.#names.find(user) === undefined) return;
    for (const circle of this.#circles.values()) {
      const at = this.#find(circle, user);
      if (at >= 0) this.#remove(circle, at);
    }
  }

  #strengthen(user: string, peer: string, long: number, short: number, at: Millis): void {
    const circle = this.#touch(user, at);
    const tie = this.#tie(circle, peer);
    const page = this.#blocks.page(circle.block);
    page.long[tie]! += long;
    page.short[tie]! += short;
  }

  /** Where the tie is in the circle's page; one that is new weighs nothing. */
  #tie(circle: Circle, peer: string): number {
    const at = this.#find(circle, peer);
    return at < 0 ? this.#add(circle, peer) : at;
  }

  /** The user's circle, decayed until now, and the youngest of all. */
  #touch(user: string, at: Millis): Circle {
    let circle = this.#circles.get(user);
    if (circle === undefined) {
      if (this.#circles.size >= this.#options.users) this.forget(this.#circles.oldest!);
      const self = this.#names.take(user);
      circle = { self, at, size: 0, sizeClass: 0, block: this.#blocks.take(0) };
    } else if (at > circle.at) {
      const [long, short] = [longDecay(at - circle.at), shortDecay(at - circle.at)];
      const page = this.#blocks.page(circle.block);
      const first = this.#blocks.first(circle.block);
      for (let i = first; i < first + circle.size; i++) {
        page.long[i]! *= long;
        page.short[i]! *= short;
      }
      circle.at = at;
    }
    this.#circles.set(user, circle);
    return circle;
  }

  /** The index in the circle's page; -1: none. */
  #find(circle: Circle, peer: string): number {
    const number = this.#names.find(peer);
    if (number === undefined) return -1;
    const { peers } = this.#blocks.page(circle.block);
    const first = this.#blocks.first(circle.block);
    for (let i = first; i < first + circle.size; i++) if (peers[i] === number) return i;
    return -1;
  }

  #add(circle: Circle, peer: string): number {
    if (circle.size >= this.#options.perUser) this.#remove(circle, this.#weakest(circle));
    if (circle.size === this.#blocks.capacity(circle.sizeClass)) {
      circle.block = this.#blocks.grow(circle.sizeClass, circle.block);
      circle.sizeClass++;
    }
    const page = this.#blocks.page(circle.block);
    const at = this.#blocks.first(circle.block) + circle.size++;
    page.peers[at] = this.#names.take(peer);
    page.long[at] = 0;
    page.short[at] = 0;
    return at;
  }

  /** The last of the circle takes its place. */
  #remove(circle: Circle, at: number): void {
    const page = this.#blocks.page(circle.block);
    const last = this.#blocks.first(circle.block) + --circle.size;
    this.#names.release(page.peers[at]!);
    page.peers[at] = page.peers[last]!;
    page.long[at] = page.long[last]!;
    page.short[at] = page.short[last]!;
  }

  #weakest(circle: Circle): number {
    const page = this.#blocks.page(circle.block);
    const first = this.#blocks.first(circle.block);
    let weakest = first;
    let least = Infinity;
    for (let i = first; i < first + circle.size; i++) {
      const weight = weigh(page.long[i]!, page.short[i]!);
      if (weight < least) [weakest, least] = [i, weight];
    }
    return weakest;
  }

  #note(from: string, to: string, share: number, at: Millis): void {
    const [a, b] = from < to ? [from, to] : [to, from];
    this.#wait({ a, b, long: share, short: share, at });
  }

  #wait(change: TieChange): void {
    const key = keyOf(change.a, change.b);
    const waiting = this.#changes.get(key);
    if (waiting !== undefined) this.#changes.set(key, { ...waiting, ...added(waiting, change) });
    else if (this.#changes.size < this.#options.changes) this.#changes.set(key, change);
    else this.unstored++;
  }
}

function keyOf(a: string, b: string): string {
  return a < b ? `${a}\n${b}` : `${b}\n${a}`;
}
