import type {
  AckFrame,
  DeliverFrame,
  Frame,
  Limits,
  ReceivedFrame,
  SendFrame,
  UnknownFrame,
} from "./frames.ts";
import type { AnySchema, ColdFrame, Field } from "./schema.ts";

import { encodeSendBody } from "./encode.ts";
import { ProtocolError } from "./protocol-error.ts";
import { Reader, WIRE } from "./reader.ts";
import { ACK_STATUSES, KINDS, ROUTES, SCHEMAS, WAKE_CLASSES } from "./schema.ts";

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

/**
 * [P-1.2] [P-1.5] Calls `onFrame` for each frame of one message. Throws a {@link ProtocolError} where the bytes stop
 * being frames, or over a limit; frames before it have been handed over then. Byte arrays in the
 * frames may be views of `message`.
 */
export function readFrames(
  message: Uint8Array,
  limits: MessageLimits,
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
    const frame = readFrame(reader);
    reader.end = total;
    onFrame(frame);
  }
}

/** Decodes one frame without the length in front of it. */
export function decodeFrame(bytes: Uint8Array): Frame | UnknownFrame {
  return readFrame(new Reader(bytes));
}

/**
 * [P-1.4] How many of the first bytes of a stream are complete frames. On `tcp` there are no messages: what
 * follows is the beginning of a frame, which `messageBytes` bounds.
 */
export function completeFrames(bytes: Uint8Array, messageBytes: number): number {
  const reader = new Reader(bytes);
  let complete = 0;
  while (reader.pos < bytes.length) {
    const { pos } = reader;
    // The length is complete when a byte below 0x80 is there, or when it is too long to be one.
    let last = pos;
    while (last < bytes.length && last < pos + 10 && bytes[last]! >= 0x80) last++;
    if (last === bytes.length) break;
    const length = reader.uint();
    if (length > messageBytes) {
      throw new ProtocolError(
        "message-too-large",
        `frame of ${length} bytes, more than ${messageBytes},`,
        pos,
      );
    }
    if (length > bytes.length - reader.pos) break;
    reader.pos += length;
    complete = reader.pos;
  }
  return complete;
}

/** Decodes what `deliverBody` made, with or without the marks after it. */
export function decodeDeliverBody(body: Uint8Array): DeliverFrame {
  return readDeliver(new Reader(body));
}

