import { describe, expect, test } from "bun:test";
import { createECDH } from "node:crypto";

import { isPublic } from "./public-address.ts";
import { BadSubscription, readSubscription } from "./webpush-subscription.ts";

const device = createECDH("prime256v1");
device.generateKeys();
const KEYS = { p256dh: device.getPublicKey("base64url"), auth: "BTBZMqHH6r4Tts7J_aSIgg" };
const OFF_CURVE = Buffer.alloc(65, 4).toString("base64url");
const ENDPOINT = "https://push.example.com/abc";

const read = (given: unknown, isAllowed: (address: string) => boolean = () => false) =>
  readSubscription(typeof given === "string" ? given : JSON.stringify(given), isAllowed);
const withEndpoint = (endpoint: string): object => ({ endpoint, keys: KEYS });

function fault(given: unknown): string | undefined {
  try {
    read(given);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(BadSubscription);
    return (error as Error).message;
  }
}

test("what JSON.stringify(subscription) makes is taken as it is", () => {
  const subscription = read({ endpoint: ENDPOINT, expirationTime: null, keys: KEYS });
  expect(subscription.endpoint.href).toBe(ENDPOINT);
  expect(Buffer.from(subscription.p256dh).equals(device.getPublicKey())).toBe(true);
  expect(subscription.auth).toHaveLength(16);
});

test.each([
  ["must be JSON", "secret-token"],
  ["must be JSON", "null"],
  ["must be JSON", { endpoint: ENDPOINT }],
  ["more than 4096 characters", `{"pad":"${"x".repeat(4096)}"}`],
  ["endpoint must be a URL", withEndpoint("secret")],
  ["at most 2048 characters", withEndpoint(`https://a.example/${"secret".repeat(400)}`)],
  ["must be https://", withEndpoint("http://push.example.com/secret")],
  ["must be https:// (http://", withEndpoint("file:///etc/secret")],
  ["neither user, password", withEndpoint("https://ann:secret@push.example.com/")],
  ["password nor fragment", withEndpoint("https://push.example.com/#secret")],
  ["keys.auth must be 16 bytes", { endpoint: ENDPOINT, keys: { ...KEYS, auth: "secret" } }],
  ["keys.p256dh must be", { endpoint: ENDPOINT, keys: { ...KEYS, p256dh: "secret" } }],
  ["must be a public key of P-256", { endpoint: ENDPOINT, keys: { ...KEYS, p256dh: OFF_CURVE } }],
])("%s: says so, and nothing of what was given", (message, given) => {
  expect(fault(given)).toContain(message);
  expect(fault(given)).not.toContain("secret");
});

describe("an endpoint that is an address", () => {
  test.each([
    "https://127.0.0.1/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://10.1.2.3/",
    "https://172.31.0.1/",
    "https://192.168.0.1/",
    "https://169.254.169.254/latest",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[2002:a00:1::]/",
    "http://127.0.0.1:8080/",
    "http://[::1]/",
  ])("%s is no public one", (endpoint) => {
    expect(fault(withEndpoint(endpoint))).toContain("push.webpush.allow");
  });

  test.each(["https://93.184.216.34/", "https://[2606:4700::1]/", "https://[64:ff9b::5db8:d822]/"])(
    "%s is",
    (endpoint) => expect(fault(withEndpoint(endpoint))).toBeUndefined(),
  );

  test("of a private network may be opened; http to this machine alone", () => {
    const everything = (): boolean => true;
    expect(read(withEndpoint("https://10.1.2.3/"), everything).endpoint.host).toBe("10.1.2.3");
    expect(read(withEndpoint("http://127.0.0.1:1/"), everything).endpoint.port).toBe("1");
    expect(() => read(withEndpoint("http://10.1.2.3/"), everything)).toThrow("must be https://");
  });
});

test("what is no address is not public", () => {
  for (const text of ["", "localhost", "fe80::1%eth0", "2606:4700::1%eth0", "1.2.3"]) {
    expect([text, isPublic(text)]).toEqual([text, false]);
  }
});
