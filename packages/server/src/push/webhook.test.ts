import { afterEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { systemClock } from "../lib/clock.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { type ProviderFixture, providerSuite } from "./provider.suite.ts";
import { listenTap } from "./test-support/tap.ts";
import { composeSealed, intentFor, itemFor, logInto, sendOne } from "./test-support/pushes.ts";
import { pass, until } from "./test-support/waiting.ts";
import { type WebhookMood, WebhookReceiver } from "./test-support/webhook-receiver.ts";
import { readWebhookSecrets, signWebhook } from "./webhook-sign.ts";
import { type WebhookOptions, webhookProvider } from "./webhook.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const OTHER = `whsec_${Buffer.alloc(32, 8).toString("base64")}`;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(secret = SECRET): Promise<WebhookReceiver> {
  const receiver = await WebhookReceiver.start(secret);
  cleanups.push(() => receiver.close());
  return receiver;
}

const lines: string[] = [];

function provider(receiver: WebhookReceiver, options: Partial<WebhookOptions> = {}): PushProvider {
  const log = logInto(lines);
  const secrets = readWebhookSecrets(SECRET);
  return webhookProvider({ url: receiver.url, secrets, clock: systemClock, log, ...options });
}

const many = (count: number): PushItem[] =>
  Array.from({ length: count }, (_, at) => itemFor(`device ${at}`));

describe("conformance", () => {
  providerSuite(test, async (): Promise<ProviderFixture> => {
    const receiver = await WebhookReceiver.start(SECRET);
    receiver.gone.add("old");
    return {
      provider: provider(receiver),
      known: ["a", "b/ü"],
      gone: "old",
      received: (token) => receiver.received(token),
      arrived: (token, count) =>
        until(() => receiver.received(token).length >= count, `${count} pushes`),
      close: () => receiver.close(),
    };
  });
});

