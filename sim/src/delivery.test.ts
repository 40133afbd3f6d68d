/** Schedules of every scenario by fixed seeds, and those that once failed. */
import { describe, expect, test } from "bun:test";

import { simulate } from "./delivery.ts";
import { describe as describeEvent } from "./history.ts";
import type { Engines, Plan, Step } from "./plan.ts";
import { planOf, SCENARIOS } from "./scenarios.ts";

const MEMORY: Engines = { bus: "memory", store: "memory" };
const REAL: Engines = { bus: "nats", store: "postgres" };
const SEEDS = 12;
const SEEDS_ON_REAL = 4;
/** On a machine that does other things as well. */
const TIMEOUT_MS = 60_000;

function violationsOf(
  scenario: string,
  seed: number,
  engines: Engines = MEMORY,
  changed: Partial<Plan> = {},
): string[] {
  const { violations } = simulate({ ...planOf(scenario, seed, engines), ...changed }).report;
  return violations.map(({ law, fault, says }) => `seed ${seed}: ${law} ${fault}: ${says}`);
}

describe("the laws hold", () => {
  test.each([...SCENARIOS])(
    "%s",
    async (scenario) => {
      for (let seed = 1; seed <= SEEDS; seed += 1) {
        expect(violationsOf(scenario, seed)).toEqual([]);
        await Bun.sleep(0);
      }
    },
    TIMEOUT_MS,
  );
});

describe("the laws hold on NATS and PostgreSQL", () => {
  test.each([...SCENARIOS])(
    "%s",
    async (scenario) => {
      for (let seed = 1; seed <= SEEDS_ON_REAL; seed += 1) {
        expect(violationsOf(scenario, seed, REAL)).toEqual([]);
        await Bun.sleep(0);
      }
    },
    TIMEOUT_MS,
  );
});

/** As all devices were when these seeds failed. */
const UNPLACED = { placement: undefined };

