import { expect, test } from "bun:test";
import { createECDH, randomBytes } from "node:crypto";

import * as fc from "fast-check";
import ece from "http_ece";

import { encryptPush, LONGEST_TEXT } from "./webpush-encrypt.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "base64url");

test("RFC 8291, 5: the example, byte for byte", () => {
  const body = encryptPush(
    Buffer.from("When I grow up, I want to be a watermelon"),
    {
      p256dh: bytes(
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
      ),
      auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
    },
    {
      salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
      privateKey: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
      padding: 0,
    },
  );
  expect(body.toString("base64url")).toBe(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
  );
});

const device = createECDH("prime256v1");
device.generateKeys();
const auth = randomBytes(16);
const to = { p256dh: device.getPublicKey(), auth };
const open = (body: Uint8Array): Buffer =>
  ece.decrypt(body, { version: "aes128gcm", privateKey: device, authSecret: auth });

test("another implementation opens it, whatever is in it; the body has one of four sizes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: LONGEST_TEXT, size: "max" }), (text) => {
      const body = encryptPush(text, to);
      expect([1024, 2048, 3072, 4096]).toContain(body.length);
      expect(open(body).equals(text)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test("at the bound it fits in 4,096 bytes; one past it is refused", () => {
  expect(encryptPush(new Uint8Array(LONGEST_TEXT), to)).toHaveLength(4096);
  expect(() => encryptPush(new Uint8Array(LONGEST_TEXT + 1), to)).toThrow(RangeError);
});

test("never twice the same, and nobody else opens it", () => {
  const text = Buffer.from("a wake");
  const [one, two] = [encryptPush(text, to), encryptPush(text, to)];
  expect(one.equals(two)).toBe(false);
  const stranger = createECDH("prime256v1");
  stranger.generateKeys();
  const params = { version: "aes128gcm", authSecret: auth } as const;
  expect(() => ece.decrypt(one, { ...params, privateKey: stranger })).toThrow();
  one[one.length - 1]! ^= 1;
  expect(() => open(one)).toThrow();
});
