/** The stand-in refuses what Google would: each refusal, provoked once. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";

import { SignJWT } from "jose";

import { readServiceAccount } from "../service-account.ts";
import { type FcmDevice, FcmService } from "./fcm-service.ts";

let service: FcmService;
let device: FcmDevice;
let bearer: string;

beforeAll(async () => {
  service = await FcmService.start();
  device = service.install();
  const { json } = await ask(await assertion({}));
  bearer = json["access_token"] as string;
});
afterAll(() => service.close());
beforeEach(() => {
  service.refusals.length = 0;
  service.now = () => Date.now();
});

interface Claims {
  readonly iss?: string;
  readonly aud?: string;
  readonly scope?: string;
  readonly iat?: number;
  readonly exp?: number;
}

function assertion(change: Claims, key = service.account().key): Promise<string> {
  const { email, tokenUri } = service.account();
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: email,
    aud: tokenUri.href,
    scope: "https://www.googleapis.com/auth/firebase.messaging",
    iat: now,
    exp: now + 600,
    ...change,
  };
  return new SignJWT(claims).setProtectedHeader({ alg: "RS256" }).sign(key);
}

interface Answered {
  readonly status: number;
  readonly json: Record<string, unknown>;
}

async function answered(response: Promise<Response>): Promise<Answered> {
  const { status, ...rest } = await response.then(async (got) => ({
    status: got.status,
    text: await got.text(),
  }));
  return { status, json: rest.text.startsWith("{") ? JSON.parse(rest.text) : {} };
}

function ask(
  jwt: string,
  { grant = "urn:ietf:params:oauth:grant-type:jwt-bearer", json = false } = {},
): Promise<Answered> {
  const body = new URLSearchParams({ grant_type: grant, assertion: jwt });
  const headers = json ? { "content-type": "application/json" } : {};
  return answered(fetch(new URL("token", service.url), { method: "POST", body, headers }));
}

test.each<[string, () => Promise<Answered>]>([
  ["grant_type", async () => ask(await assertion({}), { grant: "password" })],
  ["content-type", async () => ask(await assertion({}), { json: true })],
  [
    "signature",
    async () => {
      const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
      return ask(await assertion({}, privateKey));
    },
  ],
  ["signature", () => ask("no.j.wt")],
  ["iss", async () => ask(await assertion({ iss: "somebody@else.example" }))],
  ["aud", async () => ask(await assertion({ aud: "https://elsewhere.example/token" }))],
  ["scope", async () => ask(await assertion({ scope: "email" }))],
  ["iat", async () => ask(await assertion({ iat: Math.floor(Date.now() / 1000) + 120 }))],
  ["exp", async () => ask(await assertion({ exp: Math.floor(Date.now() / 1000) - 1 }))],
  ["exp too far", async () => ask(await assertion({ exp: Math.floor(Date.now() / 1000) + 3700 }))],
])("no access token: %s", async (why, provoke) => {
  const { status, json } = await provoke();
  expect(status).toBe(400);
  expect(json["error"]).toBe(why === "scope" ? "invalid_scope" : "invalid_grant");
  expect(service.refusals).toEqual([`400 ${why}`]);
});

type Message = Record<string, unknown>;

function send(
  change: Message,
  { project = "chat-4f2a1", token = bearer, path = "messages:send" } = {},
): Promise<Answered> {
  const message = {
    token: device.token,
    data: { beckon: "AAAA" },
    android: { priority: "high", ttl: "60s", collapse_key: "one" },
    apns: { headers: { "apns-priority": "10", "apns-push-type": "alert" }, payload: { aps: {} } },
    webpush: { headers: { TTL: "60", Urgency: "high", Topic: "one" } },
    ...change,
  };
  return answered(
    fetch(new URL(`v1/projects/${project}/${path}`, service.url), {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ message }),
    }),
  );
}

test("nothing is wrong with the one that is changed below", async () => {
  expect(await send({})).toMatchObject({ status: 200 });
  const full = { beckon: "a".repeat(4096 - 6) };
  expect(await send({ data: full })).toMatchObject({ status: 200 });
  expect(service.refusals).toEqual([]);
  expect(device.received).toEqual(['{"beckon":"AAAA"}', JSON.stringify(full)]);
});

const changed = (change: Message) => (): Promise<Answered> => send(change);
const android = (change: Message): (() => Promise<Answered>) => changed({ android: change });
const apns = (headers: Message): (() => Promise<Answered>) => changed({ apns: { headers } });
const web = (headers: Message): (() => Promise<Answered>) => changed({ webpush: { headers } });

test.each<[string, () => Promise<Answered>]>([
  ["404 path", () => send({}, { path: "messages" })],
  ["401 bearer", () => send({}, { token: "ya29.none" })],
  ["403 project", () => send({}, { project: "another" })],
  ["400 message.data.beckon", changed({ data: { beckon: 1 } })],
  ["400 message.data.beckon", changed({ data: { beckon: { deep: "x" } } })],
  ["400 message", changed({ collapse_key: "one" })],
  ["400 message.token", changed({ token: 1 })],
  ["400 message.android.priority", android({ priority: "urgent" })],
  ["400 message.android.ttl", android({ ttl: "60" })],
  ["400 message.android.ttl", android({ ttl: 60 })],
  ["400 message.android.ttl", android({ ttl: "-1s" })],
  ["400 message.android.ttl", android({ ttl: "2419201s" })],
  ["400 message.android", android({ time_to_live: 1 })],
  ["400 message.apns.headers.apns-priority", apns({ "apns-priority": 10 })],
  ["400 message.apns.headers", apns({ "apns-priority": "1" })],
  ["400 message.apns.headers", apns({ "apns-push-type": "voip" })],
  ["400 message.apns.headers", apns({ "apns-expiration": "soon" })],
  ["400 message.apns.headers", apns({ "apns-collapse-id": "x".repeat(65) })],
  ["400 message.webpush.headers", web({ TTL: "soon" })],
  ["400 message.webpush.headers", web({ Urgency: "now" })],
  ["400 message.webpush.headers", web({ Topic: "x".repeat(33) })],
  ...["from", "google.x", "gcm.x", "collapse_key", "message_type"].map(
    (key): [string, () => Promise<Answered>] => [
      "400 reserved key",
      changed({ data: { [key]: "x" } }),
    ],
  ),
  ["400 size", changed({ data: { beckon: "a".repeat(4096 - 5) } })],
  ["400 size", changed({ data: { beckon: "a".repeat(4096 - 12) }, notification: { body: "abc" } })],
  ["400 token", changed({ token: "nobody's" })],
])("%s", async (refusal, provoke) => {
  expect((await provoke()).status).toBe(Number(refusal.slice(0, 3)));
  expect(service.refusals).toEqual([refusal]);
});

test("an access token has an end", async () => {
  service.now = () => Date.now() + 3_600_000;
  expect((await send({})).status).toBe(401);
  expect(service.refusals).toEqual(["401 bearer expired"]);
});

test("a device that has removed the application, and one of another sender", async () => {
  const other = service.install();
  other.state = "unregistered";
  const gone = await send({ token: other.token });
  expect(gone.status).toBe(404);
  expect(JSON.stringify(gone.json)).toContain('"errorCode":"UNREGISTERED"');
  other.state = "of another sender";
  expect((await send({ token: other.token })).status).toBe(403);
  expect(service.refusals).toEqual(["404 unregistered", "403 sender"]);
});

test("what is too long for Apple, with what FCM adds to it", async () => {
  const phone = service.install("ios");
  const body = (length: number): Message => ({
    token: phone.token,
    data: { beckon: "a".repeat(length) },
    apns: { payload: { aps: { alert: { body: "New message" } } } },
  });
  expect((await send(body(3800))).status).toBe(200);
  expect((await send(body(3900))).status).toBe(400);
  expect(service.refusals).toEqual(["400 size"]);
});

test("a service account is as Google's console makes it", () => {
  const read = (change: Message) => (): unknown => readServiceAccount(service.accountFile(change));
  expect(read({})).not.toThrow();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey;
  const pem = (key: typeof privateKey): string => key.export({ type: "pkcs8", format: "pem" });
  for (const change of [
    { type: "authorized_user" },
    { project_id: "a/../b" },
    { client_email: undefined },
    { token_uri: "file:///etc/passwd" },
  ]) {
    expect(read(change)).toThrow(/^must be the JSON of a service account, /);
  }
  expect(read({ token_uri: "http://example.com/token" })).toThrow(/token_uri must be an https:/);
  for (const key of ["none", pem(privateKey), pem(weak)]) {
    expect(read({ private_key: key })).toThrow(/^its private_key must be an RSA key of 2048 bits/);
  }
  expect(() => readServiceAccount("{")).toThrow(/^must be the JSON of a service account, /);
});
