/** A seal that needs no cryptography and waits for nothing: it opens for the same key and device alone. */
import { decodeHint, type Hint, type Wake } from "@beckon/protocol";

import type { SealCrypto } from "../../packages/client/src/options.ts";
import { NONCE, type Seal, TAG } from "../../packages/server/src/push/seal.ts";

const encoder = new TextEncoder();

export const seal: Seal = (key, device, hint) => {
  const tag = tagOf(key.key, encoder.encode(device), hint);
  const sealed = new Uint8Array(hint.length + TAG);
  sealed.set(hint);
  sealed.set(tag, hint.length);
  return Promise.resolve({ key: key.id, nonce: new Uint8Array(NONCE), sealed });
};

export const opener: SealCrypto = {
  open(key, _nonce, sealed, associatedData) {
    const hint = sealed.slice(0, -TAG);
    const tag = tagOf(key, associatedData, hint);
    const isOurs = tag.every((byte, index) => byte === sealed[hint.length + index]);
    return isOurs ? Promise.resolve(hint) : Promise.reject(new Error("sealed with something else"));
  },
};

export function hintOf({ sealed }: Wake): Hint {
  return decodeHint(sealed.slice(0, -TAG));
}

/** FNV-1a over everything, repeated. */
function tagOf(...parts: readonly Uint8Array[]): Uint8Array {
  let hash = 0x811c9dc5;
  for (const part of parts) for (const byte of part) hash = Math.imul(hash ^ byte, 0x01000193);
  const tag = new Uint8Array(TAG);
  new DataView(tag.buffer).setUint32(0, hash);
  return tag;
}
