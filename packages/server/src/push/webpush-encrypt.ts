/** The body of a Web Push message (RFC 8291): one record of aes128gcm (RFC 8188) that the subscription's owner alone can open. */
import { createCipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";

/** Bytes of a body: more a push service need not take (RFC 8291, 4). */
const BODY = 4096;
const SALT = 16;
/** An uncompressed point of P-256. */
const POINT = 65;
/** Salt, record size, length of the key's id, and the sender's public key as that id. */
const HEADER = SALT + 4 + 1 + POINT;
const TAG = 16;
/** Says that a record is the last, and where the padding begins. */
const LAST = 2;

/** Bytes of text that fit. */
export const LONGEST_TEXT: number = BODY - HEADER - TAG - 1;
/** Bodies have a multiple of so many bytes, so that their size tells whether there is a preview, at most. */
const STEP = 1024;

/** Whom a message is encrypted for: what a subscription says. */
export interface Recipient {
  /** The user agent's public key, 65 bytes. */
  readonly p256dh: Uint8Array;
  /** 16 bytes. */
  readonly auth: Uint8Array;
}

/** What is fresh for each message; given in tests alone. */
export interface Fresh {
  readonly salt: Uint8Array;
  readonly privateKey: Uint8Array;
  /** Bytes of padding. */
  readonly padding: number;
}

/**
 * At most {@link LONGEST_TEXT} bytes.
 * @throws {RangeError} where the text is longer, or `p256dh` is not on the curve.
 */
export function encryptPush(text: Uint8Array, { p256dh, auth }: Recipient, fresh?: Fresh): Buffer {
  if (text.length > LONGEST_TEXT) throw new RangeError(`more than ${LONGEST_TEXT} bytes`);
  const sender = createECDH("prime256v1");
  if (fresh === undefined) sender.generateKeys();
  else sender.setPrivateKey(fresh.privateKey);
  const from = sender.getPublicKey();
  const salt = fresh?.salt ?? randomBytes(SALT);

  const info = concat("WebPush: info\0", p256dh, from);
  const secret = derive(sender.computeSecret(p256dh), auth, info, 32);
  const key = derive(secret, salt, concat("Content-Encoding: aes128gcm\0"), 16);
  const nonce = derive(secret, salt, concat("Content-Encoding: nonce\0"), 12);

  const padding = Buffer.alloc(fresh?.padding ?? paddingOf(text.length));
  const cipher = createCipheriv("aes-128-gcm", key, nonce);
  const record = cipher.update(concat(text, Uint8Array.of(LAST), padding));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(BODY);
  return concat(
    salt,
    size,
    Uint8Array.of(from.length),
    from,
    record,
    cipher.final(),
    cipher.getAuthTag(),
  );
}

function paddingOf(text: number): number {
  const bare = HEADER + text + 1 + TAG;
  return Math.ceil(bare / STEP) * STEP - bare;
}

function derive(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, bytes: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, info, bytes));
}

function concat(...parts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)));
}
