import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { inRanges, parseRange } from "./address.ts";
import { remoteOf } from "./remote.ts";

const PROXY = "10.0.0.1";
const isTrusted = inRanges([parseRange("10.0.0.0/8")!, parseRange("fd00::/8")!]);

const remote = (headers: Record<string, string>, peer = PROXY): string =>
  remoteOf(peer, new Headers(headers), isTrusted);

describe("X-Forwarded-For of a trusted proxy", () => {
  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["203.0.113.9:4711", "203.0.113.9"],
    ["2001:DB8::9", "2001:db8::9"],
    ["[2001:db8::9]", "2001:db8::9"],
    ["[2001:db8::9]:4711", "2001:db8::9"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["1.1.1.1, 203.0.113.9", "203.0.113.9"],
    ["1.1.1.1,203.0.113.9 , 10.0.0.3,\t10.0.0.2", "203.0.113.9"],
    ["203.0.113.9,,", "203.0.113.9"],
    ["nonsense, 203.0.113.9", "203.0.113.9"],
    // All are trusted: the one that is furthest away.
    ["10.0.0.3, fd00::2", "10.0.0.3"],
    // A proxy wrote what is no address: the proxy itself is as far as one can see.
    ["nonsense", PROXY],
    ["1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"],
    ["203.0.113.9:port", PROXY],
    ["203.0.113", PROXY],
    ["[203.0.113.9]", PROXY],
    ["", PROXY],
    [",", PROXY],
  ])("%p: %s", (header, expected) => {
    expect(remote({ "x-forwarded-for": header })).toBe(expected);
  });
});

describe("Forwarded (RFC 7239) of a trusted proxy", () => {
  test.each([
    ["for=203.0.113.9", "203.0.113.9"],
    ["For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"],
    ['proto=https; host="a,b;for=1.1.1.1"; for=203.0.113.9', "203.0.113.9"],
    ['for="203.0.113.9:4711"', "203.0.113.9"],
    ['for="[2001:DB8::9]:4711"', "2001:db8::9"],
    ['for="[2001:db8::9]"', "2001:db8::9"],
    ["for=1.1.1.1, for=203.0.113.9, for=10.0.0.2", "203.0.113.9"],
    ['for=", for=203.0.113.9', "203.0.113.9"],
    ["for=unknown", PROXY],
    ["for=_hidden", PROXY],
    ["for=1.1.1.1, for=unknown, for=10.0.0.2", "10.0.0.2"],
    ["proto=https", PROXY],
    ["for=203.0.113.9;for=203.0.113.8", PROXY],
    ["for=2001:db8::9", PROXY],
    ['for="2001:db8::9"', PROXY],
    ['for="203.0.113.9', PROXY],
    ["203.0.113.9", PROXY],
    // What a proxy quotes of the device's own Host header.
    ['for=203.0.113.9;host="a\\",for=1.1.1.1;x=\\""', PROXY],
  ])("%p: %s", (header, expected) => {
    expect(remote({ forwarded: header })).toBe(expected);
  });
});

test("where both are there, they have to say the same: a proxy passes on the one that it does not write", () => {
  const real = "203.0.113.9";
  expect(remote({ forwarded: `for=${real}`, "x-forwarded-for": real })).toBe(real);
  expect(remote({ forwarded: "for=1.1.1.1", "x-forwarded-for": real })).toBe(PROXY);
});

test("several lines of one header are one list", () => {
  const headers = new Headers();
  headers.append("x-forwarded-for", "1.1.1.1");
  headers.append("x-forwarded-for", "203.0.113.9");
  expect(remoteOf(PROXY, headers, isTrusted)).toBe("203.0.113.9");
});

test("a proxy that a listener for both families sees as IPv6 is trusted by its IPv4 address", () => {
  expect(remote({ "x-forwarded-for": "203.0.113.9" }, "::ffff:10.0.0.1")).toBe("203.0.113.9");
});

const anyHeader = fc
  .string({ unit: "binary-ascii" })
  .map((text) => text.replaceAll(/[\0\r\n]/g, ""));
const headerLike = fc
  .array(fc.constantFrom("for=", '"', "\\", ",", ";", "1.1.1.1", "10.0.0.9", "[::1]", "=", " "))
  .map((parts) => parts.join(""));
const forged = fc.oneof(anyHeader, headerLike);

test("who is not trusted changes nothing, whatever is in the headers", () => {
  const peer = "198.51.100.7";
  const believed = fc.constantFrom("203.0.113.9", "for=203.0.113.9", "10.0.0.2", "for=10.0.0.2");
  fc.assert(
    fc.property(fc.oneof(believed, forged), (header) => {
      expect(remote({ forwarded: header }, peer)).toBe(peer);
      expect(remote({ "x-forwarded-for": header }, peer)).toBe(peer);
    }),
  );
});

test("whatever a device writes, what the trusted proxy appends is believed", () => {
  fc.assert(
    fc.property(forged, (written) => {
      expect(remote({ "x-forwarded-for": `${written}, 203.0.113.9` })).toBe("203.0.113.9");
      expect(remote({ forwarded: `${written}, for=203.0.113.9` })).toBe("203.0.113.9");
    }),
  );
});
