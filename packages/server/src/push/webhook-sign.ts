/** Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and body. */
import { createHmac } from "node:crypto";

import type { Millis } from "@beckon/protocol";

/** Bytes of a secret. */
const LEAST = 24;
const MOST = 64;
/** One, and while it is being replaced another. */
const SECRETS = 2;

/**
 * One secret a line.
 * @throws {Error} that says what it should be, and nothing of the text.
 */
export function readWebhookSecrets(text: string): readonly Uint8Array[] {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const secrets = words.map(readSecret).filter((secret) => secret !== undefined);
  if (words.length >= 1 && words.length <= SECRETS && secrets.length === words.length) {
    return secrets;
  }
  throw new Error(
    `must be whsec_ and ${LEAST} to ${MOST} random bytes in base64: one, or two lines while one replaces the other`,
  );
}

function readSecret(word: string): Uint8Array | undefined {
  const [, base64 = ""] = /^whsec_([A-Za-z\d+/]+={0,2})$/.exec(word) ?? [];
  const secret = Buffer.from(base64, "base64");
  return secret.length >= LEAST && secret.length <= MOST ? secret : undefined;
}

export interface SignedHeaders {
  readonly "webhook-id": string;
  readonly "webhook-timestamp": string;
  /** One for each secret. */
  readonly "webhook-signature": string;
}

/** `id` has no dot in it. `now`: ms since 1970. */
export function signWebhook(
  id: string,
  now: Millis,
  body: string,
  secrets: readonly Uint8Array[],
): SignedHeaders {
  const timestamp = String(Math.floor(now / 1_000));
  const signatures = secrets.map((secret) => {
    const mac = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`);
    return `v1,${mac.digest("base64")}`;
  });
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
  };
}
