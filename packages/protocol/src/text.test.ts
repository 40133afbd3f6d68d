import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import {
  decodeBase64Url,
  encodeBase64Url,
  formatUuid,
  isUuidv7,
  parseUuid,
  uuidTime,
  uuidv7,
} from "./index.ts";
import { decodeBase64 } from "./base64url.ts";
import { readName } from "./names.ts";
import { readByHand, readUtf8, utf8Length, writeUtf8 } from "./utf8.ts";

describe("UTF-8", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** Every unit there is, halves of pairs included. */
  const units = fc
    .array(
      fc.oneof(
        fc.integer({ min: 0, max: 0xffff }),
        fc.integer({ min: 0xd7f0, max: 0xe010 }),
        fc.constantFrom(0, 0x7f, 0x80, 0x7ff, 0x800, 0xfeff, 0xffff),
      ),
      { maxLength: 60 },
    )
    .map((codes) => String.fromCharCode(...codes));
  const pieces = fc
    .array(
      fc.oneof(
        fc.uint8Array({ maxLength: 3 }),
        fc.string({ unit: "binary", maxLength: 10 }).map((text) => new TextEncoder().encode(text)),
      ),
      { maxLength: 6 },
    )
    .map((parts) => Uint8Array.from(parts.flatMap((part) => [...part])));

  test("is written as TextEncoder writes it", () => {
    fc.assert(
      fc.property(units, fc.nat({ max: 5 }), (text, start) => {
        const expected = new TextEncoder().encode(text);
        expect(utf8Length(text)).toBe(expected.length);
        const into = new Uint8Array(start + expected.length);
        expect(writeUtf8(into, start, text)).toBe(into.length);
        expect(into.subarray(start)).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });

  test("is read and refused as TextDecoder does, by each way of reading", () => {
    fc.assert(
      fc.property(pieces, fc.uint8Array({ maxLength: 3 }), (bytes, around) => {
        let expected: string | undefined;
        try {
          expected = decoder.decode(bytes);
        } catch {
          expected = undefined;
        }
        const among = Uint8Array.from([...around, ...bytes, ...around]);
        const end = around.length + bytes.length;
        for (const readIt of [readUtf8, readByHand, readName, readName]) {
          expect(readIt(among, around.length, end)).toBe(expected);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("names of one slot do not answer for each other", () => {
    for (let i = 0; i < 20_000; i++) {
      const name = `user-${i}`;
      const bytes = new TextEncoder().encode(name);
      expect(readName(bytes, 0, bytes.length)).toBe(name);
      expect(readName(bytes, 0, bytes.length)).toBe(name);
    }
  });
});

describe("base64url", () => {
  test("is Buffer's", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const text = encodeBase64Url(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64url"));
        expect(decodeBase64Url(text)).toEqual(bytes);
        expect(decodeBase64(Buffer.from(bytes).toString("base64"))).toEqual(bytes);
      }),
    );
  });

  test("refuses all else", () => {
    for (const text of ["A", "AAAAA", "AA=", "A A", "AA+A", "AA/A", "A\u00e4", "AB", "AAB"]) {
      expect(decodeBase64Url(text)).toBeUndefined();
    }
  });

  test("one sequence of bytes has one text", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("A", "B", "a", "b", "0", "1", "-", "_"), maxLength: 12 }),
        (text) => {
          const bytes = decodeBase64Url(text);
          if (bytes !== undefined) expect(encodeBase64Url(bytes)).toBe(text);
        },
      ),
    );
  });
});

describe("[P-5.2] UUIDv7", () => {
  test("carries its time, version and variant, and what is random", () => {
    const times = fc.integer({ min: 0, max: 2 ** 48 - 1 });
    fc.assert(
      fc.property(times, fc.uint8Array({ minLength: 16, maxLength: 16 }), (time, random) => {
        const id = uuidv7(time, (bytes) => bytes.set(random));
        expect(isUuidv7(id)).toBe(true);
        expect(uuidTime(id)).toBe(time);
        expect([...id.subarray(9)]).toEqual([...random.subarray(9)]);
        expect(id[7]).toBe(random[7]);
        expect(parseUuid(formatUuid(id))).toEqual(id);
      }),
    );
  });

  test("sorts by time, as bytes and as text", () => {
    const zero = (): void => undefined;
    const times = [0, 1, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 47];
    const texts = times.map((time) => formatUuid(uuidv7(time, zero)));
    expect(texts.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(texts);
  });

  test("other text is not one", () => {
    const text = formatUuid(uuidv7(0, () => undefined));
    const others = ["", text.slice(1), `${text}0`, text.replaceAll("-", ""), `{${text}}`, "x"];
    for (const other of others) expect(parseUuid(other)).toBeUndefined();
  });
});
