/** The four frames that are most of the traffic, read without the table: what a server does for each message. */
import type {
  AckFrame,
  DeliverFrame,
  Frame,
  ReceivedFrame,
  SendFrame,
  UnknownFrame,
} from "./frames.ts";

import { type MessageLimits, readByTable, readFrame, readMessage } from "./decode.ts";
import { encodeSendBody } from "./hot-encode.ts";
import { readName } from "./names.ts";
import { Reader } from "./reader.ts";
import {
  ACK_STATUSES,
  ROUTES,
  UNKNOWN_ACK_STATUS,
  UNKNOWN_ROUTE,
  UNKNOWN_WAKE_CLASS,
  WAKE_CLASSES,
} from "./schema.ts";

const NOTHING: Uint8Array = new Uint8Array(0);

/** {@link readMessage}, fast. */
export function readFrames(
  message: Uint8Array,
  limits: MessageLimits,
  onFrame: (frame: Frame | UnknownFrame) => void,
): void {
  readMessage(message, limits, readHot, onFrame);
}

/** Decodes one frame without the length in front of it. */
export function decodeFrame(bytes: Uint8Array): Frame | UnknownFrame {
  return readFrame(new Reader(bytes), readHot);
}

/** Decodes what `deliverBody` made, with or without the marks after it. */
export function decodeDeliverBody(body: Uint8Array): DeliverFrame {
  return readDeliver(new Reader(body));
}

function readHot(reader: Reader, type: Frame["type"]): Frame {
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
      return readByTable(reader, type);
  }
}

/** A user's or device's id. */
function readId(reader: Reader): string {
  const end = reader.extent();
  const start = reader.pos;
  reader.pos = end;
  return readName(reader.bytes, start, end) ?? reader.fail("invalid UTF-8", start);
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
  let ends: Uint8Array = NOTHING;
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
        to = readId(reader);
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
      case (8 << 3) | 2:
        ends = reader.byteArray();
        break;
      default:
        plain = false;
        skipUnknown(reader, tag, at, 1, 8);
    }
  }
  const frame = {
    type: "send" as const,
    id,
    to,
    n,
    prev,
    payload,
    wake: WAKE_CLASSES[wake] ?? UNKNOWN_WAKE_CLASS,
    preview,
    ends,
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
  let ends: Uint8Array = NOTHING;
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
        to = readId(reader);
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
      case (8 << 3) | 2:
        ends = reader.byteArray();
        break;
      case (9 << 3) | 2:
        from = readId(reader);
        break;
      case (10 << 3) | 2:
        fromDevice = readId(reader);
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
        server = readId(reader);
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
    wake: WAKE_CLASSES[wake] ?? UNKNOWN_WAKE_CLASS,
    preview,
    ends,
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
    status: ACK_STATUSES[status] ?? UNKNOWN_ACK_STATUS,
    route: ROUTES[route] ?? UNKNOWN_ROUTE,
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
  if (number >= first && number <= last) {
    reader.fail(`wire type ${tag % 8} in field ${number}`, at);
  }
  reader.skip(tag, at);
}
