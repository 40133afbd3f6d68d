/**
 * The receiver's rules for lanes (L3): what is handed over, what waits for what is missing before it, and what
 * is a repeat. No time, storage or network of its own.
 */
import { LIMITS, type Millis } from "@beckon/protocol";

/** A message as the rules see it. */
export interface Numbered {
  /** Names the lane: one outbox of one sending device to one user. */
  readonly lane: string;
  /** Position in the lane, from 1. */
  readonly n: number;
  /** The `n` before it that was not finally refused; 0: none. */
  readonly prev: number;
}

/** A message whose turn has come. */
export interface Due<M> {
  readonly message: M;
  /** Something before it is missing. */
  readonly gap: boolean;
  /** It was missing when a later one was handed over. */
  readonly late: boolean;
}

/** What is to be remembered of a lane. */
export interface LaneRecord {
  /** Every number up to this one was handed over, but those skipped. */
  readonly top: number;
  /** Pairs, ascending: the first and the last of numbers that were missing. */
  readonly skipped: readonly number[];
}

interface Waiting<M> {
  readonly message: M;
  /** Number of the PULL that is sent after it came. */
  pull: number;
  since: Millis;
}

interface Lane<M> {
  /** 0: nothing was handed over yet, the lane is new. */
  top: number;
  skipped: number[];
  /** Ascending by `n`. */
  readonly waiting: Waiting<M>[];
}

export interface Lanes<M> {
  /** What is due now that this has come, in order; "waits": nothing, it was buffered; "repeat": it was handed over before. */
  arrive(message: M, now: Millis): readonly Due<M>[] | "waits" | "repeat";
  /** Whether a PULL is to be sent now; the caller sends it. */
  pull(): boolean;
  /** The store held nothing more when PULL number `pull` arrived: what came before it waits no longer. */
  pulled(pull: number): readonly Due<M>[];
  /** What has waited for 5 s. */
  expire(now: Millis): readonly Due<M>[];
  /** When `expire` has something; undefined: nothing waits. */
  deadline(): Millis | undefined;
  /** A new connection: PULLs count from 1 again, and what waits begins to wait anew. `window`: DELIVERs that may be unacknowledged. */
  connected(now: Millis, window: number): void;
  record(lane: string): LaneRecord;
  restore(lane: string, record: LaneRecord): void;
}

export interface LaneBounds {
  /** Lanes remembered; beyond it the one longest unused is forgotten. */
  readonly lanes: number;
  /** Messages that wait, over all lanes; beyond it the lane of the oldest goes on with a gap. */
  readonly waiting: number;
  /** Runs of missing numbers of a lane; beyond it the oldest two become one, so that a repeat between them may come again. */
  readonly skipped: number;
}

const BOUNDS: LaneBounds = { lanes: 10_000, waiting: LIMITS.laneBuffer, skipped: 64 };

