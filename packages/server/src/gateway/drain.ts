import type { Millis, ServerAddresses } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { batchOf, type DrainPlan } from "./drain-plan.ts";

/** A connection as it is sent elsewhere. */
export interface Leaver {
  readonly isClosed: boolean;
  /** [P-8.7] */
  drain(within: Millis, servers: readonly ServerAddresses[]): void;
  fail(code: "draining" | "stopping"): void;
}

export interface DrainParts<L extends Leaver> {
  readonly plan: DrainPlan;
  readonly clock: Clock;
  /** Monotonic ms at which the drain began. Default: now. */
  readonly began?: Millis;
  /** The other servers that take devices, each time another one first. None: there is nowhere to go. */
  readonly elsewhere: () => readonly ServerAddresses[];
  /** Where this one is to go, the best server first; asked once for each, as it is told. Default: any of the others. */
  readonly placeOf?: (leaver: L) => readonly ServerAddresses[] | undefined;
}

/** How often it is looked whether all have gone. */
const LOOK_MS = 50;

/**
 * Tells the connections to go elsewhere, batch by batch, and closes each batch that has had its time; resolves when all are gone
 * (B3). Where there is nowhere to go they are closed as `stopping`. After a stall no two batches become one, unless the deadline asks for it.
 */
export async function drainConnections<L extends Leaver>(
  connections: readonly L[],
  { plan, clock, began = clock.monotonic(), elsewhere, placeOf }: DrainParts<L>,
): Promise<void> {
  /** Those before it were told; those before the other are gone. */
  let told = 0;
  let gone = 0;
  /** Batches that were told and not closed. */
  const batches: { readonly end: number; readonly due: Millis }[] = [];
  let tellAt = 0;
  let closeAt = 0;

  const closeUntil = (end: number, code: "draining" | "stopping"): void => {
    for (; gone < end; gone++) connections[gone]!.fail(code);
  };
  const endOfBatch = (start: number, elapsed: Millis): number => {
    const left = connections.length - start;
    return start + Math.min(left, batchOf(plan, left, elapsed, plan.told));
  };
  const tell = (elapsed: Millis): void => {
    tellAt = elapsed + plan.pace.intervalMs;
    const end = endOfBatch(told, elapsed);
    for (; told < end; told++) {
      const leaver = connections[told]!;
      if (!leaver.isClosed) leaver.drain(plan.within, placeOf?.(leaver) ?? elsewhere());
    }
    batches.push({ end, due: elapsed + plan.patience });
  };
  const close = (elapsed: Millis, mayGo: boolean): void => {
    closeAt = elapsed + plan.pace.intervalMs;
    closeUntil(
      mayGo ? batches.shift()!.end : endOfBatch(gone, elapsed),
      mayGo ? "draining" : "stopping",
    );
    told = Math.max(told, gone);
  };
  const advance = (elapsed: Millis): void => {
    const mayGo = elsewhere().length > 0;
    if (elapsed >= plan.gone) closeUntil(connections.length, mayGo ? "draining" : "stopping");
    const isDue = mayGo ? batches[0] !== undefined && batches[0].due <= elapsed : true;
    if (isDue && elapsed >= closeAt) close(elapsed, mayGo);
    if (mayGo && told < connections.length && elapsed >= tellAt) tell(elapsed);
  };

  for (;;) {
    const elapsed = clock.monotonic() - began;
    advance(elapsed);
    while (connections[gone]?.isClosed === true) gone++;
    if (gone >= connections.length) return;
    const isTelling = told < connections.length;
    const wait = isTelling ? Math.min(LOOK_MS, Math.max(1, tellAt - elapsed)) : LOOK_MS;
    await new Promise<void>((resolve) => clock.after(wait, resolve));
  }
}
