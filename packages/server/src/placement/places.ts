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
  /** Which part of what its process may use of a CPU it used lately, or of what it may do otherwise: 1 is all. */
  readonly busy: number;
}

/** How far a server may be from its fair share. */
export interface Bounds {
  /** Times the fair share: at so many devices a server attracts nobody any more. */
  readonly cap: number;
  /** Devices below which no server is too full. */
  readonly least: number;
  /** A server that is as busy attracts nobody, however few devices it has: those who talk are more work than those who do not. */
  readonly busy: number;
}

/** A number for each place. */
export interface Shares {
  /** Its part of all devices; 0 of one that is not up. */
  readonly fair: readonly number[];
  /** At so many it attracts nobody. */
  readonly cap: readonly number[];
}

/** A server that has just come gets its share little by little: else it is where everybody goes. */
const RAMP_MS: Millis = 600_000;
/** By how much more than others one that a push names may exceed its share: who comes belongs there, and has a message waiting. */
const HINT_EXCESS = 1.3;

/** Below this part of its share a server is behind. It then counts for what it has, and for this part at least of what it lacks. */
const BEHIND = 0.75;
const LEAST_GAIN = 0.1;

/** From 0 to 1, by the time for which the server has been up. */
export function ramp(upFor: Millis): number {
  return Math.min(1, Math.max(0, upFor / RAMP_MS));
}

/**
 * `devices`: all that are connected, or are about to be. Those of servers that drain have to find a seat, too, so only servers that are
 * up share them. One that is far behind its share, because it has just come, counts for less: else all others would be too full
 * at once, and refuse even those whom a push sends to them. They count as half way from their share to their cap.
 */
export function sharesOf(places: readonly Place[], devices: number, bounds: Bounds): Shares {
  const fair = weightsOf(places);
  let weights = 0;
  for (const weight of fair) weights += weight;
  let others = 0;
  let load = 0;
  let behind = 0;
  let lacking = 0;
  for (let i = 0; i < places.length; i++) {
    const part = weights > 0 ? (devices * fair[i]!) / weights : 0;
    fair[i] = part;
    if (part === 0) continue;
    if (isBehind(places[i]!, part, bounds)) {
      behind += places[i]!.load;
      lacking += part - places[i]!.load;
    } else {
      others += part;
      load += places[i]!.load;
    }
  }
  if (lacking > 0 && others > 0) {
    const room = devices - behind - load / (1 + (bounds.cap - 1) / 2);
    const gain = Math.min(1, Math.max(LEAST_GAIN, room / lacking));
    const left = devices - behind - gain * lacking;
    for (let i = 0; i < places.length; i++) {
      const [part, own] = [fair[i]!, places[i]!.load];
      fair[i] = isBehind(places[i]!, part, bounds)
        ? own + gain * (part - own)
        : (left * part) / others;
    }
  }
  const cap = places.map(({ state, capacity }, i) => {
    if (state !== "up") return 0;
    const most = seats(fair[i]!, bounds.cap, bounds.least);
    return capacity > 0 ? Math.min(capacity, most) : most;
  });
  return { fair, cap };
}

/** At so many devices a server refuses who was sent there by a push. */
export function hintCapOf({ capacity }: Place, fair: number, { cap, least }: Bounds): number {
  const most = seats(fair, 1 + (cap - 1) * HINT_EXCESS, least);
  return capacity > 0 ? Math.min(capacity, most) : most;
}

/** Whether the server takes devices at all. */
export function isOpen({ state, load, capacity }: Place): boolean {
  return state === "up" && (capacity <= 0 || load < capacity);
}

/** If all that are up have only just come, they are equal. */
function weightsOf(places: readonly Place[]): number[] {
  const weights = places.map(({ state, weight }) => (state === "up" ? weight : 0));
  if (weights.some((weight) => weight > 0)) return weights;
  return places.map(({ state }) => (state === "up" ? 1 : 0));
}

/** Where shares are small a few devices make the difference, and no server is too full for long. */
function isBehind({ load }: Place, part: number, { least }: Bounds): boolean {
  return part >= 2 * least && load < BEHIND * part;
}

function seats(fair: number, cap: number, least: number): number {
  return Math.max(Math.ceil(fair), Math.floor(cap * fair), least);
}
