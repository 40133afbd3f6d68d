/** The PROXY protocol, versions 1 and 2: a header before all else, in which a proxy says for whom it connects. */
import { isIPv4, isIPv6 } from "node:net";

import { canonicalAddress } from "./address.ts";

export interface ProxyHeader {
  /** Bytes; what follows is the device's. */
  readonly size: number;
  /** Where the device is; undefined: the proxy does not say, or connects for itself, as to see whether anybody is there. */
  readonly source: string | undefined;
}

export class BadProxyHeader extends Error {
  override readonly name = "BadProxyHeader";
}

/** Bytes of the longest header of version 1, with its end. */
const LONGEST_V1 = 107;
/** Of version 2, by which a proxy may pass on a certificate, too; its own bound would be 65,551. */
const LONGEST_V2 = 8_192;

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Signature, version and command, family and transport, length. */
const FIXED_V2 = 16;

/**
 * Reads the header that the bytes begin with; undefined: more of it has to come, up to 8 KiB in all.
 * @throws {BadProxyHeader} as soon as they cannot be one.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | undefined {
  if (bytes.length === 0) return undefined;
  return bytes[0] === SIGNATURE[0] ? readV2(bytes) : readV1(bytes);
}

const BEGIN_V1 = "PROXY ";

function readV1(bytes: Uint8Array): ProxyHeader | undefined {
  const text = String.fromCharCode(...bytes.subarray(0, LONGEST_V1));
  if (!text.startsWith(BEGIN_V1.slice(0, text.length)))
    throw new BadProxyHeader("begins with none");
  const end = text.indexOf("\r\n");
  if (end < 0) {
    if (text.length < LONGEST_V1) return undefined;
    throw new BadProxyHeader("does not end");
  }
  return { size: end + 2, source: sourceInV1(text.slice(0, end)) };
}

function sourceInV1(line: string): string | undefined {
  const [, family, ...rest] = line.split(" ");
  // Whatever follows is to be ignored.
  if (family === "UNKNOWN") return undefined;
  const isAddress = family === "TCP4" ? isIPv4 : isIPv6;
  const [source = "", destination = "", ...ports] = rest;
  if (
    (family !== "TCP4" && family !== "TCP6") ||
    !isAddress(source) ||
    !isAddress(destination) ||
    ports.length !== 2 ||
    !ports.every(isPort)
  ) {
    throw new BadProxyHeader("is malformed");
  }
  return known(source);
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) < 65_536;
}

const COMMAND = { local: 0, proxy: 1 } as const;
/** Bytes of two addresses and two ports, by family; of `AF_UNSPEC` nothing is known. */
const ADDRESS_BYTES: readonly number[] = [0, 12, 36, 216];
const FAMILY = { ipv4: 1, ipv6: 2 } as const;
/** Unspecified, stream, datagram. */
const TRANSPORTS = 3;

function readV2(bytes: Uint8Array): ProxyHeader | undefined {
  const head = bytes.subarray(0, SIGNATURE.length);
  if (!head.every((byte, at) => byte === SIGNATURE[at])) {
    throw new BadProxyHeader("begins with none");
  }
  if (bytes.length < FIXED_V2) return undefined;
  const [version, command] = halves(bytes[12]!);
  const [family, transport] = halves(bytes[13]!);
  if (version !== 2 || command > COMMAND.proxy) throw new BadProxyHeader("is of another version");
  const length = bytes[14]! * 256 + bytes[15]!;
  const size = FIXED_V2 + length;
  if (size > LONGEST_V2) throw new BadProxyHeader("is too long");
  if (command === COMMAND.proxy) {
    const needed = ADDRESS_BYTES[family];
    if (needed === undefined || transport >= TRANSPORTS || length < needed) {
      throw new BadProxyHeader("is malformed");
    }
  }
  if (bytes.length < size) return undefined;
  // What follows the addresses is additions of the proxy's (TLVs).
  return { size, source: command === COMMAND.proxy ? sourceInV2(bytes, family) : undefined };
}

function sourceInV2(bytes: Uint8Array, family: number): string | undefined {
  if (family === FAMILY.ipv4) return known([...bytes.subarray(FIXED_V2, FIXED_V2 + 4)].join("."));
  if (family !== FAMILY.ipv6) return undefined;
  const groups = Array.from({ length: 8 }, (_, group) => {
    const at = FIXED_V2 + 2 * group;
    return (bytes[at]! * 256 + bytes[at + 1]!).toString(16);
  });
  return known(groups.join(":"));
}

function halves(byte: number): [high: number, low: number] {
  return [byte >> 4, byte & 15];
}

/** With a zone an address means something on the proxy alone. */
function known(address: string): string {
  const canonical = canonicalAddress(address);
  if (canonical === undefined) throw new BadProxyHeader("is malformed");
  return canonical;
}
