/** Fills the bytes. */
export type Random = (bytes: Uint8Array) => void;

/** WebCrypto's; undefined where there is none (React Native without a polyfill). */
export function secureRandom(): Random | undefined {
  const { crypto } = globalThis as { readonly crypto?: Crypto };
  if (crypto?.getRandomValues === undefined) return undefined;
  return (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
}

/** Good enough for ids and for jitter, not for keys. */
export const weakRandom: Random = (bytes) => {
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(Math.random() * 256);
};

export function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  random(bytes);
  return bytes;
}

/** An integer from 1 to 2^48. */
export function randomInteger(random: Random): number {
  return randomBytes(random, 6).reduce((value, byte) => value * 256 + byte, 0) + 1;
}

/** From 0 up to, not including, 1. */
export function randomFraction(random: Random): number {
  return (randomInteger(random) - 1) / 2 ** 48;
}
