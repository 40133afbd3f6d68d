import { expect, test } from "bun:test";

import type { DeviceDecision } from "../cluster/control-messages.ts";
import { Decisions } from "./decisions.ts";

const MOVED: DeviceDecision = {
  at: 1,
  kind: "move",
  why: "attraction",
  from: "s1",
  to: "s2",
  attraction: { here: 1, there: 60 },
  gain: 59,
};

test("B4: of each device the last decision is kept; at the bound the oldest is forgotten (L10)", () => {
  const decisions = new Decisions(2);
  decisions.add("ann", MOVED);
  decisions.add("bob", MOVED);
  decisions.add("ann", { ...MOVED, at: 2 });
  decisions.add("carol", MOVED);
  expect(decisions.of("ann")?.at).toBe(2);
  expect(decisions.of("bob")).toBeUndefined();
  expect(decisions.of("carol")).toEqual(MOVED);
});
