import type { Clock } from "../lib/clock.ts";
import type { HoldRequest, HoldResult, MessageStore } from "../store/store.ts";
import type { Message } from "./message.ts";

/** Messages that wait for a commit. One more is refused as `store-unavailable`. */
const MAX_WAITING = 50_000;
/** Messages of one commit. */
const MAX_BATCH = 1_000;

export interface HoldParts {
  readonly clock: Clock;
  readonly store: MessageStore;
  /** What is to be held of a message, decided when its batch goes out: acknowledgements may have come meanwhile. */
  request(message: Message): HoldRequest;
  held(message: Message, result: HoldResult): void;
  /** `later`: not this message failed, but one before it in its lane, so that this one may not be held first (L3). */
  failed(message: Message, later: boolean): void;
}

interface Waiting {
  readonly message: Message;
  readonly number: number;
}

/**
 * Holds messages durably, in the order asked for: one batch is being committed while the next gathers, so that a
 * commit carries as many messages as there are.
 */
export class Holder {
  readonly #parts: HoldParts;
  #waiting: Waiting[] = [];
  /** Asked for by those whose hold has just ended: they come before all that waits, which was accepted after them (L3). One batch at most. */
  #again: Waiting[] = [];
  #isTelling = false;
  #busy = false;
  #deferred = false;
  #last = 0;
  /** All holds up to this number are over: committed or failed. */
  committed = 0;
  /** The last hold for a user that is not over. */
  readonly #lastOf = new Map<string, number>();

  constructor(parts: HoldParts) {
    this.#parts = parts;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Number of the last hold for this user that is not over; 0: there is none. */
  lastOf(user: string): number {
    return this.#lastOf.get(user) ?? 0;
  }

  /** Answers the hold's number, which is over 0 and only to be compared, or 0: the queue is full. */
  enqueue(message: Message): number {
    if (this.#isTelling) return this.#enqueueAgain(message);
    if (this.#waiting.length >= MAX_WAITING) return 0;
    const number = ++this.#last;
    this.#waiting.push({ message, number });
    this.#lastOf.set(message.user, number);
    if (!this.#busy && !this.#deferred) {
      this.#deferred = true;
      this.#parts.clock.defer(this.#commit);
    }
    return number;
  }

  /** Its number is between those of what is over and of what waits. */
  #enqueueAgain(message: Message): number {
    const next = this.#waiting[0]?.number ?? this.#last + 1;
    const number = (this.committed + next) / 2;
    this.#again.push({ message, number });
    this.#lastOf.set(message.user, Math.max(this.lastOf(message.user), number));
    return number;
  }

  readonly #commit = (): void => {
    this.#deferred = false;
    if (this.#busy || this.#again.length + this.#waiting.length === 0) return;
    this.#busy = true;
    const again = this.#again;
    this.#again = [];
    const batch = [...again, ...this.#waiting.splice(0, MAX_BATCH - again.length)];
    this.#parts.store.hold(batch.map(({ message }) => this.#parts.request(message))).then(
      (results) => {
        this.#over(batch);
        this.#isTelling = true;
        batch.forEach(({ message }, at) => this.#parts.held(message, results[at]!));
        this.#isTelling = false;
        this.#next();
      },
      () => {
        const lanes = new Set(batch.map(({ message }) => laneOf(message)));
        const later = this.#waiting.filter(({ message }) => lanes.has(laneOf(message)));
        this.#waiting = this.#waiting.filter(({ message }) => !lanes.has(laneOf(message)));
        this.#over(batch);
        for (const { message } of later) this.#lastOf.delete(message.user);
        for (const { message, number } of this.#waiting) this.#lastOf.set(message.user, number);
        for (const { message } of batch) this.#parts.failed(message, false);
        for (const { message } of later) this.#parts.failed(message, true);
        this.#next();
      },
    );
  };

  #over(batch: readonly Waiting[]): void {
    this.#busy = false;
    this.committed = batch.at(-1)!.number;
    for (const { message, number } of batch) {
      if (this.#lastOf.get(message.user) === number) this.#lastOf.delete(message.user);
    }
  }

  #next(): void {
    if (this.#again.length + this.#waiting.length > 0) this.#commit();
  }
}

function laneOf(message: Message): string {
  const { origin, to } = message;
  return `${origin.user}\n${origin.device}\n${origin.outbox}\n${to}`;
}
