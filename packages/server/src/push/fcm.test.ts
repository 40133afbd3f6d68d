import { afterEach, describe, expect, test } from "bun:test";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { systemClock } from "../lib/clock.ts";
import type { FcmText } from "./fcm-message.ts";
import { type FcmOptions, fcmProvider } from "./fcm.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { type ProviderFixture, providerSuite } from "./provider.suite.ts";
import { type FcmDevice, type FcmMood, FcmService } from "./test-support/fcm-service.ts";
import { listenTap } from "./test-support/tap.ts";
import { composeSealed, intentFor, itemFor, logInto, sendOne } from "./test-support/pushes.ts";
import { pass, until } from "./test-support/waiting.ts";

const TEXT: FcmText = {
  title: "",
  body: "New message",
  callBody: "Incoming call",
  isShown: false,
};

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(): Promise<FcmService> {
  const service = await FcmService.start();
  cleanups.push(() => service.close());
  return service;
}

const lines: string[] = [];

function provider(service: FcmService, options: Partial<FcmOptions> = {}): PushProvider {
  const log = logInto(lines);
  const made = fcmProvider({
    account: service.account(),
    url: service.url,
    text: TEXT,
    clock: systemClock,
    log,
    ...options,
  });
  cleanups.push(() => made.close());
  return made;
}

const item = ({ token }: { readonly token: string }, more: Partial<PushItem> = {}): PushItem =>
  itemFor(token, more);

/** Its clock and the service's. */
function timeOf(service: FcmService): VirtualClock {
  const clock = new VirtualClock(Date.now());
  service.now = () => clock.now();
  return clock;
}

describe("conformance", () => {
  providerSuite(test, async (): Promise<ProviderFixture> => {
    const service = await FcmService.start();
    const [a, b, gone] = [service.install(), service.install("ios"), service.install()];
    gone.state = "unregistered";
    const find = (token: string): FcmDevice => (token === a.token ? a : b);
    return {
      provider: provider(service),
      known: [a.token, b.token],
      gone: gone.token,
      received: (token) => find(token).received,
      arrived: (token, count) =>
        until(() => find(token).received.length >= count, `${count} pushes`),
      close: () => service.close(),
    };
  });
});

