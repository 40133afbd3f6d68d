/** The stand-in refuses what APNs would: each refusal, provoked once. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";

import { importJWK, SignJWT } from "jose";

import { readApnsKey } from "../apns-key.ts";
import { apnsProvider } from "../apns.ts";
import { systemClock } from "../../lib/clock.ts";
import { silentLog } from "../../lib/log.ts";
import { ApnsService, headersOf, OTHER_TOPIC, type Received, TOPIC } from "./apns-service.ts";

setDefaultTimeout(30_000);

let service: ApnsService;
let phone: string;
/** Pushes that are as they should be. */
let message: Received;
let silent: Received;

beforeAll(async () => {
  service = await ApnsService.start();
  phone = await service.install();
  const provider = apnsProvider({
    key: service.key,
    url: service.url,
    ca: service.ca,
    topics: [TOPIC],
    alerts: { message: { text: "New message" }, call: { text: "Call" } },
    clock: systemClock,
    log: silentLog,
  });
  const item = {
    token: phone,
    body: '{"beckon":"A"}',
    expires: Date.now() + 60_000,
    collapse: "topic",
  };
  await provider.send([
    { ...item, class: "message" },
    { ...item, class: "silent" },
  ]);
  await provider.close();
  [message, silent] = service.requests as [Received, Received];
});
afterAll(() => service.close());
beforeEach(() => void (service.requests.length = 0));

interface Change {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string;
}

interface Answer {
  readonly status: number | undefined;
  readonly code: number | undefined;
  readonly body: { readonly reason?: string; readonly timestamp?: number };
}

async function withSession<T>(run: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = connect(service.url, { ca: service.ca });
  session.on("error", () => undefined);
  try {
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    return await run(session);
  } finally {
    session.destroy();
  }
}

function request(session: ClientHttp2Session, good: Received, change: Change): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const headers = Object.entries({ ...headersOf(good), ...change.headers }).filter(
    ([name, value]) => name !== "content-length" && value !== undefined,
  );
  const stream = session.request({
    ":method": change.method ?? "POST",
    ":path": change.path ?? `/3/device/${phone}`,
    ...Object.fromEntries(headers),
  });
  let answered: IncomingHttpHeaders = {};
  let text = "";
  stream.on("response", (headers) => (answered = headers));
  stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  stream.on("error", () => undefined);
  stream.on("close", () => {
    const body = text === "" ? {} : (JSON.parse(text) as Answer["body"]);
    resolve({ status: Number(answered[":status"]), code: stream.rstCode, body });
  });
  stream.end(change.body ?? good.body);
  return promise;
}

const ask = (good: Received, change: Change = {}): Promise<Answer> =>
  withSession((session) => request(session, good, change));

async function bearer(
  claims: { iss?: string; iat?: number; kid?: string; alg?: string },
  jwk = service.key.jwk,
): Promise<string> {
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: "ES256", kid: claims.kid ?? service.key.keyId })
    .setIssuer(claims.iss ?? service.key.teamId)
    .setIssuedAt(claims.iat ?? Math.floor(Date.now() / 1000))
    .sign(await importJWK(jwk, "ES256"));
  return `bearer ${token}`;
}

test("it takes what is as it should be", async () => {
  expect((await ask(message)).status).toBe(200);
  expect((await ask(silent)).status).toBe(200);
  await service.caughtUp();
  expect(service.refusals).toEqual([]);
  expect(service.requests).toMatchObject([{ taken: true }, { taken: true }]);
});

const aps = (aps: object): string => JSON.stringify({ aps, beckon: "A" });

test.each([
  ["405 MethodNotAllowed", { method: "PUT" }],
  ["404 BadPath", { path: "/2/device/x" }],
  ["400 MissingDeviceToken", { path: "/3/device/" }],
  ["403 MissingProviderToken", { headers: { authorization: undefined } }],
  ["403 MissingProviderToken", { headers: { authorization: "bearer x" } }],
  ["400 UnknownHeader apns-idd", { headers: { "apns-idd": "x" } }],
  ["400 BadMessageId", { headers: { "apns-id": "1" } }],
  ["400 BadExpirationDate", { headers: { "apns-expiration": "soon" } }],
  ["400 BadPriority", { headers: { "apns-priority": "7" } }],
  ["400 BadCollapseId", { headers: { "apns-collapse-id": "x".repeat(65) } }],
  ["400 MissingTopic", { headers: { "apns-topic": undefined } }],
  ["400 InvalidPushType", { headers: { "apns-push-type": undefined } }],
  ["400 InvalidPushType", { headers: { "apns-push-type": "loud" } }],
  ["400 BadTopic", { headers: { "apns-topic": `${TOPIC}.voip` } }],
  ["400 BadTopic", { headers: { "apns-push-type": "voip" } }],
  ["400 TopicDisallowed", { headers: { "apns-topic": "com.example.other" } }],
  ["400 DeviceTokenNotForTopic", { headers: { "apns-topic": OTHER_TOPIC } }],
  ["400 PayloadEmpty", { body: "" }],
  ["400 BadPayload", { body: "hello" }],
  ["400 BadPayload", { body: "{}" }],
  ["413 PayloadTooLarge", { body: aps({ alert: "x".repeat(4096) }) }],
  ["400 InvalidPushType alert", { body: aps({ "content-available": 1 }) }],
  ["400 BadDeviceToken", { path: `/3/device/${"0a".repeat(32)}` }],
] as const)("%s", async (refusal, change) => {
  const { status, body } = await ask(message, change);
  expect(`${status} ${body.reason}`).toBe(refusal);
});

