/** The next event of each of a fixed number of things: a binary heap that knows where each one is. */
export class Timers {
  readonly #due: Float64Array;
  readonly #heap: Int32Array;
  /** Of each in the heap; -1: not in it. */
  readonly #at: Int32Array;
  #size = 0;

  constructor(things: number) {
    this.#due = new Float64Array(things).fill(Infinity);
    this.#heap = new Int32Array(things);
    this.#at = new Int32Array(things).fill(-1);
  }

  /** When the first is due; infinity: none is. */
  get next(): number {
    return this.#size === 0 ? Infinity : this.#due[this.#heap[0]!]!;
  }

  /** Which is due first; of those that are due together the smallest. */
  get first(): number {
    return this.#heap[0]!;
  }

  due(thing: number): number {
    return this.#due[thing]!;
  }

  /** Infinity: never. */
  set(thing: number, time: number): void {
    const isEarlier = time < this.#due[thing]!;
    this.#due[thing] = time;
    if (this.#at[thing] === -1) {
      this.#place(thing, this.#size++);
      this.#up(this.#size - 1);
    } else if (isEarlier) {
      this.#up(this.#at[thing]!);
    } else {
      this.#down(this.#at[thing]!);
    }
  }

  #up(from: number): void {
    let at = from;
    const thing = this.#heap[at]!;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = this.#heap[parent]!;
      if (!this.#isBefore(thing, other)) break;
      this.#place(other, at);
      at = parent;
    }
    this.#place(thing, at);
  }

  #down(from: number): void {
    let at = from;
    const thing = this.#heap[at]!;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#isBefore(this.#heap[child + 1]!, this.#heap[child]!)) {
        child++;
      }
      const other = this.#heap[child]!;
      if (!this.#isBefore(other, thing)) break;
      this.#place(other, at);
      at = child;
    }
    this.#place(thing, at);
  }

  #place(thing: number, at: number): void {
    this.#heap[at] = thing;
    this.#at[thing] = at;
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#due[a]!, this.#due[b]!];
    return x < y || (x === y && a < b);
  }
}
