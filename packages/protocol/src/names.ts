import { readByHand, readUtf8 } from "./utf8.ts";

const SLOTS = 4096;
/** What is longer than this is not kept. */
const NAME_BYTES = 64;
const names: (string | undefined)[] = Array.from({ length: SLOTS }, () => undefined);

/**
 * Reads a name: a text that comes again and again, as users' and devices' ids do. The last one of
 * each slot is kept, so that it need not be made again, nor hashed again by the map that it is
 * looked up in.
 */
export function readName(bytes: Uint8Array, start: number, end: number): string | undefined {
  const length = end - start;
  if (length > NAME_BYTES) return readUtf8(bytes, start, end);
  let hash = length;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    // Only of ASCII are there as many units as bytes.
    if (byte >= 0x80) return readUtf8(bytes, start, end);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  const slot = (hash ^ (hash >>> 12)) & (SLOTS - 1);
  const kept = names[slot];
  if (kept !== undefined && isAscii(kept, bytes, start, length)) return kept;
  const text = readByHand(bytes, start, end);
  names[slot] = text;
  return text;
}

function isAscii(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}
