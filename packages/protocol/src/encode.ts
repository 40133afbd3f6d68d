import type { Frame } from "./frames.ts";
import type { AnySchema } from "./schema.ts";

import { KINDS, SCHEMAS } from "./schema.ts";
import { Writer } from "./writer.ts";

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
    const start = this.room(0);
    writeMessage(this, (KINDS[frame.type] << 3) | BYTES, SCHEMAS[frame.type], frame);
    this.end(start, 0);
    this.written++;
  }

  protected override reset(): void {
    super.reset();
    this.written = 0;
  }
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
