/** Wakes as a server seals them, with a seal that needs no waiting. */
import {
  encodeBase64Url,
  encodeHint,
  encodeWake,
  type Hint,
  type ServerAddresses,
  type WakeKey,
} from "@beckon/protocol";

import type { SealCrypto } from "../options.ts";

/** Sealing that can be seen through, but not without the key, the nonce and the device. */
function sealOf(
  key: Uint8Array,
  nonce: Uint8Array,
  text: Uint8Array,
  device: Uint8Array,
): Uint8Array {
  const head = [...key, 0, ...nonce, 0, ...device, 0];
  return Uint8Array.from([...head, ...text]);
}

export const plainCrypto: SealCrypto = {
  open(key, nonce, sealed, device) {
    const head = sealOf(key, nonce, new Uint8Array(0), device);
    if (!head.every((byte, i) => sealed[i] === byte)) return Promise.reject(new Error("forged"));
    return Promise.resolve(sealed.slice(head.length));
  },
};

export function hintOf(server: ServerAddresses, expires: number, fields: Partial<Hint> = {}): Hint {
  return {
    server,
    conversation: "bob",
    activity: 1,
    wake: "message",
    expires,
    preview: "",
    call: new Uint8Array(),
    ended: false,
    ...fields,
  };
}

let nonces = 0;

/** What a push carries. */
export function push({ id, key }: WakeKey, hint: Hint, device = "phone"): string {
  const nonce = new Uint8Array(12).fill(++nonces);
  const sealed = sealOf(key, nonce, encodeHint(hint), new TextEncoder().encode(device));
  return JSON.stringify({ beckon: encodeBase64Url(encodeWake({ key: id, nonce, sealed })) });
}
