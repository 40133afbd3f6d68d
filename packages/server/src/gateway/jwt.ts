/**
 * Checks tokens (JWT) with the keys that the server was configured with. The kind of key decides the algorithms, never the
 * token: a public key is not a secret for HS256, and "none" is not an algorithm.
 */
import { validDeviceId, validUserId } from "@beckon/protocol";
import { createSecretKey } from "node:crypto";
import {
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
  type JWTVerifyOptions,
  type JWTVerifyResult,
} from "jose";

import type { Clock } from "../lib/clock.ts";
import { type Authenticate, BadToken, type Identity } from "./identity.ts";
import { ASYMMETRIC, type JwksOptions, remoteKeys, type TokenKeys } from "./token-keys.ts";

export interface TokenOptions {
  readonly keys: TokenKeys;
  /** If there, the token's `iss` must be it. */
  readonly issuer?: string;
  /** If there, the token's `aud` must have it. */
  readonly audience?: string;
  /** The claim that binds a token to one device. */
  readonly deviceClaim: string;
  /** The claim that lists the users whom the token's user may write to. */
  readonly toClaim: string;
  /** By how much clocks may differ, ms. */
  readonly tolerance: number;
  readonly jwks?: JwksOptions;
}

/** Characters; longer ones are refused unread. */
const LONGEST_TOKEN = 8192;

/** Rejects with {@link BadToken} or {@link KeysUnavailable}. */
export function createAuthenticate(options: TokenOptions, clock: Clock): Authenticate {
  const verify = createVerify(options, clock);
  const rules: JWTVerifyOptions = {
    clockTolerance: options.tolerance / 1000,
    requiredClaims: ["sub", "exp"],
    ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
    ...(options.audience === undefined ? {} : { audience: options.audience }),
  };
  return async (token) => {
    if (token.length > LONGEST_TOKEN) throw new BadToken("bad-token", "the token is too long");
    try {
      const { payload } = await verify(token, { ...rules, currentDate: new Date(clock.now()) });
      return readIdentity(payload, options);
    } catch (error) {
      throw refusal(error);
    }
  };
}

type Verify = (token: string, rules: JWTVerifyOptions) => Promise<JWTVerifyResult>;

function createVerify({ keys, jwks }: TokenOptions, clock: Clock): Verify {
  if (keys.kind === "jwks") {
    const keyOf = remoteKeys(keys.url, clock, jwks);
    return (token, rules) => verifyWithAny(token, keyOf, { ...rules, algorithms: ASYMMETRIC });
  }
  const key = keys.kind === "secret" ? createSecretKey(keys.secret) : keys.key.key;
  const algorithms = keys.kind === "secret" ? ["HS256"] : [...keys.key.algorithms];
  return (token, rules) => jwtVerify(token, key, { ...rules, algorithms });
}

/** A token that does not say which key signed it is tried against each that could have. */
async function verifyWithAny(
  token: string,
  keyOf: JWTVerifyGetKey,
  rules: JWTVerifyOptions,
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, keyOf, rules);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      try {
        return await jwtVerify(token, key, rules);
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** The greatest time that a Date can say, ms. */
const END_OF_TIME = 8.64e15;

function readIdentity(payload: JWTPayload, options: TokenOptions): Identity {
  const { sub, exp } = payload;
  if (sub === undefined || !validUserId(sub)) {
    throw new BadToken("bad-token", '"sub" is not a user id');
  }
  const device = payload[options.deviceClaim];
  if (device !== undefined && (typeof device !== "string" || !validDeviceId(device))) {
    throw new BadToken("bad-token", `"${options.deviceClaim}" is not a device id`);
  }
  const mayWriteTo = payload[options.toClaim];
  if (mayWriteTo !== undefined && !isUserList(mayWriteTo)) {
    throw new BadToken("bad-token", `"${options.toClaim}" is not a list of user ids`);
  }
  // The tolerance is part of it, so that a token that was taken is not over in the same moment.
  const expires = Math.min((exp ?? 0) * 1000 + options.tolerance, END_OF_TIME);
  return { user: sub, device, expires, mayWriteTo };
}

function isUserList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((id) => typeof id === "string" && validUserId(id));
}

/** Says in our own words what is wrong; never what the token says. */
function refusal(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) {
    return new BadToken("token-expired", "the token is past its expiry");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const what = error.reason === "missing" ? "is missing" : "is not what this server wants";
    return new BadToken("bad-token", `the claim "${error.claim}" ${what}`);
  }
  const what = REFUSALS.find(([kind]) => error instanceof kind)?.[1];
  return what === undefined ? error : new BadToken("bad-token", what);
}

const REFUSALS: readonly (readonly [abstract new (...args: never) => Error, string])[] = [
  [errors.JWSSignatureVerificationFailed, "the signature does not verify"],
  [errors.JWKSNoMatchingKey, "no key of the key set fits the token"],
  [errors.JOSEAlgNotAllowed, "the algorithm is not one of the configured key"],
  [errors.JOSENotSupported, "the token asks for what is not supported"],
  [errors.JWSInvalid, "it is not a signed token"],
  [errors.JWTInvalid, "it is not a token"],
];
