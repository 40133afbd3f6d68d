/** The four frames that are most of the traffic, written without the table: what a server does for each message. */
import type { AckStatus, DeliverFrame, Frame, Millis, Route, SendFrame } from "./frames.ts";

import { BYTES, TableWriter, VARINT } from "./encode.ts";
import { ACK_STATUSES, KINDS, ROUTES, WAKE_CLASSES } from "./schema.ts";
import { putBytes, putText, putUint, textRoom, uintSize, Writer } from "./writer.ts";

const SEND_TAG = (KINDS.send << 3) | BYTES;
const RECEIVED_TAG = (KINDS.received << 3) | BYTES;
const DELIVER_TAG = (KINDS.deliver << 3) | BYTES;
const ACK_TAG = (KINDS.ack << 3) | BYTES;

type SendFields = Omit<SendFrame, "type" | "raw">;

/** Writes the same bytes as {@link TableWriter}, faster. */
export class FrameWriter extends TableWriter {
  override write(frame: Frame): void {
    switch (frame.type) {
      case "send":
        this.#send(frame);
        break;
      case "deliver":
        this.deliver(encodeDeliverBody(frame), frame.held, frame.redelivered);
        break;
      case "received":
        this.received(frame.ranges);
        break;
      case "ack":
        this.ack(frame.send, frame.count, frame.status, frame.route, frame.at);
        break;
      default:
        super.write(frame);
    }
  }

  /** [P-5.8] Answers `count` SENDs from number `send` on. */
  ack(send: number, count: number, status: AckStatus, route: Route, at: Millis): void {
    // Five fields of at most nine bytes: both lengths fit one byte.
    this.reserve(64);
    const { buffer } = this;
    const start = this.pos;
    let pos = start + 3;
    buffer[start + 1] = ACK_TAG;
    if (send !== 0) {
      buffer[pos++] = 1 << 3;
      pos = putUint(buffer, pos, send);
    }
    if (count > 1) {
      buffer[pos++] = 2 << 3;
      pos = putUint(buffer, pos, count);
    }
    const statusNumber = ACK_STATUSES.indexOf(status);
    if (statusNumber > 0) {
      buffer[pos++] = 3 << 3;
      buffer[pos++] = statusNumber;
    }
    const routeNumber = ROUTES.indexOf(route);
    if (routeNumber > 0) {
      buffer[pos++] = 4 << 3;
      buffer[pos++] = routeNumber;
    }
    if (at !== 0) {
      buffer[pos++] = 5 << 3;
      pos = putUint(buffer, pos, at);
    }
    buffer[start] = pos - start - 1;
    buffer[start + 2] = pos - start - 3;
    this.pos = pos;
    this.written++;
  }

  /** [P-6.1] `ranges`: pairs of the first DELIVER's number and how many follow without a hole. */
  received(ranges: readonly number[]): void {
    const estimate = 2 + ranges.length;
    const start = this.#open(RECEIVED_TAG, estimate);
    this.packed((1 << 3) | BYTES, ranges);
    this.#close(RECEIVED_TAG, start, estimate);
  }

  /** `body` is of {@link deliverBody}: the same for all devices that the message goes to. */
  deliver(body: Uint8Array, held: boolean, redelivered: boolean): void {
    const length = body.length + (held ? 2 : 0) + (redelivered ? 2 : 0);
    this.reserve(16 + length);
    const { buffer } = this;
    let pos = putUint(buffer, this.pos, 1 + uintSize(length) + length);
    buffer[pos++] = DELIVER_TAG;
    pos = putUint(buffer, pos, length);
    buffer.set(body, pos);
    pos += body.length;
    if (held) {
      buffer[pos++] = 13 << 3;
      buffer[pos++] = 1;
    }
    if (redelivered) {
      buffer[pos++] = 14 << 3;
      buffer[pos++] = 1;
    }
    this.pos = pos;
    this.written++;
  }

