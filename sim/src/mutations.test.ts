/** Each law broken on purpose makes the simulation fail, by the law's name. */
import { describe, expect, test } from "bun:test";

import { type Sabotage, simulate } from "./delivery.ts";
import type { Engines, Plan, Step } from "./plan.ts";
import {
  ackBeforeCommit,
  alwaysRedirected,
  goodbyeAfterMove,
  holdsWithoutDisk,
  intentsEndByTime,
  liveWhileBehind,
  noEnds,
  noFencing,
  noLoss,
  noMembers,
  noResequencing,
  noRepeatsAfterMove,
  noRinging,
  noTail,
  noTailAndNoWatch,
  noWatch,
  tailThatForgetsOpen,
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
  engines?: Engines,
): number | undefined {
  for (let seed = 1; seed <= 30; seed += 1) {
    const { violations } = simulate(planOf(scenario, seed, engines), sabotage()).report;
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
  ["calls that never ring", "L5", ["unrung"], "calling", noRinging],
  ["calls that never end", "L5", ["rang after its end"], "calling", noEnds],
  ["intents that end by time", "L5", ["unpushed"], "sleeping", intentsEndByTime],
])(
  "%s breaks %s",
  (_, law, faults, scenario, sabotage) => {
    expect(firstSeed(scenario, law, faults, sabotage)).toBeDefined();
  },
  TIMEOUT_MS,
);

