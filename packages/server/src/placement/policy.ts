/**
 * Where a device belongs (M13, M14, B1, B2). Pure: the same input and the same random numbers give the same answer.
 *
 * A server's score is what attracts a user there, less what a seat there costs:
 *
 *     score(u, s) = Σ W(u, v) over associates v connected to s  -  pressure(s)
 *     pressure(s) = p · e^(k · (load(s) - fair(s)) / (cap(s) - fair(s)))
 *
 * One-pass partitioning of streamed graphs weighs a node's neighbours in a part against the part's fullness. LDG (Stanton and Kliot, KDD
 * 2012) multiplies by what is left; FENNEL (Tsourakakis et al., WSDM 2014) subtracts a cost. Here it is subtracted, so that it counts for more the
 * less a user is attracted: who is idle makes room, at the next reconnect, for those who are talking.
 */
import type { Millis } from "@beckon/protocol";

import { type Bounds, hintCapOf, isOpen, type Place, type Shares, sharesOf } from "./places.ts";

export interface Rule extends Bounds {
  /** What a seat costs at a server with its fair share, in weight. */
  readonly pressure: number;
  /** The cost at the cap is e to this power as high. */
  readonly steepness: number;
  /** What the recipient first in the outbox weighs. */
  readonly intent: number;
  /** By how much a server's score has to be better for a redirect, and for a live move. */
  readonly redirectGain: number;
  readonly moveGain: number;
  /** A device that was moved stays for so long. */
  readonly restMs: Millis;
}

/** Indices are those of the places. What attracts is one number a place. */
export type Attraction = ArrayLike<number>;
export const NOWHERE = -1;

export interface Arrival {
  readonly attraction: Attraction;
  /** The server that the device has reached; {@link NOWHERE} of one that is to be sent away from a server that drains. */
  readonly arrived: number;
  /** The server that the latest push named, if the device comes by it. */
  readonly hint: number;
  /** The server of the recipient first in the outbox. */
  readonly intent: number;
}

export interface Decision {
  /** {@link NOWHERE}: there is no server that takes devices. */
  readonly to: number;
  readonly why: "hint" | "attraction" | "room" | "stay" | "full";
}

export interface Mover {
  readonly attraction: Attraction;
  /** Where the device is. */
  readonly here: number;
  /** How many associates the user has. */
  readonly associates: number;
  /** It may be moved: not in background, in a call, with a full window, or moved within {@link Rule.restMs}. */
  readonly movable: boolean;
}

/** What a user would gain by a move, and how many associates it has: so two servers compare the two who talk across them. */
export interface Bid {
  readonly gain: number;
  readonly associates: number;
}

export interface Move {
  /** Index of the mover. */
  readonly who: number;
  readonly to: number;
  /** By how much the score is better. */
  readonly gain: number;
}

/** What a server's score is made of, for one user. */
export interface Score {
  readonly fair: number;
  readonly cap: number;
  readonly pressure: number;
  readonly score: number;
  /** It is up, below its cap, and not busy: else nobody is sent there for who is there. */
  readonly attracts: boolean;
}

/** Exponents of pressure far from the fair share. */
const MOST_EXPONENT = 12;
/** A move has to make this much of the present attraction at least: of two servers that hold half a circle each neither is better. */
const RATIO = 1.1;

/** Whether a device that comes by a push which names this server stays there, whatever else attracts it. */
export function takesHint(places: readonly Place[], hint: number, rule: Rule): boolean {
  const { fair } = sharesOf(places, devicesOf(places) + 1, rule);
  return followsHint(places[hint]!, fair[hint]!, rule);
}

/** For a device that has reached a server. It stays unless there is something to gain. */
export function placeArrival(
  arrival: Arrival,
  places: readonly Place[],
  rule: Rule,
  random: () => number,
): Decision {
  const { attraction, arrived, hint, intent } = arrival;
  const shares = sharesOf(places, devicesOf(places) + 1, rule);
  if (hint !== NOWHERE && followsHint(places[hint]!, shares.fair[hint]!, rule)) {
    return { to: hint, why: "hint" };
  }
  // Two at random, and not the emptiest of all: else all go to the same at once, and to one that has just come.
  const first = Math.floor(random() * places.length);
  const second = Math.floor(random() * places.length);

  let best = NOWHERE;
  let score = -Infinity;
  for (let i = 0; i < places.length; i++) {
    if (places[i]!.load >= shares.cap[i]!) continue;
    if (i !== arrived && places[i]!.busy >= rule.busy) continue;
    const pull = attraction[i]! + (i === intent ? rule.intent : 0);
    if (pull === 0 && i !== arrived && i !== first && i !== second) continue;
    const own = pull - pressure(i, places, shares, rule);
    if (own > score) [best, score] = [i, own];
  }
  if (best === NOWHERE) return placeCrowded(arrived, places, shares);
  if (best === arrived) return { to: arrived, why: "stay" };
  if (arrived !== NOWHERE && places[arrived]!.load < shares.cap[arrived]!) {
    const pull = attraction[arrived]! + (arrived === intent ? rule.intent : 0);
    const stay = pull - pressure(arrived, places, shares, rule);
    if (score - stay < rule.redirectGain) return { to: arrived, why: "stay" };
  }
  const isAttracted = best === intent || attraction[best]! > 0;
  return { to: best, why: isAttracted ? "attraction" : "room" };
}

