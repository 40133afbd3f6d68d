import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import type { Frame, Hint, SendFrame, UnknownFrame, Wake } from "./frames.ts";
import type { ErrorCode, MessageLimits } from "./index.ts";

import {
  decodeBase64Url,
  decodeHint,
  decodeWake,
  deliverBody,
  encodeBase64Url,
  encodeFrames,
  encodeHint,
  encodeOrigin,
  encodeWake,
  FrameStream,
  FrameWriter,
  formatUuid,
  isUuidv7,
  parseUuid,
  ProtocolError,
  readFrames,
  readFramesByTable,
  TableWriter,
  uuidTime,
  validDeviceId,
  validUserId,
} from "./index.ts";
import { KINDS } from "./schema.ts";
import { framed, frameOf, fromHex, takeApart, toHex } from "./test-support/bytes.ts";
import { decodeByReflection } from "./test-support/reflection.ts";

const UNBOUNDED: MessageLimits = { messageBytes: Infinity, messageFrames: Infinity };

function load<T>(name: string): T {
  const file = new URL(`../vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8"), (_, value: unknown) =>
    isHex(value) ? fromHex(value.hex) : value,
  ) as T;
}

/** Bytes in the vectors' JSON. */
function isHex(value: unknown): value is { readonly hex: string } {
  if (typeof value !== "object" || value === null) return false;
  return "hex" in value && Object.keys(value).length === 1;
}

/** What a server runs, and what an SDK runs. */
const READERS = { hot: readFrames, table: readFramesByTable };

function read(hex: string, limits = UNBOUNDED, reader = readFrames): unknown[] {
  const frames: unknown[] = [];
  reader(fromHex(hex), limits, (frame) => frames.push(plain(frame)));
  return frames;
}

function writtenByTable(frame: Frame): Uint8Array {
  const writer = new TableWriter();
  writer.write(frame);
  return writer.toBytes();
}

function plain(frame: Frame | UnknownFrame): unknown {
  if (frame.type !== "send") return frame;
  const { raw: _, ...rest } = frame;
  return rest;
}

describe("[P-13.5] vectors", () => {
  const frames = load<{ name: string; hex: string; frame: Frame }[]>("frames");

  test("there is one of each kind", () => {
    const kinds = new Set(frames.map(({ frame }) => frame.type));
    expect([...kinds].toSorted()).toEqual(Object.keys(KINDS).toSorted() as Frame["type"][]);
  });

  for (const { name, hex, frame } of frames) {
    test(name, () => {
      expect(toHex(encodeFrames([frame]))).toBe(hex);
      // In another order of fields, which is free [P-2.1].
      if (frame.type === "deliver") expect(read(toHex(writtenByTable(frame)))).toEqual([frame]);
      else expect(toHex(writtenByTable(frame))).toBe(hex);
      for (const reader of Object.values(READERS)) {
        expect(read(hex, UNBOUNDED, reader)).toEqual([frame]);
      }
    });
  }

  test("protobufjs reads them so too", () => {
    for (const { hex, frame } of frames) {
      const message = fromHex(hex);
      const start = message[0]! < 0x80 ? 1 : 2;
      expect(decodeByReflection(message.subarray(start)) as unknown).toEqual(frame);
    }
  });
});

describe("[P-2.4] bytes that one need not write so, but has to read", () => {
  const accepted = load<{ name: string; hex: string; frames: Frame[] }[]>("accepted");
  for (const { name, hex, frames } of accepted) {
    test(name, () => {
      for (const reader of Object.values(READERS)) {
        expect(read(hex, UNBOUNDED, reader)).toEqual(frames);
      }
    });
  }
});

describe("[P-2.3] malformed bytes", () => {
  const malformed =
    load<{ name: string; hex: string; limits?: MessageLimits; error: string; at: number }[]>(
      "malformed",
    );
  for (const { name, hex, limits, error, at } of malformed) {
    for (const [codec, reader] of Object.entries(READERS)) {
      test(`${name} (${codec})`, () => {
        let refused: unknown;
        try {
          read(hex, limits, reader);
        } catch (caught) {
          refused = caught;
        }
        expect(refused).toBeInstanceOf(ProtocolError);
        expect(refused).toMatchObject({ code: error, at });
        expect((refused as ProtocolError).message).toEndWith(`at byte ${at}`);
      });
    }
  }
});

describe("[P-1.4] streams", () => {
  const streams = load<
    {
      name: string;
      chunks: string[];
      limits?: Partial<MessageLimits>;
      frames: Frame[];
      error?: ErrorCode;
    }[]
  >("stream");
  for (const { name, chunks, limits, frames, error } of streams) {
    for (const [codec, reader] of Object.entries(READERS)) {
      test(`${name} (${codec})`, () => {
        const bounds = { ...UNBOUNDED, ...limits };
        const stream = new FrameStream();
        const heard: unknown[] = [];
        let refused: unknown;
        try {
          for (const chunk of chunks) {
            stream.push(
              fromHex(chunk),
              () => bounds,
              (message) => reader(message, bounds, (frame) => void heard.push(plain(frame))),
            );
          }
        } catch (caught) {
          refused = caught;
        }
        expect(heard).toEqual(frames);
        if (error === undefined) expect(refused).toBeUndefined();
        else expect(refused).toMatchObject({ name: "ProtocolError", code: error });
      });
    }
  }
});

describe("[P-5.7] what passes from a SEND to a DELIVER", () => {
  interface PassThrough {
    readonly name: string;
    readonly send: string;
    readonly origin: {
      readonly from: string;
      readonly fromDevice: string;
      readonly outbox: number;
      readonly at: number;
      readonly held: boolean;
      readonly redelivered: boolean;
      readonly server: string;
    };
    readonly deliver: string;
  }
  for (const { name, send, origin, deliver } of load<PassThrough[]>("pass-through")) {
    test(name, () => {
      let sent: SendFrame | undefined;
      readFrames(framed(frameOf(KINDS.send, fromHex(send))), UNBOUNDED, (frame) => {
        sent = frame as SendFrame;
      });
      const { from, fromDevice, outbox, at, held, redelivered, server } = origin;
      const writer = new FrameWriter();
      writer.deliver(
        deliverBody(sent!, encodeOrigin(from, fromDevice, outbox, server), at),
        held,
        redelivered,
      );
      const message = writer.toBytes();
      const { body } = takeApart(message.subarray(message[0]! < 0x80 ? 1 : 2));
      expect(toHex(body)).toBe(deliver);
    });
  }
});

describe("[P-9.2] a wake", () => {
  const vector = load<{
    device: string;
    key: { id: number; key: Uint8Array<ArrayBuffer> };
    hint: Hint;
    hintHex: string;
    wake: Wake;
    wakeHex: string;
    push: { beckon: string };
  }>("wake");
  const algorithm = {
    name: "AES-GCM",
    iv: Uint8Array.from(vector.wake.nonce),
    additionalData: new TextEncoder().encode(vector.device),
  };

  function importKey(): Promise<CryptoKey> {
    return crypto.subtle.importKey("raw", vector.key.key, "AES-GCM", false, ["encrypt", "decrypt"]);
  }

  test("from the push to the hint", async () => {
    const envelope = decodeBase64Url(vector.push.beckon)!;
    expect(toHex(envelope)).toBe(vector.wakeHex);
    const wake = decodeWake(envelope);
    expect(wake).toEqual(vector.wake);
    expect(wake.key).toBe(vector.key.id);
    const sealed = Uint8Array.from(wake.sealed);
    const opened = new Uint8Array(
      await crypto.subtle.decrypt(algorithm, await importKey(), sealed),
    );
    expect(toHex(opened)).toBe(vector.hintHex);
    expect(decodeHint(opened)).toEqual(vector.hint);
  });

  test("from the hint to the push", async () => {
    const hint = Uint8Array.from(encodeHint(vector.hint));
    expect(toHex(hint)).toBe(vector.hintHex);
    const sealed = new Uint8Array(await crypto.subtle.encrypt(algorithm, await importKey(), hint));
    expect(toHex(sealed)).toBe(toHex(vector.wake.sealed));
    const envelope = encodeWake({ ...vector.wake, sealed });
    expect(encodeBase64Url(envelope)).toBe(vector.push.beckon);
  });
});

describe("[P-12.2] [P-12.3] [P-5.2] ids", () => {
  const ids = load<{
    uuids: { text: string; hex: string; time: number }[];
    notUuidv7: { name: string; hex: string | Uint8Array }[];
    validUsers: string[];
    invalidUsers: string[];
    validDevices: string[];
    invalidDevices: string[];
  }>("ids");

  test("users and devices", () => {
    expect(ids.validUsers.filter((id) => !validUserId(id))).toEqual([]);
    expect(ids.invalidUsers.filter((id) => validUserId(id))).toEqual([]);
    expect(ids.validDevices.filter((id) => !validDeviceId(id))).toEqual([]);
    expect(ids.invalidDevices.filter((id) => validDeviceId(id))).toEqual([]);
    for (const half of ["\ud800", "\udc00", "a\ud83d"]) {
      expect(validUserId(half)).toBe(false);
      expect(validDeviceId(half)).toBe(false);
    }
  });

  test("UUIDs", () => {
    for (const { text, hex, time } of ids.uuids) {
      const id = fromHex(hex);
      expect(formatUuid(id)).toBe(text);
      expect(toHex(parseUuid(text.toUpperCase())!)).toBe(hex);
      expect(uuidTime(id)).toBe(time);
      expect(isUuidv7(id)).toBe(true);
    }
    for (const { hex } of ids.notUuidv7) expect(isUuidv7(fromHex(hex as string))).toBe(false);
  });
});

describe("[P-13.4] the recorded client of version 1 is still understood", () => {
  for (const { name, hex, frames } of load<{ name: string; hex: string; frames: Frame[] }[]>(
    "v1-client",
  )) {
    test(name, () => {
      const now = read(hex);
      expect(now).toHaveLength(frames.length);
      // Fields that came later are there too, at their default.
      expect(now).toMatchObject(frames);
    });
  }
});
