import type { Wake, WakeKey } from "@beckon/protocol";

/**
 * Seals a hint for one device, so that a push service learns nothing from it and nobody else can forge one (B5). The device
 * id is the associated data: what was sealed for one device does not open on another. The simulation has one of its own.
 */
export type Seal = (key: WakeKey, device: string, hint: Uint8Array) => Promise<Wake>;

/** Bytes of a nonce; random, which is good for 2^32 wakes under one key. */
export const NONCE = 12;
/** Bytes that sealing adds. */
export const TAG = 16;

type Bytes = Uint8Array<ArrayBuffer>;

/** AES-256-GCM. */
export const sealWithWebCrypto: Seal = async (key, device, hint) => {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
  const algorithm = {
    name: "AES-GCM",
    iv: nonce,
    additionalData: new TextEncoder().encode(device),
  };
  const imported = await crypto.subtle.importKey("raw", key.key as Bytes, "AES-GCM", false, [
    "encrypt",
  ]);
  const sealed = await crypto.subtle.encrypt(algorithm, imported, hint as Bytes);
  return { key: key.id, nonce, sealed: new Uint8Array(sealed) };
};
