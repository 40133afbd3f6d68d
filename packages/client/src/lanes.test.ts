import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { createLanes, type Due, type LaneBounds, type Numbered } from "./lanes.ts";

const GAP_MS = 5_000;

function make(bounds?: LaneBounds): ReturnType<typeof createLanes<Numbered>> {
  return createLanes<Numbered>(() => {}, bounds);
}

function message(n: number, prev = n - 1, lane = "ann"): Numbered {
  return { lane, n, prev };
}

/** `n` and the marks of what is due. */
function show(due: readonly Due<Numbered>[] | string): string {
  if (typeof due === "string") return due;
  return due
    .map(({ message: { n }, gap, late }) => `${n}${gap ? " gap" : ""}${late ? " late" : ""}`)
    .join(", ");
}

describe("L3: a lane is handed over in the order sent", () => {
  test("what follows the one before is due at once", () => {
    const lanes = make();
    expect([1, 2, 3].map((n) => show(lanes.arrive(message(n), 0)))).toEqual(["1", "2", "3"]);
  });

  test("what comes early waits for the one before it", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    expect(show(lanes.arrive(message(3), 0))).toBe("waits");
    expect(show(lanes.arrive(message(4), 0))).toBe("waits");
    expect(show(lanes.arrive(message(2), 0))).toBe("2, 3, 4");
  });

  test("a number that was finally refused is not waited for", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    expect(show(lanes.arrive(message(5, 1), 0))).toBe("5");
  });

  test("lanes do not wait for each other", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(3), 0);
    expect(show(lanes.arrive(message(1, 0, "eve"), 0))).toBe("1");
  });

  test("a repeat is known by the watermark", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(2), 0);
    expect(lanes.arrive(message(1), 0)).toBe("repeat");
    expect(lanes.arrive(message(2), 0)).toBe("repeat");
  });
});

describe("a hole is marked, never silent", () => {
  test("it is given up after 5 s, and what follows says so", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(3), 100);
    lanes.arrive(message(4), 200);
    expect(lanes.deadline()).toBe(100 + GAP_MS);
    expect(show(lanes.expire(99 + GAP_MS))).toBe("");
    expect(show(lanes.expire(100 + GAP_MS))).toBe("3 gap, 4");
    expect(lanes.deadline()).toBeUndefined();
  });

  test("it is given up when the store holds nothing more", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(3), 0);
    expect(lanes.pull()).toBe(true);
    expect(show(lanes.pulled(1))).toBe("3 gap");
  });

  test("a PULL answers only for what came before it", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(3), 0);
    expect(lanes.pull()).toBe(true);
    lanes.arrive(message(7), 0);
    expect(lanes.pull()).toBe(false);
    expect(show(lanes.pulled(1))).toBe("3 gap");
    expect(lanes.pull()).toBe(true);
    expect(show(lanes.pulled(2))).toBe("7 gap");
    expect(lanes.pull()).toBe(false);
  });

  test("one PULL is sent for all that waits", () => {
    const lanes = make();
    lanes.arrive(message(3, 2, "ann"), 0);
    lanes.arrive(message(3, 2, "eve"), 0);
    expect([lanes.pull(), lanes.pull()]).toEqual([true, false]);
    expect(show(lanes.pulled(1))).toBe("3, 3");
  });

  test("nothing is given up before what was sent earlier and is here", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(9), 0);
    lanes.arrive(message(5), 4_000);
    expect(show(lanes.expire(GAP_MS))).toBe("5 gap, 9 gap");
  });

  test("what was missing comes late, once", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(5), 0);
    lanes.expire(GAP_MS);
    expect(show(lanes.arrive(message(3), 0))).toBe("3 late");
    expect(lanes.arrive(message(3), 0)).toBe("repeat");
    expect([2, 4].map((n) => show(lanes.arrive(message(n), 0)))).toEqual(["2 late", "4 late"]);
  });

  test("what was finally refused is not missing", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(9, 3), 0);
    lanes.expire(GAP_MS);
    expect(lanes.record("ann")).toEqual({ top: 9, skipped: [2, 3] });
  });
});

describe("a lane that is new here", () => {
  test("begins at once with its first message", () => {
    expect(show(make().arrive(message(1), 0))).toBe("1");
  });

  test("begins with what comes first once the store holds nothing more, without a gap", () => {
    const lanes = make();
    expect(lanes.arrive(message(8), 0)).toBe("waits");
    lanes.arrive(message(7), 0);
    lanes.pull();
    expect(show(lanes.pulled(1))).toBe("7, 8");
  });

  test("takes what comes from before its beginning for late, not for a repeat", () => {
    const lanes = make();
    lanes.arrive(message(8), 0);
    lanes.expire(GAP_MS);
    expect(show(lanes.arrive(message(4), 0))).toBe("4 late");
  });
});

describe("a new connection", () => {
  test("counts PULLs from 1, and what waits waits anew", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    lanes.arrive(message(2, 1, "eve"), 0);
    lanes.pull();
    lanes.arrive(message(3), 0);
    expect(show(lanes.pulled(1))).toBe("2");
    lanes.pull();
    lanes.connected(60_000, 256);
    expect(show(lanes.pulled(1))).toBe("");
    expect(lanes.pull()).toBe(true);
    expect(lanes.deadline()).toBe(60_000 + GAP_MS);
    expect(show(lanes.pulled(1))).toBe("3 gap");
  });
});

