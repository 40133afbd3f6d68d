/** Firebase Cloud Messaging (HTTP v1): Android, and whoever else has a registration token of Firebase. */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { Gate } from "../lib/gate.ts";
import type { Log } from "../lib/log.ts";
import { Answering } from "./answering.ts";
import { Complaints } from "./complaints.ts";
import { fcmMessage, type FcmText } from "./fcm-message.ts";
import { fcmOutcome, FOREIGN, FOREIGN_MS, RETRY_MS, UNAUTHORIZED } from "./fcm-outcome.ts";
import { GoogleTokens } from "./google-token.ts";
import { inLines } from "./lines.ts";
import { post } from "./post.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import type { ServiceAccount } from "./service-account.ts";

export interface FcmOptions {
  readonly account: ServiceAccount;
  readonly url: URL;
  readonly text: FcmText;
  readonly clock: Clock;
  readonly log: Log;
}

/** Pushes that are under way; so many connections there are at most. */
const AT_ONCE = 64;
/** As Firebase's SDKs make them, and may in years to come. */
const TOKEN = /^[\w:.~/+=%-]{1,4096}$/;

export function fcmProvider({ account, url, text, clock, log }: FcmOptions): PushProvider {
  const now = (): Millis => clock.monotonic();
  const endpoint = new URL(`v1/projects/${account.project}/messages:send`, folderOf(url));
  const tokens = new GoogleTokens(account, clock);
  const answering = new Answering(true);
  const complaints = new Complaints("fcm", log, now);
  const gate = new Gate(AT_ONCE);

  /** `end`: when it has to be answered. */
  async function push(item: PushItem, end: Millis): Promise<PushOutcome> {
    const message = fcmMessage(item, text, clock.now());
    if (typeof message === "string") return complaints.reject(message);
    const first = await attempt(message.json, end);
    // Its access token may have been revoked before its end.
    const outcome = first === "unauthorized" ? await attempt(message.json, end) : first;
    if (outcome === "unauthorized") return complaints.reject(UNAUTHORIZED);
    if (outcome === "foreign") {
      complaints.tell(FOREIGN);
      return { kind: "retry", after: FOREIGN_MS };
    }
    return outcome.kind === "rejected" ? complaints.reject(outcome.reason) : outcome;
  }

  async function attempt(json: string, end: Millis): Promise<ReturnType<typeof fcmOutcome>> {
    const access = await tokens.get(Math.max(0, end - now()));
    if (access.kind === "none") {
      if (access.reason !== undefined) complaints.tell(access.reason);
      return { kind: "retry", after: access.after };
    }
    const left = end - now();
    const wait = left > 0 ? answering.admit(now()) : RETRY_MS;
    if (wait > 0) return { kind: "retry", after: wait };
    const result = await post(clock, {
      url: endpoint,
      headers: { authorization: `Bearer ${access.token}`, "content-type": "application/json" },
      body: json,
      ms: left,
    });
    answering.note(result, now());
    const outcome = fcmOutcome(result, clock.now());
    if (outcome === "unauthorized") tokens.refused(access.token);
    return outcome;
  }

  return {
    name: "fcm",
    fault: (token) =>
      TOKEN.test(token) ? undefined : "it must be a registration token, as Firebase's SDK gives it",
    send(items) {
      const end = now() + answering.patience;
      return inLines(items, (item) => gate.through(() => push(item, end)));
    },
    close: () => Promise.resolve(),
  };
}

/** So that a path in it stays. */
function folderOf({ href }: URL): string {
  return href.endsWith("/") ? href : `${href}/`;
}
