import { AgingMap } from "../lib/aging-map.ts";

/** A version of the set of a user's durable devices. */
export interface SetFact {
  readonly setVersion: number;
  readonly setSize: number;
}

/**
 * Whether nothing but additions lies between two versions of one user's set. Whatever raises the version raises it by exactly one and
 * makes the set larger by one at most (`DeviceStore`): the set grows as fast as its version only by additions.
 */
export function isOnlyAdded(from: SetFact, to: SetFact): boolean {
  return to.setVersion - from.setVersion === to.setSize - from.setSize;
}

/**
 * Sets that were heard of lately. A device's `arrive` reads its user's set from the store a moment before its session is opened; what
 * is announced in between would be missed where no other session of the user keeps it.
 */
export class RecentSets {
  readonly #horizonMs: number;
  readonly #limit: number;
  readonly #onForgotten: () => void;
  /** By user. */
  readonly #facts = new AgingMap<SetFact & { readonly at: number }>();

  /** At its bound the oldest is forgotten, and `onForgotten` called if it was younger than `horizonMs`. */
  constructor(options: { horizonMs: number; limit?: number; onForgotten: () => void }) {
    this.#horizonMs = options.horizonMs;
    this.#limit = options.limit ?? 65_536;
    this.#onForgotten = options.onForgotten;
  }

  of(user: string): SetFact | undefined {
    return this.#facts.get(user);
  }

  add(user: string, { setVersion, setSize }: SetFact, now: number): void {
    const known = this.#facts.get(user);
    if (known !== undefined && known.setVersion > setVersion) return;
    this.#facts.set(user, { setVersion, setSize, at: now });
    for (;;) {
      const oldest = this.#facts.oldest!;
      const isOld = this.#facts.get(oldest)!.at < now - this.#horizonMs;
      if (!isOld && this.#facts.size <= this.#limit) break;
      this.#facts.delete(oldest);
      if (!isOld) this.#onForgotten();
    }
  }
}
