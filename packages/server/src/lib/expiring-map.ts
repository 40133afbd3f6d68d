import { AgingMap } from "./aging-map.ts";

/** A map of bounded size whose entries end; at the bound the one that was not asked for the longest goes. */
export class ExpiringMap<V> {
  readonly #now: () => number;
  /** In the order of their last use. */
  readonly #entries: AgingMap<Entry<V>>;

  /** `now`: milliseconds, by a clock that never goes back. */
  constructor(capacity: number, now: () => number) {
    this.#entries = new AgingMap(capacity);
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.until <= this.#now()) return undefined;
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: V, ms: number): void {
    this.#entries.set(key, { value, until: this.#now() + ms });
  }
}

interface Entry<V> {
  readonly value: V;
  readonly until: number;
}
