import type { Millis } from "./frames.ts";

/** [P-5.2] A new UUIDv7 (RFC 9562). Two of one millisecond are in no order. */
export function uuidv7(
  now: Millis,
  random: (bytes: Uint8Array<ArrayBuffer>) => void,
): Uint8Array<ArrayBuffer> {
  const id = new Uint8Array(16);
  random(id);
  const high = Math.floor(now / 0x1_0000);
  id[0] = high >>> 24;
  id[1] = high >>> 16;
  id[2] = high >>> 8;
  id[3] = high;
  id[4] = now >>> 8;
  id[5] = now;
  id[6] = 0x70 | (id[6]! & 0x0f);
  id[8] = 0x80 | (id[8]! & 0x3f);
  return id;
}

export function isUuidv7(id: Uint8Array): boolean {
  return id.length === 16 && id[6]! >> 4 === 7 && id[8]! >> 6 === 2;
}

/** The time in a UUIDv7, ms since 1970. */
export function uuidTime(id: Uint8Array): Millis {
  const high = id[0]! * 0x100_0000 + ((id[1]! << 16) | (id[2]! << 8) | id[3]!);
  return high * 0x1_0000 + ((id[4]! << 8) | id[5]!);
}

/** 8-4-4-4-12 hexadecimal digits, lower case. */
export function formatUuid(id: Uint8Array): string {
  let text = "";
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
    text += HEX[id[i]!]!;
  }
  return text;
}

/** Reads what {@link formatUuid} writes, in either case; undefined for anything else. */
export function parseUuid(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!UUID.test(text)) return undefined;
  const id = new Uint8Array(16);
  const digits = text.replaceAll("-", "");
  for (let i = 0; i < 16; i++) id[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return id;
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, "0"),
);
const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;
