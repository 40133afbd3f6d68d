import type { Frame } from "./frames.ts";
import type { AnySchema } from "./schema.ts";

import { KINDS, SCHEMAS } from "./schema.ts";
import { putUint, uintSize, Writer } from "./writer.ts";

/** Wire types of the tags that are written: a varint, or bytes after their length. */
export const VARINT = 0;
export const BYTES = 2;

/**
 * Collects frames for one message. Used again after each {@link Writer.flush}. All by the table: small, and fast enough for a
 * device; a server uses the `FrameWriter` of `hot-encode.ts`.
 */
export class TableWriter extends Writer {
  protected written = 0;

  /** Frames written and not flushed. */
  get frames(): number {
    return this.written;
  }

  write(frame: Frame): void {
    const tag = (KINDS[frame.type] << 3) | BYTES;
    const start = this.open(tag, 0);
    writeFields(this, SCHEMAS[frame.type], frame);
    this.close(tag, start, 0);
  }

  protected override reset(): void {
    super.reset();
    this.written = 0;
  }

  /** Leaves room for a frame's head: its length, its tag, the length of what follows. Returns where that starts. */
  protected open(tag: number, estimate: number): number {
    this.reserve(HEAD_BYTES);
    this.pos += headSize(tag, estimate);
    return this.pos;
  }

  /** Fills in the head, moving the bytes if the estimate was wrong. */
  protected close(tag: number, start: number, estimate: number): void {
    const length = this.pos - start;
    const room = headSize(tag, estimate);
    const needed = headSize(tag, length);
    if (needed !== room) {
      this.reserve(HEAD_BYTES);
      this.buffer.copyWithin(start - room + needed, start, this.pos);
      this.pos += needed - room;
    }
    let pos = putUint(this.buffer, start - room, uintSize(tag) + uintSize(length) + length);
    pos = putUint(this.buffer, pos, tag);
    putUint(this.buffer, pos, length);
    this.written++;
  }
}

/** The largest head: two lengths and a tag. */
const HEAD_BYTES = 24;

function headSize(tag: number, length: number): number {
  const inner = uintSize(tag) + uintSize(length);
  return uintSize(inner + length) + inner;
}

/** Writes `values` by its schema; each property has the type that its field's form says. */
export function writeFields(writer: Writer, schema: AnySchema, values: object): void {
  for (const [name, field] of Object.entries(schema)) {
    const value = (values as Readonly<Record<string, unknown>>)[name];
    const varint = (field.number << 3) | VARINT;
    const bytes = (field.number << 3) | BYTES;
    switch (field.form) {
      case "uint":
        writer.uint(varint, value as number);
        break;
      case "count":
        writer.uint(varint, value === 1 ? 0 : (value as number));
        break;
      case "bool":
        writer.bool(varint, value as boolean);
        break;
      case "enum":
        writer.uint(varint, field.names.indexOf(value as string));
        break;
      case "string":
        writer.string(bytes, value as string);
        break;
      case "bytes":
        writer.bytes(bytes, value as Uint8Array);
        break;
      case "strings":
        for (const element of value as readonly string[]) writer.element(bytes, element);
        break;
      case "pairs":
        writer.packed(bytes, value as readonly number[]);
        break;
      case "message":
      case "optional":
        if (value !== undefined) writeMessage(writer, bytes, field.schema, value as object);
        break;
      case "messages":
        for (const element of value as readonly object[]) {
          writeMessage(writer, bytes, field.schema, element);
        }
        break;
    }
  }
}

function writeMessage(writer: Writer, tag: number, schema: AnySchema, values: object): void {
  const start = writer.begin(tag, 0);
  writeFields(writer, schema, values);
  writer.end(start, 0);
}
