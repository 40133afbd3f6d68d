import { describe, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";

import { BadCertificate, concerns, readCertificate } from "./certificate.ts";
import { Authority } from "./test-support/certificates.ts";

const root = new Authority("root");
const between = new Authority("between", root);
const DAY = 86_400_000;
const now = Math.floor(Date.now() / 1000) * 1000;
const pair = between.issue("s1", { begins: now - DAY, expires: now + 30 * DAY });
const chain = pair.cert + between.cert;

const problem = (cert: string, key: string): string => {
  try {
    readCertificate(cert, key);
  } catch (error) {
    expect(error).toBeInstanceOf(BadCertificate);
    const { file, message } = error as BadCertificate;
    return `${file}: ${message}`;
  }
  return "";
};

test("a certificate with its chain and its key", () => {
  const found = readCertificate(chain, pair.key);
  expect(found.begins).toBe(now - DAY);
  expect(found.expires).toBe(now + 30 * DAY);
  expect(found.fingerprint).toMatch(/^([\dA-F]{2}:){31}[\dA-F]{2}$/);
  expect(concerns(found, now)).toEqual([]);
});

describe("what a listener could not serve", () => {
  test.each([
    ["nothing", "", pair.key, "cert_file: has no certificate in PEM"],
    ["a half", chain.slice(0, 200), pair.key, "cert_file: has no certificate in PEM"],
    ["a chain that is cut off", chain.slice(0, -100), pair.key, "cert_file: is cut off"],
    [
      "another block in PEM's clothes",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      pair.key,
      "cert_file: certificate 1 in it cannot be read",
    ],
    ["no key", chain, "", "key_file: has no private key in PEM"],
    ["half a key", chain, pair.key.slice(0, 100), "key_file: has no private key in PEM"],
    [
      "another certificate's key",
      chain,
      between.issue("s2").key,
      "key_file: the key does not belong to the certificate in cert_file",
    ],
    [
      "a chain from its end",
      between.cert + pair.cert,
      pair.key,
      "cert_file: must begin with the server's own certificate, which is number 2 in it",
    ],
    [
      "a key with a password",
      chain,
      createPrivateKey(pair.key).export({
        type: "pkcs8",
        format: "pem",
        cipher: "aes-256-cbc",
        passphrase: "secret",
      }),
      "key_file: the key is encrypted; store it without a password (openssl pkey), readable by the server alone",
    ],
  ])("%s", (_, cert, key, expected) => {
    expect(problem(cert, key)).toBe(expected);
  });
});

describe("what is served all the same", () => {
  const said = (cert: string, at: number): string[] =>
    concerns(readCertificate(cert, pair.key), at).map(({ message }) => message);
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);

  test("one that has expired, and one that is not valid yet", () => {
    const end = now + 30 * DAY;
    expect(said(chain, end)).toEqual([`the certificate has expired on ${day(end)}`]);
    expect(said(chain, now - 2 * DAY)).toEqual([
      `the certificate is not valid before ${day(now - DAY)}`,
    ]);
  });

  test("a chain in disorder", () => {
    expect(said(pair.cert + root.cert + between.cert, now)).toEqual([
      "certificate 2 in it did not issue number 1: each must be followed by its issuer's",
    ]);
    expect(said(chain + root.cert, now)).toEqual([]);
  });
});
