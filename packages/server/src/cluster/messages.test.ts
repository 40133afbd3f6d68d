import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { BadMessage, ByteReader, ByteWriter } from "./bytes.ts";
import { decodeControlRequest, decodeDecisions, decodeStatus } from "./control-messages.ts";
import { decodeDelivery, encodeDelivery } from "./delivery-messages.ts";
import type { ServerRecord } from "./server-bus.ts";
import {
  decodeSessionMessage,
  encodeSessionMessage,
  type SessionMessage,
} from "./session-messages.ts";

const BID = { gain: 123_456, associates: 64 };

/** Ids are ASCII mostly, and of any script sometimes; lengths on both sides of one byte's worth. */
const id = fc.oneof(
  fc.string({ unit: "binary-ascii", maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 200 }),
);
const whole = fc.oneof(fc.nat(300), fc.maxSafeNat());
const body = fc.uint8Array({ maxLength: 300 });
const bid = fc.constantFrom(undefined, "leaving" as const, { gain: 1, associates: 0 }, BID);

const record: fc.Arbitrary<ServerRecord> = fc.oneof(
  fc.record({
    kind: fc.constant("deliver" as const),
    ref: whole,
    user: id,
    device: id,
    epoch: whole,
    heard: whole,
    bid,
    body,
  }),
  fc.record({ kind: fc.constant("received" as const), refs: fc.array(whole) }),
  fc.record({
    kind: fc.constant("refused" as const),
    ref: whole,
    reason: fc.constantFrom("not-here" as const, "behind" as const, "full" as const),
    number: whole,
  }),
  fc.record({ kind: fc.constant("kick" as const), user: id, device: id }),
  fc.record({ kind: fc.constant("move" as const), user: id, device: id, epoch: whole }),
);

const entry = fc.record({
  user: id,
  device: id,
  epoch: whole,
  durable: fc.boolean(),
  background: fc.boolean(),
  setVersion: whole,
  setSize: whole,
  member: fc.boolean(),
});
const owner = { server: id, incarnation: whole, version: whole };
const sessionMessage: fc.Arbitrary<SessionMessage> = fc.oneof(
  fc.record({
    kind: fc.constant("heartbeat" as const),
    ...owner,
    settled: fc.boolean(),
    state: fc.constantFrom("up" as const, "draining" as const, "left" as const),
    load: whole,
    since: whole,
    time: whole,
    addresses: fc.array(
      fc.record({
        url: id,
        protocol: id,
        secure: fc.boolean(),
        network: id,
        region: id,
        priority: whole,
      }),
      { maxLength: 3 },
    ),
    capacity: whole,
    cpu: whole,
    software: id,
  }),
  fc.record({
    kind: fc.constant("delta" as const),
    ...owner,
    base: whole,
    entries: fc.array(entry, { maxLength: 4 }),
    removed: fc.array(fc.record({ user: id, device: id, goodbye: fc.boolean() }), { maxLength: 4 }),
    sets: fc.array(fc.record({ user: id, setVersion: whole, setSize: whole }), { maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant("page" as const),
    ...owner,
    snapshot: whole,
    page: whole,
    last: fc.boolean(),
    entries: fc.array(entry, { maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant("snapshot-request" as const), server: id, owner: id }),
);

describe("messages between servers", () => {
  test("what is said of sessions is read as it was written", () => {
    fc.assert(
      fc.property(sessionMessage, (message) => {
        expect(decodeSessionMessage(encodeSessionMessage(message))).toEqual(message);
      }),
    );
  });

  test("what is said of deliveries is read as it was written", () => {
    fc.assert(
      fc.property(id, fc.array(record), (from, records) => {
        const message = { from, stream: 1_700_000_000_000, number: 7, records };
        expect(decodeDelivery(encodeDelivery(message))).toEqual(message);
      }),
    );
  });

  test("a body that several devices get goes over the bus once", () => {
    const body = new Uint8Array(1000).fill(7);
    const deliver = (ref: number): ServerRecord => {
      const to = { user: "ann", device: `d${ref}`, epoch: 1 };
      return { kind: "deliver", ref, ...to, heard: 0, bid: undefined, body };
    };
    const records = [deliver(1), deliver(2), deliver(3)];
    const bytes = encodeDelivery({ from: "a", stream: 1, number: 1, records });
    expect(bytes.length).toBeLessThan(1100);
    expect(decodeDelivery(bytes).records).toEqual(records);
  });

  test("garbage is a BadMessage and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        // With a right beginning, too: else all would end at the first byte.
        for (const input of [
          bytes,
          ...[[1], [1, 2], [3]].map((is) => Uint8Array.of(...is, ...bytes)),
        ]) {
          expectBadOrRead(() => decodeDelivery(input));
          expectBadOrRead(() => decodeSessionMessage(input));
          expectBadOrRead(() => decodeStatus(input));
          expectBadOrRead(() => decodeControlRequest(input));
          expectBadOrRead(() => decodeDecisions(input));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("a message with one byte changed is read or a BadMessage", () => {
    const anyMessage = fc.oneof(
      sessionMessage.map(encodeSessionMessage),
      fc
        .array(record)
        .map((records) => encodeDelivery({ from: "a", stream: 1, number: 1, records })),
    );
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.nat(255), (bytes, position, value) => {
        bytes[position % bytes.length] = value;
        expectBadOrRead(() => decodeDelivery(bytes));
        expectBadOrRead(() => decodeSessionMessage(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test("a message that was cut short is a BadMessage", () => {
    fc.assert(
      fc.property(sessionMessage, fc.nat(), (message, length) => {
        const bytes = encodeSessionMessage(message);
        const cut = bytes.subarray(0, length % bytes.length);
        expect(() => decodeSessionMessage(cut)).toThrow(BadMessage);
      }),
    );
  });

  test("fields that a later version adds at the end are passed over", () => {
    fc.assert(
      fc.property(sessionMessage, (message) => {
        const bytes = Uint8Array.of(...encodeSessionMessage(message), 1, 2, 3);
        expect(decodeSessionMessage(bytes)).toEqual(message);
      }),
    );
  });

  test("a count that no message could keep is refused before anything is made for it", () => {
    const bytes = new ByteWriter()
      .byte(3)
      .string("a")
      .varint(1)
      .varint(1)
      .varint(2 ** 50)
      .finish();
    expect(() => decodeDelivery(bytes)).toThrow("more items than bytes");
  });
});

describe("varints", () => {
  test("take every whole number up to 2^53 - 1, in as few bytes as it needs", () => {
    fc.assert(
      fc.property(whole, (value) => {
        const bytes = new ByteWriter().varint(value).finish();
        expect(new ByteReader(bytes).varint()).toBe(value);
        expect(bytes.length).toBe(Math.max(1, Math.ceil(value.toString(2).length / 7)));
      }),
    );
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN])("%p is not one", (value) => {
    expect(() => new ByteWriter().varint(value)).toThrow(RangeError);
  });

  test("over 2^53 - 1 they are not read", () => {
    const bytes = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10);
    expect(() => new ByteReader(bytes).varint()).toThrow("number too large");
    expect(() => new ByteReader(new Uint8Array(20).fill(0x80)).varint()).toThrow(BadMessage);
  });
});

test("a string that is not UTF-8 is a BadMessage", () => {
  expect(() => new ByteReader(Uint8Array.of(2, 0xc3, 0x28)).string()).toThrow("not UTF-8");
});

function expectBadOrRead(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(BadMessage);
  }
}
