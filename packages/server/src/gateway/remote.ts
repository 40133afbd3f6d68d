import { canonicalAddress } from "./address.ts";
import { addressInForwarded, addressInXForwardedFor, elementsFromEnd } from "./forwarded.ts";

const READERS: readonly (readonly [string, (element: string) => string | undefined])[] = [
  ["forwarded", addressInForwarded],
  ["x-forwarded-for", addressInXForwardedFor],
];

/**
 * Where a device is, as far as it can be known: the first address on the way back from here that is no trusted proxy. Each
 * address but the peer's own is believed for the trusted proxy alone that wrote it; what one of them wrote that is no address
 * ends the way at that proxy.
 */
export function remoteOf(
  peer: string,
  headers: { get(name: string): string | null },
  isTrusted: (address: string) => boolean,
): string {
  const address = canonicalAddress(peer) ?? peer;
  if (!isTrusted(address)) return address;
  const found = new Set<string>();
  for (const [name, read] of READERS) {
    const header = headers.get(name);
    if (header !== null) found.add(follow(address, header, read, isTrusted));
  }
  // Of two that differ one is not the proxy's: it passed on what the device wrote, and nothing shows which.
  const [one = address, another] = found;
  return another === undefined ? one : address;
}

/** Elements: as many as the listener takes bytes of headers. */
function follow(
  peer: string,
  header: string,
  read: (element: string) => string | undefined,
  isTrusted: (address: string) => boolean,
): string {
  let address = peer;
  for (const element of elementsFromEnd(header)) {
    const next = read(element);
    if (next === undefined) return address;
    address = next;
    if (!isTrusted(address)) return address;
  }
  return address;
}
