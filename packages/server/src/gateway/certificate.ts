import { createPrivateKey, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";

import type { Millis } from "@beckon/protocol";

/** What a listener needs for TLS: PEM. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/** A certificate with its chain and its key, which belong together. */
export interface Certificate extends TlsPair {
  /** SHA-256. */
  readonly fingerprint: string;
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly begins: Millis;
  readonly expires: Millis;
  /** What is wrong with the order of the chain. */
  readonly disorder: string | undefined;
}

/** Which of the two files a problem is in, as the configuration calls it. */
export type TlsFile = "cert_file" | "key_file";

export interface CertificateProblem {
  readonly file: TlsFile;
  readonly message: string;
}

/** Says what is wrong, and nothing of what stands in the files. */
export class BadCertificate extends Error {
  override readonly name = "BadCertificate";
  readonly file: TlsFile;
  constructor(file: TlsFile, message: string) {
    super(message);
    this.file = file;
  }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** @throws {BadCertificate} where a listener could not serve with them, or a half of them is not written yet. */
export function readCertificate(cert: string, key: string): Certificate {
  const [leaf, ...above] = readChain(cert);
  const privateKey = readKey(key);
  if (!leaf.checkPrivateKey(privateKey)) throw misfit(above, privateKey);
  return {
    cert,
    key,
    fingerprint: leaf.fingerprint256,
    serial: leaf.serialNumber,
    begins: Date.parse(leaf.validFrom),
    expires: Date.parse(leaf.validTo),
    disorder: disorderOf([leaf, ...above]),
  };
}

/** A certificate is served all the same; whoever connects may refuse it. */
export function concerns(
  { begins, expires, disorder }: Certificate,
  now: Millis,
): CertificateProblem[] {
  const day = (time: Millis): string => new Date(time).toISOString().slice(0, 10);
  const found: string[] = [];
  if (expires <= now) found.push(`the certificate has expired on ${day(expires)}`);
  else if (begins > now) found.push(`the certificate is not valid before ${day(begins)}`);
  if (disorder !== undefined) found.push(disorder);
  return found.map((message) => ({ file: "cert_file", message }));
}

function readChain(text: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = text.match(BLOCK) ?? [];
  const [leaf, ...above] = blocks.map((block, at) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new BadCertificate("cert_file", `certificate ${at + 1} in it cannot be read`);
    }
  });
  if (leaf === undefined) throw new BadCertificate("cert_file", "has no certificate in PEM");
  // One that is cut off makes no block.
  if (text.split("-----BEGIN CERTIFICATE-----").length - 1 > blocks.length) {
    throw new BadCertificate("cert_file", "is cut off");
  }
  return [leaf, ...above];
}

function readKey(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    const message = text.includes("ENCRYPTED")
      ? "the key is encrypted; store it without a password (openssl pkey), readable by the server alone"
      : "has no private key in PEM";
    throw new BadCertificate("key_file", message);
  }
}

function misfit(above: readonly X509Certificate[], key: KeyObject): BadCertificate {
  const at = above.findIndex((certificate) => certificate.checkPrivateKey(key));
  return at < 0
    ? new BadCertificate("key_file", "the key does not belong to the certificate in cert_file")
    : new BadCertificate(
        "cert_file",
        `must begin with the server's own certificate, which is number ${at + 2} in it`,
      );
}

function disorderOf(chain: readonly X509Certificate[]): string | undefined {
  const at = chain.findIndex((certificate, i) => {
    const next = chain[i + 1];
    return next !== undefined && !certificate.checkIssued(next);
  });
  return at < 0
    ? undefined
    : `certificate ${at + 2} in it did not issue number ${at + 1}: each must be followed by its issuer's`;
}
