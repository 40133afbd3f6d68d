import { afterEach, describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { Authority } from "../gateway/test-support/certificates.ts";
import { systemClock } from "../lib/clock.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { type ProviderFixture, providerSuite } from "./provider.suite.ts";
import { listenTap } from "./test-support/tap.ts";
import { composeSealed, intentFor, itemFor, logInto, sendOne } from "./test-support/pushes.ts";
import { pass, until } from "./test-support/waiting.ts";
import { type Mood, type Subscriber, WebPushService } from "./test-support/web-push-service.ts";
import { generateVapidKey } from "./vapid.ts";
import { type WebPushOptions, webPushProvider } from "./webpush.ts";

const key = generateVapidKey();
const SUBJECT = "mailto:push@example.com";
const isLoopback = (address: string): boolean => address === "127.0.0.1";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(...options: Parameters<typeof WebPushService.start>): Promise<WebPushService> {
  const service = await WebPushService.start(...options);
  cleanups.push(() => service.close());
  return service;
}

const lines: string[] = [];

function provider(options: Partial<WebPushOptions> = {}): PushProvider {
  const log = logInto(lines);
  const made = webPushProvider({
    key,
    subject: SUBJECT,
    clock: systemClock,
    log,
    isAllowed: isLoopback,
    ...options,
  });
  cleanups.push(() => made.close());
  return made;
}

const item = (token: string, body?: string, more: Partial<PushItem> = {}): PushItem =>
  itemFor(token, body === undefined ? more : { body, ...more });

describe("conformance", () => {
  providerSuite(test, async (): Promise<ProviderFixture> => {
    const service = await WebPushService.start();
    const subscribers = [service.subscribe(), service.subscribe(key.publicKey)] as const;
    const gone = service.subscribe();
    gone.isExpired = true;
    const [a, b] = subscribers;
    const find = (token: string): Subscriber => (token === a.token ? a : b);
    return {
      provider: provider(),
      known: [a.token, b.token],
      gone: gone.token,
      received: (token) => find(token).received,
      arrived: (token, count) =>
        until(() => find(token).received.length >= count, `${count} pushes`),
      close: () => service.close(),
    };
  });
});

describe("what a push service is told", () => {
  test("how long to keep it, how urgent it is, what it replaces, and who asks (RFC 8030, 8292)", async () => {
    const service = await start();
    const phone = service.subscribe(key.publicKey);
    const collapse = "t0pic-t0pic-t0pic-t0pic-t0pic-32";
    const to = provider();
    await to.send([
      item(phone.token, "1", { collapse, expires: Date.now() + 30_000 }),
      item(phone.token, "2", { class: "silent", expires: Date.now() + 90 * 86_400_000 }),
      item(phone.token, "3", { expires: Date.now() - 1 }),
    ]);
    expect(service.refusals).toEqual([]);
    const [first, second, third] = phone.requests.map(({ headers }) => headers);
    expect(first).toMatchObject({
      ttl: "30",
      urgency: "high",
      topic: collapse,
      "content-encoding": "aes128gcm",
    });
    expect(second).toMatchObject({ ttl: String(28 * 86_400), urgency: "normal" });
    expect(second).not.toHaveProperty("topic");
    expect(third).toMatchObject({ ttl: "0" });
    // Signed once: a signature costs more than the rest.
    expect(second!.authorization).toBe(first!.authorization);
  });

  test("B5, L11: no address, no user and no text in all the bytes that leave", async () => {
    const service = await start();
    const tap = await listenTap(service.port);
    cleanups.push(tap.close);
    const phone = service.subscribe(key.publicKey, `http://127.0.0.1:${tap.port}`);
    const composed = await composeSealed(intentFor("webpush", phone.token));
    expect(await sendOne(provider(), composed)).toEqual({ kind: "sent" });
    expect(phone.received).toEqual([composed.body]);

    const bytes = Buffer.concat(tap.sent);
    expect(bytes.length).toBeGreaterThan(1024);
    const texts = [
      "recipient",
      "bobs-phone",
      "the-sender",
      "eu-1",
      "chat.example",
      "there",
      "beckon",
    ];
    for (const text of texts) expect(bytes.toString("latin1").toLowerCase()).not.toContain(text);
    const headers = bytes.toString("latin1").split("\r\n\r\n")[0]!.split("\r\n").slice(1);
    expect(headers.map((line) => line.split(":")[0]!.toLowerCase()).toSorted()).toEqual([
      "authorization",
      "connection",
      "content-encoding",
      "content-length",
      "content-type",
      "host",
      "topic",
      "ttl",
      "urgency",
    ]);
  });
});

describe("what a push service answers", () => {
  const answered = async (mood: Mood): Promise<PushOutcome> => {
    const service = await start();
    service.mood = () => mood;
    return sendOne(provider(), item(service.subscribe().token));
  };

  test.each([200, 201, 202, 204])("%d: sent", async (status) => {
    expect(await answered({ status })).toEqual({ kind: "sent" });
  });

  test.each([404, 410])("%d: gone", async (status) => {
    expect(await answered({ status })).toEqual({ kind: "gone" });
  });

  test("429 and 5xx: later, when it says so", async () => {
    const after = (status: number, value: string): Promise<PushOutcome> =>
      answered({ status, headers: { "retry-after": value } });
    expect(await after(429, "7")).toEqual({ kind: "retry", after: 7_000 });
    const date = new Date(Date.now() + 90_000).toUTCString();
    const dated = (await after(503, date)) as { readonly after: number };
    expect(dated.after).toBeWithin(60_000, 90_001);
    expect(await after(429, "31536000")).toEqual({ kind: "retry", after: 3_600_000 });
    expect(await after(429, "soon")).toEqual({ kind: "retry", after: 10_000 });
    expect(await answered({ status: 500 })).toEqual({ kind: "retry", after: 10_000 });
  });

  test.each([
    [400, "it does not understand the push"],
    [401, "it does not take the VAPID key or subject: was the subscription made with another key?"],
    [403, "it does not take the VAPID key or subject: was the subscription made with another key?"],
    [413, "the push is too large for it"],
    [418, "it answers 418"],
  ])("%d: refused, in our own words, and the operator is told once", async (status, reason) => {
    const service = await start();
    service.mood = () => ({ status, body: "what-the-service-says" });
    const { token, endpoint } = service.subscribe();
    const to = provider();
    expect(await to.send([item(token), item(token)])).toEqual(
      Array.from({ length: 2 }, () => ({ kind: "rejected", reason })),
    );
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      event: "push.rejected",
      provider: "webpush",
      reason,
      address: `127.0.0.1:${service.port}`,
    });
    expect(lines[0]).not.toContain(new URL(endpoint).pathname);
    expect(lines[0]).not.toContain("what-the-service-says");
  });

  test("a redirect is not followed", async () => {
    const service = await start();
    const elsewhere = await start();
    const headers = { location: elsewhere.subscribe().endpoint };
    for (const status of [301, 302, 307, 308]) {
      service.mood = () => ({ status, headers });
      expect(await sendOne(provider(), item(service.subscribe().token))).toEqual({
        kind: "rejected",
        reason: "it redirects, which is not followed",
      });
    }
    expect(elsewhere.connections).toBe(0);
  });

  test("an answer without an end costs no memory and no time", async () => {
    const service = await start();
    service.mood = () => ({ status: 201, body: "x".repeat(4_000_000) });
    expect(await sendOne(provider(), item(service.subscribe().token))).toEqual({ kind: "sent" });
  });

  test("a push that is too long is refused here", async () => {
    const service = await start();
    const { token } = service.subscribe();
    const outcomes = await provider().send([
      item(token, "x".repeat(3993)),
      item(token, "x".repeat(3994)),
    ]);
    expect(outcomes).toEqual([
      { kind: "sent" },
      { kind: "rejected", reason: "it has more than 3993 bytes" },
    ]);
  });
});

