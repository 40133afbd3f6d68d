/** Web Push (RFC 8030): browsers' push services and UnifiedPush distributors, each the host of a subscription's endpoint. */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { ExpiringMap } from "../lib/expiring-map.ts";
import { Gate } from "../lib/gate.ts";
import type { Log } from "../lib/log.ts";
import { Answering } from "./answering.ts";
import { createGuardedPost, type PostOptions } from "./guarded-post.ts";
import { inLines } from "./lines.ts";
import { type PushItem, type PushOutcome, type PushProvider, rejected } from "./provider.ts";
import { VapidHeader, type VapidKey } from "./vapid.ts";
import { encryptPush, LONGEST_TEXT } from "./webpush-encrypt.ts";
import { headersOf, outcomeOf, RETRY_MS } from "./webpush-outcome.ts";
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
/** Who has less time left is not asked: it would be taken for one that is away. There were too many before this one. */
const LEAST_MS: Millis = 500;
const NEXT_MS: Millis = 1_000;
/** The same refusal by the same host is logged once in this time. */
const LOGGED: Millis = 600_000;

/** What is known of the host of some endpoints. */
interface Origin {
  /** Over all batches. */
  readonly gate: Gate;
  /** Not before it has: whoever subscribes names a host, and a batch waits for its slowest. */
  readonly answering: Answering;
  readonly authorization: VapidHeader;
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
    const made: Origin = {
      gate: new Gate(AT_ONCE),
      answering: new Answering(false),
      authorization,
    };
    origins.set(origin, made, REMEMBERED);
    return made;
  }

  async function push(item: PushItem, begun: Millis): Promise<PushOutcome> {
    const found = read(item.token);
    if (typeof found === "string") return reject(`the subscription is no good: ${found}`);
    const { endpoint } = found;
    if (Buffer.byteLength(item.body) > LONGEST_TEXT) {
      return reject(`it has more than ${LONGEST_TEXT} bytes`, endpoint.host);
    }
    const origin = originOf(endpoint);
    return origin.gate.through(() => pushTo(origin, item, found, begun));
  }

  async function pushTo(
    origin: Origin,
    item: PushItem,
    subscription: Subscription,
    begun: Millis,
  ): Promise<PushOutcome> {
    const { endpoint } = subscription;
    const { answering } = origin;
    const authorization = await origin.authorization.get(clock.now());
    const left = begun + answering.patience - now();
    if (left < LEAST_MS) return { kind: "retry", after: answering.isProven ? NEXT_MS : RETRY_MS };
    const wait = answering.admit(now());
    if (wait > 0) return { kind: "retry", after: wait };
    const result = await transport.post({
      url: endpoint,
      headers: { ...headersOf(item, clock.now()), authorization },
      body: encryptPush(Buffer.from(item.body), subscription),
      ms: left,
    });
    answering.note(result, now());
    const isUnwelcome = result.kind === "answered" && [401, 403].includes(result.status);
    if (isUnwelcome) origin.authorization.forget();
    const outcome = outcomeOf(result, clock.now());
    return outcome.kind === "rejected" ? reject(outcome.reason, endpoint.host) : outcome;
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

  /** What is wrong with it, where it is none. */
  function read(token: string): Subscription | string {
    try {
      return readSubscription(token, isAllowed);
    } catch (error) {
      return error instanceof BadSubscription ? error.message : "it cannot be read";
    }
  }

  return {
    name: "webpush",
    fault(token) {
      const found = read(token);
      return typeof found === "string" ? found : undefined;
    },
    send(items) {
      const begun = now();
      return inLines(items, (item) => push(item, begun));
    },
    close() {
      transport.close();
      return Promise.resolve();
    },
  };
}
