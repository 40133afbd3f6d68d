/** Decides from a history alone whether the laws of delivery were kept. */
import { Facts } from "./facts.ts";
import type { History } from "./history.ts";
import { checkBehind } from "./laws/behind.ts";
import { checkCalled } from "./laws/called.ts";
import { checkKept } from "./laws/kept.ts";
import { checkOnce } from "./laws/once.ts";
import { checkOneConnection } from "./laws/one-connection.ts";
import { checkOrder } from "./laws/order.ts";
import { checkPrompt } from "./laws/prompt.ts";
import { checkPushed } from "./laws/pushed.ts";
import { checkRecovered } from "./laws/recovered.ts";
import { checkElsewhere } from "./laws/sent-elsewhere.ts";
import { checkServed } from "./laws/served.ts";
import type { Violation } from "./violation.ts";

export interface Report {
  /** Earliest first. */
  readonly violations: readonly Violation[];
  /** Messages that were acknowledged. */
  readonly acked: number;
  /** Connects that were told to go elsewhere, and devices that were connected and went elsewhere as they were told. */
  readonly redirects: number;
  readonly moves: number;
  /** Messages handed over with the mark `gap`: no violation. */
  readonly gaps: number;
  /** Those of them where nothing was missing for good. */
  readonly falseGaps: number;
  /** The longest that a held message waited for a device that was online, seconds. */
  readonly worstSeconds: number;
}

/** The history must end with a quiet time in which everything is healthy and every device is awake. */
export function check(history: History): Report {
  const facts = new Facts(history);
  const order = checkOrder(facts);
  const promptness = checkPrompt(facts);
  const elsewhere = checkElsewhere(facts);
  const violations = [
    ...checkKept(facts),
    ...checkOnce(facts),
    ...order.violations,
    ...promptness.violations,
    ...elsewhere.violations,
    ...checkBehind(facts),
    ...checkPushed(facts),
    ...checkCalled(facts),
    ...checkOneConnection(facts),
    ...checkServed(facts),
    ...checkRecovered(facts),
  ];
  return {
    violations: violations.toSorted((a, b) => a.at - b.at),
    acked: [...facts.messages.values()].filter(({ acks }) => acks.length > 0).length,
    redirects: elsewhere.redirects,
    moves: elsewhere.moves,
    gaps: order.gaps,
    falseGaps: order.falseGaps,
    worstSeconds: promptness.worstSeconds,
  };
}