describe("L10: bounds", () => {
  test("beyond 256 waiting messages the lane of the oldest goes on", () => {
    const lanes = make();
    lanes.arrive(message(1), 0);
    for (let n = 3; n < 259; n++) expect(lanes.arrive(message(n), n)).toBe("waits");
    expect(show(lanes.arrive(message(300, 299, "eve"), 300)).split(", ")).toHaveLength(256);
  });

  test("L4: what a device without memory is sent cannot fill the window with what waits for the rest", () => {
    const lanes = make();
    lanes.connected(0, 64);
    for (let n = 7; n < 55; n++) expect(lanes.arrive(message(n), n)).toBe("waits");
    const due = show(lanes.arrive(message(55), 55));
    expect(due).toStartWith("7, 8, 9");
    expect(due.split(", ")).toHaveLength(49);
    expect(show(lanes.arrive(message(6), 56))).toBe("6 late");
  });

  test("beyond 10,000 lanes the one longest unused is forgotten", () => {
    const forgotten: string[] = [];
    const lanes = createLanes<Numbered>((lane) => forgotten.push(lane));
    for (let i = 0; i < 10_000; i++) lanes.arrive(message(1, 0, `u${i}`), 0);
    lanes.arrive(message(2, 1, "u0"), 0);
    lanes.arrive(message(1, 0, "new"), 0);
    expect(forgotten).toEqual(["u1"]);
  });

  test("a lane with something waiting is not forgotten", () => {
    const lanes = make({ lanes: 2, waiting: 256, skipped: 64 });
    lanes.arrive(message(3, 2, "ann"), 0);
    for (const user of ["b", "c", "d"]) lanes.arrive(message(1, 0, user), 0);
    expect(show(lanes.expire(GAP_MS))).toBe("3");
  });

  test("too many holes grow together at the old end: nothing missing becomes a repeat", () => {
    const lanes = make({ lanes: 10, waiting: 256, skipped: 2 });
    lanes.arrive(message(1), 0);
    for (const n of [3, 5, 7]) {
      lanes.arrive(message(n), 0);
      lanes.expire(GAP_MS);
    }
    expect(lanes.record("ann").skipped).toEqual([2, 4, 6, 6]);
    expect(show(lanes.arrive(message(2), 0))).toBe("2 late");
  });
});

test("a lane goes on from its record", () => {
  const first = make();
  first.arrive(message(1), 0);
  first.arrive(message(5), 0);
  first.expire(GAP_MS);
  const lanes = make();
  lanes.restore("ann", first.record("ann"));
  expect(lanes.arrive(message(5), 0)).toBe("repeat");
  expect(show(lanes.arrive(message(3), 0))).toBe("3 late");
  expect(show(lanes.arrive(message(6), 0))).toBe("6");
});

/** A sender's lane: the numbers that were accepted, each linked to the one before. */
const sent = fc
  .uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 25 })
  .map((numbers) => {
    const ascending = numbers.sort((a, b) => a - b);
    return ascending.map((n, i) => message(n, ascending[i - 1] ?? 0));
  });

type Step =
  | { readonly kind: "arrive"; readonly at: number }
  | { readonly kind: "pulled" | "connected" }
  | { readonly kind: "wait"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("arrive" as const), at: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom({ kind: "pulled" as const }, { kind: "connected" as const }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.integer({ min: 1, max: 6000 }),
    }),
  },
);

/** A lane as the network brings it: any of it, in any order, any number of times, and all of it at last. */
function play(all: readonly Numbered[], steps: readonly Step[]): Due<Numbered>[] {
  const lanes = make();
  const due: Due<Numbered>[] = [];
  const here = new Set<number>();
  let now = 0;
  let pulls = 0;
  const take = (given: readonly Due<Numbered>[] | string): void => {
    if (typeof given !== "string") due.push(...given);
  };
  const arrive = (each: Numbered): void => {
    // The inbox knows what waits here already.
    if (here.has(each.n) && !due.some((one) => one.message.n === each.n)) return;
    here.add(each.n);
    take(lanes.arrive(each, now));
    if (lanes.pull()) pulls++;
  };
  const lastly: Step[] = all.map((_, at) => ({ kind: "arrive", at }));
  for (const each of [...steps, ...lastly, { kind: "wait" as const, ms: GAP_MS }]) {
    if (each.kind === "arrive") arrive(all[each.at % all.length]!);
    if (each.kind === "pulled") take(lanes.pulled(pulls));
    if (each.kind === "wait") take(lanes.expire((now += each.ms)));
    if (each.kind === "connected") {
      lanes.connected(now, 256);
      pulls = lanes.pull() ? 1 : 0;
    }
  }
  return due;
}

describe("whatever the network does", () => {
  test("L2: each message is handed over exactly once", () => {
    fc.assert(
      fc.property(sent, fc.array(step, { maxLength: 80 }), (all, steps) => {
        const handed = play(all, steps).map(({ message: { n } }) => n);
        expect(handed.toSorted((a, b) => a - b)).toEqual(all.map(({ n }) => n));
      }),
    );
  });

  test("L3: in order, but for what says that it is late; after a gap exactly where something is missing", () => {
    fc.assert(
      fc.property(sent, fc.array(step, { maxLength: 80 }), (all, steps) => {
        const handed = new Set<number>();
        let top = 0;
        for (const { message: each, gap, late } of play(all, steps)) {
          expect(late).toBe(each.n < top);
          if (!late) expect(gap).toBe(handed.size > 0 && each.prev !== 0 && !handed.has(each.prev));
          handed.add(each.n);
          top = Math.max(top, each.n);
        }
      }),
    );
  });

  test("without loss and time, nothing is late and nothing has a gap", () => {
    fc.assert(
      fc.property(sent, fc.array(fc.nat(), { maxLength: 60 }), (all, order) => {
        const steps = order.map((at) => ({ kind: "arrive" as const, at }));
        const handed = play(all, steps);
        expect(handed.map(({ message: { n } }) => n)).toEqual(all.map(({ n }) => n));
        expect(handed.some(({ gap, late }) => gap || late)).toBe(false);
      }),
    );
  });
});
