/** Why a user's devices are where they are, and where they would be sent now (B4): what is decided by, laid open. Pure. */
import type { Place } from "./places.ts";
import {
  type Attraction,
  type Decision,
  NOWHERE,
  placeArrival,
  placeCrossing,
  type Rule,
  type Score,
  scoresOf,
} from "./policy.ts";

/** A server, and what speaks for it and against it. */
export interface PlaceReason extends Score {
  readonly server: string;
  readonly state: "up" | "draining";
  /** Connections, and seats that were promised. */
  readonly devices: number;
  /** CPUs that its process used lately. */
  readonly busy: number;
  /** How many associates draw the user there, and what they weigh together. */
  readonly associates: number;
  readonly weight: number;
}

export interface AssociateReason {
  readonly user: string;
  readonly weight: number;
  /** Where the associate is connected, once for each device. */
  readonly servers: readonly string[];
  /** Connected nowhere: the server that a push to one of its devices names; null: there is none. */
  readonly named: string | null;
}

/** What would become of a device now. */
export interface Verdict {
  /**
   * `move`: the next message that crosses would move it, unless it has no time for that (a call, a full window, a move a moment ago). `redirect`: it
   * would be sent on, if it connected anew where it is; of one that is connected nowhere, where it belongs. `leave`: its server is being
   * emptied. `any`: nothing draws it anywhere.
   */
  readonly what: "stay" | "move" | "redirect" | "leave" | "any";
  /** Null: nowhere else. */
  readonly to: string | null;
  readonly why: Decision["why"];
  /** By how much the other server is better, in weight; null: there is nothing to compare. */
  readonly gain: number | null;
}

export interface Tie {
  readonly user: string;
  readonly weight: number;
  readonly servers: readonly string[];
  readonly named: string | undefined;
}

/** A user's device, as somebody asks about it. */
export interface AskedDevice {
  readonly device: string;
  /** Null: connected nowhere. */
  readonly server: string | null;
  readonly background: boolean;
  readonly durable: boolean;
}

/** What draws to each of the places: an associate with each of its connections, or to where a push tells it to come (M13). */
export function reasonsOf(
  attraction: Attraction,
  places: readonly Place[],
  ties: readonly Tie[],
  rule: Rule,
): PlaceReason[] {
  const scores = scoresOf(attraction, places, rule);
  return places.map(({ name, state, load, busy }, i) => ({
    server: name,
    state,
    devices: load,
    busy,
    associates: ties.filter((tie) => drawsTo(tie, name)).length,
    weight: attraction[i]!,
    ...scores[i]!,
  }));
}

function drawsTo({ servers, named }: Tie, server: string): boolean {
  return servers.length === 0 ? named === server : servers.includes(server);
}

/** Of a device of the user, with places as they are for it. `moves`: whether one like it is moved at all. */
export function verdictOf(
  { server, background }: AskedDevice,
  attraction: Attraction,
  places: readonly Place[],
  rule: Rule,
  moves: boolean,
): Verdict {
  const here = places.findIndex(({ name }) => name === server);
  if (here === NOWHERE) return belonging(attraction, places, rule);
  if (moves && !background && places[here]!.state === "up") {
    const mover = { attraction, here, associates: 0, movable: true };
    const move = placeCrossing([mover], places, rule);
    if (move !== undefined) {
      return { what: "move", to: places[move.to]!.name, why: "attraction", gain: move.gain };
    }
  }
  // As if it were not there: it would come anew.
  const without = places.map((place, i) =>
    i === here ? { ...place, load: Math.max(0, place.load - 1) } : place,
  );
  const { to, why } = arrive(attraction, here, here, without, rule);
  if (to === NOWHERE || to === here) return { what: "stay", to: null, why, gain: null };
  const scores = scoresOf(attraction, without, rule, 1);
  const isLeaving = places[here]!.state !== "up";
  return {
    what: isLeaving ? "leave" : "redirect",
    to: places[to]!.name,
    why,
    gain: isLeaving ? null : scores[to]!.score - scores[here]!.score,
  };
}

function belonging(attraction: Attraction, places: readonly Place[], rule: Rule): Verdict {
  const strongest = places.reduce((best, _, i) => {
    return attraction[i]! > (attraction[best] ?? 0) ? i : best;
  }, NOWHERE);
  if (strongest === NOWHERE) return { what: "any", to: null, why: "room", gain: null };
  const { to, why } = arrive(attraction, NOWHERE, strongest, places, rule);
  const name = places[to]?.name ?? null;
  return { what: name === null ? "any" : "redirect", to: name, why, gain: null };
}

/** Without luck: of the two that are looked at by chance both are `looked`. */
function arrive(
  attraction: Attraction,
  arrived: number,
  looked: number,
  places: readonly Place[],
  rule: Rule,
): Decision {
  const chance = (looked + 0.5) / places.length;
  return placeArrival(
    { attraction, arrived, hint: NOWHERE, intent: NOWHERE },
    places,
    rule,
    () => chance,
  );
}
