import { describe, expect, test } from "bun:test";

import type { ErrorEntry } from "./index.ts";

import { CLOSE, errorByNumber, ERRORS, MEANINGS, reconnectPolicy } from "./index.ts";

const entries = Object.values<ErrorEntry>(ERRORS);
const onWire = entries.filter(({ number }) => number !== 0);

describe("[P-10.1] the catalogue of errors", () => {
  test("each entry is under its own code, and says what it means and what to do", () => {
    for (const [code, entry] of Object.entries<ErrorEntry>(ERRORS)) {
      expect<string>(entry.code).toBe(code);
      expect(MEANINGS[entry.code]).toMatch(/[.)]$/);
      expect(entry.hint).toMatch(/[.)]$/);
    }
  });

  test("numbers are unique, and found again", () => {
    expect(new Set(onWire.map(({ number }) => number)).size).toBe(onWire.length);
    for (const entry of onWire) expect(errorByNumber(entry.number)).toBe(entry);
    expect(errorByNumber(0)).toBeUndefined();
    expect(errorByNumber(99)).toBeUndefined();
  });

  test("numbers say what an error is about: 1 to 99 the connection, 101 to 199 a SEND", () => {
    for (const { number } of onWire) expect(number % 100).toBeGreaterThan(0);
    for (const { number } of onWire) expect(number).toBeWithin(1, 200);
  });

  test("only errors of the connection close it, and each with a code of its own", () => {
    const closing = entries.filter(({ closes }) => closes !== undefined);
    expect(closing.every(({ number }) => number >= 1 && number <= 99)).toBe(true);
    expect(new Set(closing.map(({ closes }) => closes)).size).toBe(closing.length);
  });

  test("[P-11.1] who may come back unchanged is told so by the close code too", () => {
    for (const { code, closes, retryable } of entries) {
      if (closes === undefined) continue;
      expect({ code, comesBack: reconnectPolicy(closes) !== "stop" }).toEqual({
        code,
        comesBack: retryable,
      });
    }
  });
});

describe("[P-11.1] close codes", () => {
  test("are unique, and but for BYE's in the ranges that carry a policy", () => {
    const codes = Object.values<number>(CLOSE);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) if (code !== CLOSE.bye) expect(code).toBeWithin(4000, 4600);
  });

  test("the range decides, for unknown codes too", () => {
    const policies = [
      [4000, "backoff"],
      [4199, "backoff"],
      [4200, "elsewhere"],
      [4399, "elsewhere"],
      [4400, "stop"],
      [4599, "stop"],
    ] as const;
    for (const [code, policy] of policies) expect(reconnectPolicy(code)).toBe(policy);
    for (const code of [0, 1000, 1001, 1005, 1006, 1011, 3000, 3999, 4600, 4999, Number.NaN]) {
      expect(reconnectPolicy(code)).toBe("backoff");
    }
  });

  test("of what the protocol says of some by name", () => {
    expect(reconnectPolicy(CLOSE.replaced)).toBe("stop");
    expect(reconnectPolicy(CLOSE.revoked)).toBe("stop");
    for (const code of [CLOSE.redirected, CLOSE.full, CLOSE.draining, CLOSE.stopping]) {
      expect(reconnectPolicy(code)).toBe("elsewhere");
    }
  });
});