describe("the signature", () => {
  test("is that of Standard Webhooks: an example, reckoned apart", () => {
    const [secret] = readWebhookSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    const body = '{"test": 2432232314}';
    const expected = createHmac("sha256", Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64"))
      .update(`msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.${body}`)
      .digest("base64");
    expect(expected).toBe("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    expect(signWebhook("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, body, [secret!])).toEqual(
      {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": `v1,${expected}`,
      },
    );
  });

  test("with two secrets there are two, and who has either of them takes it; with another nobody does", async () => {
    const both = readWebhookSecrets(`${OTHER}\n${SECRET}\n`);
    for (const secret of [SECRET, OTHER]) {
      const receiver = await start(secret);
      const to = provider(receiver, { secrets: both });
      expect(await sendOne(to, itemFor("a"))).toEqual({ kind: "sent" });
    }
    const receiver = await start(OTHER);
    expect(await sendOne(provider(receiver), itemFor("a"))).toEqual({
      kind: "retry",
      after: 60_000,
    });
    expect(receiver.refusals).toEqual(["401 No matching signature found"]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("it does not take the signature: has it the same secret");
  });

  test("is of the time at which it is sent", async () => {
    const receiver = await start();
    const clock = new VirtualClock(Date.now() - 600_000);
    await provider(receiver, { clock }).send([itemFor("a")]);
    expect(receiver.refusals).toEqual(["401 Message timestamp too old"]);
  });

  test.each([
    "",
    "whsec_",
    "abc",
    `whsec_${"A".repeat(31)}`,
    `whsec_${"A".repeat(88)}`,
    `${SECRET}\n${OTHER}\n${SECRET}`,
  ])("%p is no secret", (text) => {
    expect(() => readWebhookSecrets(text)).toThrow(/^must be whsec_ and 24 to 64 random bytes/);
  });
});

describe("what the application is told", () => {
  test("who, how urgent, until when and what it replaces", async () => {
    const receiver = await start();
    const expires = Date.now() + 30_000;
    const items = [
      itemFor("a", { collapse: "c", expires }),
      itemFor("b", { class: "call" }),
      itemFor("c", { class: "silent" }),
    ];
    await provider(receiver).send(items);
    const [request] = receiver.requests;
    expect(request!.items).toEqual(items);
    expect(receiver.refusals).toEqual([]);
    expect(
      Math.abs(
        Date.parse((JSON.parse(request!.text) as { timestamp: string }).timestamp) - Date.now(),
      ),
    ).toBeLessThan(60_000);
  });

  test("L10: 25 in a request, 8 requests at once, each with an id of its own, over connections that are kept", async () => {
    const receiver = await start();
    const to = provider(receiver);
    const items = many(510);
    for (const outcomes of await Promise.all([to.send(items), to.send(items)])) {
      expect(outcomes).toHaveLength(510);
      expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["sent"]));
    }
    const sizes = receiver.requests.map((request) => request.items.length);
    expect(sizes).toHaveLength(42);
    expect(Math.max(...sizes)).toBe(25);
    expect(new Set(receiver.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(42);
    expect(receiver.mostBusy).toBeLessThanOrEqual(8);
    expect(receiver.mostBusy).toBeGreaterThan(1);
    expect(receiver.connections).toBeLessThanOrEqual(16);
  });

  test("B5, L11: beside the registration no address, no user and no text in all the bytes that leave", async () => {
    const receiver = await start();
    const tap = await listenTap(receiver.port);
    cleanups.push(tap.close);
    const composed = await composeSealed(intentFor("webhook", "hms:1"));
    const to = provider(receiver, { url: new URL(`http://127.0.0.1:${tap.port}/pushes`) });
    expect(await sendOne(to, composed)).toEqual({ kind: "sent" });
    expect(receiver.received("hms:1")).toEqual([composed.body]);

    const bytes = Buffer.concat(tap.sent).toString("latin1");
    const sealed = (JSON.parse(composed.body) as { beckon: string }).beckon;
    const inside = Buffer.from(sealed, "base64url").toString("latin1");
    const texts = ["recipient", "bobs-phone", "the-sender", "eu-1", "chat.example", "there"];
    for (const text of texts) {
      expect(bytes.toLowerCase()).not.toContain(text);
      expect(inside.toLowerCase()).not.toContain(text);
    }
    const headers = bytes.split("\r\n\r\n")[0]!.split("\r\n").slice(1);
    expect(headers.map((line) => line.split(":")[0]!.toLowerCase()).toSorted()).toEqual([
      "accept",
      "accept-encoding",
      "connection",
      "content-length",
      "content-type",
      "host",
      "user-agent",
      "webhook-id",
      "webhook-signature",
      "webhook-timestamp",
    ]);
  });
});

describe("what the application answers", () => {
  const answered = async (mood: WebhookMood): Promise<readonly PushOutcome[]> => {
    const receiver = await start();
    receiver.mood = () => mood;
    return provider(receiver).send(many(2));
  };
  const both = (outcome: PushOutcome): PushOutcome[] => [outcome, outcome];

  test.each<[number, string | undefined]>([
    [200, undefined],
    [202, ""],
    [204, undefined],
    [200, " \n"],
  ])("%d without a body: all are sent", async (status, body) => {
    const mood = body === undefined ? { status } : { status, body };
    expect(await answered(mood)).toEqual(both({ kind: "sent" }));
  });

  test("an outcome for each: it is taken, within bounds, and a reason is not repeated", async () => {
    const receiver = await start();
    const outcomes = [
      { kind: "sent" },
      { kind: "gone" },
      { kind: "retry", after: 5_000 },
      { kind: "retry", after: 1 },
      { kind: "retry", after: 1e12 },
      { kind: "rejected", reason: "what-the-application-says" },
    ];
    receiver.answer = () => JSON.stringify({ outcomes });
    expect(await provider(receiver).send(many(6))).toEqual([
      { kind: "sent" },
      { kind: "gone" },
      { kind: "retry", after: 5_000 },
      { kind: "retry", after: 1_000 },
      { kind: "retry", after: 3_600_000 },
      { kind: "rejected", reason: "it refuses pushes by their outcome" },
    ]);
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain("what-the-application-says");
  });

  test.each([
    "OK",
    "[]",
    '{"outcomes":[{"kind":"sent"}]}',
    '{"outcomes":[{"kind":"sent"},{"kind":"odd"}]}',
    "x".repeat(200_000),
  ])(
    "2xx with %.40p: refused, as nobody can say what became of them, and the operator is told",
    async (body) => {
      const reason =
        'its answer is neither empty nor {"outcomes": […]} with one for each of the items';
      expect(await answered({ status: 200, body })).toEqual(both({ kind: "rejected", reason }));
      expect(lines).toHaveLength(1);
      expect(lines[0]!.length).toBeLessThan(500);
    },
  );

  test.each<[number, string]>([
    [302, "it redirects, which is not followed"],
    [400, "it answers 400"],
    [401, "it does not take the signature: has it the same secret, and the right time?"],
    [403, "it does not take the signature: has it the same secret, and the right time?"],
    [404, "there is nothing at push.webhook.url"],
    [410, "it answers 410"],
    [413, "the request is too large for it"],
  ])("%d: later, and the operator is told once", async (status, reason) => {
    const receiver = await start();
    receiver.mood = () => ({ status, headers: { location: "/elsewhere" }, body: "a-page" });
    const to = provider(receiver);
    for (let i = 0; i < 2; i++) {
      expect(await to.send(many(2))).toEqual(both({ kind: "retry", after: 60_000 }));
    }
    expect(receiver.asked).toBe(2);
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      event: "push.rejected",
      provider: "webhook",
      reason,
    });
  });

  test("429 and 5xx: when it says so, else in 10 s; a connection that is cut: in 10 s", async () => {
    const headers = { "retry-after": "7" };
    expect(await answered({ status: 429, headers })).toEqual(both({ kind: "retry", after: 7_000 }));
    expect(await answered({ status: 503, headers })).toEqual(both({ kind: "retry", after: 7_000 }));
    expect(await answered({ status: 500, body: "<h1>Sorry</h1>" })).toEqual(
      both({ kind: "retry", after: 10_000 }),
    );
    expect(await answered("cut")).toEqual(both({ kind: "retry", after: 10_000 }));
    expect(lines).toEqual([]);
  });
});

