import type { Address } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
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
const STAGGER_MS = 250;
/** Addresses on their way at once. */
const AT_ONCE = 4;
/** A transport that has not opened by then has failed. */
const OPEN_MS = 10_000;

/**
 * Tries the addresses in order, the next one as soon as one fails or after 250 ms, until one opens.
 * `failed` is told each that did not. `settle` is told the outcome once, never before `race` has returned
 * unless there are no addresses; the answer gives up silently.
 */
export function race(
  addresses: readonly Address[],
  dial: Dial,
  clock: Clock,
  failed: (address: Address) => void,
  settle: (link: Link | undefined) => void,
): () => void {
  const active = new Map<Address, () => void>();
  let index = 0;
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
    const address = addresses[index];
    if (address === undefined) {
      if (active.size === 0) {
        over = true;
        settle(undefined);
      }
      return;
    }
    if (active.size >= AT_ONCE) return;
    index++;
    start(address);
    cancelNext = clock.after(STAGGER_MS, next);
  }

  function start(address: Address): void {
    let take: (bytes: Uint8Array) => void = () => {};
    let end = (_code: number, _reason: string): void => fail();
    const transport = dial(address, {
      opened: () => {
        if (over || !active.has(address)) return;
        cancelTimeout();
        active.delete(address);
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
      if (over || !active.delete(address)) return;
      cancelTimeout();
      transport.close();
      failed(address);
      next();
    };
    const cancelTimeout = clock.after(OPEN_MS, fail);
    active.set(address, () => {
      cancelTimeout();
      transport.close();
    });
  }

  next();
  return giveUp;
}