/** The one that gains more is moved; of equals the one with fewer associates. */
export function outbids(one: Bid, other: Bid): boolean {
  if (one.gain !== other.gain) return one.gain > other.gain;
  return one.associates < other.associates;
}

/** After a message between two connected devices that has crossed servers: which of the two is moved, if any. */
export function placeCrossing(
  movers: readonly Mover[],
  places: readonly Place[],
  rule: Rule,
): Move | undefined {
  let best: Move | undefined;
  const shares = sharesOf(places, devicesOf(places), rule);
  for (const [who, { attraction, here, movable, associates }] of movers.entries()) {
    if (!movable) continue;
    const now = attraction[here]!;
    const pressed = pressure(here, places, shares, rule);
    for (let to = 0; to < places.length; to++) {
      if (to === here || places[to]!.load >= shares.cap[to]!) continue;
      if (places[to]!.busy >= rule.busy) continue;
      const then = attraction[to]!;
      if (then < RATIO * now || then <= 0) continue;
      // To get out of a crowd is no reason for a move: that is for the next reconnect.
      const crowd = Math.max(0, pressure(to, places, shares, rule) - pressed);
      const gain = then - now - crowd;
      if (gain < rule.moveGain || gain < 0) continue;
      if (best !== undefined && !outbids({ gain, associates }, bidOf(best, movers))) continue;
      best = { who, to, gain };
    }
  }
  return best;
}

function bidOf({ who, gain }: Move, movers: readonly Mover[]): Bid {
  return { gain, associates: movers[who]!.associates };
}

/** In the order of the places. `coming`: devices that have to find a seat and are at none. */
export function scoresOf(
  attraction: Attraction,
  places: readonly Place[],
  rule: Rule,
  coming: number = 0,
): Score[] {
  const shares = sharesOf(places, devicesOf(places) + coming, rule);
  return places.map(({ load, busy }, i) => {
    const [fair, cap] = [shares.fair[i]!, shares.cap[i]!];
    const pressed = pressure(i, places, shares, rule);
    const attracts = load < cap && busy < rule.busy;
    return { fair, cap, pressure: pressed, score: attraction[i]! - pressed, attracts };
  });
}

function followsHint(place: Place, fair: number, rule: Rule): boolean {
  return isOpen(place) && place.load < hintCapOf(place, fair, rule);
}

/** No server that could be looked at is below its cap: any that is, else stay, else any that takes devices. */
function placeCrowded(arrived: number, places: readonly Place[], shares: Shares): Decision {
  const below = emptiest(places, shares, ({ load }, i) => load < shares.cap[i]!);
  if (below !== NOWHERE) return { to: below, why: "room" };
  if (arrived !== NOWHERE && isOpen(places[arrived]!)) return { to: arrived, why: "full" };
  return { to: emptiest(places, shares, isOpen), why: "full" };
}

function emptiest(
  places: readonly Place[],
  { fair }: Shares,
  isFit: (place: Place, i: number) => boolean,
): number {
  let best = NOWHERE;
  let least = Infinity;
  for (const [i, place] of places.entries()) {
    const excess = place.load - fair[i]!;
    if (excess < least && isFit(place, i)) [best, least] = [i, excess];
  }
  return best;
}

/** A server that is not up has no seats: it presses as hard as one that is full. */
function pressure(i: number, places: readonly Place[], shares: Shares, rule: Rule): number {
  const { load } = places[i]!;
  const [fair, cap] = [shares.fair[i]!, shares.cap[i]!];
  const part = cap > fair ? (load - fair) / (cap - fair) : load >= cap ? 1 : 0;
  const exponent = rule.steepness * part;
  return rule.pressure * Math.exp(Math.max(-MOST_EXPONENT, Math.min(MOST_EXPONENT, exponent)));
}

function devicesOf(places: readonly Place[]): number {
  let devices = 0;
  for (const { load } of places) devices += load;
  return devices;
}
