/** Each law broken on purpose makes the simulation fail, by the law's name. */
import { expect, test } from "bun:test";

import { type Sabotage, simulate } from "./delivery.ts";
import {
  ackBeforeCommit,
  intentsEndByTime,
  liveWhileBehind,
  noFencing,
  noResequencing,
  noTail,
  noTailAndNoWatch,
} from "./sabotage.ts";
import { planOf } from "./scenarios.ts";
import { shrink } from "./shrink.ts";
import type { Fault, Law } from "./violation.ts";

/** On a machine that does other things as well. */
const TIMEOUT_MS = 60_000;

/** Of some schedules that are clean without the sabotage the first that shows the fault. */
function firstSeed(
  scenario: string,
  law: Law,
  faults: readonly Fault[],
  sabotage: () => Sabotage,
): number | undefined {
  for (let seed = 1; seed <= 30; seed += 1) {
    const { violations } = simulate(planOf(scenario, seed), sabotage()).report;
    if (violations.some((one) => one.law === law && faults.includes(one.fault))) return seed;
  }
  return undefined;
}

test.each<[string, Law, Fault[], string, () => Sabotage]>([
  ["an ACK before the commit", "L1", ["early ack"], "sleeping", ackBeforeCommit],
  ["no tail", "L4", ["late"], "claimed", noTail],
  ["no tail and no watch", "L4", ["late"], "stalling", noTailAndNoWatch],
  ["live while behind", "L3", ["live while behind"], "sleeping", liveWhileBehind],
  ["no resequencing", "L3", ["silent hole", "reordered"], "reconnecting", noResequencing],
  ["intents that end by time", "L5", ["unpushed"], "sleeping", intentsEndByTime],
])(
  "%s breaks %s",
  (_, law, faults, scenario, sabotage) => {
    expect(firstSeed(scenario, law, faults, sabotage)).toBeDefined();
  },
  TIMEOUT_MS,
);

test(
  "no fencing breaks L6",
  () => {
    const { sabotage, undo } = noFencing();
    try {
      expect(firstSeed("claimed", "L6", ["two connections"], () => sabotage)).toBeDefined();
    } finally {
      undo();
    }
  },
  TIMEOUT_MS,
);

test(
  "what fails is made smaller, and fails in the same way",
  () => {
    const seed = firstSeed("sleeping", "L1", ["early ack"], ackBeforeCommit)!;
    const outcome = simulate(planOf("sleeping", seed), ackBeforeCommit());
    const { outcome: small, violation } = shrink(outcome, ackBeforeCommit);
    const [first] = outcome.report.violations;
    expect([violation.law, violation.fault]).toEqual([first!.law, first!.fault]);
    expect(small.plan.steps.length).toBeLessThan(outcome.plan.steps.length / 4);
  },
  TIMEOUT_MS,
);
