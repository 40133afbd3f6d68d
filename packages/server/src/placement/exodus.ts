/** Where each device of a server that goes away belongs, and in which order they leave (B3). Pure. */
import type { Place } from "./places.ts";
import { NOWHERE, placeArrival, type Rule } from "./policy.ts";

export interface ExodusInput {
  readonly places: readonly Place[];
  /** Index of the server that goes away. */
  readonly here: number;
  readonly rule: Rule;
  readonly random: () => number;
  /** The associates of a user. */
  readonly each: (user: string, visit: (peer: string, weight: number) => void) => void;
  /** Index of the server where the user is connected; {@link NOWHERE}: connected nowhere. */
  readonly placeOf: (user: string) => number;
  /** How many devices of the user leave. Default: 1. */
  readonly devicesOf?: (user: string) => number;
}

export interface Departure {
  readonly user: string;
  /** {@link NOWHERE}: there is no server that takes devices. */
  readonly to: number;
  /** What draws the user there, and what of its circle is here, as it leaves. */
  readonly there: number;
  readonly here: number;
}

interface Leaver {
  readonly user: string;
  /** By place; who left before counts where it went. */
  readonly attraction: Float64Array;
  /** The most of that. */
  pull: number;
  /** Associates who leave, too. */
  readonly fellows: { readonly peer: string; readonly weight: number }[];
}

/** Powers of two of what draws a leaver; the lowest is 1/16. */
const RANKS = 32;
const LOWEST = -4;

/**
 * Who is drawn to one server most goes first, and draws along who belongs there, too; where nobody is drawn anywhere, the one with the
 * most fellows begins. So a community that leaves stays together as far as there are seats. Strength is compared by its order of magnitude.
 */
export function planExodus(users: readonly string[], input: ExodusInput): Departure[] {
  const departures: Departure[] = [];
  for (const departure of exodusOf(users, input))
    if (departure !== undefined) departures.push(departure);
  return departures;
}

/** The same, step by step: of 100,000 users with 64 associates each it takes 4 s of CPU. Undefined: one more user has been read, or ranked. */
export function* exodusOf(
  users: readonly string[],
  input: ExodusInput,
): Generator<Departure | undefined, void> {
  const places = input.places.map((place) => ({ ...place }));
  const leavers = new Map<string, Leaver>();
  const leaving = new Set(users);
  const byFellows: (Leaver[] | undefined)[] = [];
  for (const user of leaving) {
    const leaver = leaverOf(user, leaving, input);
    leavers.set(user, leaver);
    (byFellows[leaver.fellows.length] ??= []).push(leaver);
    yield undefined;
  }

  const ranks: Leaver[][] = Array.from({ length: RANKS }, () => []);
  for (const leavers of byFellows) {
    for (const leaver of leavers ?? []) {
      ranks[rankOf(leaver.pull)]!.push(leaver);
      yield undefined;
    }
  }

  while (leavers.size > 0) {
    const { user, attraction, fellows } = ranks.findLast((rank) => rank.length > 0)!.pop()!;
    // Whoever came to be drawn more is in a higher rank as well.
    if (!leavers.delete(user)) continue;
    const devices = input.devicesOf?.(user) ?? 1;
    const arrival = { attraction, arrived: NOWHERE, hint: NOWHERE, intent: NOWHERE };
    places[input.here]!.load -= devices;
    const { to } = placeArrival(arrival, places, input.rule, input.random);
    places[to === NOWHERE ? input.here : to]!.load += devices;
    let here = 0;
    for (const { peer, weight } of fellows) {
      const fellow = leavers.get(peer);
      if (fellow === undefined) continue;
      here += weight;
      if (to === NOWHERE) continue;
      const before = rankOf(fellow.pull);
      fellow.attraction[to]! += weight;
      fellow.pull = Math.max(fellow.pull, fellow.attraction[to]!);
      const rank = rankOf(fellow.pull);
      if (rank > before) ranks[rank]!.push(fellow);
    }
    yield { user, to, there: to === NOWHERE ? 0 : attraction[to]!, here };
  }
}

function leaverOf(user: string, leaving: ReadonlySet<string>, input: ExodusInput): Leaver {
  const attraction = new Float64Array(input.places.length);
  const fellows: { peer: string; weight: number }[] = [];
  input.each(user, (peer, weight) => {
    if (leaving.has(peer)) {
      fellows.push({ peer, weight });
      return;
    }
    const place = input.placeOf(peer);
    if (place !== NOWHERE) attraction[place]! += weight;
  });
  let pull = 0;
  for (const drawn of attraction) pull = Math.max(pull, drawn);
  return { user, attraction, pull, fellows };
}

/** 0: nothing draws. */
function rankOf(pull: number): number {
  if (pull <= 0) return 0;
  return Math.max(1, Math.min(RANKS - 1, Math.floor(Math.log2(pull)) - LOWEST + 1));
}
