import type { HoldRequest, HoldResult } from "./store.ts";

/**
 * A hold that does not fit into one transaction is several, of `most` requests each. Those for one user are one after the other, so that
 * nothing is seen of a lane before what was asked for before it (L3); after one that failed there is none. Others are under way beside them.
 */
export async function holdInParts(
  requests: readonly HoldRequest[],
  most: number,
  hold: (part: readonly HoldRequest[]) => Promise<readonly HoldResult[]>,
): Promise<readonly HoldResult[]> {
  if (requests.length <= most) return hold(requests);
  const results: HoldResult[] = [];
  const holdAll = async (places: readonly number[]): Promise<void> => {
    for (let from = 0; from < places.length; from += most) {
      const part = places.slice(from, from + most);
      const held = await hold(part.map((place) => requests[place]!));
      for (const [at, place] of part.entries()) results[place] = held[at]!;
    }
  };
  const outcomes = await Promise.allSettled(byUser(requests, most).map(holdAll));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  return results;
}

/** Places of requests in groups of about `most`; all of one user are in one. */
function byUser(requests: readonly HoldRequest[], most: number): number[][] {
  const groups: number[][] = [];
  const groupOf = new Map<string, number[]>();
  for (const [place, { user }] of requests.entries()) {
    let group = groupOf.get(user);
    if (group === undefined) {
      group = groups.at(-1);
      if (group === undefined || group.length >= most) groups.push((group = []));
      groupOf.set(user, group);
    }
    group.push(place);
  }
  return groups;
}
