import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import { canonicalAddress } from "./address.ts";
import { BadProxyHeader, readProxyHeader } from "./proxy-protocol.ts";

const text = (line: string): Uint8Array => Buffer.from(line, "latin1");

function v1(family: string, source: string, destination: string, ports = "1234 443"): Uint8Array {
  return text(`PROXY ${family} ${source} ${destination} ${ports}\r\n`);
}

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

function v2(command: number, family: number, body: Uint8Array, length = body.length): Uint8Array {
  return Uint8Array.from([...SIGNATURE, command, family, length >> 8, length & 255, ...body]);
}

function refused(bytes: Uint8Array): boolean {
  try {
    readProxyHeader(bytes);
    return false;
  } catch (error) {
    if (!(error instanceof BadProxyHeader)) throw error;
    return true;
  }
}

const port = fc.integer({ min: 0, max: 65_535 });
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const ipv4 = bytesOf(4).map((bytes) => ({ bytes, text: bytes.join(".") }));
const ipv6 = bytesOf(16).map((bytes) => ({
  bytes,
  text: Buffer.from(bytes).toString("hex").match(/..../g)!.join(":"),
}));
/** Additions: a type, a length, and so many bytes. */
const additions = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 0xee }), fc.uint8Array({ maxLength: 300 })), {
    maxLength: 5,
  })
  .map((all) =>
    all.flatMap(([type, value]) => [type, value.length >> 8, value.length & 255, ...value]),
  );

interface Written {
  readonly header: Uint8Array;
  readonly source: string | undefined;
}

const inV1: fc.Arbitrary<Written> = fc.oneof(
  fc.tuple(ipv4, ipv4, port, port).map(([source, destination, from, to]) => ({
    header: v1("TCP4", source.text, destination.text, `${from} ${to}`),
    source: source.text,
  })),
  fc.tuple(ipv6, ipv6, port, port).map(([source, destination, from, to]) => ({
    header: v1("TCP6", source.text, destination.text, `${from} ${to}`),
    source: canonicalAddress(source.text),
  })),
  fc.constantFrom("", " ", " ::1 ::1 1 2", " whatever").map((rest) => ({
    header: text(`PROXY UNKNOWN${rest}\r\n`),
    source: undefined,
  })),
);

const inV2: fc.Arbitrary<Written> = fc.oneof(
  fc
    .tuple(ipv4, bytesOf(8), additions, fc.constantFrom(0x10, 0x11, 0x12))
    .map(([source, rest, more, family]) => ({
      header: v2(0x21, family, Uint8Array.from([...source.bytes, ...rest, ...more])),
      source: source.text,
    })),
  fc.tuple(ipv6, bytesOf(20), additions).map(([source, rest, more]) => ({
    header: v2(0x21, 0x21, Uint8Array.from([...source.bytes, ...rest, ...more])),
    source: canonicalAddress(source.text),
  })),
  // From a socket of the proxy's own machine, and from where it does not know.
  fc.tuple(bytesOf(216), additions).map(([addresses, more]) => ({
    header: v2(0x21, 0x31, Uint8Array.from([...addresses, ...more])),
    source: undefined,
  })),
  additions.map((more) => ({ header: v2(0x21, 0x00, Uint8Array.from(more)), source: undefined })),
  // LOCAL: whatever else it says is to be ignored.
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }))
    .map(([family, body]) => ({
      header: v2(0x20, family, body),
      source: undefined,
    })),
);

describe("the PROXY protocol's header", () => {
  test("is read wherever it is torn, and what follows is left alone", () => {
    fc.assert(
      fc.property(
        fc.oneof(inV1, inV2),
        fc.uint8Array({ maxLength: 40 }),
        ({ header, source }, rest) => {
          for (let at = 0; at < header.length; at++) {
            expect(readProxyHeader(header.subarray(0, at))).toBeUndefined();
          }
          const bytes = Uint8Array.from([...header, ...rest]);
          expect(readProxyHeader(bytes)).toEqual({ size: header.length, source });
        },
      ),
    );
  });

  test("that is none fails in one way alone, with a bound", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom(...BEGINNINGS),
        (rest, begin) => {
          const bytes = Uint8Array.from([...begin, ...rest]);
          if (refused(bytes)) return;
          const header = readProxyHeader(bytes);
          if (header !== undefined) expect(header.size).toBeLessThanOrEqual(bytes.length);
          // It waits for more up to the bound alone.
          else expect(bytes.length).toBeLessThan(8_192);
        },
      ),
    );
  });

  test.each([
    ["no header", text("GET / HTTP/1.1\r\n")],
    ["a frame", Uint8Array.of(2, 42, 0)],
    ["another word", text("PROXI ")],
    ["lower case", text("proxy TCP4 ")],
    ["another family", v1("UDP4", "192.0.2.1", "192.0.2.2")],
    ["IPv6 as IPv4", v1("TCP4", "::1", "::1")],
    ["IPv4 as IPv6", v1("TCP6", "192.0.2.1", "192.0.2.2")],
    ["no address", v1("TCP4", "192.0.2.256", "192.0.2.2")],
    ["an address with a zone", v1("TCP6", "fe80::1%eth0", "::1")],
    ["a port over 65535", v1("TCP4", "192.0.2.1", "192.0.2.2", "65536 1")],
    ["a port with a sign", v1("TCP4", "192.0.2.1", "192.0.2.2", "+1 1")],
    ["a port too few", v1("TCP4", "192.0.2.1", "192.0.2.2", "1")],
    ["a port too many", v1("TCP4", "192.0.2.1", "192.0.2.2", "1 2 3")],
    ["two spaces", text("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n")],
    ["a line without an end", text(`PROXY UNKNOWN ${"x".repeat(100)}`)],
    ["another signature", Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0b)],
    ["version 1 in binary", v2(0x11, 0x11, new Uint8Array(12))],
    ["another command", v2(0x22, 0x11, new Uint8Array(12))],
    ["another family in binary", v2(0x21, 0x41, new Uint8Array(300))],
    ["another transport", v2(0x21, 0x13, new Uint8Array(12))],
    ["IPv4 that is too short", v2(0x21, 0x11, new Uint8Array(11))],
    ["IPv6 that is too short", v2(0x21, 0x21, new Uint8Array(35))],
    ["a header over 8 KiB", v2(0x21, 0x11, new Uint8Array(12), 8_192)],
  ])("%s is refused", (_, bytes) => {
    expect(refused(bytes)).toBe(true);
  });

  test("IPv4 in IPv6 is the IPv4 address", () => {
    const header = v1("TCP6", "::ffff:192.0.2.7", "::1");
    expect(readProxyHeader(header)?.source).toBe("192.0.2.7");
  });

  test("of the longest line of version 1 every byte may come", () => {
    const longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    const header = text(`PROXY UNKNOWN ${longest} ${longest} 65535 65535\r\n`);
    expect(header).toHaveLength(107);
    expect(readProxyHeader(header)?.size).toBe(107);
    expect(readProxyHeader(header.subarray(0, 106))).toBeUndefined();
  });
});

const BEGINNINGS: readonly (readonly number[])[] = [
  [],
  [...text("PROXY ")],
  [...text("PROXY TCP4 ")],
  SIGNATURE,
  [...SIGNATURE, 0x21, 0x11],
];
