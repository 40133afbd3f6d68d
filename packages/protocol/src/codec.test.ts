import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { DeliverFrame, Frame, SendFrame, UnknownFrame } from "./frames.ts";

import {
  decodeDeliverBody,
  decodeFrame,
  decodeHint,
  decodeWake,
  deliverBody,
  encodeFrames,
  encodeHint,
  encodeOrigin,
  encodeSendBody,
  encodeWake,
  FrameWriter,
  LIMITS,
  ProtocolError,
  readFrames,
  readFramesByTable,
  TableWriter,
} from "./index.ts";
import { KINDS, SCHEMAS } from "./schema.ts";
import {
  arbitraryByType,
  arbitraryFrame,
  arbitraryHint,
  arbitraryUnknownField,
  arbitraryWake,
} from "./test-support/arbitraries.ts";
import { concat, framed, frameOf, takeApart } from "./test-support/bytes.ts";
import {
  decodeByReflection,
  encodeByReflection,
  FrameType,
  fromMessage,
  messageType,
  toMessage,
} from "./test-support/reflection.ts";

const UNBOUNDED = { messageBytes: Infinity, messageFrames: Infinity };

function read(message: Uint8Array, limits = UNBOUNDED): (Frame | UnknownFrame)[] {
  const frames: (Frame | UnknownFrame)[] = [];
  readFrames(message, limits, (frame) => frames.push(frame));
  return frames;
}

function readOne(message: Uint8Array): Frame {
  const frames = read(message);
  expect(frames).toHaveLength(1);
  return frames[0] as Frame;
}

/** A decoded frame as one would write it. */
function plain(frame: Frame | UnknownFrame): unknown {
  if (frame.type !== "send") return frame;
  const { raw: _, ...rest } = frame;
  return rest;
}

/** What follows the length of a message of one frame. */
function unframed(message: Uint8Array): Uint8Array {
  let pos = 0;
  while (message[pos]! >= 0x80) pos++;
  return message.subarray(pos + 1);
}

function refused(work: () => unknown): ProtocolError {
  try {
    work();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("no error");
}

const send: SendFrame = {
  type: "send",
  id: Uint8Array.from({ length: 16 }, (_, i) => i),
  to: "bob",
  n: 2,
  prev: 1,
  payload: Uint8Array.of(104, 105),
  wake: "call",
  preview: "hi",
  ends: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
};

describe("[P-2.1] beckon.proto and the codec say the same", () => {
  test("the table of kinds is the schema's", () => {
    const theirs = Object.fromEntries(FrameType.fieldsArray.map(({ name, id }) => [name, id]));
    expect<Record<string, number>>(theirs).toEqual({ ...KINDS });
  });

  test("the tables of fields are in ascending order", () => {
    for (const schema of Object.values(SCHEMAS)) {
      const numbers = Object.values<{ readonly number: number }>(schema).map((f) => f.number);
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });

  for (const [type, arbitrary] of Object.entries(arbitraryByType)) {
    test(`${type}: protobufjs reads what we write, and we write no byte more than it does`, () => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<Frame>, (frame) => {
          const bytes = unframed(encodeFrames([frame]));
          expect(decodeByReflection(bytes) as unknown).toEqual(frame);
          expect(bytes.length).toBeLessThanOrEqual(encodeByReflection(frame).length);
        }),
      );
    });

    test(`${type}: what is written by the table means the same, in as many bytes`, () => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<Frame>, (frame) => {
          const writer = new TableWriter();
          writer.write(frame);
          const message = writer.toBytes();
          expect(plain(readOne(message))).toEqual(frame);
          expect(message.length).toBe(encodeFrames([frame]).length);
        }),
      );
    });

    test(`${type}: we read what protobufjs writes`, () => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<Frame>, (frame) => {
          const bytes = encodeByReflection(frame);
          expect(plain(decodeFrame(bytes))).toEqual(frame);
          expect(plain(readOne(framed(bytes)))).toEqual(frame);
        }),
      );
    });

    test(`[P-13.2] ${type}: unknown fields are ignored by both`, () => {
      fc.assert(
        fc.property(
          arbitrary as fc.Arbitrary<Frame>,
          fc.array(arbitraryUnknownField, { maxLength: 3 }),
          fc.array(arbitraryUnknownField, { maxLength: 3 }),
          fc.array(arbitraryUnknownField, { maxLength: 3 }),
          (frame, before, after, beside) => {
            const { kind, body } = takeApart(unframed(encodeFrames([frame])));
            const bytes = concat(frameOf(kind, concat(...before, body, ...after)), ...beside);
            expect(plain(decodeFrame(bytes))).toEqual(frame);
            expect(decodeByReflection(bytes) as unknown).toEqual(frame);
          },
        ),
      );
    });
  }

  test("wake and hint, both ways", () => {
    const WakeType = messageType("Wake");
    const HintType = messageType("Hint");
    fc.assert(
      fc.property(arbitraryWake, arbitraryHint, (wake, hint) => {
        expect(fromMessage(WakeType, WakeType.decode(encodeWake(wake)))).toEqual({ ...wake });
        expect(fromMessage(HintType, HintType.decode(encodeHint(hint)))).toEqual({ ...hint });
        const theirWake = WakeType.encode(toMessage(WakeType, wake)).finish();
        const theirHint = HintType.encode(toMessage(HintType, hint)).finish();
        expect(decodeWake(theirWake)).toEqual(wake);
        expect(decodeHint(theirHint)).toEqual(hint);
      }),
    );
  });
});

