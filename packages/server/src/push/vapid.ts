/** How a push service knows this system: VAPID (RFC 8292). */
import { createECDH } from "node:crypto";

import { decodeBase64Url, encodeBase64Url, type Millis } from "@beckon/protocol";
import { importJWK, SignJWT } from "jose";
import * as z from "zod";

/** P-256. A secret. */
export interface VapidKey {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** 65 bytes in base64url: the `applicationServerKey` of a page that subscribes. */
  readonly publicKey: string;
}

/** A push service refuses more than 24 h. */
const GOOD_FOR: Millis = 12 * 3_600_000;
/** Not used in the last hour: clocks differ. */
const SPARE: Millis = 3_600_000;

const text = z.string();
const jwk = z.object({ kty: z.literal("EC"), crv: z.literal("P-256"), d: text, x: text, y: text });
/** As `web-push generate-vapid-keys --json` writes it. */
const pair = z.object({ publicKey: text, privateKey: text });

/**
 * A private JWK, or the JSON of `web-push generate-vapid-keys --json`.
 * @throws {Error} that says what it should be, and nothing of the text.
 */
export function readVapidKey(file: string): VapidKey {
  const said = parse(file);
  const asJwk = jwk.safeParse(said).data;
  const asPair = pair.safeParse(said).data;
  const key = vapidKey(decodeBase64Url(asJwk?.d ?? asPair?.privateKey ?? ""));
  if (key === undefined) {
    throw new Error("must be a private key of P-256, as JWK: beckon vapid makes one");
  }
  const isOwn = asJwk === undefined ? asPair?.publicKey === key.publicKey : isPoint(key, asJwk);
  if (!isOwn) throw new Error("its public and its private key do not belong together");
  return key;
}

/** Undefined: it is no private key of P-256. */
function vapidKey(privateKey: Uint8Array | undefined): VapidKey | undefined {
  if (privateKey?.length !== 32) return undefined;
  const ecdh = createECDH("prime256v1");
  try {
    ecdh.setPrivateKey(privateKey);
  } catch {
    return undefined;
  }
  return { privateKey, publicKey: ecdh.getPublicKey("base64url") };
}

export function generateVapidKey(): VapidKey {
  const ecdh = createECDH("prime256v1");
  ecdh.generateKeys();
  // A number that begins with zeros is written shorter.
  const privateKey = new Uint8Array(32);
  const bare = ecdh.getPrivateKey();
  privateKey.set(bare, 32 - bare.length);
  return { privateKey, publicKey: ecdh.getPublicKey("base64url") };
}

/** The key as a private JWK. */
export function vapidJwk({ privateKey, publicKey }: VapidKey): {
  kty: "EC";
  crv: "P-256";
  x: string;
  y: string;
  d: string;
} {
  const point = decodeBase64Url(publicKey)!;
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) => encodeBase64Url(half));
  return { kty: "EC", crv: "P-256", x: x!, y: y!, d: encodeBase64Url(privateKey) };
}

/** The `Authorization` for one push service, which is signed anew before it expires. */
export class VapidHeader {
  readonly #key: VapidKey;
  readonly #audience: string;
  readonly #subject: string;
  #signed: { readonly header: Promise<string>; readonly until: Millis } | undefined;

  /** `audience`: the origin of the endpoints. `subject`: whom its operators can turn to, `mailto:` or `https:`. */
  constructor(key: VapidKey, audience: string, subject: string) {
    this.#key = key;
    this.#audience = audience;
    this.#subject = subject;
  }

  /** `now`: ms since 1970. */
  get(now: Millis): Promise<string> {
    if (this.#signed === undefined || this.#signed.until <= now) {
      this.#signed = { header: this.#sign(now + GOOD_FOR), until: now + GOOD_FOR - SPARE };
    }
    return this.#signed.header;
  }

  /** It was refused: the next one is another. */
  forget(): void {
    this.#signed = undefined;
  }

  async #sign(expires: Millis): Promise<string> {
    const token = await new SignJWT({})
      .setProtectedHeader({ typ: "JWT", alg: "ES256" })
      .setAudience(this.#audience)
      .setSubject(this.#subject)
      .setExpirationTime(Math.floor(expires / 1000))
      .sign(await importJWK(vapidJwk(this.#key), "ES256"));
    return `vapid t=${token}, k=${this.#key.publicKey}`;
  }
}

function isPoint(key: VapidKey, { x, y }: { readonly x: string; readonly y: string }): boolean {
  const own = vapidJwk(key);
  return own.x === x && own.y === y;
}

function parse(file: string): unknown {
  try {
    return JSON.parse(file);
  } catch {
    return undefined;
  }
}