describe("the application is away", () => {
  test("L5: it is waited for less than 5 s, then it is left alone, then tried", async () => {
    const receiver = await start();
    receiver.mood = () => "silence";
    const clock = new VirtualClock(Date.now());
    const to = provider(receiver, { clock });
    const sent = to.send(many(256));
    await until(() => receiver.asked === 8, "8 requests to be under way");
    expect(await pass(clock, sent)).toBeWithin(4_400, 5_000);
    expect(new Set((await sent).map(({ kind }) => kind))).toEqual(new Set(["retry"]));
    expect(receiver.asked).toBe(8);
    expect((await to.send(many(256))).every(({ kind }) => kind === "retry")).toBe(true);
    expect(receiver.asked).toBe(8);

    await clock.advance(10_000);
    const again = to.send(many(256));
    await until(() => receiver.asked === 9, "the one request");
    expect(await pass(clock, again)).toBeWithin(1_900, 2_300);
    expect(receiver.asked).toBe(9);
    await clock.advance(20_000);
    receiver.mood = () => undefined;
    expect(await sendOne(to, itemFor("a"))).toEqual({ kind: "sent" });
    expect(await sendOne(to, itemFor("a"))).toEqual({ kind: "sent" });
  });

  test("nobody listens there: later", async () => {
    const receiver = await WebhookReceiver.start(SECRET);
    const to = provider(receiver);
    await receiver.close();
    expect(await sendOne(to, itemFor("a"))).toEqual({ kind: "retry", after: 10_000 });
  });
});