describe("a push service that is away", () => {
  const silent = async (): Promise<WebPushService> => {
    const service = await start();
    service.mood = () => "silence";
    return service;
  };
  const clockOf = (): VirtualClock => new VirtualClock(Date.now());

  test("L5: is waited for less than 5 s, however many pushes there are", async () => {
    const service = await silent();
    const clock = clockOf();
    const items = Array.from({ length: 200 }, () => item(service.subscribe().token));
    const sent = provider({ clock }).send(items);
    // Time begins when the service is asked: what is before that takes real time.
    const deadline = Date.now() + 10_000;
    while (service.mostBusy < 32 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(await pass(clock, sent)).toBeLessThan(5_000);
    expect(new Set((await sent).map(({ kind }) => kind))).toEqual(new Set(["retry"]));
    expect(service.mostBusy).toBeLessThanOrEqual(32);
  });

  test("is left alone after five failures, then asked once, and again and again when it is back", async () => {
    const service = await start();
    let asked = 0;
    let status = 503;
    service.mood = () => (asked++, { status });
    const clock = clockOf();
    const to = provider({ clock });
    const { token } = service.subscribe();
    for (let i = 0; i < 5; i++) await sendOne(to, item(token));
    expect(asked).toBe(5);
    expect(await sendOne(to, item(token))).toEqual({ kind: "retry", after: 10_000 });
    await clock.advance(9_999);
    expect(await sendOne(to, item(token))).toEqual({ kind: "retry", after: 1 });
    expect(asked).toBe(5);

    await clock.advance(1);
    const two = [item(token), item(service.subscribe().token)];
    expect((await to.send(two)).map(({ kind }) => kind)).toEqual(["retry", "retry"]);
    expect(asked).toBe(6);
    await clock.advance(19_000);
    await to.send(two);
    expect(asked).toBe(6);
    await clock.advance(1_000);
    status = 201;
    expect((await to.send([two[0]!])).map(({ kind }) => kind)).toEqual(["sent"]);
    expect((await to.send(two)).map(({ kind }) => kind)).toEqual(["sent", "sent"]);
  });

  test("that is slow is not taken for one that is away: what it has no time for comes a second later", async () => {
    const service = await start();
    const clock = clockOf();
    let asked = 0;
    service.mood = () => {
      // By then 32 have been sent.
      if (++asked === 2) void clock.advance(4_100);
      return undefined;
    };
    const to = provider({ clock });
    await sendOne(to, item(service.subscribe().token));
    const batch = () => to.send(Array.from({ length: 40 }, () => item(service.subscribe().token)));
    const outcomes = (await Promise.all([batch(), batch()])).flat();
    expect(outcomes.filter(({ kind }) => kind === "sent")).toHaveLength(32);
    expect(outcomes.filter(({ kind }) => kind !== "sent")).toEqual(
      Array.from({ length: 48 }, () => ({ kind: "retry", after: 1_000 })),
    );
    expect(asked).toBe(33);
    await sendOne(to, item(service.subscribe().token));
    expect(asked).toBe(34);
  });

  test("holds up a batch for 2 s, others not at all, and later ones no more", async () => {
    const dead = await silent();
    const living = await start();
    const clock = clockOf();
    const to = provider({ clock });
    const items = Array.from({ length: 40 }, () => item(dead.subscribe().token));
    const first = to.send(items);
    // Time stands still.
    const other = item(living.subscribe().token);
    expect(await sendOne(to, other)).toEqual({ kind: "sent" });
    expect(await pass(clock, first)).toBeWithin(2_000, 2_200);
    const outcomes = await to.send([...items, other]);
    expect(outcomes.at(-1)).toEqual({ kind: "sent" });
    expect(outcomes[0]).toMatchObject({ kind: "retry" });
  });

  test("nobody listens there: later", async () => {
    const service = await WebPushService.start();
    const { token } = service.subscribe();
    await service.close();
    expect(await sendOne(provider(), item(token))).toEqual({ kind: "retry", after: 10_000 });
  });
});

test("L10: 32 pushes to one host at once, over connections that are kept", async () => {
  const service = await start();
  const to = provider();
  const items = Array.from({ length: 200 }, () => item(service.subscribe().token));
  const kinds = async (): Promise<unknown> =>
    new Set((await to.send(items)).map(({ kind }) => kind));
  expect(await kinds()).toEqual(new Set(["sent"]));
  expect(await Promise.all([kinds(), kinds()])).toEqual([new Set(["sent"]), new Set(["sent"])]);
  expect(service.mostBusy).toBeLessThanOrEqual(32);
  expect(service.mostBusy).toBeGreaterThan(1);
  expect(service.connections).toBeLessThanOrEqual(64);
});

describe("where a device may have its pushes sent", () => {
  const FORBIDDEN = {
    kind: "rejected",
    reason: "it leads to an address that push.webpush.allow does not list",
  } as const;
  const authority = new Authority("an authority");
  const tls = authority.issue("localhost") as { cert: string; key: string };
  const secure = (): Promise<WebPushService> => start({ tls, host: "localhost" });
  const at = (...addresses: string[]): Pick<WebPushOptions, "resolve"> => ({
    resolve: () =>
      Promise.resolve(
        addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
      ),
  });

  test("by TLS, to whom the certificate is for", async () => {
    const service = await secure();
    const phone = service.subscribe(key.publicKey);
    const ca = authority.cert;
    expect(await sendOne(provider({ ca, ...at("127.0.0.1") }), item(phone.token))).toEqual({
      kind: "sent",
    });
    expect(await sendOne(provider(at("127.0.0.1")), item(phone.token))).toMatchObject({
      kind: "retry",
    });
    const other = service.subscribe(undefined, service.origin.replace("localhost", "other.test"));
    expect(await sendOne(provider({ ca, ...at("127.0.0.1") }), item(other.token))).toMatchObject({
      kind: "retry",
    });
    expect(phone.received).toHaveLength(1);
  });

  test.each([[["10.0.0.1"]], [["::1"]], [["::ffff:127.0.0.1"]], [["169.254.169.254", "fd00::1"]]])(
    "a name that leads to %p: not there, and nothing is sent",
    async (addresses) => {
      const service = await secure();
      const to = provider({ isAllowed: () => false, ca: authority.cert, ...at(...addresses) });
      expect(await sendOne(to, item(service.subscribe().token))).toEqual(FORBIDDEN);
      expect(service.connections).toBe(0);
    },
  );

  test("of the addresses of a name only those that it may", async () => {
    const service = await secure();
    const to = provider({ ca: authority.cert, ...at("10.0.0.1", "127.0.0.1", "::1") });
    expect(await sendOne(to, item(service.subscribe().token))).toEqual({ kind: "sent" });
  });

  test("a name that leads elsewhere at the next connection is looked at again", async () => {
    const service = await secure();
    service.mood = () => ({ status: 201, headers: { connection: "close" } });
    const answers = ["127.0.0.1", "10.0.0.1"];
    const resolve = (): Promise<{ address: string; family: number }[]> =>
      Promise.resolve([{ address: answers.shift() ?? "10.0.0.1", family: 4 }]);
    const to = provider({ ca: authority.cert, resolve });
    const { token } = service.subscribe();
    expect(await sendOne(to, item(token))).toEqual({ kind: "sent" });
    expect(await sendOne(to, item(token))).toEqual(FORBIDDEN);
  });

  test("a registration that was good elsewhere is looked at before each push", async () => {
    const service = await start();
    const { token } = service.subscribe();
    const to = provider({ isAllowed: () => false });
    expect(await to.send([item(token), item("not a subscription")])).toEqual([
      {
        kind: "rejected",
        reason:
          "the subscription is no good: endpoint leads to an address that push.webpush.allow does not list",
      },
      {
        kind: "rejected",
        reason:
          "the subscription is no good: it must be JSON with endpoint, keys.p256dh and keys.auth, as JSON.stringify(subscription) makes it",
      },
    ]);
    expect(service.connections).toBe(0);
  });
});

test("whatever devices registered: one outcome each, and none of them spoils the others", async () => {
  const service = await start();
  const phone = service.subscribe();
  const { keys } = JSON.parse(phone.token) as { keys: object };
  const to = provider({ resolve: () => Promise.reject(new Error("no such name")) });
  const token = fc.oneof(
    fc.string(),
    fc.json(),
    fc.webUrl({ withQueryParameters: true }).map((endpoint) => JSON.stringify({ endpoint, keys })),
    fc
      .tuple(fc.constantFrom("https://a.test/", "https://a.test:0/", "http://"), fc.string())
      .map(([start, rest]) => JSON.stringify({ endpoint: start + rest, keys })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(token, { maxLength: 20 }), async (tokens) => {
      const outcomes = await to.send([...tokens, phone.token].map((one) => item(one)));
      expect(outcomes.map(({ kind }) => kind)).toEqual([
        ...tokens.map(() => expect.stringMatching(/^(retry|rejected)$/)),
        "sent",
      ]);
    }),
    { numRuns: 100 },
  );
}, 30_000);
