/** The stand-in refuses what a real push service would: each refusal, provoked once. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";

import { SignJWT, importJWK } from "jose";

import { systemClock } from "../../lib/clock.ts";
import { silentLog } from "../../lib/log.ts";
import { generateVapidKey, vapidJwk } from "../vapid.ts";
import { webPushProvider } from "../webpush.ts";
import { type Subscriber, WebPushService } from "./web-push-service.ts";

const key = generateVapidKey();
let service: WebPushService;
let phone: Subscriber;
/** A push that is as it should be. */
let good: { headers: Record<string, string>; body: Uint8Array<ArrayBuffer> };

beforeAll(async () => {
  service = await WebPushService.start();
  const provider = webPushProvider({
    key,
    subject: "mailto:push@example.com",
    clock: systemClock,
    log: silentLog,
    isAllowed: () => true,
  });
  phone = service.subscribe(key.publicKey);
  const item = {
    token: phone.token,
    body: "{}",
    class: "message" as const,
    expires: Date.now() + 60_000,
  };
  await provider.send([{ ...item, collapse: "topic" }]);
  await provider.close();
  const [{ headers, body }] = phone.requests as [Subscriber["requests"][number]];
  const { authorization, ttl, urgency, topic, "content-encoding": encoding } = headers;
  good = {
    headers: { authorization, ttl, urgency, topic, "content-encoding": encoding } as never,
    body: new Uint8Array(body),
  };
});
afterAll(() => service.close());
beforeEach(() => void (service.refusals.length = 0));

interface Change {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array<ArrayBuffer>;
}

async function post({ method = "POST", ...change }: Change, to = phone): Promise<number> {
  const headers = Object.entries({ ...good.headers, ...change.headers });
  const response = await fetch(to.endpoint, {
    method,
    headers: headers.filter((header): header is [string, string] => header[1] !== undefined),
    body: change.body ?? good.body,
  });
  await response.bytes();
  return response.status;
}

async function vapid(
  claims: { aud?: string; sub?: string },
  expires: number,
  signer = key,
  k = signer.publicKey,
): Promise<Change> {
  const { aud = service.origin, sub = "mailto:a@b.c" } = claims;
  const t = await new SignJWT({ aud, sub })
    .setProtectedHeader({ alg: "ES256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) + expires)
    .sign(await importJWK(vapidJwk(signer), "ES256"));
  return { headers: { authorization: `vapid t=${t}, k=${k}` } };
}

test("nothing is wrong with the one that is changed below", async () => {
  expect(await post({})).toBe(201);
  expect(await post(await vapid({}, 86_000))).toBe(201);
  expect(service.refusals).toEqual([]);
});

const header = (name: string, value: string | undefined) => (): Promise<Change> =>
  Promise.resolve({ headers: { [name]: value } });
const other = generateVapidKey();

const REFUSALS: readonly [string, () => Promise<Change>][] = [
  ["405 method", () => Promise.resolve({ method: "PUT" })],
  ["401 authorization", header("authorization", undefined)],
  ["401 authorization", header("authorization", "Bearer token")],
  ["401 signature", () => vapid({}, 60, other, key.publicKey)],
  ["401 aud", () => vapid({ aud: "https://elsewhere.example" }, 60)],
  ["401 exp", () => vapid({}, -60)],
  ["401 exp too far", () => vapid({}, 86_400 + 60)],
  ["401 sub", () => vapid({ sub: "push" }, 60)],
  ["403 k", () => vapid({}, 60, other)],
  ["400 ttl", header("ttl", undefined)],
  ["400 ttl", header("ttl", "soon")],
  ["400 urgency", header("urgency", "very-high")],
  ["400 topic", header("topic", "a".repeat(33))],
  ["400 topic", header("topic", "ann@example.com")],
  ["415 content-encoding", header("content-encoding", "aesgcm")],
  ["413 size", () => Promise.resolve({ body: new Uint8Array(4097) })],
  ["400 body", () => Promise.resolve({ body: new Uint8Array(200) })],
];

test.each(REFUSALS)("%s", async (refusal, change) => {
  expect(await post(await change())).toBe(Number(refusal.slice(0, 3)));
  expect(service.refusals).toEqual([refusal]);
});

test("a subscription that it does not know, and one that has ended", async () => {
  const elsewhere = await WebPushService.start();
  const unknown = elsewhere.subscribe(undefined, service.origin);
  await elsewhere.close();
  expect(await post({}, unknown)).toBe(404);
  phone.isExpired = true;
  expect(await post({})).toBe(410);
  expect(service.refusals).toEqual(["404 subscription", "410 subscription"]);
});
