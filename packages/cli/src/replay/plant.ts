import type { HandOver } from "./ledger.ts";

export type Fault = "loss" | "repeat" | "swap";
export const FAULTS: readonly Fault[] = ["loss", "repeat", "swap"];

/**
 * Makes one fault on the way from the SDK to the ledger, at the first hand-over that `isTarget` names, so that it can be tested that a
 * fault is found. A swap keeps it back until the next hand-over of the same device and lane.
 */
export function plant(
  fault: Fault,
  isTarget: (handOver: HandOver) => boolean,
  report: (handOver: HandOver) => void,
): (handOver: HandOver) => void {
  let isDone = false;
  let kept: HandOver | undefined;
  return (handOver) => {
    if (isDone || !isTarget(handOver)) {
      report(handOver);
      return;
    }
    if (kept !== undefined) {
      isDone = true;
      report(handOver);
      report(kept);
      return;
    }
    if (fault === "swap") {
      kept = handOver;
      return;
    }
    isDone = true;
    if (fault === "repeat") {
      report(handOver);
      report(handOver);
    }
  };
}
