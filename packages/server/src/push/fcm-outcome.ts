import type { Millis } from "@beckon/protocol";
import * as z from "zod";

import { parseJson, type Posted } from "./post.ts";
import { type PushOutcome, rejected } from "./provider.ts";
import { readRetryAfter } from "./retry-after.ts";

/** When to try again what had no answer, or one without `Retry-After`. */
export const RETRY_MS: Millis = 10_000;
/** The same for a quota that is used up: they are counted by the minute. */
const QUOTA_MS: Millis = 60_000;

const detail = z.object({
  errorCode: z.string().optional(),
  fieldViolations: z.array(z.object({ field: z.string().optional() })).optional(),
});

const failure = z.object({
  error: z.object({
    message: z.string().default(""),
    status: z.string().default(""),
    details: z.array(detail).default([]),
  }),
});

const success = z.object({ name: z.string() });

interface FcmError {
  /** FCM's own code, where it says one; else Google's. */
  readonly code: string;
  readonly isTokenBad: boolean;
}

/**
 * What an answer means for the push; "unauthorized": the access token was not taken, "foreign": it is not FCM that answers.
 * `now`: ms since 1970.
 */
export function fcmOutcome(result: Posted, now: Millis): PushOutcome | "unauthorized" | "foreign" {
  if (result.kind === "silent") return { kind: "retry", after: RETRY_MS };
  const { status, retryAfter, text } = result;
  if (status === 429) {
    return { kind: "retry", after: readRetryAfter(retryAfter, now, QUOTA_MS) };
  }
  if (status >= 500) {
    return { kind: "retry", after: readRetryAfter(retryAfter, now, RETRY_MS) };
  }
  if (status === 200 && success.safeParse(parseJson(text)).success) return { kind: "sent" };
  const error = readError(text);
  if (error === undefined) return "foreign";
  const { code, isTokenBad } = error;
  if (status === 404 && code === "UNREGISTERED") return { kind: "gone" };
  if (status === 400 && code === "INVALID_ARGUMENT" && isTokenBad) return { kind: "gone" };
  if (status === 401 && code !== "THIRD_PARTY_AUTH_ERROR") return "unauthorized";
  return rejected(REASONS[code] ?? `it answers ${status}`);
}

function readError(text: string | undefined): FcmError | undefined {
  const { error } = failure.safeParse(parseJson(text)).data ?? {};
  if (error === undefined) return undefined;
  const code = error.details.find(({ errorCode }) => errorCode !== undefined)?.errorCode;
  const fields = error.details.flatMap(({ fieldViolations }) => fieldViolations ?? []);
  // The same code tells of a message that is wrong: a registration ends only where nothing but the token is named.
  const isNamed =
    fields.length === 0
      ? code !== undefined && BAD_TOKEN.test(error.message)
      : fields.every(({ field }) => field === "message.token");
  return { code: code ?? error.status, isTokenBad: isNamed };
}

const BAD_TOKEN = /^The registration token is not a valid FCM registration token/;

/** In our own words: an answer may repeat what it was sent. */
const REASONS: Readonly<Record<string, string>> = {
  INVALID_ARGUMENT: "it does not understand the push",
  SENDER_ID_MISMATCH: "the token is of another Firebase project than the service account's",
  PERMISSION_DENIED:
    "the service account may not push: it needs a role with cloudmessaging.messages.create, and the project FCM's API (v1)",
  THIRD_PARTY_AUTH_ERROR:
    "Firebase has no key, or none that is good, for Apple's or the browser's push service",
  NOT_FOUND: "it does not know the project of the service account",
};

/** A proxy on the way, a wrong URL, or a page of Google's that says sorry: it says nothing of the registration. */
export const FOREIGN = "what answers is not FCM: is push.fcm.url right?";
export const FOREIGN_MS: Millis = 60_000;

/** It came back with a fresh access token, too. */
export const UNAUTHORIZED = "it does not take the access tokens of the service account";
