import type { Millis } from "@beckon/protocol";

const LEAST: Millis = 1_000;
const MOST: Millis = 3_600_000;

/** How long a service asks to be left alone, within 1 s and 1 h: `Retry-After` in seconds, or a date (RFC 9110, 10.2.3). */
export function readRetryAfter(header: string | undefined, now: Millis, byDefault: Millis): Millis {
  const text = header?.trim() ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isNaN(ms) ? byDefault : Math.min(MOST, Math.max(LEAST, ms));
}
