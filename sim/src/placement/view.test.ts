import { expect, test } from "bun:test";

import { NOWHERE, View } from "./view.ts";

test("a server knows its own devices at once, those of others when the staleness is over", () => {
  const view = new View(1, 2, 1000);
  view.set(0, 1, 10_000);
  view.advance(10_500);
  expect([0, 1].map((server) => view.whereAsSeenBy(server, 0))).toEqual([NOWHERE, 1]);
  view.advance(11_000);
  expect(view.whereAsSeenBy(0, 0)).toBe(1);

  view.set(0, NOWHERE, 12_000);
  view.advance(12_999);
  expect([0, 1].map((server) => view.whereAsSeenBy(server, 0))).toEqual([1, NOWHERE]);
  view.advance(13_000);
  expect(view.whereAsSeenBy(0, 0)).toBe(NOWHERE);
});

test("loads of others are those of the last heartbeat, which was old when it was sent", () => {
  const view = new View(1, 2, 500);
  view.set(0, 1, 10_000);
  const loads = (): number[] => [0, 1].map((server) => view.loadAsSeenBy(server, 1));
  view.advance(10_900);
  expect(loads()).toEqual([0, 1]);
  view.advance(11_000);
  expect(loads()).toEqual([1, 1]);
});

test("without staleness everybody knows everything", () => {
  const view = new View(1, 3, 0);
  view.set(0, 2, 0);
  view.advance(0);
  expect([0, 1, 2].map((server) => view.whereAsSeenBy(server, 0))).toEqual([2, 2, 2]);
  expect(view.loadAsSeenBy(0, 2)).toBe(1);
});
