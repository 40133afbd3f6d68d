/** How APNs knows this system: a token that is signed with a key of the team's. */
import { createPrivateKey } from "node:crypto";

import type { Millis } from "@beckon/protocol";
import { importJWK, type JWK, SignJWT } from "jose";

/** P-256. A secret. */
export interface ApnsKey {
  readonly jwk: JWK;
  /** By which Apple knows it. */
  readonly keyId: string;
  readonly teamId: string;
}

/** Apple takes a token for an hour; clocks differ. */
const RENEWED_AFTER: Millis = 40 * 60_000;
/** Apple refuses to be told another one sooner than after 20 min. */
const LEAST: Millis = 20 * 60_000;

/**
 * The text of a `.p8` file, as Apple gives it out.
 * @throws {Error} that says what it should be, and nothing of the text.
 */
export function readApnsKey(file: string): JWK {
  try {
    const jwk = createPrivateKey(file).export({ format: "jwk" }) as JWK;
    if (jwk.kty === "EC" && jwk.crv === "P-256") return jwk;
  } catch {
    // It is none at all.
  }
  throw new Error("must be a private key of P-256 in PEM: the .p8 file that Apple made for APNs");
}

/** The `authorization` of each request. */
export class ProviderToken {
  readonly #key: ApnsKey;
  #signed: { readonly header: Promise<string>; readonly at: Millis } | undefined;

  constructor(key: ApnsKey) {
    this.#key = key;
  }

  /** `now`: ms since 1970. */
  get(now: Millis): Promise<string> {
    const age = now - (this.#signed?.at ?? 0);
    // A clock that was put back has made it one of the future.
    if (this.#signed === undefined || age >= RENEWED_AFTER || age < 0) this.#renew(now);
    return this.#signed!.header;
  }

  /** It was refused: whether there is another by now. One younger than {@link LEAST} is kept, as Apple would take no other. */
  async refused(header: string, now: Millis): Promise<boolean> {
    if ((await this.#signed?.header) !== header) return true;
    if (now - this.#signed!.at < LEAST) return false;
    this.#renew(now);
    return true;
  }

  #renew(now: Millis): void {
    this.#signed = { header: this.#sign(now), at: now };
  }

  async #sign(now: Millis): Promise<string> {
    const { jwk, keyId, teamId } = this.#key;
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: "ES256", kid: keyId })
      .setIssuer(teamId)
      .setIssuedAt(Math.floor(now / 1000))
      .sign(await importJWK(jwk, "ES256"));
    return `bearer ${token}`;
  }
}
