/**
 * Access tokens of a Google service account (OAuth 2.0, RFC 7523). One request with a signed JWT is all that is needed; Google's own
 * library brings six packages, and would have to be kept to the time and the number of requests from outside.
 */
import type { Millis } from "@beckon/protocol";
import { SignJWT } from "jose";
import * as z from "zod";

import type { Clock } from "../lib/clock.ts";
import { parseJson, post, type Posted } from "./post.ts";
import { readRetryAfter } from "./retry-after.ts";
import type { ServiceAccount } from "./service-account.ts";

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/** Of the JWT; Google takes an hour at most. */
const GOOD_FOR: Millis = 600_000;
/** A token is renewed so long before its end, or in the last quarter of its time; until then the old one serves. */
const EARLY: Millis = 300_000;
/** Less than a batch of pushes has. */
const ANSWER_MS: Millis = 4_000;
/** Nobody asks again so soon after no answer, */
const SILENT_REST: Millis = 10_000;
/** or after a refusal, which only an operator can end. */
const REFUSED_REST: Millis = 60_000;

export type AccessToken =
  | { readonly kind: "token"; readonly token: string }
  /** There is none, and none will be asked for before. `reason`: why it was refused, in our own words. */
  | { readonly kind: "none"; readonly after: Millis; readonly reason?: string };

interface Held {
  readonly token: string;
  readonly renewAt: Millis;
  readonly until: Millis;
}

const granted = z.object({ access_token: z.string().min(1), expires_in: z.number().positive() });
const refused = z.object({ error: z.string() });

export class GoogleTokens {
  readonly #account: ServiceAccount;
  readonly #clock: Clock;
  #held: Held | undefined;
  /** The one request for all who wait. */
  #asking: Promise<void> | undefined;
  /** What the last one failed of, and when there may be another. */
  #failure: { readonly until: Millis; readonly reason?: string } | undefined;

  constructor(account: ServiceAccount, clock: Clock) {
    this.#account = account;
    this.#clock = clock;
  }

  /** Within `ms`. Never rejects. */
  async get(ms: Millis): Promise<AccessToken> {
    const held = this.#usable();
    if (held !== undefined && this.#clock.monotonic() < held.renewAt) return given(held);
    const asking = this.#ask();
    if (held !== undefined) return given(held);
    await this.#within(ms, asking);
    const fresh = this.#usable();
    return fresh === undefined ? this.#none() : given(fresh);
  }

  /** The service did not take it: the next one is another, unless it is already. */
  refused(token: string): void {
    if (this.#held?.token === token) this.#held = undefined;
  }

  #usable(): Held | undefined {
    const held = this.#held;
    return held !== undefined && this.#clock.monotonic() < held.until ? held : undefined;
  }

  #none(): AccessToken {
    const { until, reason } = this.#failure ?? { until: this.#clock.monotonic() + SILENT_REST };
    const after = Math.max(1_000, Math.ceil(until - this.#clock.monotonic()));
    return { kind: "none", after, ...(reason === undefined ? {} : { reason }) };
  }

  #ask(): Promise<void> {
    if (this.#asking !== undefined) return this.#asking;
    const now = this.#clock.monotonic();
    if (this.#failure !== undefined && now < this.#failure.until) return Promise.resolve();
    const asking = this.#request(now).finally(() => (this.#asking = undefined));
    this.#asking = asking;
    return asking;
  }

  async #request(begun: Millis): Promise<void> {
    const assertion = await sign(this.#account, this.#clock.now());
    const answer = await post(this.#clock, {
      url: this.#account.tokenUri,
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ grant_type: GRANT, assertion }).toString(),
      ms: ANSWER_MS,
    });
    const { success, data } = granted.safeParse(textOf(answer));
    if (success) {
      const life = data.expires_in * 1_000;
      const until = begun + life;
      const renewAt = until - Math.min(EARLY, life / 4);
      this.#held = { token: data.access_token, until, renewAt };
      this.#failure = undefined;
      return;
    }
    this.#failure = failureOf(answer, this.#clock);
  }

  async #within(ms: Millis, asking: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(ms, resolve);
    await Promise.race([asking, promise]);
    cancel();
  }
}

function given({ token }: Held): AccessToken {
  return { kind: "token", token };
}

function sign({ email, key, keyId, tokenUri }: ServiceAccount, now: Millis): Promise<string> {
  const seconds = Math.floor(now / 1_000);
  return new SignJWT({ scope: SCOPE })
    .setProtectedHeader({
      alg: "RS256",
      typ: "JWT",
      ...(keyId === undefined ? {} : { kid: keyId }),
    })
    .setIssuer(email)
    .setAudience(tokenUri.href)
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + GOOD_FOR / 1_000)
    .sign(key);
}

function textOf(answer: Posted): unknown {
  return answer.kind === "answered" && answer.status === 200 ? parseJson(answer.text) : undefined;
}

function failureOf(answer: Posted, clock: Clock): { until: Millis; reason?: string } {
  const now = clock.monotonic();
  if (answer.kind === "silent") return { until: now + SILENT_REST };
  const { status, retryAfter, text } = answer;
  if (status === 429 || status >= 500) {
    return { until: now + readRetryAfter(retryAfter, clock.now(), SILENT_REST) };
  }
  const code = refused.safeParse(parseJson(text)).data?.error ?? "";
  const reason = REASONS[code] ?? `token_uri answers ${status}, and no access token`;
  return { until: now + REFUSED_REST, reason };
}

const CLOCK = "is the account's key still there, and does this machine have the right time?";

/** By OAuth's codes. */
const REASONS: Readonly<Record<string, string>> = {
  invalid_grant: `Google does not take the service account (invalid_grant): ${CLOCK}`,
  invalid_client: "Google does not know the service account (invalid_client)",
  unauthorized_client: "the service account may have no access tokens (unauthorized_client)",
  access_denied: "the service account may have no access tokens (access_denied)",
  invalid_scope: "the service account may not use FCM (invalid_scope)",
};
