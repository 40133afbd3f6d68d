/** What tokens are checked with. */
import type { KeyObject } from "node:crypto";

import { createPrivateKey, createPublicKey } from "node:crypto";
import {
  createRemoteJWKSet,
  errors,
  type ExportedJWKSCache,
  jwksCache,
  type JWTVerifyGetKey,
} from "jose";

import type { Clock } from "../lib/clock.ts";

export type TokenKeys =
  /** HS256; at least 32 bytes. */
  | { readonly kind: "secret"; readonly secret: Uint8Array }
  | { readonly kind: "public-key"; readonly key: PublicKey }
  | { readonly kind: "jwks"; readonly url: URL };

export interface PublicKey {
  readonly key: KeyObject;
  /** Those of this kind of key, and no others. */
  readonly algorithms: readonly string[];
}

const RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const CURVES: Readonly<Record<string, string>> = {
  prime256v1: "ES256",
  secp384r1: "ES384",
  secp521r1: "ES512",
};
const ED25519 = ["EdDSA", "Ed25519"];

/** Of a key set: every algorithm with a public key. Each key of the set then allows those of its own kind alone. */
export const ASYMMETRIC: string[] = [...RSA, ...Object.values(CURVES), ...ED25519];

/**
 * Reads a public key: PEM (public key or certificate), or a JWK.
 * @throws {TypeError} that says what is wrong with the key, never what it is.
 */
export function readPublicKey(text: string): PublicKey {
  const key = parsePublicKey(text);
  const algorithms = algorithmsOf(key);
  if (algorithms.length === 0) {
    throw new TypeError("the key is neither RSA, nor EC on P-256, P-384 or P-521, nor Ed25519");
  }
  if ((key.asymmetricKeyDetails?.modulusLength ?? 2048) < 2048) {
    throw new TypeError("an RSA key needs 2048 bits or more");
  }
  return { key, algorithms };
}

function parsePublicKey(text: string): KeyObject {
  if (text.includes("PRIVATE KEY") || isPrivateJwk(text)) {
    throw new TypeError("it is a private key, which has no place here; give its public half");
  }
  try {
    return text.trimStart().startsWith("{")
      ? createPublicKey({ key: JSON.parse(text), format: "jwk" })
      : createPublicKey(text);
  } catch {
    throw new TypeError("it is not a public key in PEM, nor a JWK");
  }
}

function isPrivateJwk(text: string): boolean {
  try {
    createPrivateKey({ key: JSON.parse(text), format: "jwk" });
    return true;
  } catch {
    return false;
  }
}

function algorithmsOf(key: KeyObject): readonly string[] {
  if (key.asymmetricKeyType === "rsa") return RSA;
  if (key.asymmetricKeyType === "ed25519") return ED25519;
  const algorithm = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  return algorithm === undefined ? [] : [algorithm];
}

export interface JwksOptions {
  /** For one fetch, ms. */
  readonly timeout: number;
  /** From a fetch until a key id that nobody knows may cause the next, ms. */
  readonly cooldown: number;
  /** Age at which the keys are fetched anew, while those that are there serve, ms. */
  readonly refreshAfter: number;
  /** Age up to which they serve when the URL does not answer, ms: a withdrawn key is good for no longer. */
  readonly maxAge: number;
}

const JWKS_DEFAULTS: JwksOptions = {
  timeout: 3000,
  cooldown: 30_000,
  refreshAfter: 10 * 60_000,
  maxAge: 60 * 60_000,
};

/** The keys could not be fetched, so that nobody can tell whether a token is good: the connection's error is `unavailable`. */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable";
  readonly code = "unavailable";
}

/** The keys of a set at a URL, refreshed without making anybody wait. Rejects with {@link KeysUnavailable}, or jose's errors about the token. */
export function remoteKeys(
  url: URL,
  clock: Clock,
  options: JwksOptions = JWKS_DEFAULTS,
): JWTVerifyGetKey {
  const cache: Partial<ExportedJWKSCache> = {};
  let triedAt = 0;
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: options.timeout,
    cooldownDuration: options.cooldown,
    cacheMaxAge: options.maxAge,
    [jwksCache]: cache as ExportedJWKSCache | Record<string, never>,
  });
  return async (header, token) => {
    const now = clock.now();
    const isOld = cache.uat !== undefined && now - cache.uat >= options.refreshAfter;
    if (isOld && now - triedAt >= options.cooldown) {
      triedAt = now;
      // If it fails, the keys that are there serve up to their greatest age; then `remote` fails itself.
      remote.reload().catch(() => undefined);
    }
    try {
      return await remote(header, token);
    } catch (error) {
      if (ABOUT_THE_TOKEN.some((kind) => error instanceof kind)) throw error;
      throw new KeysUnavailable("the key set could not be fetched", { cause: error });
    }
  };
}

const ABOUT_THE_TOKEN = [
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
  errors.JOSENotSupported,
];
