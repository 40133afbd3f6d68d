import { describe, expect, test } from "bun:test";
import { createPublicKey, generateKeyPairSync } from "node:crypto";

import { importSPKI, jwtVerify } from "jose";

import { ProviderToken, readApnsKey } from "./apns-key.ts";

const MINUTE = 60_000;
const NOW = 1_800_000_000_000;

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const P8 = privateKey.export({ type: "pkcs8", format: "pem" });
const key = { jwk: readApnsKey(P8), keyId: "ABC123DEFG", teamId: "DEF123GHIJ" };

test("is signed by the key, and says which, whose, and when", async () => {
  const header = await new ProviderToken(key).get(NOW + 999);
  const [scheme, token] = header.split(" ") as [string, string];
  expect(scheme).toBe("bearer");
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
  const { protectedHeader, payload } = await jwtVerify(token, await importSPKI(spki, "ES256"));
  expect(protectedHeader).toEqual({ alg: "ES256", kid: "ABC123DEFG" });
  expect(payload).toEqual({ iss: "DEF123GHIJ", iat: NOW / 1000 });
});

describe("a token", () => {
  test("is kept for 40 minutes: APNs takes no other before 20, and none after 60", async () => {
    const token = new ProviderToken(key);
    const first = await token.get(NOW);
    expect(await token.get(NOW + 40 * MINUTE - 1)).toBe(first);
    const second = await token.get(NOW + 40 * MINUTE);
    expect(second).not.toBe(first);
    expect(await token.get(NOW + 79 * MINUTE)).toBe(second);
  });

  test("is signed anew where the clock was put back", async () => {
    const token = new ProviderToken(key);
    const first = await token.get(NOW);
    expect(await token.get(NOW - 1)).not.toBe(first);
  });

  test("that was refused is signed anew when it is 20 minutes old, once for all who had it", async () => {
    const token = new ProviderToken(key);
    const first = await token.get(NOW);
    expect(await token.refused(first, NOW + 20 * MINUTE - 1)).toBe(false);
    expect(await token.get(NOW + 20 * MINUTE)).toBe(first);
    expect(await token.refused(first, NOW + 20 * MINUTE)).toBe(true);
    const second = await token.get(NOW + 20 * MINUTE);
    expect(second).not.toBe(first);
    expect(await token.refused(first, NOW + 20 * MINUTE)).toBe(true);
    expect(await token.get(NOW + 20 * MINUTE)).toBe(second);
  });
});

test.each([
  ["no PEM", "secret"],
  ["a key of another curve", generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey],
  ["a key of another kind", generateKeyPairSync("ed25519").privateKey],
  ["a public key", createPublicKey(privateKey)],
])("%s is no key, and nothing of it is said", (_, file) => {
  const text =
    typeof file === "string"
      ? file
      : file.export({ type: file.type === "public" ? "spki" : "pkcs8", format: "pem" });
  expect(() => readApnsKey(text)).toThrow(
    new Error("must be a private key of P-256 in PEM: the .p8 file that Apple made for APNs"),
  );
});
