/** `@beckon/client/registration`: push for this device without a connection, also from a service worker. */
import {
  encodeBase64Url,
  type ErrorCode,
  ERRORS,
  type Millis,
  validDeviceId,
  type WakeKey,
} from "@beckon/protocol";

import { BeckonError } from "./errors.ts";
import { type Answer, type Asked, askByHttp } from "./registration-http.ts";

export { BeckonError } from "./errors.ts";

export interface RegisterPushOptions extends Asked {
  readonly push: {
    /** As the server names it: "dev", "webpush", "apns", "fcm". */
    readonly provider: string;
    /** What the push service calls this device; for "webpush" `JSON.stringify(subscription)`. */
    readonly token: string;
  };
  /** Wakes are sealed with it: the one that `connect` has in `push.key`, else nobody can open them. */
  readonly key: WakeKey;
  /** Spoken by the device, best first. Default: "ws". */
  readonly protocols?: readonly string[];
}

export interface RemovePushOptions extends Asked {
  /** For a log-out: the device is forgotten, and what is held for it is dropped. Default: messages are held for it as before. */
  readonly forget?: boolean;
}

const ANSWER_MS: Millis = 10_000;

/** Resolves when pushes for this device go there. Rejects with {@link BeckonError}; what is `retryable` may be tried at another server. */
export function registerPush(options: RegisterPushOptions): Promise<void> {
  const { push, key, protocols } = options;
  return ask("PUT", options, {
    provider: push.provider,
    token: push.token,
    key: { id: key.id, key: encodeBase64Url(key.key) },
    protocols,
  });
}

/** Resolves when nobody pushes to this device any more, also where nobody did. Rejects as {@link registerPush} does. */
export function removePush(options: RemovePushOptions): Promise<void> {
  const { forget = false } = options;
  return ask("DELETE", options, { forget });
}

async function ask(method: "PUT" | "DELETE", asked: Asked, more: object): Promise<void> {
  if (!validDeviceId(asked.device)) throw new BeckonError("bad-argument", "device");
  const answer = await inTime(askByHttp(method, asked, more));
  if (answer.status !== 204) throw await refusalOf(answer);
}

interface Said {
  readonly error?: { readonly code?: unknown; readonly message?: unknown };
}

/** What a server of ours says is in the body; a proxy on the way says something else. */
async function refusalOf(answer: Answer): Promise<BeckonError> {
  const said = (await answer.json().catch(() => undefined)) as Said | undefined;
  const { code, message } = said?.error ?? {};
  return typeof code === "string" && Object.hasOwn(ERRORS, code)
    ? new BeckonError(code as ErrorCode, String(message))
    : new BeckonError("unreachable", `HTTP status ${answer.status}`);
}

function inTime(answer: Promise<Answer>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new BeckonError("unreachable")), ANSWER_MS);
    answer
      .finally(() => clearTimeout(timer))
      .then(resolve, (cause: unknown) =>
        reject(
          cause instanceof BeckonError ? cause : new BeckonError("unreachable", "", { cause }),
        ),
      );
  });
}
