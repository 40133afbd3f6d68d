/** The servers as whoever decides sees them, and what is a fair share of the devices. Pure. */
import type { Millis } from "@beckon/protocol";

export interface Place {
  readonly name: string;
  readonly state: "up" | "draining";
  /** Connections, and seats that were promised. */
  readonly load: number;
  /** Connections that it takes at most; 0: it does not say. */
  readonly capacity: number;
  /** Its share beside that of others: what it can carry, times {@link ramp}. */
  readonly weight: number;
}

/** How far a server may be from its fair share. */
export interface Bounds {
  /** Times the fair share: at so many devices a server attracts nobody any more. */
  readonly cap: number;
  /** Devices below which no server is too full. */
  readonly least: number;
}

export interface Share {
  /** Its part of all devices. */
  readonly fair: number;
  /** At so many it attracts nobody; 0 of one that is not up. */
  readonly cap: number;
  /** At so many it refuses who was sent there by a push. */
  readonly hintCap: number;
}

/** A server that has just come gets its share little by little: else it is where everybody goes. */
const RAMP_MS: Millis = 600_000;
/** By how much more than others one that a push names may exceed its share: who comes belongs there, and has a message waiting. */
const HINT_EXCESS = 1.3;

/** Below this part of its share a server is behind; it then counts for its load and the other part. */
const BEHIND = 0.75;
const CATCHING_UP = 0.25;

/** From 0 to 1, by the time for which the server has been up. */
export function ramp(upFor: Millis): number {
  return Math.min(1, Math.max(0, upFor / RAMP_MS));
}

/**
 * `devices`: all that are connected, or are about to be. Those of servers that drain have to find a seat, too, so only servers that are
 * up share them. One that is far behind its share, because it has just come, counts for what it has and a part of what it lacks: else
 * all others would be too full at once, and refuse even those whom a push sends to them.
 */
export function sharesOf(places: readonly Place[], devices: number, bounds: Bounds): Share[] {
  const weights = weightsOf(places);
  const fair = split(devices, weights);
  let left = devices;
  let isBehind = false;
  for (const [i, { load }] of places.entries()) {
    const part = fair[i]!;
    if (load >= BEHIND * part) continue;
    isBehind = true;
    left -= fair[i] = load + CATCHING_UP * part;
    weights[i] = 0;
  }
  if (isBehind) {
    const others = split(left, weights);
    const isNobodyElse = others.every((part) => part === 0);
    if (isNobodyElse) return sharesWith(places, split(devices, weightsOf(places)), bounds);
    for (const [i, part] of others.entries()) if (part > 0) fair[i] = part;
  }
  return sharesWith(places, fair, bounds);
}

/** Whether the server takes devices at all. */
export function isOpen({ state, load, capacity }: Place): boolean {
  return state === "up" && (capacity <= 0 || load < capacity);
}

const NONE: Share = { fair: 0, cap: 0, hintCap: 0 };

function sharesWith(places: readonly Place[], fair: readonly number[], bounds: Bounds): Share[] {
  const hint = 1 + (bounds.cap - 1) * HINT_EXCESS;
  return places.map(({ state, capacity }, i) => {
    if (state !== "up") return NONE;
    const part = fair[i]!;
    const most = capacity > 0 ? capacity : Infinity;
    return {
      fair: part,
      cap: Math.min(most, seats(part, bounds.cap, bounds.least)),
      hintCap: Math.min(most, seats(part, hint, bounds.least)),
    };
  });
}

/** If all that are up have only just come, they are equal. */
function weightsOf(places: readonly Place[]): number[] {
  const weights = places.map(({ state, weight }) => (state === "up" ? weight : 0));
  if (weights.some((weight) => weight > 0)) return weights;
  return places.map(({ state }) => (state === "up" ? 1 : 0));
}

function split(devices: number, weights: readonly number[]): number[] {
  let sum = 0;
  for (const weight of weights) sum += weight;
  return weights.map((weight) => (sum > 0 ? (devices * weight) / sum : 0));
}

function seats(fair: number, cap: number, least: number): number {
  return Math.max(Math.ceil(fair), Math.floor(cap * fair), least);
}
