/** Certificates for tests, in X.509's own encoding, so that a test needs no other program and can date them as it likes. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";

import type { TlsPair } from "../certificate.ts";

const DAY_MS = 86_400_000;

export interface Validity {
  /** Milliseconds since 1970. */
  readonly begins?: number;
  readonly expires?: number;
}

/** Issues certificates; its own is what a device has to trust. */
export class Authority {
  readonly cert: string;
  readonly #name: string;
  readonly #key: KeyObject;

  /** Signed by `issuer`, or by itself. */
  constructor(name: string, issuer?: Authority) {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#name = name;
    this.#key = privateKey;
    const signer = issuer ?? this;
    this.cert = signer.#sign(name, publicKey, true, {});
  }

  /** For a server on this machine. */
  issue(name: string, validity: Validity = {}): TlsPair {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return {
      cert: this.#sign(name, publicKey, false, validity),
      key: privateKey.export({ type: "pkcs8", format: "pem" }),
    };
  }

  #sign(subject: string, key: KeyObject, isAuthority: boolean, validity: Validity): string {
    const { begins = Date.now() - DAY_MS, expires = Date.now() + 90 * DAY_MS } = validity;
    const algorithm = sequence(oid("2a8648ce3d040302"));
    const body = sequence(
      tagged(0, der(2, Buffer.from([2]))),
      der(2, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      algorithm,
      nameOf(this.#name),
      sequence(time(begins), time(expires)),
      nameOf(subject),
      key.export({ type: "spki", format: "der" }),
      tagged(3, sequence(isAuthority ? AUTHORITY : LOOPBACK)),
    );
    const signature = der(3, Buffer.from([0]), sign("sha256", body, this.#key));
    const base64 = sequence(body, algorithm, signature).toString("base64");
    const lines = base64.match(/.{1,64}/g)!.join("\n");
    return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  }
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const tagged = (number: number, body: Uint8Array): Buffer => der(0xa0 + number, body);
const oid = (hex: string): Buffer => der(6, Buffer.from(hex, "hex"));

function nameOf(text: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
}

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return der(0x17, Buffer.from(digits.slice(2)));
}

/** Basic constraints: an authority. */
const AUTHORITY = sequence(
  oid("551d13"),
  der(1, Buffer.from([0xff])),
  der(4, sequence(der(1, Buffer.from([0xff])))),
);
/** Other names of the subject: localhost, 127.0.0.1. */
const LOOPBACK = sequence(
  oid("551d11"),
  der(4, sequence(der(0x82, Buffer.from("localhost")), der(0x87, Buffer.from([127, 0, 0, 1])))),
);