describe("[P-1.2] messages", () => {
  test("any frames, in order", () => {
    fc.assert(
      fc.property(fc.array(arbitraryFrame, { maxLength: 20 }), (frames) => {
        const message = encodeFrames(frames);
        expect(read(message).map(plain)).toEqual(frames);
      }),
    );
  });

  test("a Buffer is read like any other array, and views of it are no Buffers", () => {
    const [frame] = read(Buffer.from(encodeFrames([send])));
    expect(frame).toMatchObject(send);
    expect((frame as SendFrame).payload.constructor).toBe(Uint8Array);
  });

  test("[P-1.5] bytes at the limit, and one past it", () => {
    const message = encodeFrames([send, send]);
    const limits = { messageBytes: message.length, messageFrames: 2 };
    expect(read(message, limits)).toHaveLength(2);
    const { code } = refused(() => read(message, { ...limits, messageBytes: message.length - 1 }));
    expect(code).toBe("message-too-large");
  });

  test("[P-1.5] frames at the limit, and one past it", () => {
    const limits = { messageBytes: LIMITS.messageBytes, messageFrames: LIMITS.messageFrames };
    const pings = (count: number): Uint8Array =>
      encodeFrames(Array.from({ length: count }, () => ({ type: "ping" })));
    expect(read(pings(LIMITS.messageFrames), limits)).toHaveLength(LIMITS.messageFrames);
    const error = refused(() => read(pings(LIMITS.messageFrames + 1), limits));
    expect(error.code).toBe("message-too-large");
  });

  test("frames before a malformed one have been handed over", () => {
    const frames: unknown[] = [];
    const message = concat(encodeFrames([{ type: "ping" }]), [1]);
    refused(() => readFrames(message, UNBOUNDED, (frame) => frames.push(frame)));
    expect(frames).toEqual([{ type: "ping" }]);
  });
});

