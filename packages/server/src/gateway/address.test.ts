import { describe, expect, test } from "bun:test";

import { canonicalAddress, inRanges, parseRange } from "./address.ts";

describe("an address", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:c000:0201", "192.0.2.1"],
    ["::1", "::1"],
  ])("%s is written as %s", (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  test.each([
    "",
    "192.0.2",
    "192.0.2.01",
    "192.0.2.256",
    "fe80::1%eth0",
    "localhost",
    "[::1]",
    "::1:",
  ])("%p is none", (text) => {
    expect(canonicalAddress(text)).toBeUndefined();
  });
});

describe("a range", () => {
  const holds = (range: string, address: string): boolean =>
    inRanges([parseRange(range)!])(canonicalAddress(address)!);

  test.each([
    ["10.0.0.0/8", "10.255.0.1", true],
    ["10.1.2.3/8", "10.255.0.1", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["10.0.0.0/8", "::ffff:10.0.0.1", true],
    ["192.0.2.1", "192.0.2.1", true],
    ["192.0.2.1", "192.0.2.2", false],
    ["0.0.0.0/0", "203.0.113.1", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["::1", "0:0:0:0:0:0:0:1", true],
    ["fd00::/8", "fdff::1", true],
    ["fd00::/8", "fe00::1", false],
  ])("%s, %s: %p", (range, address, isIn) => {
    expect(holds(range, address)).toBe(isIn);
  });

  test.each([
    "10.0.0.0/33",
    "::1/129",
    "10.0.0/8",
    "10.0.0.0/",
    "::ffff:10.0.0.0/104",
    "lan",
    " ::1",
  ])("%p is none", (text) => {
    expect(parseRange(text)).toBeUndefined();
  });

  test("none holds anybody", () => {
    expect(inRanges([])("127.0.0.1")).toBe(false);
  });
});