test.each([
  ["400 BadPriority background", { headers: { "apns-priority": "10" } }],
  ["400 InvalidPushType background", { body: aps({ alert: "x", "content-available": 1 }) }],
  ["400 InvalidPushType background", { body: aps({}) }],
] as const)("of a silent one: %s", async (refusal, change) => {
  const { status, body } = await ask(silent, change);
  expect(`${status} ${body.reason}`).toBe(refusal);
});

test("410 for an application that was removed, and since when", async () => {
  for (const [state, reason] of [
    ["unregistered", "Unregistered"],
    ["expired", "ExpiredToken"],
  ] as const) {
    const token = await service.install();
    await service.set({ token, topic: TOPIC, state });
    const { status, body } = await ask(message, { path: `/3/device/${token}` });
    expect([status, body.reason]).toEqual([410, reason]);
    expect(body.timestamp).toBeWithin(Date.now() - 60_000, Date.now() + 1);
  }
});

test("403 for a token that is of another key, of the future, or too old", async () => {
  const now = Math.floor(Date.now() / 1000);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const other = readApnsKey(privateKey.export({ type: "pkcs8", format: "pem" }));
  for (const [authorization, reason] of [
    [await bearer({}, other), "InvalidProviderToken"],
    [await bearer({ kid: "XXXXXXXXXX" }), "InvalidProviderToken"],
    [await bearer({ iss: "XXXXXXXXXX" }), "InvalidProviderToken"],
    [await bearer({ iat: now + 3600 }), "InvalidProviderToken"],
    [await bearer({ iat: now - 3660 }), "ExpiredProviderToken"],
  ] as const) {
    expect((await ask(message, { headers: { authorization } })).body.reason).toBe(reason);
  }
});

test("429 for a second token within 20 minutes on one connection", async () => {
  const send = async (session: ClientHttp2Session, iat: number): Promise<Answer> =>
    request(session, message, { headers: { authorization: await bearer({ iat }) } });
  const now = Math.floor(Date.now() / 1000);
  await withSession(async (session) => {
    expect((await send(session, now - 1)).status).toBe(200);
    const { status, body } = await send(session, now);
    expect([status, body.reason]).toEqual([429, "TooManyProviderTokenUpdates"]);
    await service.time(Date.now() + 20 * 60_000);
    expect((await send(session, now)).status).toBe(200);
    await service.time();
  });
});

test("one stream before the first good token: what a client sends that has not asked is refused", async () => {
  await withSession(async (session) => {
    expect(session.remoteSettings.maxConcurrentStreams).toBe(1);
    const more = new Promise((resolve) => session.once("remoteSettings", resolve));
    expect((await request(session, message, {})).status).toBe(200);
    await more;
    expect(session.remoteSettings.maxConcurrentStreams).toBe(100);
  });
  const hasty = connect(service.url, { ca: service.ca });
  const answers = await Promise.all([request(hasty, message, {}), request(hasty, message, {})]);
  hasty.destroy();
  expect(answers).toMatchObject([{ status: 200 }, { status: NaN, code: 7 }]);
});

test("moods: an answer, a refused stream, a reset, the end of the connection, silence", async () => {
  await service.mood({ do: "answer", status: 503, reason: "ServiceUnavailable", times: 1 });
  expect((await ask(message)).body.reason).toBe("ServiceUnavailable");
  expect((await ask(message)).status).toBe(200);
  await service.mood({ do: "refuse" });
  expect(await ask(message)).toMatchObject({ status: NaN, code: 7 });
  for (const how of ["reset", "drop"] as const) {
    await service.mood({ do: how });
    expect(await ask(message)).toMatchObject({ status: NaN });
  }
  await service.mood({ do: "goaway", after: 1 });
  await withSession(async (session) => {
    expect((await request(session, message, {})).status).toBe(200);
    const goaway = new Promise((resolve) => session.once("goaway", (_code, last) => resolve(last)));
    const two = [request(session, message, {}), request(session, message, {})] as const;
    expect(await goaway).toBe(3);
    expect(await Promise.all(two)).toMatchObject([{ status: 200 }, { status: NaN, code: 7 }]);
  });
  await service.mood({ do: "silence" });
  await withSession(async (session) => {
    const answer = request(session, message, {});
    const isPonged = new Promise<boolean>((resolve) => {
      session.ping((error) => resolve(error === null));
    });
    expect(await isPonged).toBe(true);
    session.destroy();
    expect((await answer).status).toBeNaN();
  });
  await service.mood();
});
