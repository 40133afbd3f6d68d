/** Makes a plan that breaks a law smaller, as long as it breaks the same law in the same way. */
import { type Outcome, type Sabotage, simulate } from "./delivery.ts";
import type { Plan } from "./plan.ts";
import type { Violation } from "./violation.ts";

/** Runs that shrinking may take. A number and not a time, so that the same seed shrinks to the same plan. */
const MAX_RUNS = 150;

export interface Shrunk {
  readonly outcome: Outcome;
  readonly violation: Violation;
}

export function shrink({ plan, report }: Outcome, sabotage: () => Sabotage = () => ({})): Shrunk {
  const [first] = report.violations;
  if (first === undefined) throw new RangeError("there is nothing wrong with it");
  let runs = 0;
  let best: Shrunk | undefined;

  const breaks = (candidate: Plan): boolean => {
    if (runs >= MAX_RUNS) return false;
    runs += 1;
    const outcome = simulate(candidate, sabotage());
    const violation = outcome.report.violations.find(
      ({ law, fault }) => law === first.law && fault === first.fault,
    );
    if (violation === undefined) return false;
    best = { outcome, violation };
    return true;
  };

  breaks(plan);
  let smaller = without(
    plan,
    "phones",
    ({ user, device }) => !first.devices.includes(`${user}/${device}`),
    breaks,
  );
  smaller = without(smaller, "steps", (step) => step.do.startsWith("send"), breaks);
  smaller = without(
    smaller,
    "steps",
    (step) => !step.do.startsWith("send") && step.do !== "start",
    breaks,
  );
  without(smaller, "steps", () => true, breaks);
  return best!;
}

/** Takes out as many of the items as it can: first all, then halves, quarters, and so on. */
function without<K extends "phones" | "steps">(
  plan: Plan,
  key: K,
  mayGo: (item: Plan[K][number]) => boolean,
  breaks: (candidate: Plan) => boolean,
): Plan {
  let best = plan;
  for (let parts = 1; ; parts *= 2) {
    const items = best[key].filter(mayGo);
    const size = Math.ceil(items.length / parts);
    if (items.length === 0) return best;
    for (let from = 0; from < items.length; from += size) {
      const gone = new Set<unknown>(items.slice(from, from + size));
      const candidate = { ...best, [key]: best[key].filter((item) => !gone.has(item)) };
      if (breaks(candidate)) best = candidate;
    }
    if (size === 1) return best;
  }
}
