import type { Frame, Limits, UnknownFrame } from "./frames.ts";
import type { AnySchema, Field } from "./schema.ts";

import { ProtocolError } from "./protocol-error.ts";
import { Reader, WIRE } from "./reader.ts";
import { KINDS, SCHEMAS } from "./schema.ts";

const NOTHING: Uint8Array = new Uint8Array(0);
const { varint: VARINT, bytes: BYTES } = WIRE;

/** Kinds by their field number in `Frame`. */
const TYPES: readonly (Frame["type"] | undefined)[] = typesByNumber();

function typesByNumber(): (Frame["type"] | undefined)[] {
  const types: (Frame["type"] | undefined)[] = [];
  for (const type of Object.keys(KINDS) as Frame["type"][]) types[KINDS[type]] = type;
  return types;
}

export type MessageLimits = Pick<Limits, "messageBytes" | "messageFrames">;

/** Reads what a frame of this kind has: `reader[pos, end)`. */
export type ReadKind = (reader: Reader, type: Frame["type"]) => Frame;

/**
 * [P-1.2] [P-1.5] Calls `onFrame` for each frame of one message. Throws a {@link ProtocolError} where the bytes stop
 * being frames, or over a limit; frames before it have been handed over then. Byte arrays in the
 * frames may be views of `message`.
 */
export function readMessage(
  message: Uint8Array,
  limits: MessageLimits,
  readKind: ReadKind,
  onFrame: (frame: Frame | UnknownFrame) => void,
): void {
  if (message.length > limits.messageBytes) {
    throw new ProtocolError(
      "message-too-large",
      `more than ${limits.messageBytes} bytes in a message`,
      limits.messageBytes,
    );
  }
  const reader = new Reader(message);
  const total = reader.end;
  for (let frames = 1; reader.pos < total; frames++) {
    if (frames > limits.messageFrames) {
      throw new ProtocolError(
        "message-too-large",
        `more than ${limits.messageFrames} frames in a message`,
        reader.pos,
      );
    }
    reader.end = reader.extent();
    const frame = readFrame(reader, readKind);
    reader.end = total;
    onFrame(frame);
  }
}

/**
 * {@link readMessage} by the table: small, and fast enough for a device; a server uses the `readFrames` of
 * `hot-decode.ts`. It does not set `raw` of a SEND.
 */
export function readFramesByTable(
  message: Uint8Array,
  limits: MessageLimits,
  onFrame: (frame: Frame | UnknownFrame) => void,
): void {
  readMessage(message, limits, readByTable, onFrame);
}

/** [P-2.2] Reads one `Frame`: one field of a known kind, and unknown ones, which are ignored beside it. */
export function readFrame(reader: Reader, readKind: ReadKind): Frame | UnknownFrame {
  const start = reader.pos;
  const { end } = reader;
  let frame: Frame | undefined;
  let unknown = 0;
  while (reader.pos < end) {
    const at = reader.pos;
    const tag = reader.uint();
    const number = Math.floor(tag / 8);
    const type = TYPES[number];
    if (type === undefined) {
      reader.skip(tag, at);
      if (unknown === 0) unknown = number;
      continue;
    }
    if (tag % 8 !== BYTES) reader.fail(`wire type ${tag % 8} in frame kind ${number}`, at);
    if (frame !== undefined) reader.fail("two kinds in one frame", at);
    reader.end = reader.extent();
    frame = readKind(reader, type);
    reader.end = end;
  }
  if (frame !== undefined) return frame;
  if (unknown === 0) reader.fail("frame without a kind", start);
  return { type: "unknown", field: unknown };
}

export function readByTable(reader: Reader, type: Frame["type"]): Frame {
  const start = reader.pos;
  const frame = { type, ...readFields(reader, SCHEMAS[type]) } as Frame;
  if (frame.type === "received" && frame.ranges.length % 2 !== 0) {
    reader.fail("half a pair in ranges", start);
  }
  return frame;
}

/** Reads `reader[pos, end)` by a schema into an object that has each of its properties. */
export function readFields(reader: Reader, schema: AnySchema): Record<string, unknown> {
  const values = defaults(schema);
  while (reader.pos < reader.end) {
    const at = reader.pos;
    const tag = reader.uint();
    const number = Math.floor(tag / 8);
    const name = nameOf(schema, number);
    if (name === undefined) {
      reader.skip(tag, at);
      continue;
    }
    const field = schema[name]!;
    const wire = tag % 8;
    const { [name]: before } = values;
    if (field.form === "pairs" && wire === BYTES) {
      within(reader, () => readPacked(reader, before as number[]));
      continue;
    }
    if (wire !== (NUMBERS.has(field.form) ? VARINT : BYTES)) {
      reader.fail(`wire type ${wire} in field ${number}`, at);
    }
    const value = readValue(reader, field);
    if (Array.isArray(before)) before.push(value);
    else values[name] = value;
  }
  return values;
}

/** Forms of which each value is a varint; of all others it is bytes after their length. */
const NUMBERS: ReadonlySet<string> = new Set(["uint", "count", "bool", "enum", "pairs"]);

function nameOf(schema: AnySchema, number: number): string | undefined {
  for (const name in schema) if (schema[name]!.number === number) return name;
  return undefined;
}

function readValue(reader: Reader, field: Field): unknown {
  switch (field.form) {
    case "uint":
    case "pairs":
      return reader.uint();
    case "bool":
      return reader.bool();
    case "count":
      return reader.uint() || 1;
    case "enum":
      return field.names[reader.uint()] ?? field.unknown;
    case "string":
    case "strings":
      return reader.string();
    case "bytes":
      return reader.byteArray();
    default:
      return within(reader, () => readFields(reader, field.schema));
  }
}

/** Reads what has its length in front. */
function within<T>(reader: Reader, read: () => T): T {
  const { end } = reader;
  reader.end = reader.extent();
  const value = read();
  reader.end = end;
  return value;
}

function readPacked(reader: Reader, into: number[]): void {
  while (reader.pos < reader.end) into.push(reader.uint());
}

function defaults(schema: AnySchema): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(schema)) {
    if (field.form !== "optional") values[name] = defaultOf(field);
  }
  return values;
}

function defaultOf(field: Field): unknown {
  switch (field.form) {
    case "uint":
      return 0;
    case "bool":
      return false;
    case "count":
      return 1;
    case "enum":
      return field.names[0];
    case "string":
      return "";
    case "bytes":
      return NOTHING;
    case "strings":
    case "messages":
    case "pairs":
      return [];
    default:
      return defaults(field.schema);
  }
}
