import { createCipheriv } from "node:crypto";

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

/**
 * AES-256-GCM. At once: WebCrypto would hand each hint to another thread and back, which takes five times the CPU of the work, and on a busy
 * machine longer than all else that a wake waits for.
 */
export const sealWithNodeCrypto: Seal = (key, device, hint) => {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
  const cipher = createCipheriv("aes-256-gcm", key.key, nonce);
  cipher.setAAD(Buffer.from(device));
  const sealed = new Uint8Array(hint.length + TAG);
  // In this mode it is as long as what it is made of.
  sealed.set(cipher.update(hint));
  cipher.final();
  sealed.set(cipher.getAuthTag(), hint.length);
  return Promise.resolve({ key: key.id, nonce, sealed });
};
