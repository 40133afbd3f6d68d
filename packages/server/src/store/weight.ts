/** How much an exchange of messages weighs as time goes on. */
import type { Millis } from "@beckon/protocol";

const HOUR_MS = 3_600_000;

/** Who belongs to whom: half of it is forgotten in so long. */
export const LONG_MS: Millis = 30 * 24 * HOUR_MS;
/** Who is talking now. */
export const SHORT_MS: Millis = 6 * HOUR_MS;
/** What a message of the present conversation weighs beside one of the past. */
export const PRESENT = 20;

/** `2^(-age / half-life)`; a clock that went back ages nothing. */
export function longDecay(age: Millis): number {
  return age <= 0 ? 1 : 2 ** (-age / LONG_MS);
}

export function shortDecay(age: Millis): number {
  return age <= 0 ? 1 : 2 ** (-age / SHORT_MS);
}

/** Of a tie whose sums have been decayed until now. */
export function weigh(long: number, short: number): number {
  return long + PRESENT * short;
}

/** What one message weighs in the moment in which it is accepted. */
export const MESSAGE_WEIGHT: number = weigh(1, 1);
