import type { Limits, Millis } from "@beckon/protocol";

/** A token bucket: how fast SENDs may follow each other. */
export interface Pace {
  /** A new connection, whose bucket is full. */
  reset(limits: Limits, now: Millis): void;
  /** 0: one may go now, and is counted; else how long to wait. */
  take(now: Millis): Millis;
}

/** What the server counts arrives less evenly than it was sent, and one too many closes the connection. */
const SHARE = 0.9;

export function createPace(): Pace {
  let rate = 0;
  let burst = 0;
  let tokens = 0;
  let filled = 0;
  return {
    reset(limits, now) {
      rate = (SHARE * limits.rate) / 1000;
      burst = Math.max(1, SHARE * limits.burst);
      tokens = burst;
      filled = now;
    },
    take(now) {
      tokens = Math.min(burst, tokens + Math.max(0, now - filled) * rate);
      filled = now;
      if (tokens < 1) return Math.ceil((1 - tokens) / rate);
      tokens--;
      return 0;
    },
  };
}
