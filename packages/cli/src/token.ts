import { createHmac } from "node:crypto";

import { DEV_SECRET } from "@beckon/server";

export interface TokenClaims {
  readonly user: string;
  /** The token is good for this device alone. */
  readonly device?: string;
  /** Users to whom it allows to write, where the server asks the token (`auth.send = "claim"`). */
  readonly to?: readonly string[];
  /** Unix seconds. */
  readonly expires: number;
}

/** The names of claims, as the server reads them. */
export interface ClaimNames {
  readonly device: string;
  readonly to: string;
  readonly issuer?: string;
  readonly audience?: string;
}

/** A JSON Web Token (RFC 7519), signed with HMAC-SHA-256. */
export function mintToken(claims: TokenClaims, secret: Uint8Array, names: ClaimNames): string {
  const payload = {
    sub: claims.user,
    exp: claims.expires,
    ...(claims.device === undefined ? {} : { [names.device]: claims.device }),
    ...(claims.to === undefined ? {} : { [names.to]: claims.to }),
    ...(names.issuer === undefined ? {} : { iss: names.issuer }),
    ...(names.audience === undefined ? {} : { aud: names.audience }),
  };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(payload)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

const DEV_TOKEN_SECONDS = 24 * 3600;

/** A token that development systems take, for a day. */
export function mintDevToken(user: string): string {
  const expires = Math.floor(Date.now() / 1000) + DEV_TOKEN_SECONDS;
  const secret = new TextEncoder().encode(DEV_SECRET);
  return mintToken({ user, expires }, secret, { device: "device", to: "to" });
}
