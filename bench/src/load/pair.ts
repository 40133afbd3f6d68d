/** Microseconds; what takes longer counts as this. */
const LATENCY_BOUND = 1_000_000;

/** What the pairs of one generator have done. */
export class Tally {
  /** Messages that were sent, and of those the ones that the recipient got, and the ones whose acknowledgement came back. */
  sent = 0;
  delivered = 0;
  acknowledged = 0;
  /** Of those that were acknowledged: held on the disk, not delivered. */
  held = 0;
  /** Acknowledgements by microseconds since their message was written. */
  readonly #latencies = new Uint32Array(LATENCY_BOUND);

  latency(milliseconds: number): void {
    const microseconds = Math.min(LATENCY_BOUND - 1, Math.round(milliseconds * 1000));
    this.#latencies[microseconds]!++;
  }

  forgetLatencies(): void {
    this.#latencies.fill(0);
  }

  /** Microseconds within which this share of the acknowledgements came. */
  percentile(share: number): number {
    const total = this.#latencies.reduce((sum, count) => sum + count, 0);
    let seen = 0;
    return this.#latencies.findIndex((count) => (seen += count) > 0 && seen >= share * total);
  }
}

/** How a message is written, in a server's protocol. */
export interface Sender {
  /** Adds message number `n` (from 1) to what `flush` writes. */
  send(n: number): void;
  flush(): void;
}

/** One who sends and one who receives: always `window` messages under way, until stopped. */
export class Pair {
  readonly #sender: Sender;
  readonly #window: number;
  readonly #tally: Tally;
  /** When the message was written, by its number modulo the window. */
  readonly #sentAt: Float64Array;
  #sent = 0;
  #acknowledged = 0;
  #stopped = false;

  constructor(sender: Sender, window: number, tally: Tally) {
    this.#sender = sender;
    this.#window = window;
    this.#tally = tally;
    this.#sentAt = new Float64Array(window);
  }

  get underWay(): number {
    return this.#sent - this.#acknowledged;
  }

  /** Sends what the window has room for. */
  fill(): void {
    const room = this.#stopped ? 0 : this.#window - this.underWay;
    if (room === 0) return;
    const now = performance.now();
    for (let i = 0; i < room; i++) {
      const n = ++this.#sent;
      this.#sentAt[n % this.#window] = now;
      this.#sender.send(n);
    }
    this.#tally.sent += room;
    this.#sender.flush();
  }

  /** The acknowledgement of `count` messages from number `n` on, which came at `now`. */
  acknowledged(n: number, count: number, now: number): void {
    if (n !== this.#acknowledged + 1 || n + count - 1 > this.#sent) {
      throw new Error(`message ${n} was acknowledged instead of ${this.#acknowledged + 1}`);
    }
    for (let i = 0; i < count; i++) {
      this.#tally.latency(now - this.#sentAt[(n + i) % this.#window]!);
    }
    this.#acknowledged += count;
    this.#tally.acknowledged += count;
  }

  stop(): void {
    this.#stopped = true;
  }
}
