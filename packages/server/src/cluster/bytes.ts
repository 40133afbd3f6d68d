/**
 * Bytes of the messages between servers: unsigned varints up to 2^53 - 1, and length-prefixed strings and byte strings. Each message
 * begins with the version of its encoding. Bytes after the last field that this version knows are passed over, so that a later one
 * may add fields; all else that it does not know is a {@link BadMessage}.
 */

/** A message that this version cannot read. To be counted and dropped: it says nothing about the link. */
export class BadMessage extends Error {
  override readonly name = "BadMessage";
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes of a varint of the largest safe integer. */
const VARINT_BYTES = 8;

export class ByteWriter {
  #bytes = new Uint8Array(512);
  #at = 0;

  byte(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
    return this;
  }

  /** @throws {RangeError} unless 0 ≤ value ≤ 2^53 - 1 and whole. */
  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a varint: ${value}`);
    this.#reserve(VARINT_BYTES);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
    return this;
  }

  string(value: string): this {
    const { length } = value;
    this.#reserve(VARINT_BYTES + 3 * length);
    if (length > 0x7f) return this.bytes(encoder.encode(value));
    const start = this.#at + 1;
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) return this.bytes(encoder.encode(value));
      this.#bytes[start + i] = unit;
    }
    this.#bytes[this.#at] = length;
    this.#at = start + length;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  #reserve(count: number): void {
    const needed = this.#at + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** Every method throws {@link BadMessage} where the bytes end too early or say what cannot be. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw new BadMessage("ends too early");
    this.#at++;
    return value;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 128;
    }
    throw new BadMessage("number too large");
  }

  /** How many items follow; each takes a byte at least, so that a lie is found before anything is made for it. */
  count(): number {
    const count = this.varint();
    if (count > this.#bytes.length - this.#at) throw new BadMessage("more items than bytes");
    return count;
  }

  /**
   * Flat: a string that is put together of its characters takes a dozen times the memory, and many of these are kept. ASCII is read
   * as Latin-1, at half the price.
   */
  string(): string {
    const length = this.count();
    const start = this.#at;
    const end = start + length;
    this.#at = end;
    let at = start;
    while (at < end && this.#bytes[at]! < 0x80) at++;
    if (at === end) return this.#bytes.toString("latin1", start, end);
    try {
      return decoder.decode(this.#bytes.subarray(start, end));
    } catch {
      throw new BadMessage("not UTF-8");
    }
  }

  /** A view of the message. */
  bytes(): Uint8Array {
    const length = this.count();
    const start = this.#at;
    this.#at += length;
    const { buffer, byteOffset } = this.#bytes;
    return new Uint8Array(buffer, byteOffset + start, length);
  }
}
