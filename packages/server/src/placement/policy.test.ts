import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { type Place, ramp, sharesOf } from "./places.ts";
import { type Arrival, NOWHERE, placeArrival, placeCrossing, type Mover } from "./policy.ts";
import { ruleOf } from "./rule.ts";

const rule = ruleOf("locality");

const anyPlace = fc.record({
  name: fc.constant("s"),
  state: fc.constantFrom<Place["state"][]>("up", "up", "up", "draining"),
  load: fc.nat({ max: 200 }),
  capacity: fc.oneof(fc.constant(0), fc.nat({ max: 250 })),
  weight: fc.constantFrom(0, 0.3, 1, 1, 1, 2),
  busy: fc.constantFrom(0, 0, 0.5, 0.7, 1),
});
const anyPull = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 500, noNaN: true }));

interface Scene {
  readonly places: readonly Place[];
  readonly arrival: Arrival;
  readonly draws: readonly number[];
}

const anyScene: fc.Arbitrary<Scene> = fc.integer({ min: 1, max: 8 }).chain((n) =>
  fc.record({
    places: fc.array(anyPlace, { minLength: n, maxLength: n }),
    arrival: fc.record({
      attraction: fc.array(anyPull, { minLength: n, maxLength: n }),
      arrived: fc.integer({ min: -1, max: n - 1 }),
      hint: fc.integer({ min: -1, max: n - 1 }),
      intent: fc.integer({ min: -1, max: n - 1 }),
    }),
    draws: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 2, maxLength: 2 }),
  }),
);

const randomOf = (draws: readonly number[]): (() => number) => {
  let at = 0;
  return () => draws[at++ % draws.length]!;
};

const decide = ({ places, arrival, draws }: Scene): ReturnType<typeof placeArrival> =>
  placeArrival(arrival, places, rule, randomOf(draws));

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const isFull = ({ load, capacity }: Place): boolean => capacity > 0 && load >= capacity;
const takes = (place: Place): boolean => place.state === "up" && !isFull(place);
const sharesFor = (places: readonly Place[]): ReturnType<typeof sharesOf> =>
  sharesOf(places, sum(places.map(({ load }) => load)) + 1, rule);

const place = (load: number, more: Partial<Place> = {}): Place => ({
  name: "s",
  state: "up",
  load,
  capacity: 0,
  weight: 1,
  busy: 0,
  ...more,
});
const arrival = (more: Partial<Arrival>): Arrival => ({
  attraction: [0, 0, 0, 0],
  arrived: 0,
  hint: NOWHERE,
  intent: NOWHERE,
  ...more,
});
const even = [place(100), place(100), place(100), place(100)];

