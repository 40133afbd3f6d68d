import type { HoldRequest } from "./store.ts";

/** Names a lane. Databases keep it, so it must not change. */
export function laneOf({ key, outbox, to }: Pick<HoldRequest, "key" | "outbox" | "to">): number {
  return hash(`${key.from}\0${key.fromDevice}\0${outbox}\0${to}`);
}

/** 53 bits: cyrb53. */
function hash(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}
