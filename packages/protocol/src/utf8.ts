/**
 * UTF-8 by hand: the strings of the protocol are short, where this is faster than TextEncoder, and
 * not every engine that the SDK runs on has TextDecoder.
 */

/** Bytes of `text` in UTF-8. Half a surrogate pair counts as U+FFFD, which is what is written for it. */
export function utf8Length(text: string): number {
  const units = text.length;
  let bytes = units;
  for (let i = 0; i < units; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    // A pair is two units and four bytes: the second unit has been counted as one already.
    if (isHigh(unit) && isLow(text.charCodeAt(i + 1))) i++;
  }
  return bytes;
}

/** Writes `text` at `pos`, where there is room for it, and returns the position after it. */
export function writeUtf8(into: Uint8Array, pos: number, text: string): number {
  const units = text.length;
  for (let i = 0; i < units; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return writeWide(into, pos, text, i);
    into[pos++] = unit;
  }
  return pos;
}

function writeWide(into: Uint8Array, start: number, text: string, from: number): number {
  let pos = start;
  for (let i = from; i < text.length; i++) {
    let point = text.charCodeAt(i);
    if (point < 0x80) {
      into[pos++] = point;
      continue;
    }
    if (point < 0x800) {
      into[pos++] = 0xc0 | (point >> 6);
      into[pos++] = 0x80 | (point & 0x3f);
      continue;
    }
    if ((point & 0xf800) === 0xd800) {
      const low = text.charCodeAt(i + 1);
      if (isHigh(point) && isLow(low)) {
        i++;
        point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
        into[pos++] = 0xf0 | (point >> 18);
        into[pos++] = 0x80 | ((point >> 12) & 0x3f);
        into[pos++] = 0x80 | ((point >> 6) & 0x3f);
        into[pos++] = 0x80 | (point & 0x3f);
        continue;
      }
      point = 0xfffd;
    }
    into[pos++] = 0xe0 | (point >> 12);
    into[pos++] = 0x80 | ((point >> 6) & 0x3f);
    into[pos++] = 0x80 | (point & 0x3f);
  }
  return pos;
}

/** From this many bytes on TextDecoder is the faster one, where there is one. */
const LONG = 24;

declare const TextDecoder:
  | (new (
      label: string,
      options: { readonly fatal: boolean; readonly ignoreBOM: boolean },
    ) => { decode(bytes: Uint8Array): string })
  | undefined;

const decoder =
  typeof TextDecoder === "undefined"
    ? undefined
    : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads `bytes[start, end)`; undefined when it is not UTF-8 (RFC 3629: no overlong forms, no surrogates). */
export function readUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (decoder === undefined || end - start < LONG) return readByHand(bytes, start, end);
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

/** What an engine without TextDecoder runs, and what is faster for short texts. */
export function readByHand(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return readWide(bytes, i, end, text);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readWide(
  bytes: Uint8Array,
  from: number,
  end: number,
  before: string,
): string | undefined {
  let text = before;
  let pos = from;
  while (pos < end) {
    const byte = bytes[pos]!;
    let point: number;
    let length: number;
    let least: number;
    if (byte < 0x80) {
      text += String.fromCharCode(byte);
      pos++;
      continue;
    } else if (byte >= 0xc2 && byte < 0xe0) {
      point = byte & 0x1f;
      length = 2;
      least = 0x80;
    } else if (byte >= 0xe0 && byte < 0xf0) {
      point = byte & 0x0f;
      length = 3;
      least = 0x800;
    } else if (byte >= 0xf0 && byte < 0xf5) {
      point = byte & 0x07;
      length = 4;
      least = 0x10000;
    } else {
      return undefined;
    }
    if (pos + length > end) return undefined;
    for (let i = pos + 1; i < pos + length; i++) {
      const next = bytes[i]!;
      if ((next & 0xc0) !== 0x80) return undefined;
      point = (point << 6) | (next & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point & 0xfffff800) === 0xd800) return undefined;
    text += String.fromCodePoint(point);
    pos += length;
  }
  return text;
}

function isHigh(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}

function isLow(unit: number): boolean {
  return (unit & 0xfc00) === 0xdc00;
}
