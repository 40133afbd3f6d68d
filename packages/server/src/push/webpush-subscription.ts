/** A device's registration for Web Push: its subscription, as `JSON.stringify(subscription)` writes it. */
import { ECDH } from "node:crypto";
import { isIP } from "node:net";

import { decodeBase64Url } from "@beckon/protocol";
import * as z from "zod";

import { bareHost, isPublic } from "./public-address.ts";
import type { Recipient } from "./webpush-encrypt.ts";

export interface Subscription extends Recipient {
  readonly endpoint: URL;
}

/** What is wrong with a subscription, in our own words: nothing of what was given is in it. */
export class BadSubscription extends Error {
  override readonly name = "BadSubscription";
}

const LONGEST_TOKEN = 4096;
const LONGEST_ENDPOINT = 2048;
const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/;

const shape = z.object({
  endpoint: z.string(),
  keys: z.object({ p256dh: z.string(), auth: z.string() }),
});

/**
 * `isAllowed`: addresses that the operator has opened, beside the public ones. Where a name leads is seen when it is resolved.
 * @throws {BadSubscription}
 */
export function readSubscription(
  token: string,
  isAllowed: (address: string) => boolean,
): Subscription {
  if (token.length > LONGEST_TOKEN) {
    throw new BadSubscription(`it has more than ${LONGEST_TOKEN} characters`);
  }
  const { success, data } = shape.safeParse(parseJson(token));
  if (!success) {
    throw new BadSubscription(
      "it must be JSON with endpoint, keys.p256dh and keys.auth, as JSON.stringify(subscription) makes it",
    );
  }
  const p256dh = decodeBase64Url(data.keys.p256dh.replace(/=+$/, ""));
  if (p256dh?.length !== 65 || !isOnCurve(p256dh)) {
    throw new BadSubscription("keys.p256dh must be a public key of P-256: 65 bytes in base64url");
  }
  const auth = decodeBase64Url(data.keys.auth.replace(/=+$/, ""));
  if (auth?.length !== 16) throw new BadSubscription("keys.auth must be 16 bytes in base64url");
  return { endpoint: readEndpoint(data.endpoint, isAllowed), p256dh, auth };
}

function readEndpoint(text: string, isAllowed: (address: string) => boolean): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || text.length > LONGEST_ENDPOINT) {
    throw new BadSubscription(`endpoint must be a URL of at most ${LONGEST_ENDPOINT} characters`);
  }
  const host = bareHost(url);
  const isHere = url.protocol === "http:" && LOOPBACK.test(host);
  if (url.protocol !== "https:" && !isHere) {
    throw new BadSubscription("endpoint must be https:// (http:// only to this machine)");
  }
  if (url.username !== "" || url.password !== "" || url.hash !== "") {
    throw new BadSubscription("endpoint must have neither user, password nor fragment");
  }
  if (isIP(host) !== 0 && !isPublic(host) && !isAllowed(host)) {
    throw new BadSubscription("endpoint leads to an address that push.webpush.allow does not list");
  }
  return url;
}

function isOnCurve(point: Uint8Array): boolean {
  try {
    ECDH.convertKey(point, "prime256v1");
    return true;
  } catch {
    return false;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