/** What each seed has shown. A plan that changes shows something else: then it is one more schedule. */
describe("what failed once", () => {
  test.each<[string, number, string]>([
    ["bad-handlers", 5, "L2: a repeat through another server, unmarked"],
    ["bad-handlers", 13, "L2: a user's own row that a device had been sent, unmarked"],
    ["sleeping", 32, "L5: a device that came and went was not pushed to for ten minutes"],
    ["mix", 18, "L5: the same"],
    ["stalling", 2, "L2: rows that nobody settled after a stall longer than the lease"],
    ["stalling", 3, "L2: the same"],
    ["mix", 19, "L6: the older of two handshakes ended last and won"],
    ["mix", 30170, "L6: a HELLO that was given up replaced the live connection"],
    ["mix", 31344, "L6: the same, by a push while connecting"],
    ["mix", 50582, "L6: two connections that followed the same one"],
    ["mix", 61518, "L6: the HELLO of the run before came last"],
    ["mix", 80694, "L6: the same, where the run before was never welcomed"],
    ["mix", 82074, "L6: a HELLO refused for a connection that another clock had counted"],
    ["calling", 453189169, "L5: a push that rang overtook that of the call's end"],
  ])(
    "%s, seed %d: %s",
    (scenario, seed) => {
      expect(violationsOf(scenario, seed, MEMORY, UNPLACED)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe("what failed once on NATS and PostgreSQL", () => {
  test.each<[string, number, string]>([
    ["postgres-silent", 145, "L6: a HELLO that waited for the store closed the live connection"],
    [
      "mix",
      400748,
      "L1: a device that was forgotten while connected counted for one that was away",
    ],
    ["calling", 9192, "L5: who left while a push was under way was not told of the call's end"],
  ])(
    "%s, seed %d: %s",
    (scenario, seed) => {
      expect(violationsOf(scenario, seed, REAL, UNPLACED)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe("a log-out", () => {
  function loggingOut(...before: Step[]): Plan {
    const plan = planOf("calm", 1, MEMORY);
    const phones = [{ ...plan.phones[0]!, user: "ann", device: "phone", storage: true }];
    const steps: Step[] = [
      { do: "start", at: 0, device: "ann/phone", storage: "kept" },
      ...before,
      { do: "forget", at: 5_000, device: "ann/phone" },
    ];
    return { ...plan, phones, steps };
  }

  test("of a client that is closed is refused, which is no breach", async () => {
    const before: Step = { do: "revoke", at: 4_000, device: "ann/phone" };
    const { report, history } = simulate(loggingOut(before));
    await Bun.sleep(0);
    expect(report.violations).toEqual([]);
    const kinds = history.filter(({ at }) => at >= 4_000).map(({ kind }) => kind);
    // It was closed for a while, and only then started anew.
    expect(kinds.indexOf("expelled")).toBeGreaterThan(0);
    const started = history.findLast(({ kind }) => kind === "started")!;
    expect(started.at).toBeGreaterThan(7_000);
  });

  test("L8: that fails as no document says is a breach", () => {
    const { report } = simulate(loggingOut(), {
      device: (options) => ({
        ...options,
        storage: { ...options.storage!, clear: () => Promise.reject(new Error("no disk")) },
      }),
    });
    expect(report.violations[0]).toMatchObject({ law: "L8", fault: "threw" });
    expect(report.violations[0]!.says).toContain("storage-failed");
  });
});

describe("L3: what was on its way all the time has not been marked as missing", () => {
  test.each<[string, number, Engines]>([
    ["mix", 93, { bus: "nats", store: "memory" }],
    ["mix", 75, { bus: "nats", store: "memory" }],
    ["mix", 104, REAL],
  ])(
    "%s, seed %d",
    (scenario, seed, engines) => {
      const plan = { ...planOf(scenario, seed, engines), ...UNPLACED };
      expect(simulate(plan).report.falseGaps).toBe(0);
    },
    TIMEOUT_MS,
  );
});

test.each<[string, Engines]>([
  ["in memory", MEMORY],
  ["on NATS and PostgreSQL", REAL],
])(
  "the same seed gives the same history, byte for byte, %s",
  (_, engines) => {
    for (const scenario of [
      "mix",
      "waking",
      "crashing",
      "bus-away",
      "moving",
      "postgres-restarting",
    ]) {
      const run = (): string =>
        simulate(planOf(scenario, 7, engines))
          .history.map((event) => describeEvent(event))
          .join("\n");
      const first = run();
      expect(first.length).toBeGreaterThan(1_000);
      expect(run()).toBe(first);
    }
  },
  TIMEOUT_MS,
);

test(
  "devices are redirected and moved many times, and what fails meanwhile breaks no law",
  async () => {
    const counts = { redirects: 0, moves: 0 };
    for (let seed = 101; seed <= 150; seed += 1) {
      const { redirects, moves, violations } = simulate(planOf("moving", seed)).report;
      expect(violations).toEqual([]);
      counts.redirects += redirects;
      counts.moves += moves;
      await Bun.sleep(0);
    }
    expect(counts.redirects).toBeGreaterThan(100);
    expect(counts.moves).toBeGreaterThan(100);
  },
  TIMEOUT_MS,
);

test(
  "scenarios do what they are for",
  () => {
    const kinds = (scenario: string, seeds: number): Set<string> => {
      const seen = new Set<string>();
      for (let seed = 1; seed <= seeds; seed += 1) {
        for (const event of simulate(planOf(scenario, seed)).history) {
          seen.add("state" in event ? `${event.kind} ${event.state}` : event.kind);
          if (event.kind === "told") seen.add(`told ${event.by}`);
          if (event.kind === "acked") seen.add(`acked ${event.status} ${event.route}`);
          if (event.kind === "handed" && event.redelivered) seen.add("redelivered");
          if (event.kind === "held" && event.user !== undefined) seen.add("held for a user");
          if (event.kind === "welcomed" && !event.recovered) seen.add("not recovered");
        }
      }
      return seen;
    };
    const expected: [string, string[]][] = [
      ["calm", ["acked delivered local", "acked delivered remote", "acked held wake"]],
      ["crashing", ["server crashed", "closed", "redelivered"]],
      ["stalling", ["server stalled", "server resumed"]],
      ["deviceless", ["held for a user"]],
      ["sleeping", ["stopped", "asleep", "awake", "opened"]],
      ["bad-handlers", ["redelivered", "stopped"]],
      ["refusing", ["refused"]],
      ["store-away", ["store away", "store back", "store slow"]],
      ["bus-away", ["bus away", "bus back"]],
      ["expiring", ["dropped", "not recovered"]],
      ["waking", ["pushed", "opened"]],
      ["revoking", ["forgotten", "expelled"]],
      ["placing", ["told redirect", "server stopped", "server crashed"]],
      ["moving", ["told move", "told drain", "server crashed", "bus away"]],
      ["bad-network", ["broken", "slow"]],
      ["nats-restarting", ["bus away", "bus back"]],
      ["nats-splitting", ["bus away", "bus back"]],
      ["postgres-restarting", ["store away", "store back", "unsettled"]],
      ["postgres-silent", ["store away", "store back"]],
      ["postgres-hanging", ["store hung", "store freed"]],
    ];
    for (const [scenario, happenings] of expected) {
      const seen = kinds(scenario, 6);
      expect([scenario, ...happenings.filter((one) => !seen.has(one))]).toEqual([scenario]);
    }
  },
  TIMEOUT_MS,
);
