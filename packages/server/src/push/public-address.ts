/** Which addresses are the public internet's: a device names where its pushes go, and must not reach what only this machine can. */
import { BlockList, isIPv4, isIPv6 } from "node:net";

/** Of IPv4: this machine, private networks, clouds' metadata, tests, multicast, reserved (IANA's registry of special purposes). */
const SPECIAL_V4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const;

/** Of what IPv6 has given out (2000::/3): tunnels, which carry an IPv4 address within, tests and documentation. */
const SPECIAL_V6 = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const;

const special = new BlockList();
for (const [address, prefix] of SPECIAL_V4) special.addSubnet(address, prefix, "ipv4");
for (const [address, prefix] of SPECIAL_V6) special.addSubnet(address, prefix, "ipv6");

/** An address in any form; what is none is not public. */
export function isPublic(text: string): boolean {
  const address = plainAddress(text);
  if (isIPv4(address)) return !special.check(address, "ipv4");
  // 2000::/3; with a zone (fe80::1%eth0) it means something on one machine alone.
  return /^[23][\da-f]{3}:[^%]*$/.test(address) && !special.check(address, "ipv6");
}

/**
 * IPv4 in IPv6, mapped or translated (`::ffff:10.0.0.1`, `64:ff9b::a00:1`), as the IPv4 address that it leads to; all else in the
 * one way in which it is written.
 */
export function plainAddress(text: string): string {
  if (!isIPv6(text) || text.includes("%")) return text;
  const v6 = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [, high, low] = /^(?:::ffff:|64:ff9b::)([\da-f]+):([\da-f]+)$/.exec(v6) ?? [];
  if (high === undefined || low === undefined) return v6;
  const bits = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return bits.flatMap((half) => [half >> 8, half & 255]).join(".");
}

/** A URL's host without the brackets of IPv6. */
export function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}
