/** Ties, in plain code: the other backends are held against this one. */
import type { Millis } from "@beckon/protocol";

import type { StoredTie, TieChange, TieSums } from "./store.ts";
import {
  CROWD,
  FADE_SLICE,
  FAINT,
  TIES_PER_USER,
  added,
  byWeight,
  circleSize,
  latest,
  sidesOfChanges,
  weightAt,
} from "./ties.ts";

export class MemoryTies {
  /** By user and peer. */
  readonly #users = new Map<string, Map<string, TieSums>>();

  strengthen(changes: readonly TieChange[]): void {
    const touched = new Set<string>();
    for (const { user, peer, long, short, at } of sidesOfChanges(changes)) {
      const ties = this.#users.get(user) ?? new Map<string, TieSums>();
      this.#users.set(user, ties);
      const known = ties.get(peer);
      const come = { long, short, at };
      ties.set(peer, known === undefined ? come : added(known, come));
      if (ties.size > CROWD) touched.add(user);
    }
    const now = latest(changes);
    for (const user of touched) {
      for (const { peer } of this.#ordered(user, now).slice(TIES_PER_USER)) this.#drop(user, peer);
    }
  }

  circle(user: string, k: number, now: Millis): StoredTie[] {
    return this.#ordered(user, now).slice(0, circleSize(k));
  }

  fade(after: string, now: Millis): string {
    let looked = 0;
    for (const user of [...this.#users.keys()].filter((name) => name > after).sort()) {
      const ties = [...this.#users.get(user)!];
      for (const [peer, sums] of ties) if (weightAt(sums, now) < FAINT) this.#drop(user, peer);
      looked += ties.length;
      if (looked >= FADE_SLICE) return user;
    }
    return "";
  }

  erase(user: string): void {
    this.#users.delete(user);
    for (const other of this.#users.keys()) this.#drop(other, user);
  }

  #ordered(user: string, now: Millis): StoredTie[] {
    const ties = [...(this.#users.get(user) ?? [])].map(([peer, sums]) => ({ peer, ...sums }));
    return byWeight(ties, now);
  }

  #drop(user: string, peer: string): void {
    const ties = this.#users.get(user);
    ties?.delete(peer);
    if (ties?.size === 0) this.#users.delete(user);
  }
}
