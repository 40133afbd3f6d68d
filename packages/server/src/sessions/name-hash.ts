/** From 0 to 2^31 - 2. */
export type NameHash = (name: string) => number;

/**
 * HalfSipHash-1-3 over the units of a string, two at a time. Whoever does not know the key cannot choose names that collide. Nothing that
 * a caller sees hangs on the key: it decides where in memory an entry is found, not in what order entries are told.
 */
export function createNameHash(
  key: Uint32Array = crypto.getRandomValues(new Uint32Array(2)),
): NameHash {
  const k0 = key[0]! | 0;
  const k1 = key[1]! | 0;
  return (name) => {
    const { length } = name;
    let v0 = k0;
    let v1 = k1;
    let v2 = k0 ^ 0x6c79_6765;
    let v3 = k1 ^ 0x7465_6462;
    const even = length & ~1;
    const last = (length << 16) | (even < length ? name.charCodeAt(even) : 0);
    // The words of the name, the last one, and three rounds of nothing.
    for (let i = 0; i <= even + 6; i += 2) {
      const isInput = i <= even;
      const word =
        i < even ? name.charCodeAt(i) | (name.charCodeAt(i + 1) << 16) : isInput ? last : 0;
      v3 ^= word;
      if (i === even + 2) v2 ^= 0xff;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    const hash = (v1 ^ v3) >>> 1;
    return hash === 0x7fff_ffff ? 0 : hash;
  };
}
