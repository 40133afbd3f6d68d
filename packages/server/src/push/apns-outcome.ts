import type { Millis } from "@beckon/protocol";

import type { Http2Result } from "./http2-client.ts";
import { parseJson } from "./post.ts";
import { type PushOutcome, rejected } from "./provider.ts";
import { readRetryAfter } from "./retry-after.ts";

/** When to try again what had no answer, or one without `Retry-After`. */
export const RETRY_MS: Millis = 10_000;
/** The same for a device that was sent too many. */
const TOO_MANY_MS: Millis = 60_000;

/** What an answer means for the push. `now`: ms since 1970. */
export function outcomeOf(result: Http2Result, now: Millis): PushOutcome {
  if (result.kind === "silent") return { kind: "retry", after: RETRY_MS };
  const { status, retryAfter } = result;
  if (status === 200) return { kind: "sent" };
  // BadDeviceToken is not among them: with a wrong push.apns.environment every device has one, and all would be lost for good.
  if (status === 410) return { kind: "gone" };
  if (status === 429) {
    return { kind: "retry", after: readRetryAfter(retryAfter, now, TOO_MANY_MS) };
  }
  if (status >= 500) return { kind: "retry", after: readRetryAfter(retryAfter, now, RETRY_MS) };
  return rejected(REASONS[reasonOf(result)] ?? BY_STATUS[status] ?? `it answers ${status}`);
}

/** The service is away, or does not take this system at all: not a matter of one device. */
export function isAway(result: Http2Result): boolean {
  if (result.kind === "silent" || result.status >= 500) return true;
  return result.status === 403 || reasonOf(result) === "TooManyProviderTokenUpdates";
}

/** Another token may do. */
export function isTokenRefused(result: Http2Result): boolean {
  if (result.kind === "silent" || result.status !== 403) return false;
  return ["ExpiredProviderToken", "InvalidProviderToken"].includes(reasonOf(result));
}

function reasonOf({ text }: { readonly text: string }): string {
  return String((parseJson(text) as { reason?: unknown } | null | undefined)?.reason);
}

const KEY = "it does not take the token: are key_file, key_id and team_id those of one key?";
const TOPIC = "the key may not push to this topic: look at topic and topics";

/** In our own words: its answers may repeat what it was sent. */
const REASONS: Readonly<Record<string, string>> = {
  BadDeviceToken:
    "it does not know the device token: is it of the other environment (push.apns.environment)?",
  DeviceTokenNotForTopic: "the device token is of another application than the topic",
  TopicDisallowed: TOPIC,
  BadTopic: TOPIC,
  MissingTopic: TOPIC,
  InvalidProviderToken: KEY,
  MissingProviderToken: KEY,
  UnrelatedKeyIdInToken: KEY,
  ExpiredProviderToken: "it calls a new token expired: is this machine's clock right?",
  BadEnvironmentKeyInToken: "the key is for the other environment (push.apns.environment)",
};

const BY_STATUS: Readonly<Record<number, string>> = {
  400: "it does not understand the push",
  403: "it does not let this system push",
  404: "it is no APNs: look at push.apns.url",
  405: "it is no APNs: look at push.apns.url",
  413: "the push is too large for it",
};
