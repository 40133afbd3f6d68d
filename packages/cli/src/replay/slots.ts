/** Bounds how many messages are under way. */
export class Slots {
  readonly #limit: number;
  #taken = 0;
  #waiting: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** One caller at a time; if it has to wait, it goes on in a turn of its own. The answer gives the slot back; a second call of it does nothing. */
  async take(): Promise<() => void> {
    if (this.#taken >= this.#limit) await new Promise<void>((resolve) => (this.#waiting = resolve));
    this.#taken++;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#taken--;
      if (this.#waiting !== undefined) setImmediate(this.#waiting);
      this.#waiting = undefined;
    };
  }

  get taken(): number {
    return this.#taken;
  }
}