describe("[P-2.3] whatever bytes come, only a ProtocolError is thrown, and nothing past the end is read", () => {
  /** What a read comes to: the frames, and the error's text. */
  function outcome(message: Uint8Array, reader = readFrames): unknown {
    const frames: unknown[] = [];
    try {
      reader(message, UNBOUNDED, (frame) => frames.push(plain(frame)));
      return { frames };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      expect(error.at).toBeGreaterThanOrEqual(0);
      expect(error.at).toBeLessThanOrEqual(message.length);
      return { frames, error: error.message };
    }
  }

  /** The same bytes in the midst of others, and read by the table, which must not matter. */
  function check(bytes: Uint8Array, around: Uint8Array): void {
    const among = concat(around, bytes, around);
    const view = among.subarray(around.length, around.length + bytes.length);
    const expected = outcome(Uint8Array.from(bytes));
    expect(outcome(view)).toEqual(expected);
    expect(outcome(view, readFramesByTable)).toEqual(expected);
  }

  test("random bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array(), check), {
      numRuns: 2000,
    });
  });

  test("random bytes as each kind of frame", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 18 }),
        fc.uint8Array({ maxLength: 60 }),
        fc.uint8Array(),
        (kind, body, around) => check(framed(frameOf(kind, body)), around),
      ),
      { numRuns: 3000 },
    );
  });

  test("frames with bytes changed", () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.array(arbitraryFrame, { minLength: 1, maxLength: 3 }),
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.uint8Array(),
        (frames, changes, around) => {
          const message = encodeFrames(frames);
          for (const [at, byte] of changes) message[at % message.length] = byte;
          check(message, around);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("every beginning of a frame but the empty one is refused", () => {
    fc.assert(
      fc.property(arbitraryFrame, fc.nat(), (frame, at) => {
        const message = encodeFrames([frame]);
        const torn = message.subarray(0, 1 + (at % (message.length - 1)));
        expect(refused(() => read(torn)).code).toBe("bad-frame");
      }),
    );
  });

  test("wakes and hints", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const decode of [decodeWake, decodeHint, decodeDeliverBody]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("[P-5.7] a SEND is passed through", () => {
  const origin = encodeOrigin("ann", "phone", 7, "s1");

  test("as the very bytes that came, when there is nothing unknown in them", () => {
    const message = encodeFrames([send]);
    const { raw } = readOne(message) as SendFrame;
    expect(raw).toEqual(encodeSendBody(send));
  });

  test("without a copy, when it is large", () => {
    const message = encodeFrames([{ ...send, payload: new Uint8Array(4096) }]);
    const { raw, payload } = readOne(message) as SendFrame;
    expect(raw?.buffer).toBe(message.buffer);
    expect(payload.buffer).toBe(message.buffer);
  });

  test("any SEND comes out as the DELIVER with its fields", () => {
    const marks = fc.record({ held: fc.boolean(), redelivered: fc.boolean() });
    fc.assert(
      fc.property(arbitraryByType.deliver, marks, (frame, { held, redelivered }) => {
        const {
          from,
          fromDevice,
          outbox,
          server,
          at,
          held: _,
          redelivered: __,
          ...content
        } = frame;
        const sent = readOne(encodeFrames([{ ...content, type: "send" }])) as SendFrame;
        const body = deliverBody(sent, encodeOrigin(from, fromDevice, outbox, server), at);
        expect(decodeDeliverBody(body)).toEqual({ ...frame, held: false, redelivered: false });
        const writer = new FrameWriter();
        writer.deliver(body, held, redelivered);
        const expected: DeliverFrame = { ...frame, held, redelivered };
        expect(readOne(writer.toBytes())).toEqual(expected);
        expect(writer.toBytes()).toEqual(encodeFrames([expected]));
      }),
    );
  });

  test("without what this version does not know, so that nobody can say who he is", () => {
    const forged = deliverBody(send, encodeOrigin("mallory", "x", 1, "s9"), 5);
    const arrived = readOne(framed(frameOf(1, forged))) as SendFrame;
    expect(arrived).toMatchObject(send);
    expect(arrived.raw).toEqual(encodeSendBody(send));
    expect(decodeDeliverBody(deliverBody(arrived, origin, 9))).toEqual({
      ...send,
      type: "deliver",
      from: "ann",
      fromDevice: "phone",
      outbox: 7,
      at: 9,
      held: false,
      redelivered: false,
      server: "s1",
    });
  });

  test("any unknown field is taken out", () => {
    fc.assert(
      fc.property(
        arbitraryByType.send,
        fc.array(arbitraryUnknownField, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (frame, unknown, first) => {
          const body = encodeSendBody(frame);
          const parts = first ? [...unknown, body] : [body, ...unknown];
          const { raw } = readOne(framed(frameOf(1, concat(...parts)))) as SendFrame;
          expect(raw).toEqual(body);
        },
      ),
    );
  });

  test("a field that comes twice or out of order is written anew, the last value of each", () => {
    const twice = concat(encodeSendBody({ ...send, to: "eve", n: 9 }), encodeSendBody(send));
    const arrived = readOne(framed(frameOf(1, twice))) as SendFrame;
    expect(arrived).toMatchObject(send);
    expect(arrived.raw).toEqual(encodeSendBody(send));
  });
});

describe("[P-13.3] what a later version may send", () => {
  test("an unknown kind of frame is told by its number", () => {
    const message = framed(frameOf(18, Uint8Array.of(1, 2, 3)));
    expect(read(message)).toEqual([{ type: "unknown", field: 18 }]);
  });

  test("an enum's unknown value stands for the one that promises least", () => {
    const ack = readOne(framed(frameOf(4, Uint8Array.of(8, 1, 24, 9, 32, 9))));
    expect(ack).toEqual({ type: "ack", send: 1, count: 1, status: "held", route: "remote", at: 0 });
    const body = Uint8Array.of(48, 9);
    const arrived = readOne(framed(frameOf(1, body))) as SendFrame;
    expect(arrived.wake).toBe("message");
    // The recipient may know it.
    expect(arrived.raw).toEqual(body);
  });
});

describe("the writer", () => {
  test("writes ACK, RECEIVED and DELIVER without an object as it does with one", () => {
    fc.assert(
      fc.property(arbitraryByType.ack, arbitraryByType.received, (ack, received) => {
        const writer = new FrameWriter();
        writer.ack(ack.send, ack.count, ack.status, ack.route, ack.at);
        writer.received(received.ranges);
        expect(writer.frames).toBe(2);
        expect(writer.size).toBe(writer.toBytes().length);
        expect(read(writer.toBytes()).map(plain)).toEqual([ack, received]);
      }),
    );
  });

  test("starts anew after a flush, and returns what `send` returns", () => {
    const writer = new FrameWriter();
    writer.write(send);
    expect(writer.flush((bytes) => bytes.slice())).toEqual(encodeFrames([send]));
    expect([writer.size, writer.frames]).toEqual([0, 0]);
    writer.write({ type: "ping" });
    expect(writer.flush((bytes) => bytes.slice())).toEqual(encodeFrames([{ type: "ping" }]));
  });

  test("keeps apart what is written while `send` runs", () => {
    const writer = new FrameWriter();
    writer.write(send);
    writer.flush((bytes) => {
      writer.write({ type: "ping" });
      expect(bytes).toEqual(encodeFrames([send]));
    });
    expect(writer.toBytes()).toEqual(encodeFrames([{ type: "ping" }]));
    expect(writer.frames).toBe(1);
  });

  test("starts anew when `send` throws", () => {
    const writer = new FrameWriter();
    writer.write(send);
    expect(() =>
      writer.flush(() => {
        throw new Error("gone");
      }),
    ).toThrow("gone");
    expect(writer.size).toBe(0);
  });

  test("uses its buffer again, unless it has grown large", () => {
    const writer = new FrameWriter();
    const bufferOf = (payload: number): ArrayBufferLike => {
      writer.write({ ...send, payload: new Uint8Array(payload) });
      return writer.flush((bytes) => bytes.buffer);
    };
    const first = bufferOf(10);
    expect(bufferOf(10)).toBe(first);
    const large = bufferOf(100_000);
    expect(large.byteLength).toBeGreaterThan(100_000);
    expect(bufferOf(10).byteLength).toBeLessThan(10_000);
  });
});