/** [P-2.2] Reads one `Frame`: one field of a known kind, and unknown ones, which are ignored beside it. */
function readFrame(reader: Reader): Frame | UnknownFrame {
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

function readKind(reader: Reader, type: Frame["type"]): Frame {
  switch (type) {
    case "send":
      return readSend(reader);
    case "deliver":
      return readDeliver(reader);
    case "ack":
      return readAck(reader);
    case "received":
      return readReceived(reader);
    default:
      return { type, ...readFields(reader, SCHEMAS[type]) } as ColdFrame;
  }
}

function readSend(reader: Reader): SendFrame {
  const start = reader.pos;
  const { end } = reader;
  let id: Uint8Array = NOTHING;
  let to = "";
  let n = 0;
  let prev = 0;
  let payload: Uint8Array = NOTHING;
  let wake = 0;
  let preview = "";
  // Known fields, each at most once, in ascending order.
  let plain = true;
  let last = 0;
  while (reader.pos < end) {
    const at = reader.pos;
    const tag = reader.uint();
    if (tag <= last) plain = false;
    last = tag;
    switch (tag) {
      case (1 << 3) | 2:
        id = reader.byteArray();
        break;
      case (2 << 3) | 2:
        to = reader.name();
        break;
      case 3 << 3:
        n = reader.uint();
        break;
      case 4 << 3:
        prev = reader.uint();
        break;
      case (5 << 3) | 2:
        payload = reader.byteArray();
        break;
      case 6 << 3:
        wake = reader.uint();
        break;
      case (7 << 3) | 2:
        preview = reader.string();
        break;
      default:
        plain = false;
        skipUnknown(reader, tag, at, 1, 7);
    }
  }
  const frame = {
    type: "send" as const,
    id,
    to,
    n,
    prev,
    payload,
    wake: WAKE_CLASSES[wake] ?? "message",
    preview,
    raw: plain ? reader.part(start, end) : NOTHING,
  };
  // [P-5.7] Whatever the server does not know it does not pass on: it could be a DELIVER's `from`.
  if (!plain) frame.raw = encodeSendBody(frame);
  return frame;
}

function readDeliver(reader: Reader): DeliverFrame {
  const { end } = reader;
  let id: Uint8Array = NOTHING;
  let to = "";
  let n = 0;
  let prev = 0;
  let payload: Uint8Array = NOTHING;
  let wake = 0;
  let preview = "";
  let from = "";
  let fromDevice = "";
  let outbox = 0;
  let at = 0;
  let held = false;
  let redelivered = false;
  let server = "";
  while (reader.pos < end) {
    const start = reader.pos;
    const tag = reader.uint();
    switch (tag) {
      case (1 << 3) | 2:
        id = reader.byteArray();
        break;
      case (2 << 3) | 2:
        to = reader.name();
        break;
      case 3 << 3:
        n = reader.uint();
        break;
      case 4 << 3:
        prev = reader.uint();
        break;
      case (5 << 3) | 2:
        payload = reader.byteArray();
        break;
      case 6 << 3:
        wake = reader.uint();
        break;
      case (7 << 3) | 2:
        preview = reader.string();
        break;
      case (9 << 3) | 2:
        from = reader.name();
        break;
      case (10 << 3) | 2:
        fromDevice = reader.name();
        break;
      case 11 << 3:
        outbox = reader.uint();
        break;
      case 12 << 3:
        at = reader.uint();
        break;
      case 13 << 3:
        held = reader.bool();
        break;
      case 14 << 3:
        redelivered = reader.bool();
        break;
      case (15 << 3) | 2:
        server = reader.name();
        break;
      default:
        skipUnknown(reader, tag, start, 1, 15);
    }
  }
  return {
    type: "deliver",
    id,
    to,
    n,
    prev,
    payload,
    wake: WAKE_CLASSES[wake] ?? "message",
    preview,
    from,
    fromDevice,
    outbox,
    at,
    held,
    redelivered,
    server,
  };
}

function readAck(reader: Reader): AckFrame {
  const { end } = reader;
  let send = 0;
  let count = 0;
  let status = 0;
  let route = 0;
  let at = 0;
  while (reader.pos < end) {
    const start = reader.pos;
    const tag = reader.uint();
    switch (tag) {
      case 1 << 3:
        send = reader.uint();
        break;
      case 2 << 3:
        count = reader.uint();
        break;
      case 3 << 3:
        status = reader.uint();
        break;
      case 4 << 3:
        route = reader.uint();
        break;
      case 5 << 3:
        at = reader.uint();
        break;
      default:
        skipUnknown(reader, tag, start, 1, 5);
    }
  }
  return {
    type: "ack",
    send,
    count: count === 0 ? 1 : count,
    // [P-2.5] Of a status or route to come, the one that promises least.
    status: ACK_STATUSES[status] ?? "held",
    route: ROUTES[route] ?? "remote",
    at,
  };
}

function readReceived(reader: Reader): ReceivedFrame {
  const start = reader.pos;
  const { end } = reader;
  const ranges: number[] = [];
  while (reader.pos < end) {
    const at = reader.pos;
    const tag = reader.uint();
    switch (tag) {
      case 1 << 3:
        ranges.push(reader.uint());
        break;
      case (1 << 3) | 2: {
        const last = reader.extent();
        reader.end = last;
        while (reader.pos < last) ranges.push(reader.uint());
        reader.end = end;
        break;
      }
      default:
        skipUnknown(reader, tag, at, 1, 1);
    }
  }
  if (ranges.length % 2 !== 0) reader.fail("half a pair in ranges", start);
  return { type: "received", ranges };
}

/** [P-2.3] A known field in another wire type than its own is an error, not an unknown field. */
function skipUnknown(reader: Reader, tag: number, at: number, first: number, last: number): void {
  const number = Math.floor(tag / 8);
  if (number >= first && number <= last && number !== RESERVED) {
    reader.fail(`wire type ${tag % 8} in field ${number}`, at);
  }
  reader.skip(tag, at);
}

/** Field 8 of SEND and DELIVER is not in use. */
const RESERVED = 8;

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
    const wire =
      field.form === "uint" || field.form === "bool" || field.form === "wake" ? VARINT : BYTES;
    if (tag % 8 !== wire) reader.fail(`wire type ${tag % 8} in field ${number}`, at);
    const value = readValue(reader, field);
    const { [name]: before } = values;
    if (field.form === "strings" || field.form === "messages") (before as unknown[]).push(value);
    else values[name] = value;
  }
  return values;
}

function nameOf(schema: AnySchema, number: number): string | undefined {
  for (const name in schema) if (schema[name]!.number === number) return name;
  return undefined;
}

function readValue(reader: Reader, field: Field): unknown {
  switch (field.form) {
    case "uint":
      return reader.uint();
    case "bool":
      return reader.bool();
    case "wake":
      return WAKE_CLASSES[reader.uint()] ?? "message";
    case "string":
    case "strings":
      return reader.string();
    case "bytes":
      return reader.byteArray();
    default: {
      const { end } = reader;
      reader.end = reader.extent();
      const value = readFields(reader, field.schema);
      reader.end = end;
      return value;
    }
  }
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
    case "wake":
      return "message";
    case "string":
      return "";
    case "bytes":
      return NOTHING;
    case "strings":
    case "messages":
      return [];
    default:
      return defaults(field.schema);
  }
}
