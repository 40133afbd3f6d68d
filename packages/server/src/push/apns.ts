/** Apple's push service, by its HTTP/2 API with token authentication. */
import { randomUUID } from "node:crypto";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { Gate } from "../lib/gate.ts";
import type { Log } from "../lib/log.ts";
import { type ApnsKey, ProviderToken } from "./apns-key.ts";
import { type AlertTexts, dress, type Notification } from "./apns-notification.ts";
import { notificationOf, voipOf } from "./apns-notification.ts";
import { isAway, isTokenRefused, outcomeOf, RETRY_MS } from "./apns-outcome.ts";
import { BadRegistration, readRegistration, type Registration } from "./apns-registration.ts";
import { Breaker } from "./breaker.ts";
import { Complaints } from "./complaints.ts";
import { Http2Client, type Http2Result } from "./http2-client.ts";
import { inLines } from "./lines.ts";
import { PUSH_ANSWER_MS } from "./provider.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";

export interface ApnsOptions {
  readonly key: ApnsKey;
  readonly url: URL;
  /** PEM: who else may vouch for it. Default: whom the runtime trusts. */
  readonly ca?: string | undefined;
  /** Bundle ids; that of devices that name none first. */
  readonly topics: readonly [string, ...string[]];
  readonly alerts: AlertTexts;
  readonly clock: Clock;
  readonly log: Log;
}

/** Devices that are pushed to at once. */
const AT_ONCE = 256;
/** All pushes of a batch have an answer by then. */
const ANSWERED_MS: Millis = PUSH_ANSWER_MS - 500;

export function apnsProvider(options: ApnsOptions): PushProvider {
  const { key, url, ca, topics, clock, log } = options;
  const client = new Http2Client({ origin: url, ca, clock, streams: AT_ONCE });
  const gate = new Gate(AT_ONCE);
  const now = (): Millis => clock.monotonic();
  const breaker = new Breaker();
  const token = new ProviderToken(key);
  const dressing = dress(options.alerts);
  const complaints = new Complaints("apns", log, now);

  /** `end`: when it has to be answered. */
  async function push(item: PushItem, end: Millis): Promise<PushOutcome> {
    const to = read(item.token);
    if (typeof to === "string") return complaints.reject(`the registration is no good: ${to}`);
    if (item.class === "call" && to.voip !== undefined) {
      const notification = voipOf(item, to.voip, to.topic, clock.now(), randomUUID());
      const outcome = await deliver(notification, end);
      // A device has two tokens, and the other one may be good.
      if (outcome.kind === "sent" || outcome.kind === "retry") return outcome;
    }
    return deliver(notificationOf(item, to, dressing, clock.now(), randomUUID()), end);
  }

  async function deliver(of: Notification | undefined, end: Millis): Promise<PushOutcome> {
    if (of === undefined) return complaints.reject("it has more bytes than a push may have");
    const wait = end > now() ? breaker.admit(now()) : RETRY_MS;
    if (wait > 0) return { kind: "retry", after: wait };
    const result = await ask(of, end);
    if (isAway(result)) breaker.failed(now());
    else breaker.succeeded();
    if (result.kind === "silent") {
      complaints.tell(result.failure ?? "no answer in time", "push.unreachable");
    }
    const outcome = outcomeOf(result, clock.now());
    return outcome.kind === "rejected" ? complaints.reject(outcome.reason) : outcome;
  }

  /** Twice, where another token may help. */
  async function ask(of: Notification, end: Millis): Promise<Http2Result> {
    const body = Buffer.from(of.payload);
    for (let isFirst = true; ; isFirst = false) {
      const authorization = await token.get(clock.now());
      const result = await client.post({
        path: of.path,
        headers: { ...of.headers, authorization },
        body,
        ms: Math.max(0, end - now()),
      });
      if (!isFirst || !isTokenRefused(result)) return result;
      if (!(await token.refused(authorization, clock.now()))) return result;
    }
  }

  /** What is wrong with it, where it is none. */
  function read(text: string): Registration | string {
    try {
      return readRegistration(text, topics);
    } catch (error) {
      return error instanceof BadRegistration ? error.message : "it cannot be read";
    }
  }

  return {
    name: "apns",
    largestBody: dressing.largestBody,
    fault(text) {
      const found = read(text);
      return typeof found === "string" ? found : undefined;
    },
    send(items) {
      const end = now() + ANSWERED_MS;
      return inLines(items, (item) => gate.through(() => push(item, end)));
    },
    close() {
      client.close();
      return Promise.resolve();
    },
  };
}
