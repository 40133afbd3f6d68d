/** Those who listen to one kind of event. */
export interface Listeners<T> {
  readonly size: number;
  /** The answer ends the listening. */
  add(listener: (value: T) => void): () => void;
  tell(value: T): void;
}

export function createListeners<T>(): Listeners<T> {
  const all = new Set<(value: T) => void>();
  return {
    get size() {
      return all.size;
    },
    add(listener) {
      // One function may listen twice.
      const own = (value: T): void => listener(value);
      all.add(own);
      return () => void all.delete(own);
    },
    tell(value) {
      for (const listener of all) tellOne(listener, value);
    },
  };
}

/** A listener that throws stops nobody else: it surfaces as the runtime's unhandled rejection. */
export function tellOne<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (error) {
    void Promise.reject(error);
  }
}
