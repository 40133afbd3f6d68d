import { varint } from "./arbitraries.ts";

export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A frame's bytes with their length in front. */
export function framed(frame: Uint8Array): Uint8Array {
  return concat(varint(BigInt(frame.length)), frame);
}

/** A frame of one field: its number in `Frame` and the bytes of the message in it. */
export function frameOf(kind: number, body: Uint8Array): Uint8Array {
  return concat(varint(BigInt(kind) * 8n + 2n), varint(BigInt(body.length)), body);
}

/** The only field of a well-formed frame: its number, and the bytes of the message in it. */
export function takeApart(frame: Uint8Array): { kind: number; body: Uint8Array } {
  const head: number[] = [];
  let pos = 0;
  for (const _ of ["tag", "length"]) {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = frame[pos++]!;
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) break;
    }
    head.push(value);
  }
  return { kind: Math.floor(head[0]! / 8), body: frame.subarray(pos) };
}

export function fromHex(hex: string): Uint8Array {
  if (!/^([\da-f]{2})*$/.test(hex)) throw new Error(`not hexadecimal: ${hex}`);
  return Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
