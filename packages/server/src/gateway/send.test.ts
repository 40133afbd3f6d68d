import { describe, expect, test } from "bun:test";

import { LIMITS, uuidv7 } from "@beckon/protocol";
import type { SendFrame } from "@beckon/protocol";
import { array, assert, boolean, constantFrom, property } from "fast-check";

import { faultOf, RefusedLanes, SendRate } from "./send.ts";

const NOW = Date.UTC(2026, 0, 1);
const random = (bytes: Uint8Array): void => void bytes.fill(7);

function send(overrides: Partial<SendFrame> = {}): SendFrame {
  return {
    type: "send",
    id: uuidv7(NOW, random),
    to: "bob",
    n: 1,
    prev: 0,
    payload: new Uint8Array(8),
    wake: "message",
    preview: "",
    ends: new Uint8Array(),
    ...overrides,
  };
}

describe("a SEND by itself", () => {
  const fault = (overrides: Partial<SendFrame>): string | undefined =>
    faultOf(send(overrides), "ann", LIMITS, NOW);

  test("a good one has no fault", () => {
    expect(fault({})).toBeUndefined();
    expect(fault({ n: 0, prev: 0 })).toBeUndefined();
    expect(fault({ n: 9, prev: 3 })).toBeUndefined();
  });

  test("at each limit, and one past it", () => {
    expect(fault({ payload: new Uint8Array(LIMITS.payload) })).toBeUndefined();
    expect(fault({ payload: new Uint8Array(LIMITS.payload + 1) })).toBe("payload-too-large");
    expect(fault({ preview: "x".repeat(LIMITS.preview) })).toBeUndefined();
    expect(fault({ preview: "x".repeat(LIMITS.preview + 1) })).toBe("payload-too-large");
    expect(fault({ id: uuidv7(NOW - LIMITS.idAge, random) })).toBeUndefined();
    expect(fault({ id: uuidv7(NOW - LIMITS.idAge - 1, random) })).toBe("id-too-old");
    expect(fault({ id: uuidv7(NOW + LIMITS.idAhead, random) })).toBeUndefined();
    expect(fault({ id: uuidv7(NOW + LIMITS.idAhead + 1, random) })).toBe("bad-id");
  });

  test("nobody, oneself, and lanes that run backward", () => {
    expect(fault({ to: "" })).toBe("bad-recipient");
    expect(fault({ to: "ann" })).toBe("bad-recipient");
    expect(fault({ id: new Uint8Array(3) })).toBe("bad-id");
    expect(fault({ n: 0, prev: 1 })).toBe("bad-lane");
    expect(fault({ n: 4, prev: 4 })).toBe("bad-lane");
  });

  test("[P-5.14] what ends a call names it", () => {
    expect(fault({ ends: uuidv7(NOW, random) })).toBeUndefined();
    expect(fault({ ends: new Uint8Array(15) })).toBe("bad-id");
  });
});

describe("L3: a lane after a refusal", () => {
  test("takes nothing later until the refused one comes again", () => {
    const lanes = new RefusedLanes();
    lanes.refuse("bob", 5, false);
    expect(lanes.admits(send({ n: 6, prev: 5 }))).toBe(false);
    expect(lanes.admits(send({ n: 7, prev: 6 }))).toBe(false);
    expect(lanes.admits(send({ to: "cem", n: 7, prev: 6 }))).toBe(true);
    expect(lanes.admits(send({ n: 5, prev: 4 }))).toBe(true);
    expect(lanes.admits(send({ n: 6, prev: 5 }))).toBe(true);
  });

  test("goes on with one that is linked past what was finally refused", () => {
    const lanes = new RefusedLanes();
    lanes.refuse("bob", 5, true);
    expect(lanes.admits(send({ n: 6, prev: 4 }))).toBe(true);
    expect(lanes.admits(send({ n: 7, prev: 6 }))).toBe(true);
  });

  test("goes on with one that is linked to what was taken before, though that is past what was finally refused", () => {
    const lanes = new RefusedLanes();
    // 6 was taken over an earlier connection.
    lanes.refuse("bob", 5, false);
    expect(lanes.admits(send({ n: 7, prev: 6 }))).toBe(false);
    lanes.refuse("bob", 7, false);
    expect(lanes.admits(send({ n: 5, prev: 4 }))).toBe(true);
    lanes.refuse("bob", 5, true);
    expect(lanes.admits(send({ n: 7, prev: 6 }))).toBe(true);
  });

  test("whatever is refused for now, for good, and was taken before: all comes through that is to, and no hole is left behind", () => {
    const verdict = constantFrom("take", "later", "never");
    assert(
      property(
        array(boolean(), { minLength: 10, maxLength: 10 }),
        array(verdict, { maxLength: 60 }),
        (before, verdicts) => {
          const lanes = new RefusedLanes();
          const taken = new Set(before.flatMap((isTaken, at) => (isTaken ? [at + 1] : [])));
          const never = new Set<number>();
          const prevOf = (n: number, known: ReadonlySet<number>): number => {
            for (let prev = n - 1; prev > 0; prev--) if (!known.has(prev)) return prev;
            return 0;
          };
          const isMissing = (n: number): boolean => !taken.has(n) && !never.has(n);
          let next = 0;
          for (let round = 0; round < 80; round++) {
            // What is on its way was linked before the answers to it came.
            const known = new Set(never);
            const waiting = Array.from({ length: 10 }, (_, at) => at + 1).filter(isMissing);
            for (const n of waiting) {
              const prev = prevOf(n, known);
              if (!lanes.admits(send({ n, prev }))) {
                lanes.refuse("bob", n, false);
                continue;
              }
              // What it is linked to is there: nothing that is still to come is before it.
              expect(Array.from({ length: prev }, (_, at) => at + 1).filter(isMissing)).toEqual([]);
              const what = verdicts[next++] ?? "take";
              if (what === "take") taken.add(n);
              else lanes.refuse("bob", n, what === "never");
              if (what === "never") never.add(n);
            }
          }
          expect(Array.from({ length: 10 }, (_, at) => at + 1).filter(isMissing)).toEqual([]);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("whatever is refused in a pipeline, what is taken has no hole that will be filled later", () => {
    assert(
      property(array(boolean(), { maxLength: 40 }), (refusals) => {
        // A sender of ten messages who repeats all that was refused, in order, until everything is taken.
        const lanes = new RefusedLanes();
        const taken: number[] = [];
        let waiting = Array.from({ length: 10 }, (_, at) => at + 1);
        let round = 0;
        for (let tries = 0; waiting.length > 0 && tries < 100; tries++) {
          const refused: number[] = [];
          for (const n of waiting) {
            const ordered = lanes.admits(send({ n, prev: n - 1 }));
            if (ordered && !(refusals[round++] ?? false)) taken.push(n);
            else {
              lanes.refuse("bob", n, false);
              refused.push(n);
            }
          }
          waiting = refused;
        }
        expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      }),
    );
  });
});

test("L10: a connection sends at its rate after its burst, and is told when to go on", () => {
  const rate = new SendRate(10, 3, 0);
  expect([rate.take(0), rate.take(0), rate.take(0)]).toEqual([0, 0, 0]);
  expect(rate.take(0)).toBe(100);
  expect(rate.take(99)).toBe(1);
  expect(rate.take(100)).toBe(0);
  expect(rate.take(100)).toBe(100);
});