describe("on NATS and PostgreSQL", () => {
  const REAL: Engines = { bus: "nats", store: "postgres" };

  test.each<[string, Law, Fault[], string, () => Sabotage]>([
    ["an ACK before the commit", "L1", ["early ack"], "postgres-restarting", ackBeforeCommit],
    [
      "a hold that does not wait for the disk",
      "L1",
      ["lost"],
      "postgres-restarting",
      holdsWithoutDisk,
    ],
    ["no tail", "L4", ["late"], "nats-splitting", noTail],
    ["a tail that forgets what is open", "L4", ["late"], "postgres-hanging", tailThatForgetsOpen],
    ["live while behind", "L3", ["live while behind"], "sleeping", liveWhileBehind],
    ["no resequencing", "L3", ["silent hole", "reordered"], "nats-slow", noResequencing],
    ["intents that end by time", "L5", ["unpushed"], "sleeping", intentsEndByTime],
  ])(
    "%s breaks %s",
    (_, law, faults, scenario, sabotage) => {
      expect(firstSeed(scenario, law, faults, sabotage, REAL)).toBeDefined();
    },
    TIMEOUT_MS,
  );

  test(
    "the tail alone finds what commits after what began later (L4)",
    () => {
      const faults: Fault[] = ["late"];
      expect(firstSeed("postgres-hanging", "L4", faults, noWatch, REAL)).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  test(
    "no fencing breaks L6",
    () => {
      const { sabotage, undo } = noFencing();
      try {
        const faults: Fault[] = ["two connections"];
        expect(firstSeed("nats-splitting", "L6", faults, () => sabotage, REAL)).toBeDefined();
      } finally {
        undo();
      }
    },
    TIMEOUT_MS,
  );

  /** A phone comes to be and goes while all links are dead and nobody knows it; 8 s later somebody writes to its user. */
  function announcedInSilence(seed: number): Plan {
    const plan = planOf("calm", seed, REAL);
    const phone = { ...plan.phones[0]!, skew: 0, storage: true, push: true };
    const steps: Step[] = [];
    for (const device of ["ann/phone1", "bob/phone1"]) {
      steps.push({ do: "start", at: 0, device, storage: "kept" });
    }
    steps.push({ do: "restart nats", at: 4_990, node: undefined, ms: 0, says: "nothing" });
    steps.push({ do: "start", at: 5_000, device: "bob/phone2", storage: "kept" });
    steps.push({ do: "exit", at: 5_800, device: "bob/phone2" });
    for (let at = 14_000; at < 15_000; at += 100) {
      const message = `m${at}`;
      steps.push({
        do: "send",
        at,
        device: "ann/phone1",
        to: "bob",
        message,
        wake: "message",
        size: 0,
      });
    }
    return {
      ...plan,
      servers: ["s1", "s2", "s3"].map((name) => ({ name, skew: 0 })),
      phones: [
        { ...phone, user: "ann", device: "phone1" },
        { ...phone, user: "bob", device: "phone1" },
        { ...phone, user: "bob", device: "phone2" },
      ],
      steps,
      duration: 16_000,
    };
  }

  test(
    "a link's loss that is not taken for one breaks L1",
    () => {
      const faultsOf = (seed: number, sabotage: Sabotage): Fault[] =>
        simulate(announcedInSilence(seed), sabotage).report.violations.map(({ fault }) => fault);
      const seeds = Array.from({ length: 12 }, (_, index) => index + 1);
      expect(seeds.flatMap((seed) => faultsOf(seed, {}))).toEqual([]);
      const { sabotage, undo } = noLoss();
      try {
        expect(seeds.flatMap((seed) => faultsOf(seed, sabotage))).toContain("early ack");
      } finally {
        undo();
      }
    },
    TIMEOUT_MS,
  );
});

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

describe("of devices that are sent elsewhere", () => {
  test.each<[string, Law, Fault[], string, () => Sabotage]>([
    [
      "an SDK that can be redirected for ever",
      "L9",
      ["redirected twice"],
      "placing",
      alwaysRedirected,
    ],
    ["nothing sent again after a move", "L9", ["stuck"], "moving", noRepeatsAfterMove],
  ])(
    "%s breaks %s",
    (_, law, faults, scenario, sabotage) => {
      expect(firstSeed(scenario, law, faults, sabotage)).toBeDefined();
    },
    TIMEOUT_MS,
  );

  test(
    "no fencing after a move breaks L6",
    () => {
      const { sabotage, undo } = noFencing();
      try {
        expect(firstSeed("moving", "L6", ["two connections"], () => sabotage)).toBeDefined();
      } finally {
        undo();
      }
    },
    TIMEOUT_MS,
  );

  /** bob's server is emptied, and he cannot reach the other one, where ann writes to him. */
  function sentAway(seed: number): Plan {
    const plan = planOf("calm", seed);
    const phone = { ...plan.phones[0]!, skew: 0, storage: true, push: true, device: "phone" };
    const ms = 60_000;
    const steps: Step[] = [
      { do: "block", at: 0, device: "ann/phone", server: "s1", ms },
      { do: "block", at: 0, device: "bob/phone", server: "s2", ms: 16_000 },
      { do: "start", at: 0, device: "ann/phone", storage: "kept" },
      { do: "start", at: 0, device: "bob/phone", storage: "kept" },
      { do: "stop", at: 8_000, server: "s1" },
    ];
    for (let at = 7_000; at < 18_000; at += 200) {
      const message = `m${at}`;
      const device = "ann/phone";
      steps.push({ do: "send", at, device, to: "bob", message, wake: "message", size: 0 });
    }
    return {
      ...plan,
      placement: undefined,
      servers: ["s1", "s2"].map((name) => ({ name, skew: 0 })),
      phones: ["ann", "bob"].map((user) => ({ ...phone, user })),
      steps,
      duration: 20_000,
    };
  }

  test(
    "a BYE after DRAIN that is taken for a goodbye breaks L5",
    () => {
      const faultsOf = (): Fault[] =>
        [1, 2, 3, 4].flatMap((seed) =>
          simulate(sentAway(seed)).report.violations.map(({ fault }) => fault),
        );
      expect(faultsOf()).toEqual([]);
      const { undo } = goodbyeAfterMove();
      try {
        expect(faultsOf()).toContain("pushed for a move");
      } finally {
        undo();
      }
    },
    TIMEOUT_MS,
  );
});

test(
  "a device that was forgotten and counts nevertheless breaks L1",
  () => {
    const { sabotage, undo } = noMembers();
    try {
      expect(firstSeed("revoking", "L1", ["early ack"], () => sabotage)).toBeDefined();
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