/** `forgotten` is told each lane that the bound drops. */
export function createLanes<M extends Numbered>(
  forgotten: (lane: string) => void,
  bounds: LaneBounds = BOUNDS,
): Lanes<M> {
  /** Longest unused first. */
  const lanes = new Map<string, Lane<M>>();
  const stuck = new Set<Lane<M>>();
  let waiting = 0;
  let sent = 0;
  let answered = 0;
  let room = roomOf(LIMITS.inFlight);

  function use(name: string): Lane<M> {
    const known = lanes.get(name);
    const lane = known ?? { top: 0, skipped: [], waiting: [] };
    if (known !== undefined) lanes.delete(name);
    lanes.set(name, lane);
    if (lanes.size > bounds.lanes) forget();
    return lane;
  }

  function forget(): void {
    for (const [name, lane] of lanes) {
      // The newest is the one in use; those with waiting messages are at most `bounds.waiting`.
      if (lane.waiting.length > 0) continue;
      lanes.delete(name);
      forgotten(name);
      return;
    }
  }

  function arrive(message: M, now: Millis): readonly Due<M>[] | "waits" | "repeat" {
    const lane = use(message.lane);
    const { n, prev } = message;
    if (n <= lane.top) {
      return unskip(lane, n) ? [{ message, gap: false, late: true }] : "repeat";
    }
    if (prev <= lane.top) {
      lane.top = n;
      return proceed(lane, [{ message, gap: false, late: false }]);
    }
    const at = lane.waiting.findIndex((other) => other.message.n > n);
    lane.waiting.splice(at < 0 ? lane.waiting.length : at, 0, {
      message,
      pull: sent + 1,
      since: now,
    });
    stuck.add(lane);
    waiting++;
    return waiting > room || waiting > bounds.waiting ? overflow() : "waits";
  }

  /** Adds what `lane.top` has made due. */
  function proceed(lane: Lane<M>, due: Due<M>[]): Due<M>[] {
    let first = lane.waiting[0];
    while (first !== undefined && first.message.prev <= lane.top) {
      lane.waiting.shift();
      waiting--;
      const { message } = first;
      due.push({ message, gap: false, late: message.n < lane.top });
      lane.top = Math.max(lane.top, message.n);
      first = lane.waiting[0];
    }
    if (lane.waiting.length === 0) stuck.delete(lane);
    return due;
  }

  /** Ends the waiting of whatever `ready` says, and of all that is before it in its lane. */
  function release(ready: (waiting: Waiting<M>) => boolean): Due<M>[] {
    const due: Due<M>[] = [];
    for (const lane of stuck) {
      for (let left = lane.waiting.findLastIndex(ready) + 1; left > 0;) {
        const before = lane.waiting.length;
        const { message } = lane.waiting.shift()!;
        waiting--;
        // In a new lane nothing is known to be missing; what comes yet from before is late, never a repeat.
        due.push({ message, gap: lane.top > 0, late: false });
        skip(lane, lane.top + 1, message.prev);
        lane.top = message.n;
        proceed(lane, due);
        left -= before - lane.waiting.length;
      }
    }
    return due;
  }

  /**
   * What a device that remembers nothing is sent from the store is all of new lanes: if all of it waited, the window would be full, and the
   * server could not come to the end that it waits for. It came in order; so the oldest is due, and nothing is known to be missing.
   */
  function overflow(): Due<M>[] | "waits" {
    const isFull = waiting > bounds.waiting;
    const oldest = oldestOf((lane) => isFull || lane.top === 0);
    return oldest === undefined ? "waits" : release((each) => each === oldest);
  }

  function oldestOf(which: (lane: Lane<M>) => boolean): Waiting<M> | undefined {
    let oldest: Waiting<M> | undefined;
    for (const lane of stuck) {
      if (!which(lane)) continue;
      for (const each of lane.waiting) if (!(oldest && oldest.since <= each.since)) oldest = each;
    }
    return oldest;
  }

  function skip(lane: Lane<M>, first: number, last: number): void {
    if (first > last) return;
    lane.skipped.push(first, last);
    bound(lane);
  }

  function bound({ skipped }: Lane<M>): void {
    if (skipped.length > 2 * bounds.skipped) skipped.splice(1, 2);
  }

  /** Whether `n` was missing; it no longer is. */
  function unskip(lane: Lane<M>, n: number): boolean {
    for (let i = 0; i < lane.skipped.length; i += 2) {
      const first = lane.skipped[i]!;
      const last = lane.skipped[i + 1]!;
      if (n < first || n > last) continue;
      const left = [];
      if (first < n) left.push(first, n - 1);
      if (n < last) left.push(n + 1, last);
      lane.skipped.splice(i, 2, ...left);
      bound(lane);
      return true;
    }
    return false;
  }

  return {
    arrive,
    pull() {
      // One at a time: what came after it was sent asks again when it is answered.
      if (sent > answered) return false;
      for (const lane of stuck) {
        if (!lane.waiting.some((each) => each.pull > sent)) continue;
        sent++;
        return true;
      }
      return false;
    },
    pulled(pull) {
      answered = Math.max(answered, Math.min(pull, sent));
      return release((each) => each.pull <= answered);
    },
    expire: (now) => release((each) => now - each.since >= LIMITS.gap),
    deadline() {
      let earliest: Millis | undefined;
      for (const lane of stuck) {
        for (const { since } of lane.waiting) earliest = Math.min(earliest ?? since, since);
      }
      return earliest === undefined ? undefined : earliest + LIMITS.gap;
    },
    connected(now, window) {
      room = roomOf(window);
      sent = 0;
      answered = 0;
      for (const lane of stuck) {
        for (const each of lane.waiting) {
          each.pull = 1;
          each.since = now;
        }
      }
    },
    record(name) {
      const { top, skipped } = lanes.get(name) ?? { top: 0, skipped: [] };
      return { top, skipped: [...skipped] };
    },
    restore(name, { top, skipped }) {
      lanes.set(name, { top, skipped: [...skipped], waiting: [] });
    },
  };
}

/** As much of the window as a server gives to what is live: what is read from the store has the rest. */
function roomOf(window: number): number {
  return Math.floor((window * 3) / 4);
}
