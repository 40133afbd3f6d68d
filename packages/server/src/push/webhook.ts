/** Pushes by the operator's own application, which sends them on by whatever service it likes. */
import { randomUUID } from "node:crypto";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { Gate } from "../lib/gate.ts";
import type { Log } from "../lib/log.ts";
import { Answering } from "./answering.ts";
import { Complaints } from "./complaints.ts";
import { outcomesOf } from "./outcomes.ts";
import { parseJson, post, type Posted } from "./post.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { readRetryAfter } from "./retry-after.ts";
import { signWebhook } from "./webhook-sign.ts";

export interface WebhookOptions {
  readonly url: URL;
  /** A request is signed with each. */
  readonly secrets: readonly Uint8Array[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Pushes in one request: some 20 KB, of which no application's framework makes a fuss. */
const ITEMS = 25;
/** Requests that are under way. */
const AT_ONCE = 8;
/** When to try again what had no answer, or one without `Retry-After`. */
const RETRY_MS: Millis = 10_000;
/** The same after a refusal: it may be in the middle of a change. */
const REFUSED_MS: Millis = 60_000;
/** What an application may ask for. */
const LEAST_RETRY: Millis = 1_000;
const MOST_RETRY: Millis = 3_600_000;

/**
 * One POST for up to {@link ITEMS} pushes, signed as Standard Webhooks has it. An answer decides for all of its pushes, unless it has
 * an outcome for each. Those to be tried again come in another request, mixed with others, so each request has an id of its own.
 */
export function webhookProvider({ url, secrets, clock, log }: WebhookOptions): PushProvider {
  const now = (): Millis => clock.monotonic();
  const answering = new Answering(true);
  const complaints = new Complaints("webhook", log, now);
  const gate = new Gate(AT_ONCE);

  /** `end`: when it has to be answered. */
  async function request(items: readonly PushItem[], end: Millis): Promise<readonly PushOutcome[]> {
    const left = end - now();
    const wait = left > 0 ? answering.admit(now()) : RETRY_MS;
    if (wait > 0) return forAll(items, { kind: "retry", after: wait });
    const body = bodyOf(items, clock.now());
    const id = `msg_${randomUUID()}`;
    const result = await post(clock, {
      url,
      headers: {
        "content-type": "application/json",
        ...signWebhook(id, clock.now(), body, secrets),
      },
      body,
      ms: left,
    });
    answering.note(result, now());
    return outcomesFor(items, result);
  }

  function outcomesFor(items: readonly PushItem[], result: Posted): readonly PushOutcome[] {
    if (result.kind === "silent") return forAll(items, { kind: "retry", after: RETRY_MS });
    const { status, retryAfter, text } = result;
    if (status === 429 || status >= 500) {
      const after = readRetryAfter(retryAfter, clock.now(), RETRY_MS);
      return forAll(items, { kind: "retry", after });
    }
    if (status < 200 || status >= 300) {
      complaints.tell(REASONS[status] ?? `it answers ${status}`);
      return forAll(items, { kind: "retry", after: REFUSED_MS });
    }
    if (text?.trim() === "") return forAll(items, { kind: "sent" });
    const outcomes = outcomesOf(parseJson(text), items.length);
    return outcomes?.map(bounded) ?? forAll(items, complaints.reject(UNREADABLE));
  }

  function bounded(outcome: PushOutcome): PushOutcome {
    if (outcome.kind === "rejected") return complaints.reject("it refuses pushes by their outcome");
    if (outcome.kind !== "retry") return outcome;
    const after = Math.ceil(Math.min(MOST_RETRY, Math.max(LEAST_RETRY, outcome.after)));
    return { kind: "retry", after };
  }

  return {
    name: "webhook",
    async send(items) {
      const end = now() + answering.patience;
      const outcomes: PushOutcome[] = [];
      const work = async (at: number): Promise<void> => {
        const some = items.slice(at, at + ITEMS);
        const answered = await gate.through(() => request(some, end));
        for (const [i, outcome] of answered.entries()) outcomes[at + i] = outcome;
      };
      await Promise.all(Array.from(startsOf(items.length), work));
      return outcomes;
    },
    close: () => Promise.resolve(),
  };
}

/** Where requests begin. */
function* startsOf(length: number): Generator<number, void> {
  for (let at = 0; at < length; at += ITEMS) yield at;
}

function bodyOf(items: readonly PushItem[], now: Millis): string {
  return JSON.stringify({
    type: "push.requested",
    timestamp: new Date(now).toISOString(),
    items: items.map(({ token, class: kind, collapse, expires, body }) => ({
      token,
      class: kind,
      collapse,
      expires,
      body,
    })),
  });
}

function forAll(items: readonly PushItem[], outcome: PushOutcome): readonly PushOutcome[] {
  return items.map(() => outcome);
}

const UNREADABLE =
  'its answer is neither empty nor {"outcomes": […]} with one for each of the items';
const SIGNATURE = "it does not take the signature: has it the same secret, and the right time?";
const REDIRECT = "it redirects, which is not followed";

const REASONS: Readonly<Record<number, string>> = {
  301: REDIRECT,
  302: REDIRECT,
  307: REDIRECT,
  308: REDIRECT,
  401: SIGNATURE,
  403: SIGNATURE,
  404: "there is nothing at push.webhook.url",
  413: "the request is too large for it",
};
