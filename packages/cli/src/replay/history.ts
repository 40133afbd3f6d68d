/** What a run looked like over the trace's time: a bounded number of points, evenly spaced. */
export interface Point {
  /** Since the first message, by the trace's clock: the end of the span that it stands for. */
  readonly hours: number;
  /** Deliveries since the point before, and how many of them were local. */
  readonly deliveries: number;
  readonly local: number;
  /** Connected, by server in the order of their names. */
  readonly devices: readonly number[];
}

const POINTS = 96;

export class History {
  readonly points: Point[] = [];
  readonly #start: number;
  readonly #span: number;
  readonly #names: readonly string[];
  #next: number;
  #local = 0;
  #remote = 0;

  /** From `start` to `end`, in ms. */
  constructor(start: number, end: number, names: readonly string[]) {
    this.#start = start;
    this.#span = Math.max(1, (end - start) / POINTS);
    this.#names = names;
    this.#next = start + this.#span;
  }

  /** To be called often; `local` and `remote` are all deliveries so far. */
  sample(now: number, loads: ReadonlyMap<string, number>, local: number, remote: number): void {
    if (now < this.#next) return;
    this.#next += Math.ceil((now - this.#next + 1) / this.#span) * this.#span;
    const near = local - this.#local;
    const all = near + remote - this.#remote;
    [this.#local, this.#remote] = [local, remote];
    this.points.push({
      hours: (now - this.#start) / 3_600_000,
      deliveries: all,
      local: near,
      devices: this.#names.map((name) => loads.get(name) ?? 0),
    });
  }
}
