import { writeUtf8 } from "./utf8.ts";

/** A buffer that grew beyond this is given up after the flush: one giant must not cost memory for ever. */
const KEPT_BYTES = 64 * 1024;
const FIRST_BYTES = 1024;
const NOTHING = new Uint8Array(0);

/** Bytes of a varint; `value` is an integer from 0 to 2^53-1. */
export function uintSize(value: number): number {
  if (value < 0x80) return 1;
  let size = 1;
  while (value >= 0x80) {
    value = Math.floor(value / 0x80);
    size++;
  }
  return size;
}

/** Writes a varint at `pos`, where there is room for it (8 bytes at most), and returns the position after it. */
export function putUint(into: Uint8Array, pos: number, value: number): number {
  while (value > 0x7fff_ffff) {
    into[pos++] = (value % 0x80) | 0x80;
    value = Math.floor(value / 0x80);
  }
  while (value > 0x7f) {
    into[pos++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  into[pos++] = value;
  return pos;
}

/** Writes a field of bytes at `pos`, where there is room for it. */
export function putBytes(into: Uint8Array, pos: number, tag: number, value: Uint8Array): number {
  const { length } = value;
  pos = putUint(into, putUint(into, pos, tag), length);
  into.set(value, pos);
  return pos + length;
}

/** Writes a field of text at `pos`, where there is room for it: {@link textRoom}. */
export function putText(into: Uint8Array, pos: number, tag: number, value: string): number {
  pos = putUint(into, pos, tag);
  // Right for ASCII; else the text moves.
  const room = uintSize(value.length);
  const start = pos + room;
  let end = writeUtf8(into, start, value);
  const length = end - start;
  const needed = uintSize(length);
  if (needed !== room) {
    into.copyWithin(pos + needed, start, end);
    end += needed - room;
  }
  putUint(into, pos, length);
  return end;
}

/** Room for a text, its tag and its length: at most three bytes for a UTF-16 unit. */
export function textRoom(value: string): number {
  return HEAD_ROOM + 3 * value.length;
}

/** Room for a tag and a number or length. */
const HEAD_ROOM = 16;

/** A growing buffer that protobuf fields are written to. Values that proto3 has for default are not written. */
export class Writer {
  protected buffer: Uint8Array<ArrayBuffer> = NOTHING;
  protected pos = 0;

  /** Bytes written and not flushed. */
  get size(): number {
    return this.pos;
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array<ArrayBuffer> {
    return this.buffer.slice(0, this.pos);
  }

  uint(tag: number, value: number): void {
    if (value === 0) return;
    this.reserve(HEAD_ROOM);
    this.pos = putUint(this.buffer, putUint(this.buffer, this.pos, tag), value);
  }

  bool(tag: number, value: boolean): void {
    this.uint(tag, value ? 1 : 0);
  }

  string(tag: number, value: string): void {
    if (value !== "") this.element(tag, value);
  }

  /** A string that is written though it may be empty: an element of a repeated field. */
  element(tag: number, value: string): void {
    this.reserve(textRoom(value));
    this.pos = putText(this.buffer, this.pos, tag, value);
  }

  bytes(tag: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.reserve(HEAD_ROOM + value.length);
    this.pos = putBytes(this.buffer, this.pos, tag, value);
  }

  packed(tag: number, values: readonly number[]): void {
    if (values.length === 0) return;
    const start = this.begin(tag, values.length);
    this.reserve(8 * values.length);
    for (const value of values) this.pos = putUint(this.buffer, this.pos, value);
    this.end(start, values.length);
  }

  /** Begins something with a length in front, which will be about `estimate` bytes; returns where it starts. */
  begin(tag: number, estimate: number): number {
    this.reserve(HEAD_ROOM);
    this.pos = putUint(this.buffer, this.pos, tag);
    return this.room(estimate);
  }

  /** As {@link begin}, without a tag. */
  room(estimate: number): number {
    this.reserve(HEAD_ROOM);
    this.pos += uintSize(estimate);
    return this.pos;
  }

  /** Ends what {@link begin} or {@link room} began with the same estimate: fills in the length, moving the bytes if it was wrong. */
  end(start: number, estimate: number): void {
    const length = this.pos - start;
    const room = uintSize(estimate);
    const needed = uintSize(length);
    if (needed !== room) {
      this.reserve(needed);
      this.buffer.copyWithin(start - room + needed, start, this.pos);
      this.pos += needed - room;
    }
    putUint(this.buffer, start - room, length);
  }

  /**
   * Gives what was written to `send` and starts anew. The view is valid during the call only: `send`
   * must have written or copied it when it returns.
   */
  flush<T>(send: (bytes: Uint8Array<ArrayBuffer>) => T): T {
    const { buffer } = this;
    const view = buffer.subarray(0, this.pos);
    // What is written while `send` runs (it may call back) goes to another buffer.
    this.buffer = NOTHING;
    this.reset();
    try {
      return send(view);
    } finally {
      if (this.pos === 0 && buffer.length <= KEPT_BYTES) this.buffer = buffer;
    }
  }

  protected reset(): void {
    this.pos = 0;
  }

  protected reserve(bytes: number): void {
    const needed = this.pos + bytes;
    if (needed <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(FIRST_BYTES, 2 * this.buffer.length, needed));
    grown.set(this.buffer.subarray(0, this.pos));
    this.buffer = grown;
  }
}
