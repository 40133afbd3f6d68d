import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * The one way in which an address is written here, so that equal ones are equal texts; undefined: it is none. IPv4 in IPv6
 * (`::ffff:192.0.2.1`), as a listener for both sees it, is the IPv4 address that it stands for.
 */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  // With a zone (fe80::1%eth0) it means something on one machine alone.
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const v6 = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(v6) ?? [];
  if (high === undefined || low === undefined) return v6;
  const bits = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return bits.flatMap((half) => [half >> 8, half & 255]).join(".");
}

export interface AddressRange {
  readonly address: string;
  readonly family: "ipv4" | "ipv6";
  /** Bits that addresses of the range have in common. */
  readonly prefix: number;
}

/** `192.0.2.1`, `10.0.0.0/8`, `::1`, `fd00::/8`; undefined: it is none. IPv4 is written as IPv4. */
export function parseRange(text: string): AddressRange | undefined {
  const [, written = "", bits] = /^([\da-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = canonicalAddress(written);
  if (address === undefined || isIPv4(address) !== isIPv4(written)) return undefined;
  const most = isIPv4(address) ? 32 : 128;
  const prefix = Number(bits ?? most);
  if (prefix > most) return undefined;
  return { address, family: most === 32 ? "ipv4" : "ipv6", prefix };
}

/** Whether an address, in its canonical form, is in one of the ranges. */
export function inRanges(ranges: readonly AddressRange[]): (address: string) => boolean {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const { address, prefix, family } of ranges) list.addSubnet(address, prefix, family);
  return (address) => list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}
