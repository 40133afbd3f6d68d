/** Web Push (RFC 8030): browsers' push services and UnifiedPush distributors, each the host of a subscription's endpoint. */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { ExpiringMap } from "../lib/expiring-map.ts";
import { Gate } from "../lib/gate.ts";
import type { Log } from "../lib/log.ts";
import { Breaker } from "./breaker.ts";
import { createGuardedPost, type PostOptions, type PostResult } from "./guarded-post.ts";
import { PUSH_ANSWER_MS } from "./provider.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { VapidHeader, type VapidKey } from "./vapid.ts";
import { encryptPush, LONGEST_TEXT } from "./webpush-encrypt.ts";
import { headersOf, outcomeOf, rejected, RETRY_MS } from "./webpush-outcome.ts";
import { BadSubscription, readSubscription, type Subscription } from "./webpush-subscription.ts";

export interface WebPushOptions extends PostOptions {
  readonly key: VapidKey;
  /** Whom the operators of push services can turn to: `mailto:` or `https:`. */
  readonly subject: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Subscriptions of one host that are pushed to at once. */
const AT_ONCE = 32;
/** Hosts that are remembered; then the one that was not used for the longest is forgotten. */
const ORIGINS = 1_000;
const REMEMBERED: Millis = 86_400_000;
/** For the pushes of a batch to a host whose last answer was one, */
const PROVEN_MS: Millis = PUSH_ANSWER_MS - 500;
/** and to any other: whoever subscribes names a host, and a batch waits for its slowest. */
const UNPROVEN_MS: Millis = 2_000;
/** Who has less time left is not asked: it would be taken for one that is away. There were too many before this one. */
const LEAST_MS: Millis = 500;
const NEXT_MS: Millis = 1_000;
/** The same refusal by the same host is logged once in this time. */
const LOGGED: Millis = 600_000;

/** What is known of the host of some endpoints. */
interface Origin {
  /** Over all batches. */
  readonly gate: Gate;
  readonly breaker: Breaker;
  readonly authorization: VapidHeader;
  isProven: boolean;
}

/** The pushes of a batch for one subscription: one after the other, so that they come in order. */
interface Line {
  readonly subscription: Subscription;
  /** Places in the batch. */
  readonly places: number[];
}

export function webPushProvider(options: WebPushOptions): PushProvider {
  const { key, subject, clock, log, isAllowed } = options;
  const transport = createGuardedPost(options);
  const now = (): Millis => clock.monotonic();
  const origins = new ExpiringMap<Origin>(ORIGINS, now);
  const logged = new ExpiringMap<true>(ORIGINS, now);

  function originOf({ origin }: URL): Origin {
    const known = origins.get(origin);
    if (known !== undefined) return known;
    const authorization = new VapidHeader(key, origin, subject);
    const gate = new Gate(AT_ONCE);
    const made: Origin = { gate, breaker: new Breaker(), authorization, isProven: false };
    origins.set(origin, made, REMEMBERED);
    return made;
  }

  async function push(
    item: PushItem,
    subscription: Subscription,
    begun: Millis,
  ): Promise<PushOutcome> {
    const { endpoint } = subscription;
    if (Buffer.byteLength(item.body) > LONGEST_TEXT) {
      return reject(`it has more than ${LONGEST_TEXT} bytes`, endpoint.host);
    }
    const origin = originOf(endpoint);
    return origin.gate.through(() => pushTo(origin, item, subscription, begun));
  }

  async function pushTo(
    origin: Origin,
    item: PushItem,
    subscription: Subscription,
    begun: Millis,
  ): Promise<PushOutcome> {
    const { endpoint } = subscription;
    const authorization = await origin.authorization.get(clock.now());
    const left = begun + (origin.isProven ? PROVEN_MS : UNPROVEN_MS) - now();
    if (left < LEAST_MS) return { kind: "retry", after: origin.isProven ? NEXT_MS : RETRY_MS };
    const wait = origin.breaker.admit(now());
    if (wait > 0) return { kind: "retry", after: wait };
    const result = await transport.post({
      url: endpoint,
      headers: { ...headersOf(item, clock.now()), authorization },
      body: encryptPush(Buffer.from(item.body), subscription),
      ms: left,
    });
    note(origin, result);
    const outcome = outcomeOf(result, clock.now());
    return outcome.kind === "rejected" ? reject(outcome.reason, endpoint.host) : outcome;
  }

  function note(origin: Origin, result: PostResult): void {
    const status = result.kind === "answered" ? result.status : 0;
    const isAway = result.kind === "silent" || status >= 500;
    if (isAway) origin.breaker.failed(now());
    else origin.breaker.succeeded();
    origin.isProven = !isAway;
    if (status === 401 || status === 403) origin.authorization.forget();
  }

  /** A host of a device's choice: as a URL writes it, and bounded in its length. Undefined: nobody was asked. */
  function reject(reason: string, address?: string): PushOutcome {
    const once = `${address} ${reason}`;
    if (logged.get(once) === undefined) {
      logged.set(once, true, LOGGED);
      const where = address === undefined ? {} : { address };
      log.warn("push.rejected", { provider: "webpush", reason, ...where });
    }
    return rejected(reason);
  }

  /** @throws {BadSubscription} */
  const read = (token: string): Subscription => readSubscription(token, isAllowed);

  return {
    name: "webpush",
    fault(token) {
      try {
        read(token);
        return undefined;
      } catch (error) {
        return whyBad(error);
      }
    },
    async send(items) {
      const begun = now();
      const outcomes: PushOutcome[] = [];
      const lines = new Map<string, Line>();
      for (const [at, { token }] of items.entries()) {
        try {
          const line = lines.get(token) ?? { subscription: read(token), places: [] };
          line.places.push(at);
          lines.set(token, line);
        } catch (error) {
          outcomes[at] = reject(`the subscription is no good: ${whyBad(error)}`);
        }
      }
      const waiting = new Map<string, Line[]>();
      for (const line of lines.values()) {
        const { origin } = line.subscription.endpoint;
        const of = waiting.get(origin) ?? [];
        of.push(line);
        waiting.set(origin, of);
      }
      const work = async (of: Line[]): Promise<void> => {
        for (let line = of.pop(); line !== undefined; line = of.pop()) {
          const { subscription, places } = line;
          for (const at of places) outcomes[at] = await push(items[at]!, subscription, begun);
        }
      };
      await Promise.all(
        [...waiting.values()].flatMap((of) =>
          Array.from({ length: Math.min(AT_ONCE, of.length) }, () => work(of)),
        ),
      );
      return outcomes;
    },
    close() {
      transport.close();
      return Promise.resolve();
    },
  };
}

function whyBad(error: unknown): string {
  return error instanceof BadSubscription ? error.message : "it cannot be read";
}