describe("what FCM is told", () => {
  test("how long to keep it, how urgent it is, what it replaces, and what iOS shows", async () => {
    const service = await start();
    const clock = timeOf(service);
    const phone = service.install();
    const collapse = "t0pic-t0pic-t0pic-t0pic-t0pic-32";
    const now = clock.now();
    const outcomes = await provider(service, { clock }).send([
      item(phone, { collapse, expires: now + 30_999 }),
      item(phone, { class: "silent", expires: now + 90 * 86_400_000 }),
      item(phone, { class: "call", expires: now - 1 }),
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(["sent", "sent", "sent"]);
    expect(service.refusals).toEqual([]);
    const [first, second, third] = phone.messages;
    const seconds = (more: number): string => String(Math.floor(now / 1000) + more);
    expect(first).toEqual({
      token: phone.token,
      data: { beckon: "AAAA" },
      android: { priority: "high", ttl: "30s" },
      apns: {
        headers: {
          "apns-push-type": "alert",
          "apns-priority": "10",
          "apns-expiration": seconds(30),
          "apns-collapse-id": collapse,
        },
        payload: {
          aps: { alert: { body: "New message" }, sound: "default", "mutable-content": 1 },
        },
      },
      webpush: { headers: { TTL: "30", Urgency: "high", Topic: collapse } },
    });
    const month = 28 * 86_400;
    expect(second).toEqual({
      token: phone.token,
      data: { beckon: "AAAA" },
      android: { priority: "normal", ttl: `${month}s` },
      apns: {
        headers: {
          "apns-push-type": "background",
          "apns-priority": "5",
          "apns-expiration": seconds(month),
        },
        payload: { aps: { "content-available": 1 } },
      },
      webpush: { headers: { TTL: String(month), Urgency: "normal" } },
    });
    expect(third).toMatchObject({
      android: { priority: "high", ttl: "0s" },
      apns: { payload: { aps: { alert: { body: "Incoming call" } } } },
    });
  });

  test("where it is to show something on Android, too: what, and which it replaces there; nothing of what is silent", async () => {
    const service = await start();
    const phone = service.install();
    const text = { title: "Parcels", body: "Look in", callBody: "We call", isShown: true };
    await provider(service, { text }).send([
      item(phone, { collapse: "a" }),
      item(phone, { class: "call" }),
      item(phone, { class: "silent", collapse: "a" }),
    ]);
    const [message, call, silent] = phone.messages;
    const shown = { title: "Parcels", body: "Look in" };
    expect(message).toMatchObject({
      notification: shown,
      android: { notification: { tag: "a" } },
      apns: { payload: { aps: { alert: shown } } },
    });
    expect(call).toMatchObject({ notification: { title: "Parcels", body: "We call" } });
    expect(silent).not.toHaveProperty("notification");
    expect(silent!.android).not.toHaveProperty("notification");
  });

  test("the longest wake fits, with the longest text beside it; a longer one is refused here", async () => {
    const service = await start();
    const phone = service.install();
    const wake = (bytes: number): string => `{"beckon":"${"A".repeat(bytes - 13)}"}`;
    const long = "é".repeat(24);
    const text = { title: long, body: long, callBody: long, isShown: true };
    const shows = provider(service, { text });
    expect(await sendOne(shows, item(phone, { body: wake(3993) }))).toEqual({ kind: "sent" });
    expect(service.refusals).toEqual([]);

    const bare = provider(service);
    const most = 4096 - "beckon".length + 13;
    expect(await sendOne(bare, item(phone, { body: wake(most) }))).toEqual({ kind: "sent" });
    expect(await sendOne(bare, item(phone, { body: wake(most + 1) }))).toEqual({
      kind: "rejected",
      reason: "it has more than 4096 bytes",
    });
    expect(await sendOne(bare, item(phone, { body: '{"beckon":1}' }))).toEqual({
      kind: "rejected",
      reason: "it is no JSON object of strings",
    });
    expect(service.refusals).toEqual([]);
    expect(phone.received.map(({ length }) => length)).toEqual([3993, most]);
  });

  test("B5, L11: no address, no user and no text in all the bytes that leave", async () => {
    const service = await start();
    const tap = await listenTap(service.port);
    cleanups.push(tap.close);
    const at = `http://127.0.0.1:${tap.port}`;
    const phone = service.install();
    const composed = await composeSealed(intentFor("fcm", phone.token));
    const to = provider(service, { url: new URL(at) });
    expect(await sendOne(to, composed)).toEqual({ kind: "sent" });
    expect(phone.received).toEqual([composed.body]);

    const bytes = Buffer.concat(tap.sent).toString("latin1");
    const [head = "", body = ""] = bytes.split("\r\n\r\n");
    expect(JSON.parse(body)).toEqual({ message: phone.messages[0] });
    const inside = Buffer.from(phone.messages[0]!.data!["beckon"]!, "base64url");
    const texts = ["recipient", "bobs-phone", "the-sender", "eu-1", "chat.example", "there"];
    for (const text of texts) {
      expect(bytes.toLowerCase()).not.toContain(text);
      expect(inside.toString("latin1").toLowerCase()).not.toContain(text);
    }
    const headers = head.split("\r\n").slice(1);
    expect(headers.map((line) => line.split(":")[0]!.toLowerCase()).toSorted()).toEqual([
      "accept",
      "accept-encoding",
      "authorization",
      "connection",
      "content-length",
      "content-type",
      "host",
      "user-agent",
    ]);
  });
});

describe("what FCM answers", () => {
  const answered = async (mood: FcmMood): Promise<PushOutcome> => {
    const service = await start();
    service.mood = () => mood;
    return sendOne(provider(service), item(service.install()));
  };

  test("a device that has removed the application, or a token that never was one: gone", async () => {
    const service = await start();
    const removed = service.install();
    removed.state = "unregistered";
    const to = provider(service);
    expect(await sendOne(to, item(removed))).toEqual({ kind: "gone" });
    expect(await sendOne(to, item({ token: "cut:APA91b" }))).toEqual({ kind: "gone" });
    expect(service.refusals).toEqual(["404 unregistered", "400 token"]);
    expect(lines).toEqual([]);
  });

  const FCM = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
  const BAD = "type.googleapis.com/google.rpc.BadRequest";
  const errorOf = (
    code: number,
    status: string,
    message: string,
    details: readonly object[] = [],
  ): FcmMood => ({
    status: code,
    body: JSON.stringify({ error: { code, message, status, details } }),
  });
  const invalid = (message: string, ...details: object[]): FcmMood =>
    errorOf(400, "INVALID_ARGUMENT", message, details);
  const fields = (...names: string[]): object => ({
    "@type": BAD,
    fieldViolations: names.map((field) => ({ field, description: "Invalid" })),
  });
  const INVALID = { "@type": FCM, errorCode: "INVALID_ARGUMENT" };
  const TOKEN = "The registration token is not a valid FCM registration token";

  test("INVALID_ARGUMENT: only where nothing but the token is named is a registration gone", async () => {
    const gone = { kind: "gone" } as const;
    const kept = { kind: "rejected", reason: "it does not understand the push" } as const;
    const INVALID_TEXT = "Request contains an invalid argument.";
    expect(await answered(invalid(TOKEN, INVALID))).toEqual(gone);
    expect(await answered(invalid(INVALID_TEXT, fields("message.token"), INVALID))).toEqual(gone);

    expect(await answered(invalid(INVALID_TEXT, INVALID))).toEqual(kept);
    expect(await answered(invalid("Android message is too big", INVALID))).toEqual(kept);
    expect(await answered(invalid(INVALID_TEXT, fields("message.data[0].value")))).toEqual(kept);
    expect(await answered(invalid(TOKEN, fields("message.token", "message.android.ttl")))).toEqual(
      kept,
    );
    expect(await answered(invalid(TOKEN))).toEqual(kept);
  });

  test.each<[string, FcmMood, string]>([
    [
      "SENDER_ID_MISMATCH",
      errorOf(403, "PERMISSION_DENIED", "SenderId mismatch", [
        { "@type": FCM, errorCode: "SENDER_ID_MISMATCH" },
      ]),
      "the token is of another Firebase project than the service account's",
    ],
    [
      "PERMISSION_DENIED",
      errorOf(403, "PERMISSION_DENIED", "Permission denied"),
      "the service account may not push: it needs a role with cloudmessaging.messages.create, and the project FCM's API (v1)",
    ],
    [
      "THIRD_PARTY_AUTH_ERROR",
      errorOf(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", [
        { "@type": FCM, errorCode: "THIRD_PARTY_AUTH_ERROR" },
      ]),
      "Firebase has no key, or none that is good, for Apple's or the browser's push service",
    ],
    [
      "NOT_FOUND",
      errorOf(404, "NOT_FOUND", "Requested entity was not found."),
      "it does not know the project of the service account",
    ],
    ["another", errorOf(418, "TEAPOT", "what-fcm-says"), "it answers 418"],
  ])("%s: refused, in our own words, and the operator is told once", async (_, mood, reason) => {
    const service = await start();
    service.mood = () => mood;
    const phone = service.install();
    const to = provider(service);
    expect(await to.send([item(phone), item(phone)])).toEqual(
      Array.from({ length: 2 }, () => ({ kind: "rejected", reason })),
    );
    // One access token was enough.
    expect(service.granted).toBe(1);
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      event: "push.rejected",
      provider: "fcm",
      reason,
    });
    expect(lines[0]).not.toContain(phone.token);
    expect(lines[0]).not.toContain("what-fcm-says");
  });

  test("429: when it says so, else in a minute; 5xx: when it says so, else in 10 s", async () => {
    const quota = JSON.stringify({
      error: {
        code: 429,
        message: "Quota exceeded",
        status: "RESOURCE_EXHAUSTED",
        details: [{ "@type": FCM, errorCode: "QUOTA_EXCEEDED" }],
      },
    });
    const after = (status: number, value?: string): Promise<PushOutcome> =>
      answered({
        status,
        body: quota,
        ...(value === undefined ? {} : { headers: { "retry-after": value } }),
      });
    expect(await after(429, "7")).toEqual({ kind: "retry", after: 7_000 });
    expect(await after(429)).toEqual({ kind: "retry", after: 60_000 });
    expect(await after(503, "120")).toEqual({ kind: "retry", after: 120_000 });
    expect(await after(503)).toEqual({ kind: "retry", after: 10_000 });
    expect(await after(500)).toEqual({ kind: "retry", after: 10_000 });
    expect(await after(503, "31536000")).toEqual({ kind: "retry", after: 3_600_000 });
  });

  test.each<[string, FcmMood]>([
    ["200 and a page", { status: 200, body: "<h1>Log in to the hotel's network</h1>" }],
    ["200 and nothing", { status: 200, body: "" }],
    ["404 and a page", { status: 404, body: "<h1>404. That's an error.</h1>" }],
    ["400 and a page", { status: 400, body: "<h1>Bad request</h1>" }],
    ["403 and other JSON", { status: 403, body: '{"error":"no"}' }],
    ["a redirect", { status: 302, headers: { location: "/elsewhere" } }],
    ["an answer without an end", { status: 200, body: `{"name":"${"x".repeat(4_000_000)}"}` }],
  ])("%s is none of FCM's: later, and the operator is told", async (_, mood) => {
    expect(await answered(mood)).toEqual({ kind: "retry", after: 60_000 });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("what answers is not FCM: is push.fcm.url right?");
  });

  test("an error page of 502 from on the way, or a connection that is cut in the answer: later", async () => {
    expect(await answered({ status: 502, body: "<h1>Bad gateway</h1>" })).toEqual({
      kind: "retry",
      after: 10_000,
    });
    expect(await answered("cut")).toEqual({ kind: "retry", after: 10_000 });
  });
});

