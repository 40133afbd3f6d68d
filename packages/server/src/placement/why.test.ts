import { expect, test } from "bun:test";

import type { Place } from "./places.ts";
import { ruleOf } from "./rule.ts";
import { type AskedDevice, reasonsOf, type Tie, verdictOf } from "./why.ts";

const rule = ruleOf("cost");

const place = (name: string, load: number, more: Partial<Place> = {}): Place => ({
  name,
  state: "up",
  load,
  capacity: 0,
  weight: 1,
  busy: 0,
  ...more,
});
const even = [place("a", 100), place("b", 100), place("c", 100)];

const tie = (user: string, weight: number, servers: string[], named?: string): Tie => ({
  user,
  weight,
  servers,
  named,
});

const at = (server: string | null, more: Partial<AskedDevice> = {}): AskedDevice => ({
  device: "phone",
  server,
  background: false,
  durable: true,
  ...more,
});

const verdict = (
  device: AskedDevice,
  attraction: readonly number[],
  places: readonly Place[] = even,
  moves = true,
): ReturnType<typeof verdictOf> => verdictOf(device, attraction, places, rule, moves);

test("B4: for each server what draws the user there, and what a seat costs", () => {
  const places = [place("a", 100), place("b", 95, { busy: 1 }), place("c", 112)];
  const ties = [
    tie("bob", 30, ["a", "a"]),
    tie("cat", 8, ["a", "b"]),
    tie("dan", 2, [], "c"),
    // Whoever is connected does not come where a push calls him.
    tie("eve", 1, ["b"], "c"),
    tie("fay", 5, []),
  ];
  const [a, b, c] = reasonsOf([68, 9, 2], places, ties, rule);
  expect([a, b, c].map((one) => one!.associates)).toEqual([2, 2, 1]);
  expect([a, b, c].map((one) => one!.weight)).toEqual([68, 9, 2]);
  // The cap is 112 of 102.33.
  expect([a, b, c].map((one) => one!.attracts)).toEqual([true, false, false]);
  expect(a!.fair).toBeCloseTo(307 / 3, 6);
  expect(a!.score).toBe(68 - a!.pressure);
  expect(c!.pressure).toBeGreaterThan(b!.pressure);
});

test("B4: a device is said to be moved, sent on at its next connect, or to stay, as the policy would have it", () => {
  const { redirectGain, moveGain } = rule;
  const attraction = [10, 10 + moveGain + 1, 0];
  expect(verdict(at("a"), attraction)).toMatchObject({
    what: "move",
    to: "b",
    why: "attraction",
    gain: moveGain + 1,
  });
  const sent = { what: "redirect", to: "b", why: "attraction" } as const;
  expect(verdict(at("a", { background: true }), attraction)).toMatchObject(sent);
  expect(verdict(at("a"), attraction, even, false)).toMatchObject(sent);
  const little = verdict(at("a"), [0, redirectGain + 3, 0]);
  expect(little).toMatchObject(sent);
  expect(little.gain).toBeGreaterThan(redirectGain);
  for (const stay of [
    verdict(at("a"), [0, redirectGain - 3, 0]),
    verdict(at("b"), attraction),
    verdict(at("a"), [0, 0, 0]),
  ]) {
    expect(stay).toEqual({ what: "stay", to: null, why: "stay", gain: null });
  }
});

test("B4: who is at a server with its last seat is not said to be sent away for its own sake", () => {
  const full = [place("a", 10, { capacity: 10 }), place("b", 0, { capacity: 10 })];
  expect(verdict(at("a"), [40, 0], full)).toMatchObject({ what: "stay" });
});

test("B4: of a device that is asleep it is said where it is drawn, of one whose server drains where it goes", () => {
  expect(verdict(at(null), [0, 30, 0])).toMatchObject({ what: "redirect", to: "b" });
  expect(verdict(at("gone"), [0, 30, 0])).toMatchObject({ what: "redirect", to: "b" });
  expect(verdict(at(null), [0, 0, 0])).toMatchObject({ what: "any", to: null });
  const draining = [place("a", 100, { state: "draining" }), place("b", 100), place("c", 100)];
  expect(verdict(at("a"), [90, 0, 30], draining)).toMatchObject({ what: "leave", to: "c" });
  expect(verdict(at("b"), [90, 0, 0], draining)).toMatchObject({ what: "stay" });
});
