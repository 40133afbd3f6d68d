/**
 * Who is connected where: as it is, and as a server sees it. Its own partition it knows; what it knows of the others is old by the
 * staleness: entries of the session table by just that, loads by up to one heartbeat more.
 */
export const NOWHERE = -1;

interface Change {
  readonly time: number;
  readonly user: number;
  readonly from: number;
  readonly to: number;
}

const HEARTBEAT_MS = 1000;

export class View {
  /** The truth. */
  readonly where: Int32Array;
  readonly loads: Int32Array;
  connected = 0;
  readonly #staleness: number;
  readonly #seen: Int32Array;
  /** By the table, as others have it now. */
  readonly #seenLoads: Int32Array;
  /** By the last heartbeats. */
  readonly #told: Int32Array;
  #queue: Change[] = [];
  #head = 0;
  #beat = -Infinity;

  constructor(users: number, servers: number, stalenessMs: number) {
    this.where = new Int32Array(users).fill(NOWHERE);
    this.loads = new Int32Array(servers);
    this.#staleness = stalenessMs;
    const isExact = stalenessMs === 0;
    this.#seen = isExact ? this.where : new Int32Array(users).fill(NOWHERE);
    this.#seenLoads = isExact ? this.loads : new Int32Array(servers);
    this.#told = isExact ? this.loads : new Int32Array(servers);
  }

  set(user: number, to: number, time: number): void {
    const from = this.where[user]!;
    this.where[user] = to;
    if (from !== NOWHERE) this.loads[from]!--;
    if (to !== NOWHERE) this.loads[to]!++;
    this.connected += (to === NOWHERE ? 0 : 1) - (from === NOWHERE ? 0 : 1);
    if (this.#staleness > 0) this.#queue.push({ time, user, from, to });
  }

  /** What others see grows as old as it is at `time`. */
  advance(time: number): void {
    if (this.#staleness === 0) return;
    const beat = Math.floor(time / HEARTBEAT_MS) * HEARTBEAT_MS;
    if (beat > this.#beat) {
      this.#apply(beat - this.#staleness);
      this.#told.set(this.#seenLoads);
      this.#beat = beat;
    }
    this.#apply(time - this.#staleness);
  }

  whereAsSeenBy(server: number, user: number): number {
    const { where } = this;
    if (where[user] === server) return server;
    const seen = this.#seen[user]!;
    return seen === server ? NOWHERE : seen;
  }

  loadAsSeenBy(server: number, of: number): number {
    return server === of ? this.loads[of]! : this.#told[of]!;
  }

  #apply(until: number): void {
    const queue = this.#queue;
    while (this.#head < queue.length && queue[this.#head]!.time <= until) {
      const { user, from, to } = queue[this.#head++]!;
      this.#seen[user] = to;
      if (from !== NOWHERE) this.#seenLoads[from]!--;
      if (to !== NOWHERE) this.#seenLoads[to]!++;
    }
    if (this.#head < 1024 || this.#head < queue.length / 2) return;
    this.#queue = queue.slice(this.#head);
    this.#head = 0;
  }
}
