/** Time as the server sees it; the simulation gives its own. */
export interface Clock {
  /** Milliseconds since 1970. May jump; for ids, epochs and expiry only. */
  now(): number;
  /** Milliseconds since some start; never goes back. For deadlines. */
  monotonic(): number;
  /** Runs `task` once after `ms`; the answer cancels it. */
  after(ms: number, task: () => void): () => void;
  /** Runs `task` at the end of this turn of the event loop: after all input that is already there was handled. */
  defer(task: () => void): void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  defer(task) {
    setImmediate(task);
  },
};
