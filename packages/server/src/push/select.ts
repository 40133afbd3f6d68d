/** Which addresses a wake names (M7, M9). Pure: same input, same answer. */
import type { Address, ServerAddresses } from "@beckon/protocol";

/** A server as a wake may name it; a `Member` of the cluster is one. */
export interface Candidate {
  readonly name: string;
  readonly state: "up" | "draining";
  /** It has as many connections as it may have. */
  readonly full?: boolean;
  readonly addresses: readonly Address[];
}

/** What is known of the device that is to be woken. */
export interface Reach {
  /** Protocols that it speaks; the one that it likes best first. */
  readonly protocols: readonly string[];
  /** It takes secure addresses only. */
  readonly secure?: boolean;
  /** The network that it is in; undefined: not known, it may be any. */
  readonly network?: string;
  readonly region?: string;
}

/** Addresses in one wake: more cost room in the push, and a device that tried these goes to those that it knows. */
const MOST = 4;

/** Names no server: the device connects to one that it knows already. */
const NOWHERE: ServerAddresses = { name: "", addresses: [] };

/** Whether devices may be sent there: it is neither draining nor full (M12), nor unknown. */
export function takesDevices(server: Candidate | undefined): server is Candidate {
  return server !== undefined && server.state === "up" && server.full !== true;
}

/** The server's addresses; none if it takes no devices. */
export function addressesOf(server: Candidate | undefined): ServerAddresses {
  return takesDevices(server) ? { name: server.name, addresses: server.addresses } : NOWHERE;
}

/**
 * The few best addresses for the device: first the best one of each protocol, so that a device behind a wall that lets only one
 * of them through gets it, then what is left; each time by reach, the operator's priority, security, region, the device's
 * liking, and the order of the configuration.
 */
export function selectAddresses(
  server: ServerAddresses,
  device: Reach,
  most: number = MOST,
): ServerAddresses {
  const ranked = server.addresses
    .filter((address) => isReachable(address, device))
    .toSorted((a, b) => compare(rank(a, device), rank(b, device)));
  const seen = new Set<string>();
  const firsts = ranked.filter(({ protocol }) => !seen.has(protocol) && seen.add(protocol));
  const others = ranked.filter((address) => !firsts.includes(address));
  const addresses = [...firsts, ...others].slice(0, most);
  return addresses.length === 0 ? NOWHERE : { name: server.name, addresses };
}

function isReachable(address: Address, device: Reach): boolean {
  if (!device.protocols.includes(address.protocol)) return false;
  if (device.secure === true && !address.secure) return false;
  // An address of no network is reached from everywhere.
  return device.network === undefined || ["", device.network].includes(address.network);
}

/** Smaller is better, the first difference decides. */
function rank(address: Address, device: Reach): readonly number[] {
  return [
    fit(address.network, device.network),
    address.priority,
    address.secure ? 0 : 1,
    fit(address.region, device.region),
    device.protocols.indexOf(address.protocol),
  ];
}

/** The device's own, then everybody's, then another's. */
function fit(of: string, wanted: string | undefined): number {
  if (of === wanted && of !== "") return 0;
  return of === "" ? 1 : 2;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, value] of a.entries()) {
    const difference = value - b[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