describe("access tokens", () => {
  test("one for many, renewed before its end without a push that waits for it", async () => {
    const service = await start();
    const clock = timeOf(service);
    const to = provider(service, { clock });
    const phones = Array.from({ length: 50 }, () => service.install());
    const send = async (): Promise<unknown> =>
      new Set((await to.send(phones.map((phone) => item(phone)))).map(({ kind }) => kind));
    expect(await send()).toEqual(new Set(["sent"]));
    await clock.advance(3_299_000 - 2_000);
    expect(await send()).toEqual(new Set(["sent"]));
    expect(service.asked).toBe(1);

    await clock.advance(3_000);
    // The old one is still good: nobody waits for the new one, which never comes.
    service.oauthMood = () => "silence";
    expect(await send()).toEqual(new Set(["sent"]));
    await until(() => service.asked === 2, "the renewal");
    service.oauthMood = () => undefined;
    // It is given up after 4 s, and there is another after 10 s more.
    for (let s = 0; s < 200 && service.used.size < 2; s++) {
      await clock.advance(1_000);
      expect(await send()).toEqual(new Set(["sent"]));
    }
    expect(service.used.size).toBe(2);
    // Past the end of the first.
    await clock.advance(600_000);
    expect(await send()).toEqual(new Set(["sent"]));
    expect(service.asked).toBe(3);
    expect(service.refusals).toEqual([]);
  });

  test("one that was revoked is renewed, once for all, and nothing is lost", async () => {
    const service = await start();
    const to = provider(service);
    const phones = Array.from({ length: 50 }, () => service.install());
    const items = phones.map((phone) => item(phone));
    await to.send(items);
    service.revoke();
    const outcomes = await to.send(items);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["sent"]));
    expect(service.granted).toBe(2);
    expect(new Set(service.refusals)).toEqual(new Set(["401 bearer"]));
    expect(phones.every(({ received }) => received.length === 2)).toBe(true);
  });

  test("where no access token is taken, it is not asked for another and another", async () => {
    const service = await start();
    const status = "UNAUTHENTICATED";
    const body = JSON.stringify({ error: { code: 401, message: "no", status } });
    service.mood = () => ({ status: 401, body });
    const to = provider(service);
    expect(await sendOne(to, item(service.install()))).toEqual({
      kind: "rejected",
      reason: "it does not take the access tokens of the service account",
    });
    expect(service.sent).toBe(2);
    expect(service.granted).toBe(2);
    expect(lines).toHaveLength(1);
  });

  const refusal = (status: number, body: string): FcmMood => ({ status, body });
  test.each<[string, FcmMood, number, string | undefined]>([
    [
      "invalid_grant",
      refusal(400, '{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'),
      60_000,
      "Google does not take the service account (invalid_grant): is the account's key still there, and does this machine have the right time?",
    ],
    [
      "a page",
      refusal(403, "<h1>Forbidden</h1>"),
      60_000,
      "token_uri answers 403, and no access token",
    ],
    [
      "200 and a page",
      refusal(200, "<h1>Log in</h1>"),
      60_000,
      "token_uri answers 200, and no access token",
    ],
    ["500", refusal(500, "<h1>Sorry</h1>"), 10_000, undefined],
    ["429", { status: 429, headers: { "retry-after": "30" } }, 30_000, undefined],
    ["cut", "cut", 10_000, undefined],
  ])(
    "none is to be had (%s): later, nobody is pushed to, and it is asked no more meanwhile",
    async (_, mood, after, reason) => {
      const service = await start();
      const clock = timeOf(service);
      service.oauthMood = () => mood;
      const to = provider(service, { clock });
      const items = Array.from({ length: 20 }, () => item(service.install()));
      const outcomes = await to.send(items);
      expect(outcomes).toEqual(items.map(() => ({ kind: "retry", after })));
      await clock.advance(after - 1);
      expect(await sendOne(to, items[0]!)).toEqual({ kind: "retry", after: 1_000 });
      expect(service.asked).toBe(1);
      expect(service.sent).toBe(0);
      expect(lines.map((line) => (JSON.parse(line) as { reason: string }).reason)).toEqual(
        reason === undefined ? [] : [reason],
      );

      await clock.advance(1);
      service.oauthMood = () => undefined;
      expect(await sendOne(to, items[0]!)).toEqual({ kind: "sent" });
      expect(service.asked).toBe(2);
    },
  );

  test("L5: one that is never answered costs a batch less than 5 s", async () => {
    const service = await start();
    const clock = timeOf(service);
    service.oauthMood = () => "silence";
    const to = provider(service, { clock });
    const sent = to.send(Array.from({ length: 200 }, () => item(service.install())));
    await until(() => service.asked === 1, "the request");
    expect(await pass(clock, sent)).toBeWithin(3_900, 4_600);
    expect((await sent).every(({ kind }) => kind === "retry")).toBe(true);
    expect(service.sent).toBe(0);
  });
});

