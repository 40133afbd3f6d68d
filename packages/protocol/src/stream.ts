import type { MessageLimits } from "./decode.ts";

import { ProtocolError } from "./protocol-error.ts";

const NOTHING: Uint8Array = new Uint8Array(0);
/** Bytes of the longest varint. */
const MAX_VARINT = 10;

/**
 * [P-1.4] Cuts a stream where its frames end. Of a frame that is not whole no more than has come is kept, in at most twice the
 * memory, and it has at most `messageBytes` bytes with its length.
 */
export class FrameStream {
  #kept: Uint8Array = NOTHING;
  /** Bytes of it that have come. */
  #length = 0;
  /** Bytes that what is kept needs before there is anything new to see in it. */
  #awaited = 0;

  /**
   * Calls `message` with whole frames: as many as have come and as one message may have by `limits`, which is asked before each.
   * They may be views of `chunk`, and are not written to any more. Throws a {@link ProtocolError} where the bytes stop being
   * frames; those before it have been handed over then, and nothing may come after.
   */
  push(
    chunk: Uint8Array,
    limits: () => MessageLimits,
    message: (frames: Uint8Array) => void,
  ): void {
    let bytes = chunk;
    if (this.#length > 0) {
      this.#keep(chunk);
      if (this.#length < this.#awaited) return;
      bytes = this.#kept.subarray(0, this.#length);
      this.#kept = NOTHING;
      this.#length = 0;
    } else if (chunk.constructor !== Uint8Array) {
      // A Buffer's `subarray` is a slow one.
      bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
    let from = 0;
    while (from < bytes.length) {
      const to = this.#cut(bytes, from, limits());
      if (to === from) break;
      message(bytes.subarray(from, to));
      from = to;
    }
    if (from < bytes.length) this.#keep(bytes.subarray(from));
  }

  /** Where the last of the frames ends that make the next message; `from`: the first one is not whole. */
  #cut(bytes: Uint8Array, from: number, { messageBytes, messageFrames }: MessageLimits): number {
    let to = from;
    for (let frames = 0; frames < messageFrames && to < bytes.length; frames++) {
      const end = frameEnd(bytes, to);
      if (end === Infinity || end - from > messageBytes) {
        if (to > from) return to;
        throw end === Infinity
          ? new ProtocolError("bad-frame", `varint over ${MAX_VARINT} bytes`, from)
          : new ProtocolError("message-too-large", `frame over ${messageBytes} bytes`, from);
      }
      if (end > bytes.length) {
        this.#awaited = end - to;
        return to;
      }
      to = end;
    }
    return to;
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#kept.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#length));
      larger.set(this.#kept.subarray(0, this.#length));
      this.#kept = larger;
    }
    this.#kept.set(bytes, this.#length);
    this.#length = length;
  }
}

/** Of the frame that begins at `start`: one byte more than there is where its length has not come, Infinity where it is none. */
function frameEnd(bytes: Uint8Array, start: number): number {
  let length = 0;
  let scale = 1;
  for (let pos = start; pos < start + MAX_VARINT; pos++) {
    const byte = bytes[pos];
    if (byte === undefined) return pos + 1;
    length += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte < 0x80) return pos + 1 + length;
  }
  return Infinity;
}
