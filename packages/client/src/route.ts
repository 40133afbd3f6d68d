/** Which addresses to dial, and in which order (L9, M10, M12). */
import type { Address, Hint, Millis, ServerAddresses } from "@beckon/protocol";

import type { Preferences } from "./options.ts";
import { type Random, randomFraction } from "./random.ts";

/** How to choose among the addresses of one server. */
export interface Choosing {
  readonly prefer: Preferences;
  /** Protocols that can be dialled, best first. */
  readonly protocols: readonly string[];
  readonly random: Random;
}

/** An address, and the server whose hint led to it. */
export interface Candidate {
  readonly address: Address;
  /** "": no hint did. */
  readonly hinted: string;
}

export interface Known {
  /** Fresh hints, in the order in which they came. */
  readonly hints: readonly Hint[];
  /** Name of the last server. */
  readonly last: string;
  readonly servers: readonly ServerAddresses[];
  readonly seeds: readonly Address[];
}

/** Fresh hints, the last server, known others, seeds; each address once, those to avoid at the end. */
export function route(known: Known, choosing: Choosing, avoided: Avoided): Candidate[] {
  const { hints, last, servers, seeds } = known;
  const home = servers.filter(({ name }) => name === last);
  const others = servers.filter(({ name }) => name !== last);
  const all = unique([
    ...inOrder(hints, choosing.prefer).flatMap(({ server }) => ofServer(server, choosing)),
    ...[...home, ...shuffle(others, choosing.random)].flatMap(({ addresses }) =>
      inRank(addresses, choosing, ""),
    ),
    ...inRank(seeds, choosing, ""),
  ]);
  const bad = ({ address }: Candidate): boolean => avoided.has(address.url);
  return [...all.filter((each) => !bad(each)), ...all.filter(bad)];
}

/** Where a hint or a redirect leads. */
export function ofServer({ name, addresses }: ServerAddresses, choosing: Choosing): Candidate[] {
  return inRank(addresses, choosing, name);
}

/** Each URL once, where it comes first. */
export function unique(candidates: readonly Candidate[]): Candidate[] {
  const seen = new Set<string>();
  return candidates.filter(({ address: { url } }) => !seen.has(url) && seen.add(url));
}

/** [M10] By protocol, by security, by the server's own priority; then first or last listed, or at random. */
function inRank(
  addresses: readonly Address[],
  { prefer, protocols, random }: Choosing,
  hinted: string,
): Candidate[] {
  const { secure = true, address: among = "first" } = prefer;
  const wanted = prefer.protocols ?? protocols;
  const rank = ({ protocol }: Address): number => wanted.indexOf(protocol) >>> 0;
  let usable = addresses.filter(({ protocol }) => protocols.includes(protocol));
  if (among === "last") usable.reverse();
  if (among === "random") usable = shuffle(usable, random);
  usable.sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (secure ? Number(b.secure) - Number(a.secure) : 0) ||
      a.priority - b.priority,
  );
  return usable.map((address) => ({ address, hinted }));
}

/** [M11] The wake to be followed first: a call's before all others. */
function inOrder(hints: readonly Hint[], { wake = "last" }: Preferences): Hint[] {
  const order = [...hints];
  if (wake !== "first") order.reverse();
  if (wake === "most-active") order.sort((a, b) => b.activity - a.activity);
  return order.sort((a, b) => Number(b.wake === "call") - Number(a.wake === "call"));
}

function shuffle<T>(items: readonly T[], random: Random): T[] {
  const keyed = items.map((item) => ({ item, at: randomFraction(random) }));
  return keyed.sort((a, b) => a.at - b.at).map(({ item }) => item);
}

/** How long an address that failed is tried after all others. */
const AVOID_MS: Millis = 10 * 60_000;
const AVOIDED = 256;

/** Addresses that failed, or that redirected in vain. */
export interface Avoided {
  has(url: string): boolean;
  add(url: string): void;
  delete(url: string): void;
}

export function createAvoided(now: () => Millis): Avoided {
  const until = new Map<string, Millis>();
  return {
    has: (url) => (until.get(url) ?? 0) > now(),
    add(url) {
      until.delete(url);
      until.set(url, now() + AVOID_MS);
      for (const oldest of until.keys()) {
        if (until.size <= AVOIDED) break;
        until.delete(oldest);
      }
    },
    delete: (url) => void until.delete(url),
  };
}

const SCHEME = /^(ws|wss|tcp|tls):\/\/./;

/** The address that a URL in the options stands for; undefined for none. */
export function toAddress(url: string): Address | undefined {
  const scheme = SCHEME.exec(url)?.[1];
  if (scheme === undefined) return undefined;
  const secure = scheme === "wss" || scheme === "tls";
  const protocol = scheme.startsWith("ws") ? "ws" : "tcp";
  return { url, protocol, secure, network: "", region: "", priority: 0 };
}