describe("FCM is away", () => {
  test("L5: it is waited for less than 5 s, however many pushes there are; then shorter", async () => {
    const service = await start();
    const clock = timeOf(service);
    const to = provider(service, { clock });
    await sendOne(to, item(service.install()));
    service.mood = () => "silence";
    const items = Array.from({ length: 256 }, () => item(service.install()));
    const first = to.send(items);
    await until(() => service.sent === 65, "64 pushes to be under way");
    expect(await pass(clock, first)).toBeWithin(4_400, 5_000);
    expect(new Set((await first).map(({ kind }) => kind))).toEqual(new Set(["retry"]));
    expect(service.mostBusy).toBeLessThanOrEqual(64);

    const asked = service.sent;
    expect((await to.send(items)).every(({ kind }) => kind === "retry")).toBe(true);
    expect(service.sent).toBe(asked);
    await clock.advance(10_000);
    // One is let through to try.
    const second = to.send(items);
    await until(() => service.sent > asked, "the one push");
    expect(await pass(clock, second)).toBeWithin(1_900, 2_300);
    expect(service.sent).toBe(asked + 1);
  });

  test("it is left alone after five failures, then asked once, and again and again when it is back", async () => {
    const service = await start();
    const clock = timeOf(service);
    service.mood = () => ({ status: 503 });
    const to = provider(service, { clock });
    const phone = service.install();
    for (let i = 0; i < 5; i++) await sendOne(to, item(phone));
    expect(service.sent).toBe(5);
    expect(await sendOne(to, item(phone))).toEqual({ kind: "retry", after: 10_000 });
    expect(service.sent).toBe(5);
    await clock.advance(10_000);
    service.mood = () => undefined;
    expect(await sendOne(to, item(phone))).toEqual({ kind: "sent" });
    expect(await sendOne(to, item(phone))).toEqual({ kind: "sent" });
    // A quota that is used up is no such failure.
    service.mood = () => ({ status: 429 });
    for (let i = 0; i < 8; i++) await sendOne(to, item(phone));
    expect(service.sent).toBe(15);
  });

  test("nobody listens there: later", async () => {
    const service = await FcmService.start();
    const phone = service.install();
    const to = provider(service);
    await service.close();
    expect(await sendOne(to, item(phone))).toEqual({ kind: "retry", after: 10_000 });
  });
});

test("L10: 64 pushes at once, over connections that are kept", async () => {
  const service = await start();
  const to = provider(service);
  const items = Array.from({ length: 400 }, () => item(service.install()));
  const kinds = async (): Promise<unknown> =>
    new Set((await to.send(items)).map(({ kind }) => kind));
  expect(await kinds()).toEqual(new Set(["sent"]));
  expect(await Promise.all([kinds(), kinds()])).toEqual([new Set(["sent"]), new Set(["sent"])]);
  expect(service.mostBusy).toBeLessThanOrEqual(64);
  expect(service.mostBusy).toBeGreaterThan(1);
  expect(service.connections).toBeLessThanOrEqual(128);
});

test("a registration is looked at as far as can be seen", async () => {
  const service = await start();
  const to = provider(service);
  expect(to.fault?.(service.install().token)).toBeUndefined();
  for (const token of ["", '{"endpoint":"https://a"}', "a b", "x".repeat(4097)]) {
    expect(to.fault?.(token)).toBe("it must be a registration token, as Firebase's SDK gives it");
  }
});