  #send(frame: SendFrame): void {
    // The fields besides the three are some 30 bytes.
    const texts = frame.to.length + frame.preview.length;
    const estimate = 30 + texts + frame.payload.length + frame.ends.length;
    const start = this.#open(SEND_TAG, estimate);
    this.reserve(sendRoom(frame));
    this.pos = putSendFields(this.buffer, start, frame);
    this.#close(SEND_TAG, start, estimate);
  }

  /** Leaves room for a frame's head: its length, its tag, the length of what follows. Returns where that starts. */
  #open(tag: number, estimate: number): number {
    this.reserve(HEAD_BYTES);
    this.pos += headSize(tag, estimate);
    return this.pos;
  }

  /** Fills in the head, moving the bytes if the estimate was wrong. */
  #close(tag: number, start: number, estimate: number): void {
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

/** One message of these frames. */
export function encodeFrames(frames: readonly Frame[]): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  for (const frame of frames) writer.write(frame);
  return writer.toBytes();
}

/** The fields of a SEND, as {@link SendFrame.raw} has them. */
export function encodeSendBody(send: SendFields): Uint8Array<ArrayBuffer> {
  const into = new Uint8Array(sendRoom(send));
  return into.slice(0, putSendFields(into, 0, send));
}

/** Room for {@link putSendFields}. */
function sendRoom(send: SendFields): number {
  const { id, to, payload, preview, ends } = send;
  return 64 + id.length + textRoom(to) + payload.length + textRoom(preview) + ends.length;
}

function putSendFields(into: Uint8Array, pos: number, send: SendFields): number {
  if (send.id.length > 0) pos = putBytes(into, pos, (1 << 3) | BYTES, send.id);
  if (send.to !== "") pos = putText(into, pos, (2 << 3) | BYTES, send.to);
  if (send.n !== 0) {
    into[pos++] = 3 << 3;
    pos = putUint(into, pos, send.n);
  }
  if (send.prev !== 0) {
    into[pos++] = 4 << 3;
    pos = putUint(into, pos, send.prev);
  }
  if (send.payload.length > 0) pos = putBytes(into, pos, (5 << 3) | BYTES, send.payload);
  if (send.wake !== "message") {
    into[pos++] = 6 << 3;
    into[pos++] = WAKE_CLASSES.indexOf(send.wake);
  }
  if (send.preview !== "") pos = putText(into, pos, (7 << 3) | BYTES, send.preview);
  if (send.ends.length > 0) pos = putBytes(into, pos, (8 << 3) | BYTES, send.ends);
  return pos;
}

/** What a DELIVER says of its sender and of the server that takes it: the same for all SENDs of a connection. */
export function encodeOrigin(
  from: string,
  fromDevice: string,
  outbox: number,
  server: string,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.string((9 << 3) | BYTES, from);
  writer.string((10 << 3) | BYTES, fromDevice);
  writer.uint((11 << 3) | VARINT, outbox);
  writer.string((15 << 3) | BYTES, server);
  return writer.toBytes();
}

/**
 * [P-5.7] A DELIVER but for its marks `held` and `redelivered`, encoded once for all devices and for the
 * store: the SEND's own bytes, the origin, the time.
 */
export function deliverBody(
  send: SendFrame,
  origin: Uint8Array,
  at: Millis,
): Uint8Array<ArrayBuffer> {
  const fields = send.raw ?? encodeSendBody(send);
  const size = fields.length + origin.length + (at === 0 ? 0 : 1 + uintSize(at));
  const body = new Uint8Array(size);
  body.set(fields);
  body.set(origin, fields.length);
  if (at !== 0) {
    const pos = fields.length + origin.length;
    body[pos] = (12 << 3) | VARINT;
    putUint(body, pos + 1, at);
  }
  return body;
}

function encodeDeliverBody(frame: DeliverFrame): Uint8Array<ArrayBuffer> {
  const origin = encodeOrigin(frame.from, frame.fromDevice, frame.outbox, frame.server);
  return deliverBody({ ...frame, type: "send" }, origin, frame.at);
}
