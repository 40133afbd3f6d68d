import type { Clock } from "../lib/clock.ts";
import type { MessageStore, TailEntry } from "../store/store.ts";

const INTERVAL_MS = 1_000;
const PAGE = 1_000;

/**
 * Reads each second what anyone has held lately (L4): a message whose accepting server died right after its commit is found
 * here by the server of its recipient. While the store is away the place to read from stays where it was.
 */
export class Tail {
  readonly #clock: Clock;
  readonly #store: MessageStore;
  readonly #found: (entry: TailEntry) => void;
  #since: number | undefined;
  #stopped = true;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, store: MessageStore, found: (entry: TailEntry) => void) {
    this.#clock = clock;
    this.#store = store;
    this.#found = found;
  }

  start(): void {
    this.#stopped = false;
    this.#read();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  readonly #read = (): void => {
    if (this.#stopped) return;
    // The first read only learns the store's time: what is older is found by each device's read at its connect.
    const first = this.#since === undefined;
    this.#store.tail(this.#since ?? Number.MAX_SAFE_INTEGER, PAGE).then(
      ({ devices, now }) => {
        if (this.#stopped) return;
        this.#since = now;
        if (!first) for (const entry of devices) this.#found(entry);
        if (devices.length >= PAGE) this.#read();
        else this.#again();
      },
      () => this.#again(),
    );
  };

  #again(): void {
    if (!this.#stopped) this.#cancel = this.#clock.after(INTERVAL_MS, this.#read);
  }
}
