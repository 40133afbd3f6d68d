import { expect, test } from "bun:test";

import { decodeJwt } from "jose";

import { generateVapidKey, readVapidKey, VapidHeader, vapidJwk } from "./vapid.ts";

const HOUR = 3_600_000;

test("a key is read as it was written: as JWK, and as `web-push generate-vapid-keys --json` has it", () => {
  for (let i = 0; i < 20; i++) {
    const key = generateVapidKey();
    expect(readVapidKey(JSON.stringify(vapidJwk(key)))).toEqual(key);
    const privateKey = Buffer.from(key.privateKey).toString("base64url");
    expect(readVapidKey(JSON.stringify({ publicKey: key.publicKey, privateKey }))).toEqual(key);
  }
});

test.each([
  ["", "must be a private key of P-256"],
  ["-----BEGIN PRIVATE KEY-----", "must be a private key of P-256"],
  ['{"kty":"RSA","d":"secret"}', "must be a private key of P-256"],
  [JSON.stringify({ ...vapidJwk(generateVapidKey()), d: undefined }), "must be a private key"],
  [JSON.stringify({ ...vapidJwk(generateVapidKey()), d: "A".repeat(43) }), "must be a private key"],
  [
    JSON.stringify({ ...vapidJwk(generateVapidKey()), d: vapidJwk(generateVapidKey()).d }),
    "do not belong together",
  ],
])("what is none is refused: %s", (text, message) => {
  expect(() => readVapidKey(text)).toThrow(message);
});

test("the header is the same until an hour before it expires, which is never more than a day away", async () => {
  const header = new VapidHeader(generateVapidKey(), "https://push.example.com", "mailto:a@b.c");
  const now = 1_800_000_000_000;
  const first = await header.get(now);
  const { exp, ...claims } = decodeJwt(/t=([^,]+)/.exec(first)![1]!);
  expect(claims).toEqual({ aud: "https://push.example.com", sub: "mailto:a@b.c" });
  const expires = exp! * 1000 - now;
  expect(expires).toBeWithin(2 * HOUR, 24 * HOUR);
  expect(await header.get(now + expires - HOUR - 1)).toBe(first);
  expect(await header.get(now + expires - HOUR)).not.toBe(first);
  header.forget();
  expect(await header.get(now)).not.toBe(first);
});
