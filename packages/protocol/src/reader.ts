import { ProtocolError } from "./protocol-error.ts";
import { readUtf8 } from "./utf8.ts";

const NOTHING = new Uint8Array(0);

/** Wire types of protobuf. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** 2^29-1, protobuf's largest field number. */
const MAX_FIELD = 0x1fff_ffff;
/**
 * Bytes of a message of which parts are copied: JavaScriptCore keeps such an array in its own heap, and has to move it to
 * memory of another kind before there can be a view.
 */
const COPIED = 1000;
/** Bytes of the longest varint: 64 bits, seven in each. */
const MAX_VARINT = 10;

/** [P-2.3] Reads protobuf fields from `bytes[pos, end)`; whatever does not belong there is a {@link ProtocolError}. */
export class Reader {
  readonly bytes: Uint8Array;
  pos = 0;
  /** Where the innermost message ends; nothing is read past it. */
  end: number;

  constructor(bytes: Uint8Array) {
    // A Buffer's `subarray` is a slow one.
    this.bytes =
      bytes.constructor === Uint8Array
        ? bytes
        : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
  }

  uint(): number {
    const { pos } = this;
    if (pos < this.end) {
      const byte = this.bytes[pos]!;
      if (byte < 0x80) {
        this.pos = pos + 1;
        return byte;
      }
    }
    return this.#longUint();
  }

  #longUint(): number {
    const start = this.pos;
    let value = 0;
    let scale = 1;
    for (let pos = start; pos < start + MAX_VARINT; pos++) {
      if (pos >= this.end) this.fail("truncated varint", start);
      const byte = this.bytes[pos]!;
      // Beyond 2^53 the sum is rounded, but never to below it.
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte >= 0x80) continue;
      if (value > Number.MAX_SAFE_INTEGER) this.fail("number over 2^53-1", start);
      this.pos = pos + 1;
      return value;
    }
    return this.fail("varint over 10 bytes", start);
  }

  bool(): boolean {
    return this.uint() !== 0;
  }

  /** Reads a length and returns the position where what it measures ends. */
  extent(): number {
    const start = this.pos;
    const length = this.uint();
    if (length > this.end - this.pos) this.fail(`length ${length} beyond the end`, start);
    return this.pos + length;
  }

  string(): string {
    const end = this.extent();
    const start = this.pos;
    this.pos = end;
    return readUtf8(this.bytes, start, end) ?? this.fail("invalid UTF-8", start);
  }

  byteArray(): Uint8Array {
    const end = this.extent();
    const start = this.pos;
    this.pos = end;
    return this.part(start, end);
  }

  /** `bytes[start, end)`, of a small message as a copy; a view keeps the whole message in memory. */
  part(start: number, end: number): Uint8Array {
    if (start === end) return NOTHING;
    const { bytes } = this;
    return bytes.length <= COPIED ? bytes.slice(start, end) : bytes.subarray(start, end);
  }

  /** Skips the value of a field that is unknown; `start` is where its tag stands. */
  skip(tag: number, start: number): void {
    const field = Math.floor(tag / 8);
    if (field === 0 || field > MAX_FIELD) this.fail(`field number ${field}`, start);
    switch (tag % 8) {
      case WIRE.varint:
        this.#skipVarint();
        break;
      case WIRE.fixed64:
        this.#skipBytes(8);
        break;
      case WIRE.bytes:
        this.pos = this.extent();
        break;
      case WIRE.fixed32:
        this.#skipBytes(4);
        break;
      case 3:
      case 4:
        this.fail(`group in field ${field}`, start);
        break;
      default:
        this.fail(`wire type ${tag % 8} in field ${field}`, start);
    }
  }

  /** An unknown number may have all 64 bits. */
  #skipVarint(): void {
    const start = this.pos;
    for (let pos = start; pos < start + MAX_VARINT; pos++) {
      if (pos >= this.end) this.fail("truncated varint", start);
      if (this.bytes[pos]! >= 0x80) continue;
      this.pos = pos + 1;
      return;
    }
    this.fail("varint over 10 bytes", start);
  }

  #skipBytes(count: number): void {
    if (count > this.end - this.pos) this.fail("truncated value", this.pos);
    this.pos += count;
  }

  fail(what: string, at: number): never {
    throw new ProtocolError("bad-frame", what, at);
  }
}