describe("at a connect", () => {
  test("B1: nobody is sent to a server that is draining or full", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { to } = decide(scene);
        if (to !== NOWHERE) expect(takes(scene.places[to]!)).toBeTrue();
        else expect(scene.places.some(takes)).toBeFalse();
      }),
      { numRuns: 2000 },
    );
  });

  test("B1: nobody is redirected to a server that is at its cap, unless all are", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { to } = decide(scene);
        if (to === NOWHERE || to === scene.arrival.arrived || to === scene.arrival.hint) return;
        const shares = sharesFor(scene.places);
        const isBelow = (i: number): boolean => scene.places[i]!.load < shares.cap[i]!;
        expect(isBelow(to) || !scene.places.some((_, i) => isBelow(i))).toBeTrue();
      }),
      { numRuns: 2000 },
    );
  });

  test("the same input and the same random numbers give the same answer", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const before = JSON.stringify(scene);
        expect(decide(scene)).toEqual(decide(scene));
        expect(JSON.stringify(scene)).toBe(before);
      }),
    );
  });

  test("no redirect without a gain: more of the circle is there, or more room", () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const { places, arrival } = scene;
        const { to } = decide(scene);
        const { arrived, attraction, intent } = arrival;
        if (to === NOWHERE || arrived === NOWHERE || to === arrived || to === arrival.hint) return;
        const shares = sharesFor(places);
        if (places[arrived]!.load >= shares.cap[arrived]!) return;
        const pull = (i: number): number => attraction[i]! + (i === intent ? rule.intent : 0);
        const excess = (i: number): number =>
          (places[i]!.load - shares.fair[i]!) / Math.max(1e-9, shares.cap[i]! - shares.fair[i]!);
        expect(pull(to) > pull(arrived) || excess(to) < excess(arrived)).toBeTrue();
      }),
      { numRuns: 2000 },
    );
  });

  test("where more of the circle is, the device stays all the more", () => {
    fc.assert(
      fc.property(anyScene, fc.double({ min: 0, max: 100, noNaN: true }), (scene, more) => {
        const { to } = decide(scene);
        if (to === NOWHERE) return;
        const attraction = scene.arrival.attraction as number[];
        const stronger = attraction.map((pull, i) => (i === to ? pull + more : pull));
        const again = decide({ ...scene, arrival: { ...scene.arrival, attraction: stronger } });
        expect(again.to).toBe(to);
      }),
    );
  });

  test("who comes by a push stays where it leads, though others are attracted no more", () => {
    const places = [place(112), place(96), place(96), place(96)];
    const attraction = [0, 900, 0, 0];
    expect(placeArrival(arrival({ hint: 0, attraction }), places, rule, () => 0.5)).toEqual({
      to: 0,
      why: "hint",
    });
  });

  test("M12: a push that leads to a server that is draining, full or far beyond its share is not followed", () => {
    const others = [place(90), place(90), place(90)];
    for (const first of [
      place(90, { state: "draining" }),
      place(90, { capacity: 90 }),
      place(130),
    ]) {
      const decision = placeArrival(arrival({ hint: 0 }), [first, ...others], rule, () => 0.5);
      expect(decision.to).not.toBe(0);
    }
  });

  test("the device goes where most of its circle is, the stronger ties before the more", () => {
    const attraction = [5, 20, 60, 0];
    expect(placeArrival(arrival({ attraction }), even, rule, () => 0)).toEqual({
      to: 2,
      why: "attraction",
    });
  });

  test("the first recipient in the outbox draws as a message would", () => {
    const attraction = [5, 0, 0, 0];
    const { to } = placeArrival(arrival({ attraction, intent: 3 }), even, rule, () => 0);
    expect(to).toBe(3);
  });

  test("a server that is busy attracts nobody; who comes back to it may stay", () => {
    const places = [place(100), place(100, { busy: 0.8 }), place(100), place(100)];
    const at = (arrived: number): number =>
      placeArrival(arrival({ attraction: [0, 90, 50, 0], arrived }), places, rule, () => 0).to;
    expect(at(0)).toBe(2);
    expect(at(1)).toBe(1);
  });

  test("who is idle leaves a server that is nearly full, who has somebody there stays", () => {
    const places = [place(109), place(97), place(97), place(97)];
    const at = (pull: number): number =>
      placeArrival(arrival({ attraction: [pull, 0, 0, 0] }), places, rule, () => 0.3).to;
    expect(at(1)).toBe(1);
    expect(at(500)).toBe(0);
  });

  test("who has nobody anywhere stays below the cap, and else goes to the better of two at random", () => {
    const draws = (): (() => number) => randomOf([0.3, 0.6]);
    expect(placeArrival(arrival({}), even, rule, draws())).toEqual({ to: 0, why: "stay" });
    const places = [place(120), place(95), place(90), place(85)];
    expect(placeArrival(arrival({}), places, rule, draws())).toEqual({ to: 2, why: "room" });
  });

  test("if all servers are full the device stays", () => {
    const full = [1, 2, 3].map(() => place(50, { capacity: 50 }));
    const open = place(50, { capacity: 51 });
    const all = [...full, open];
    expect(placeArrival(arrival({ arrived: 3 }), all, rule, () => 0).to).toBe(3);
    expect(placeArrival(arrival({ arrived: 0 }), full, rule, () => 0).to).toBe(NOWHERE);
  });

  test("B1: however they are drawn, those who come never make a server exceed its cap", () => {
    const anyDevice = fc.record({
      pull: fc.array(anyPull, { minLength: 4, maxLength: 4 }),
      arrived: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(anyDevice, { minLength: 150, maxLength: 200 }), (devices) => {
        const places = [place(0), place(0), place(0), place(0)].map((one) => ({ ...one }));
        for (const [nth, { pull, arrived }] of devices.entries()) {
          const scene = arrival({ attraction: pull, arrived });
          const { to } = placeArrival(scene, places, rule, () => (nth % 7) / 7);
          places[to]!.load++;
          const { cap } = sharesOf(places, nth + 1, rule);
          expect(places[to]!.load).toBeLessThanOrEqual(cap[to]!);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("after a message that crossed", () => {
  const mover = (more: Partial<Mover>): Mover => ({
    attraction: [0, 0, 0, 0],
    here: 0,
    associates: 1,
    movable: true,
    ...more,
  });
  const anyMover = (n: number): fc.Arbitrary<Mover> =>
    fc.record({
      attraction: fc.array(anyPull, { minLength: n, maxLength: n }),
      here: fc.nat({ max: n - 1 }),
      associates: fc.nat({ max: 64 }),
      movable: fc.boolean(),
    });
  const anyCrossing = fc.integer({ min: 2, max: 6 }).chain((n) =>
    fc.record({
      places: fc.array(anyPlace, { minLength: n, maxLength: n }),
      movers: fc.tuple(anyMover(n), anyMover(n)),
    }),
  );

  test("a move gains, goes to a server that is up and below its cap, and moves only who may be moved", () => {
    fc.assert(
      fc.property(anyCrossing, ({ places, movers }) => {
        const move = placeCrossing(movers, places, rule);
        if (move === undefined) return;
        const { attraction, here, movable } = movers[move.who]!;
        const devices = sum(places.map(({ load }) => load));
        const { cap } = sharesOf(places, devices, rule);
        expect(movable).toBeTrue();
        expect(move.to).not.toBe(here);
        expect(places[move.to]!.state).toBe("up");
        expect(places[move.to]!.load).toBeLessThan(cap[move.to]!);
        expect(places[move.to]!.busy).toBeLessThan(rule.busy);
        expect(move.gain).toBeGreaterThanOrEqual(rule.moveGain);
        expect(attraction[move.to]!).toBeGreaterThanOrEqual(1.1 * attraction[here]!);
        expect(attraction[move.to]!).toBeGreaterThan(0);
        expect(placeCrossing(movers, places, rule)).toEqual(move);
      }),
      { numRuns: 2000 },
    );
  });

  test("the one who gains more is moved; of equals the one with fewer associates", () => {
    const weak = mover({ attraction: [0, 30, 0, 0], here: 0 });
    const strong = mover({ attraction: [60, 0, 0, 0], here: 1 });
    expect(placeCrossing([weak, strong], even, rule)).toMatchObject({ who: 1, to: 0 });
    const equal = mover({ attraction: [30, 0, 0, 0], here: 1, associates: 9 });
    expect(placeCrossing([weak, equal], even, rule)).toMatchObject({ who: 0, to: 1 });
    expect(placeCrossing([equal, weak], even, rule)).toMatchObject({ who: 1, to: 1 });
  });

  test("who has as much here as there stays", () => {
    const torn = mover({ attraction: [500, 540, 0, 0] });
    expect(placeCrossing([torn, torn], even, rule)).toBeUndefined();
  });
});

describe("a changing set of servers", () => {
  test("one of four drains: the others may have a third more, and nobody is sent there", () => {
    const places = [place(100, { state: "draining" }), place(100), place(100), place(100)];
    expect(sharesOf(places, 400, rule).cap).toEqual([0, 146, 146, 146]);
  });

  test("M12: one that has come back empty makes the others neither full nor refuse those whom a push leads there", () => {
    const places = [place(0), place(100), place(100), place(100)];
    const shares = sharesOf(places, 301, rule);
    for (const cap of shares.cap.slice(1)) expect(cap).toBeGreaterThan(100);
    expect(placeArrival(arrival({ arrived: 1, hint: 1 }), places, rule, () => 0).to).toBe(1);
  });

  test("all devices have a share, whoever is behind", () => {
    fc.assert(
      fc.property(fc.array(anyPlace, { minLength: 1, maxLength: 8 }), (places) => {
        const devices = sum(places.map(({ load }) => load)) + 1;
        const shares = sharesOf(places, devices, rule);
        if (places.every(({ state }) => state !== "up")) return;
        expect(sum(shares.fair)).toBeCloseTo(devices, 6);
      }),
    );
  });

  test("a server that has just come gets its share over ten minutes", () => {
    const capAfter = (minutes: number): number => {
      const joining = place(170, { weight: ramp(minutes * 60_000) });
      return sharesOf([joining, place(215), place(215)], 600, rule).cap[0]!;
    };
    expect(capAfter(0)).toBe(rule.least);
    expect(capAfter(5)).toBe(132);
    expect(capAfter(10)).toBe(220);
    expect(capAfter(60)).toBe(220);
  });

  test("if all have only just come they are equal", () => {
    const fresh = even.map((one) => ({ ...one, weight: 0 }));
    expect(sharesOf(fresh, 400, rule).fair).toEqual([100, 100, 100, 100]);
  });

  test("a server that can carry more gets more, and none more than it takes", () => {
    const places = [place(300, { weight: 3 }), place(100), place(100, { capacity: 12 })];
    expect(sharesOf(places, 500, rule).cap).toEqual([330, 110, 12]);
  });

  test("an empty server draws no more than chance names it, so that not all go there at once", () => {
    const places = [place(100), place(100), place(100), place(0)];
    const toEmpty = Array.from({ length: 100 }, (_, i) =>
      placeArrival(arrival({}), places, rule, randomOf([(i % 10) / 10, Math.floor(i / 10) / 10])),
    ).filter(({ to }) => to === 3);
    expect(toEmpty.length).toBe(36);
  });
});
