/** Decisions about stored ties that every backend makes alike. */
import type { Millis } from "@beckon/protocol";

import type { StoredTie, TieChange, TieSums } from "./store.ts";
import { longDecay, shortDecay, weigh } from "./weight.ts";

/** Of one user. */
export const TIES_PER_USER = 64;

/** So many may be stored of a user: at one more the weakest are dropped, down to {@link TIES_PER_USER}. */
export const CROWD = 96;

/** What weighs less is as good as forgotten: a message after 200 days. */
export const FAINT = 0.01;

/** Ties that one `fade` looks at, and those of one user more. */
export const FADE_SLICE = 5_000;

/** A user's tie: half of what is known of a pair. */
export interface Side extends TieSums {
  readonly user: string;
  readonly peer: string;
}

/** Both added, decayed to the later of their times. */
export function added(x: TieSums, y: TieSums): TieSums {
  const at = Math.max(x.at, y.at);
  return {
    long: x.long * longDecay(at - x.at) + y.long * longDecay(at - y.at),
    short: x.short * shortDecay(at - x.at) + y.short * shortDecay(at - y.at),
    at,
  };
}

/** What comes to either user of each pair; a tie is there once. Nobody is an associate of its own. */
export function sidesOfChanges(changes: readonly TieChange[]): Side[] {
  const sides = new Map<string, Map<string, Side>>();
  const add = (user: string, peer: string, { long, short, at }: TieSums): void => {
    const ties = sides.get(user) ?? new Map<string, Side>();
    const known = ties.get(peer);
    const sums = { long, short, at };
    sides.set(user, ties.set(peer, { user, peer, ...(known ? added(known, sums) : sums) }));
  };
  for (const change of changes) {
    if (change.a === change.b) continue;
    add(change.a, change.b, change);
    add(change.b, change.a, change);
  }
  return [...sides.values()].flatMap((ties) => [...ties.values()]);
}

/** The time by which of a crowd the weakest are found. */
export function latest(changes: readonly TieSums[]): Millis {
  return changes.reduce((last, { at }) => Math.max(last, at), 0);
}

export function weightAt({ long, short, at }: TieSums, now: Millis): number {
  return weigh(long * longDecay(now - at), short * shortDecay(now - at));
}

/** The strongest first; of two that are equal the smaller id. */
export function byWeight<Tie extends StoredTie>(ties: readonly Tie[], now: Millis): Tie[] {
  const weighed = ties.map((tie) => ({ tie, weight: weightAt(tie, now) }));
  weighed.sort((x, y) => y.weight - x.weight || (x.tie.peer < y.tie.peer ? -1 : 1));
  return weighed.map(({ tie }) => tie);
}

/** How many a `circle` answers at most. */
export function circleSize(k: number): number {
  return Math.max(0, Math.min(Math.floor(k), TIES_PER_USER));
}

/** One transaction after another, of at most so many changes each. */
export async function strengthenInParts(
  changes: readonly TieChange[],
  most: number,
  strengthen: (part: readonly TieChange[]) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < changes.length; at += most) {
    await strengthen(changes.slice(at, at + most));
  }
}
