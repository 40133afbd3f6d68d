/** What waits for one reader. */
export class EventQueue<T> {
  readonly #limit: number;
  #waiting: T[] = [];
  #isOver = false;
  #wake: () => void = () => undefined;

  /** With more than `limit` that wait, it ends: the reader is too slow, and has to begin anew. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  put(item: T): void {
    if (this.#waiting.length >= this.#limit) this.#isOver = true;
    else this.#waiting.push(item);
    this.#wake();
  }

  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** All that waits, as soon as there is something; undefined: it has ended. */
  async take(): Promise<readonly T[] | undefined> {
    if (this.#waiting.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#isOver) return undefined;
    return this.#waiting.splice(0);
  }
}
