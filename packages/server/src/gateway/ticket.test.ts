import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import { BadToken, type Identity } from "./identity.ts";
import { createTickets, LONGEST_TICKET } from "./ticket.ts";

const KEY = new Uint8Array(32).fill(7);
const NOW = 1_700_000_000_000;
const tickets = createTickets(KEY);

const ann: Identity = {
  user: "ann",
  device: undefined,
  expires: NOW + 1000,
  mayWriteTo: undefined,
};

function refusalOf(check: () => unknown): string {
  try {
    check();
  } catch (error) {
    expect(error).toBeInstanceOf(BadToken);
    return `${(error as BadToken).code}: ${(error as BadToken).message}`;
  }
  return "none";
}

const FOREIGN = "bad-token: the ticket is not one of this cluster";

const userId = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 24 })
  .filter((text) => Buffer.byteLength(text) <= 128);

test("says what the token said, for the device that it was issued to", () => {
  fc.assert(
    fc.property(
      userId,
      userId,
      fc.integer({ min: NOW + 1, max: 2 ** 48 - 1 }),
      fc.option(fc.array(userId, { maxLength: 5 }), { nil: undefined }),
      (user, device, expires, mayWriteTo) => {
        const ticket = tickets.issue({ user, device: undefined, expires, mayWriteTo }, device);
        expect(ticket.length).toBeLessThanOrEqual(LONGEST_TICKET);
        expect(tickets.check(ticket, device, NOW)).toEqual({ user, device, expires, mayWriteTo });
      },
    ),
  );
});

test("is good on another server with the same key, and on none with another", () => {
  const ticket = tickets.issue(ann, "phone");
  expect(createTickets(KEY).check(ticket, "phone", NOW).user).toBe("ann");
  const foreign = createTickets(new Uint8Array(32).fill(8));
  expect(refusalOf(() => foreign.check(ticket, "phone", NOW))).toBe(FOREIGN);
});

test("is for one device, until the token's expiry", () => {
  const ticket = tickets.issue(ann, "phone");
  expect(refusalOf(() => tickets.check(ticket, "laptop", NOW))).toBe(
    "bad-token: the ticket is for another device",
  );
  expect(tickets.check(ticket, "phone", NOW + 999).expires).toBe(NOW + 1000);
  expect(refusalOf(() => tickets.check(ticket, "phone", NOW + 1000))).toBe(
    "token-expired: the token that the ticket stands for is past its expiry",
  );
});

test("every bit of it is under the MAC", () => {
  const ticket = tickets.issue({ ...ann, mayWriteTo: ["bob"] }, "phone");
  for (let bit = 0; bit < ticket.length * 8; bit++) {
    const changed = ticket.slice();
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(refusalOf(() => tickets.check(changed, "phone", NOW))).toBe(FOREIGN);
  }
});

test("cut, lengthened and empty ones, and garbage, are refused", () => {
  const ticket = tickets.issue(ann, "phone");
  for (let length = 0; length < ticket.length; length++) {
    const cut = ticket.subarray(0, length);
    expect(refusalOf(() => tickets.check(cut, "phone", NOW))).toBe(FOREIGN);
  }
  const longer = new Uint8Array([...ticket, 0]);
  expect(refusalOf(() => tickets.check(longer, "phone", NOW))).toBe(FOREIGN);
  const giant = new Uint8Array(100_000).fill(1);
  expect(refusalOf(() => tickets.check(giant, "phone", NOW))).toBe(FOREIGN);
});

describe("the token's list", () => {
  test("an empty list is not the same as none", () => {
    const none = tickets.issue({ ...ann, mayWriteTo: [] }, "phone");
    expect(tickets.check(none, "phone", NOW).mayWriteTo).toEqual([]);
  });

  test("is whole in the ticket, or there is no ticket", () => {
    let fitted = 0;
    for (let length = 0; length < 1200; length += 7) {
      const mayWriteTo = Array.from({ length }, (_, i) => `ü${i}`);
      const ticket = tickets.issue({ ...ann, mayWriteTo }, "phone");
      if (ticket.length === 0) continue;
      fitted = length;
      expect(tickets.check(ticket, "phone", NOW).mayWriteTo).toEqual(mayWriteTo);
    }
    expect(fitted).toBeGreaterThan(150);
    expect(fitted).toBeLessThan(512);
  });

  test("fits to the last byte", () => {
    const room = LONGEST_TICKET - 33 - 6 - 4 - 6 - 2;
    const of = (bytes: number) => {
      const mayWriteTo: string[] = [];
      for (let left = bytes; left > 0;) {
        const length = Math.min(100, left - 1);
        // No rest of a single byte: an entry has two at least.
        const entry = left - 1 - length === 1 ? length - 1 : length;
        mayWriteTo.push("x".repeat(entry));
        left -= entry + 1;
      }
      return tickets.issue({ ...ann, mayWriteTo }, "phone").length;
    };
    expect(of(room)).toBe(LONGEST_TICKET);
    expect(of(room + 1)).toBe(0);
  });
});
