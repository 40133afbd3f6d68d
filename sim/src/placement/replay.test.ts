/** What real servers and devices come to, held against the simulation of the same people. */
import { expect, setDefaultTimeout, test } from "bun:test";

import { community } from "../../../packages/cli/src/replay/community.ts";
import { replay } from "../../../packages/cli/src/replay/replay.ts";
import { type Policy, type Result } from "../../../packages/cli/src/replay/result.ts";
import { ruleOf } from "../../../packages/server/src/placement/rule.ts";
import { type PlacementResult, runPlacement } from "./result.ts";
import { readMessages } from "./trace.ts";

// Some thousand connects of real devices, one after the other.
setDefaultTimeout(120_000);

const COMMUNITY = { seed: 5, users: 60, messages: 300 };
const SERVERS = 4;

async function both(policy: Policy): Promise<{ simulated: PlacementResult; real: Result }> {
  const messages = await readMessages(community(COMMUNITY));
  const rule = ruleOf("locality", 1.1);
  const options = { messages, servers: SERVERS, policy, rule, seed: 1, staleness: 0 };
  const { result } = runPlacement({ ...options, mode: "always-on" }, "locality");
  const real = await replay({
    trace: community(COMMUNITY),
    servers: SERVERS,
    protocols: ["ws"],
    policy,
    gain: "locality",
    cap: 1.1,
    mode: "always-on",
    inFlight: 1,
    devicesPerUser: 1,
    chaos: 0,
    changes: [],
    seed: 1,
  });
  return { simulated: result, real };
}

test.each(["random", "wake"] as const)(
  "B4: with %s placement real devices come and go, and meet, exactly as in the simulation",
  async (policy) => {
    const { simulated, real } = await both(policy);
    expect(real.problems).toEqual([]);
    expect(real).toMatchObject({ ok: true, delivered: COMMUNITY.messages, moves: 0, redirects: 0 });
    expect(real.connects).toBe(Math.round((simulated.connects * COMMUNITY.messages) / 1_000));
    expect(real.locality).toBeCloseTo(simulated.local, 3);
    expect(real.imbalanceMax).toBeCloseTo(simulated.imbalanceMax, 3);
    expect(real.imbalanceP95).toBeCloseTo(simulated.imbalanceP95, 3);
  },
);

/** Ties are rounded where they are stored, and of two moves that bring the same either may be the one. */
const TOLERANCE = 0.03;

test.each(["place", "move"] as const)(
  "B1, B2, B4: with --policy %s they meet as often as in the simulation, by as many redirects and moves",
  async (policy) => {
    const { simulated, real } = await both(policy);
    expect(real).toMatchObject({ ok: true, delivered: COMMUNITY.messages, problems: [] });
    expect(real.connects).toBe(Math.round((simulated.connects * COMMUNITY.messages) / 1_000));
    expect(Math.abs(real.locality - simulated.local)).toBeLessThan(TOLERANCE);
    expect(Math.abs(real.moves - simulated.moves)).toBeLessThan(20);
    expect(Math.abs(real.redirects - simulated.redirects)).toBeLessThan(50);
    expect(real.moves > 0).toBe(policy === "move");
  },
);
