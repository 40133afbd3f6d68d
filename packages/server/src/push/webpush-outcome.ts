import type { Millis } from "@beckon/protocol";

import type { PostResult } from "./guarded-post.ts";
import { type PushItem, type PushOutcome, rejected } from "./provider.ts";
import { readRetryAfter } from "./retry-after.ts";

/** When to try again what had no answer, or one without `Retry-After`. */
export const RETRY_MS: Millis = 10_000;
/** Seconds: push services keep nothing for longer. */
const LONGEST_TTL = 28 * 86_400;

/** What a push service is told beside the body (RFC 8030, 5); nothing of whom it is from. */
export function headersOf(item: PushItem, now: Millis): Record<string, string | number> {
  const ttl = Math.ceil((item.expires - now) / 1_000);
  return {
    "content-type": "application/octet-stream",
    "content-encoding": "aes128gcm",
    ttl: Math.min(LONGEST_TTL, Math.max(0, ttl)),
    urgency: item.class === "silent" ? "normal" : "high",
    ...(item.collapse === undefined ? {} : { topic: item.collapse }),
  };
}

/** What an answer means for the push. `now`: ms since 1970. */
export function outcomeOf(result: PostResult, now: Millis): PushOutcome {
  if (result.kind === "silent") return { kind: "retry", after: RETRY_MS };
  if (result.kind === "forbidden") {
    return rejected("it leads to an address that push.webpush.allow does not list");
  }
  const { status, retryAfter } = result;
  if (status >= 200 && status < 300) return { kind: "sent" };
  if (status === 404 || status === 410) return { kind: "gone" };
  if (status === 429 || status >= 500) {
    return { kind: "retry", after: readRetryAfter(retryAfter, now, RETRY_MS) };
  }
  return rejected(REASONS[status] ?? `it answers ${status}`);
}

const VAPID =
  "it does not take the VAPID key or subject: was the subscription made with another key?";

/** Of a push service, in our own words: its answers may repeat what it was sent. */
const REASONS: Readonly<Record<number, string>> = {
  301: "it redirects, which is not followed",
  302: "it redirects, which is not followed",
  307: "it redirects, which is not followed",
  308: "it redirects, which is not followed",
  400: "it does not understand the push",
  401: VAPID,
  403: VAPID,
  413: "the push is too large for it",
};
