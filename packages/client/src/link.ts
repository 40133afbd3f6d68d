import type { Address, Millis } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Candidate } from "./route.ts";
import type { Dial, Transport } from "./transport.ts";

/** An open transport. */
export interface Link {
  readonly address: Address;
  readonly transport: Transport;
  /** Takes what comes from now on; called in the turn in which the link opened. */
  listen(
    message: (bytes: Uint8Array) => void,
    closed: (code: number, reason: string) => void,
  ): void;
}

/** The next address is tried after this, beside those that are on their way. */
const STAGGER_MS: Millis = 250;
/** While one that a hint names is on its way, others wait this long: a phone far away takes some round trips. */
const HEAD_START_MS: Millis = 1_500;
/** Addresses on their way at once. */
const AT_ONCE = 4;
/** A transport that has not opened by then has failed. */
const OPEN_MS: Millis = 10_000;

/**
 * Tries the addresses in order, the next one as soon as one fails or after 250 ms, until one opens; the others are given up before
 * any of them has said HELLO. `failed` is told each that did not open. `settle` is told the outcome once, never before `race` has
 * returned unless there are no addresses; the answer gives up silently.
 */
export function race(
  candidates: readonly Candidate[],
  dial: Dial,
  clock: Clock,
  failed: (candidate: Candidate) => void,
  settle: (link: Link | undefined) => void,
): () => void {
  const active = new Map<Candidate, () => void>();
  let index = 0;
  /** When others than those of hints may be tried. */
  let others = 0;
  let over = false;
  let cancelNext = (): void => {};

  function giveUp(): void {
    over = true;
    cancelNext();
    for (const drop of active.values()) drop();
    active.clear();
  }

  function next(): void {
    cancelNext();
    const candidate = candidates[index];
    if (candidate === undefined) {
      if (active.size === 0) {
        over = true;
        settle(undefined);
      }
      return;
    }
    if (active.size >= AT_ONCE) return;
    const isHinted = candidate.hinted !== "";
    const ahead = [...active.keys()].some(({ hinted }) => hinted !== "");
    const rest = others - clock.now();
    if (!isHinted && ahead && rest > 0) {
      cancelNext = clock.after(rest, next);
      return;
    }
    if (isHinted) others = clock.now() + HEAD_START_MS;
    index++;
    start(candidate);
    cancelNext = clock.after(STAGGER_MS, next);
  }

  function start(candidate: Candidate): void {
    const { address } = candidate;
    let take: (bytes: Uint8Array) => void = () => {};
    let end = (_code: number, _reason: string): void => fail();
    const transport = dial(address, {
      opened: () => {
        if (over || !active.has(candidate)) return;
        cancelTimeout();
        active.delete(candidate);
        giveUp();
        end = () => {};
        settle({
          address,
          transport,
          listen: (message, closed) => {
            take = message;
            end = closed;
          },
        });
      },
      message: (bytes) => take(bytes),
      closed: (code, reason) => end(code, reason),
    });
    const fail = (): void => {
      if (over || !active.delete(candidate)) return;
      cancelTimeout();
      transport.close();
      failed(candidate);
      next();
    };
    const cancelTimeout = clock.after(OPEN_MS, fail);
    active.set(candidate, () => {
      cancelTimeout();
      transport.close();
    });
  }

  next();
  return giveUp;
}
