import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Frame, UnknownFrame } from "./frames.ts";

import {
  encodeFrames,
  FrameStream,
  LIMITS,
  type MessageLimits,
  ProtocolError,
  readFrames,
} from "./index.ts";
import { arbitraryFrame } from "./test-support/arbitraries.ts";
import { concat } from "./test-support/bytes.ts";

interface Read {
  readonly frames: unknown[];
  /** Of each message. */
  readonly sizes: number[];
  readonly error: string | undefined;
}

/** What a reader of the chunks hears; `limits` may change from message to message. */
function read(chunks: readonly Uint8Array[], limits: () => MessageLimits = () => LIMITS): Read {
  const stream = new FrameStream();
  const frames: unknown[] = [];
  const sizes: number[] = [];
  try {
    for (const chunk of chunks) {
      stream.push(chunk, limits, (message) => {
        sizes.push(message.length);
        readFrames(message, limits(), (frame) => frames.push(plain(frame)));
      });
      // Whoever reads from a socket may use its buffer again only if the next chunk is in another.
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { frames, sizes, error: error.code };
  }
  return { frames, sizes, error: undefined };
}

function plain(frame: Frame | UnknownFrame): unknown {
  if (frame.type !== "send") return frame;
  const { raw: _, ...rest } = frame;
  return rest;
}

/** The bytes in pieces that end at these places. */
function torn(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const cuts = [...new Set(places.map((at) => at % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [0, ...cuts].map((at, i) => bytes.slice(at, cuts[i] ?? bytes.length));
}

describe("[P-1.4] a stream", () => {
  test("says the same wherever it is torn", () => {
    fc.assert(
      fc.property(
        fc.array(arbitraryFrame, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (frames, places) => {
          const result = read(torn(encodeFrames(frames), places));
          expect(result).toMatchObject({ frames, error: undefined });
        },
      ),
    );
  });

  test("says the same byte by byte", () => {
    fc.assert(
      fc.property(fc.array(arbitraryFrame, { maxLength: 3 }), (frames) => {
        const bytes = encodeFrames(frames);
        const chunks = Array.from(bytes, (_, at) => bytes.slice(at, at + 1));
        expect(read(chunks)).toMatchObject({ frames, error: undefined });
      }),
    );
  });

  test("makes messages that keep to the limits", () => {
    const ping = encodeFrames([{ type: "ping" }]);
    const pings = concat(...Array.from({ length: 10 }, () => ping));
    const byFrames = read([pings], () => ({ messageBytes: 1_000, messageFrames: 4 }));
    expect(byFrames.sizes).toEqual([4, 4, 2].map((frames) => frames * ping.length));
    const messageBytes = 3 * ping.length + 1;
    const byBytes = read([pings], () => ({ messageBytes, messageFrames: 1_000 }));
    expect(byBytes.sizes).toEqual([3, 3, 3, 1].map((frames) => frames * ping.length));
  });

  test("[P-1.5] a frame has with its length what the limit says, and not a byte more", () => {
    const frame = encodeFrames([{ type: "auth", token: "t".repeat(300) }]);
    const limits = (messageBytes: number) => () => ({ messageBytes, messageFrames: 10 });
    expect(read([frame], limits(frame.length)).error).toBeUndefined();
    expect(read([frame], limits(frame.length - 1)).error).toBe("message-too-large");
    // It is refused for its length, of which nothing else has to come.
    expect(read([frame.slice(0, 2)], limits(frame.length - 1)).error).toBe("message-too-large");
    expect(read([new Uint8Array(10).fill(0x80)]).error).toBe("bad-frame");
    expect(read([new Uint8Array(9).fill(0x80)]).error).toBeUndefined();
  });

  test("hands over what came before that which is refused, and asks for the limits anew after it", () => {
    const ping = encodeFrames([{ type: "ping" }]);
    const large = encodeFrames([{ type: "auth", token: "t".repeat(100) }]);
    let messageBytes = ping.length;
    const limits = (): MessageLimits => ({ messageBytes, messageFrames: 10 });
    const refused = read([concat(ping, large)], limits);
    expect(refused).toMatchObject({ frames: [{ type: "ping" }], error: "message-too-large" });
    const stream = new FrameStream();
    const sizes: number[] = [];
    stream.push(concat(ping, large), limits, (message) => {
      sizes.push(message.length);
      messageBytes = 200;
    });
    expect(sizes).toEqual([ping.length, large.length]);
  });

  test("what was handed over is not written to any more", () => {
    const one = encodeFrames([{ type: "auth", token: "first" }]);
    const two = encodeFrames([{ type: "auth", token: "other" }]);
    const both = concat(one, two);
    const messages: Uint8Array[] = [];
    const stream = new FrameStream();
    for (const chunk of [
      both.slice(0, 3),
      both.slice(3, one.length + 2),
      both.slice(one.length + 2),
    ])
      stream.push(
        chunk,
        () => LIMITS,
        (message) => messages.push(message),
      );
    expect(messages).toEqual([one, two]);
  });
});
