import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from "bun:test";
import { setDefaultTimeout, test } from "bun:test";
import { connect as connectTo, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

import { encodeBase64Url, LIMITS, utf8Length } from "@beckon/protocol";
import * as fc from "fast-check";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { systemClock } from "../lib/clock.ts";
import { type ApnsOptions, apnsProvider } from "./apns.ts";
import { composeWake } from "./compose.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";
import { type ProviderFixture, providerSuite } from "./provider.suite.ts";
import { sealWithNodeCrypto } from "./seal.ts";
import type { ApnsServiceOptions } from "./test-support/apns-service.ts";
import { composeSealed, intentFor, itemFor, logInto, sendOne } from "./test-support/pushes.ts";
import { pass, until } from "./test-support/waiting.ts";
import {
  ApnsService,
  headersOf,
  OTHER_TOPIC,
  payloadOf,
  TOPIC,
} from "./test-support/apns-service.ts";

const alerts = { message: { text: "New message" }, call: { text: "Incoming call" } };
const COLLAPSE = "c0llapse-c0llapse-c0llapse-c0lla";

// Thousands of pushes to another process, on a machine that may be busy.
setDefaultTimeout(60_000);

let service: ApnsService;
beforeAll(async () => {
  service = await ApnsService.start();
});
afterAll(() => service.close());

const cleanups: (() => unknown)[] = [];
beforeEach(() => void (service.requests.length = 0));
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await service.mood();
  await service.time();
});

async function start(options: ApnsServiceOptions): Promise<ApnsService> {
  const service = await ApnsService.start(options);
  cleanups.push(() => service.close());
  return service;
}

const lines: string[] = [];
const logged = (): Record<string, unknown>[] =>
  lines.map((line) => JSON.parse(line) as Record<string, unknown>);

function provider(options: Partial<ApnsOptions> = {}, of: ApnsService = service): PushProvider {
  const log = logInto(lines);
  const made = apnsProvider({
    key: of.key,
    url: of.url,
    ca: of.ca,
    topics: [TOPIC, OTHER_TOPIC],
    alerts,
    clock: systemClock,
    log,
    ...options,
  });
  cleanups.push(() => made.close());
  return made;
}

const kinds = (outcomes: readonly PushOutcome[]): object => {
  const counts: Record<string, number> = {};
  for (const { kind } of outcomes) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
};

const installAll = (count: number, on = service): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => on.install()));

/** Time that stands still, so that a slow machine is late for nothing. */
const stillClock = (): VirtualClock => new VirtualClock(Date.now());

describe("conformance", () => {
  providerSuite(test, async (): Promise<ProviderFixture> => {
    const known = [await service.install(), await service.install()] as const;
    const gone = await service.install();
    await service.set({ token: gone, topic: TOPIC, state: "unregistered" });
    return {
      provider: provider(),
      known,
      gone,
      received: (token) =>
        service.taken(token).map((one) => JSON.stringify({ beckon: payloadOf(one).beckon })),
      arrived: (token, count) =>
        until(() => service.taken(token).length >= count, `${count} pushes`),
      close: () => Promise.resolve(),
    };
  });
});

describe("what APNs is told", () => {
  const ids = { id: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/ };

  async function told(one: PushItem, options: Partial<ApnsOptions> = {}) {
    expect(await sendOne(provider(options), one)).toEqual({ kind: "sent" });
    await service.caughtUp();
    expect(service.refusals).toEqual([]);
    const request = service.requests.at(-1)!;
    const { authorization, "apns-id": id, ...headers } = headersOf(request);
    expect(id).toMatch(ids.id);
    expect(authorization).toMatch(/^bearer /);
    const path = request.headers.find(([name]) => name === ":path")![1];
    return { path, headers, payload: payloadOf(request) };
  }

  const seconds = (ms: number): string => String(Math.ceil(ms / 1000));

  test("of a message: at once, with a text that says nothing, and that an extension may replace", async () => {
    const token = await service.install();
    const expires = Date.now() + 30_000;
    expect(await told(itemFor(token, { expires, collapse: COLLAPSE }))).toEqual({
      path: `/3/device/${token}`,
      headers: {
        "apns-topic": TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": seconds(expires),
        "apns-collapse-id": COLLAPSE,
        "content-type": "application/json",
        "content-length": expect.any(String),
      },
      payload: {
        aps: {
          alert: { body: "New message" },
          sound: "default",
          "mutable-content": 1,
          "content-available": 1,
        },
        beckon: "AAAA",
      },
    });
  });

  test("of what is silent: nothing to show, when the phone likes", async () => {
    const { headers, payload } = await told(itemFor(await service.install(), { class: "silent" }));
    expect(headers).toMatchObject({ "apns-push-type": "background", "apns-priority": "5" });
    expect(payload).toEqual({ aps: { "content-available": 1 }, beckon: "AAAA" });
  });

  test("of a call: by PushKit, where the device has a token for it, and in no other's place", async () => {
    const device = await service.install();
    const voip = await service.install(`${TOPIC}.voip`);
    const token = JSON.stringify({ device, voip });
    const { path, headers, payload } = await told(
      itemFor(token, { class: "call", collapse: COLLAPSE }),
    );
    expect(path).toBe(`/3/device/${voip}`);
    expect(headers).toMatchObject({
      "apns-topic": `${TOPIC}.voip`,
      "apns-push-type": "voip",
      "apns-priority": "10",
    });
    expect(headers).not.toHaveProperty("apns-collapse-id");
    expect(payload).toEqual({ aps: {}, beckon: "AAAA" });
    // Its messages go to the other token.
    expect((await told(itemFor(token))).path).toBe(`/3/device/${device}`);
  });

  test("of a call where there is none: an alert that may disturb", async () => {
    const token = await service.install();
    const { headers, payload } = await told(itemFor(token, { class: "call", collapse: COLLAPSE }));
    expect(headers).toMatchObject({
      "apns-push-type": "alert",
      "apns-priority": "10",
      "apns-collapse-id": COLLAPSE,
    });
    expect(payload.aps).toEqual({
      alert: { body: "Incoming call" },
      sound: "default",
      "mutable-content": 1,
      "content-available": 1,
      "interruption-level": "time-sensitive",
    });
  });

  test("of a call whose token for PushKit is gone: the same", async () => {
    const device = await service.install();
    const voip = await service.install(`${TOPIC}.voip`);
    await service.set({ token: voip, topic: `${TOPIC}.voip`, state: "unregistered" });
    const to = provider();
    const token = JSON.stringify({ device, voip });
    expect(await sendOne(to, itemFor(token, { class: "call" }))).toEqual({ kind: "sent" });
    await service.caughtUp();
    expect(service.refusals).toEqual(["410 Unregistered"]);
    expect(service.taken(device)).toHaveLength(1);
  });

  test("texts and keys of texts are the operator's, the application the device's", async () => {
    const token = JSON.stringify({
      device: await service.install(OTHER_TOPIC),
      topic: OTHER_TOPIC,
    });
    const own = { title: "Chat", message: { key: "NEW" }, call: { text: "☎" } };
    const { headers, payload } = await told(itemFor(token), { alerts: own });
    expect(headers["apns-topic"]).toBe(OTHER_TOPIC);
    expect(payload.aps["alert"]).toEqual({ title: "Chat", "loc-key": "NEW" });
  });

  test("to keep it for 30 days at most, and not at all what is over", async () => {
    const token = await service.install();
    const clock = stillClock();
    const keep = async (ms: number): Promise<string | undefined> =>
      (await told(itemFor(token, { expires: clock.now() + ms }), { clock })).headers[
        "apns-expiration"
      ];
    expect(await keep(90 * 86_400_000)).toBe(seconds(clock.now() + 30 * 86_400_000));
    expect(await keep(0)).toBe("0");
  });

  const address = (url: string) => ({
    url,
    protocol: "ws",
    secure: true,
    network: "",
    region: "",
    priority: 0,
  });

  test("B5, L11: no address, no user and no text in all that leaves", async () => {
    const device = await service.install();
    const voip = await service.install(`${TOPIC}.voip`);
    const to = provider();
    for (const wake of ["message", "silent", "call"] as const) {
      for (const token of [device, JSON.stringify({ device, voip })]) {
        const composed = await composeSealed(
          intentFor("apns", token, { class: wake }),
          to.largestBody,
        );
        expect(await sendOne(to, composed)).toEqual({ kind: "sent" });
      }
    }
    await service.caughtUp();
    expect(service.requests).toHaveLength(6);
    for (const { headers, body } of service.requests) {
      const { beckon, aps } = JSON.parse(body) as { beckon: string; aps: object };
      const sealed = Buffer.from(beckon, "base64url").toString("latin1");
      const bytes = [...headers.flat(), body, sealed].join("\n").toLowerCase();
      const secrets = ["recipient", "bobs-phone", "the-sender", "eu-1", "example.com/", "there"];
      for (const text of [...secrets, "wss:", encodeBase64Url(Buffer.from("the-sender"))]) {
        expect(bytes).not.toContain(text);
      }
      // And nothing that was not thought of.
      const names = headers.map(([name]) => name).filter((name) => name !== "apns-collapse-id");
      expect(names.toSorted()).toEqual([
        ":authority",
        ":method",
        ":path",
        ":scheme",
        "apns-expiration",
        "apns-id",
        "apns-priority",
        "apns-push-type",
        "apns-topic",
        "authorization",
        "content-length",
        "content-type",
      ]);
      expect(JSON.stringify(aps).replaceAll(/New message|Incoming call/g, "")).not.toContain(" ");
    }
  });

  const LONG = {
    title: "ü".repeat(200),
    message: { text: "\u0000".repeat(200) },
    call: { key: "K".repeat(200) },
  };
  // Of the longest texts, an address is left out as a whole.
  test.each([
    ["", alerts, 4096 - 60],
    [" beside the longest texts", LONG, 4096 - 500],
  ])(
    "the longest wake of each class fits%s, and no room is given away",
    async (_, texts, least) => {
      const to = provider({ alerts: texts });
      const device = await service.install();
      const token = JSON.stringify({ device, voip: await service.install(`${TOPIC}.voip`) });
      const addresses = Array.from({ length: 4 }, (_, i) =>
        address(`wss://${String(i).repeat(480)}.example.com`),
      );
      const preview = "ü".repeat(LIMITS.preview);
      for (const wake of ["message", "call", "silent"] as const) {
        for (const registration of [device, token]) {
          const composed = await composeWake(
            intentFor("apns", registration, {
              class: wake,
              preview,
              conversation: "c".repeat(128),
            }),
            { name: "eu-1", addresses },
            sealWithNodeCrypto,
            to.largestBody,
          );
          expect(await sendOne(to, composed)).toEqual({ kind: "sent" });
        }
      }
      await service.caughtUp();
      expect(service.refusals).toEqual([]);
      const sizes = service.requests.map(({ body }) => utf8Length(body));
      expect(Math.max(...sizes)).toBeWithin(least, 4097);
    },
  );

  test("what is longer is refused here", async () => {
    const to = provider();
    const token = await service.install();
    const body = (bytes: number): string => `{"beckon":"${"A".repeat(bytes - 13)}"}`;
    const call = (bytes: number): PushItem => itemFor(token, { class: "call", body: body(bytes) });
    expect(await to.send([call(to.largestBody!), call(to.largestBody! + 1)])).toEqual([
      { kind: "sent" },
      { kind: "rejected", reason: "it has more bytes than a push may have" },
    ]);
  });
});

describe("what APNs answers", () => {
  const answered = async (
    status: number,
    reason?: string,
    headers: Record<string, string> = {},
  ): Promise<PushOutcome> => {
    await service.mood({ do: "answer", status, headers, ...(reason ? { reason } : {}) });
    return sendOne(provider({ clock: stillClock() }), itemFor(await service.install()));
  };

  test("200: sent", async () => {
    expect(await answered(200)).toEqual({ kind: "sent" });
  });

  test("410: gone", async () => {
    const [unregistered, expired] = await installAll(2);
    await service.set({ token: unregistered!, topic: TOPIC, state: "unregistered" });
    await service.set({ token: expired!, topic: TOPIC, state: "expired" });
    expect(await provider().send([itemFor(unregistered!), itemFor(expired!)])).toEqual([
      { kind: "gone" },
      { kind: "gone" },
    ]);
  });

  test("429 and 5xx: later, when it says so", async () => {
    expect(await answered(429, "TooManyRequests")).toEqual({ kind: "retry", after: 60_000 });
    const after = { "retry-after": "7" };
    expect(await answered(429, "TooManyRequests", after)).toEqual({ kind: "retry", after: 7_000 });
    expect(await answered(503, "ServiceUnavailable", after)).toEqual({
      kind: "retry",
      after: 7_000,
    });
    expect(await answered(503, "Shutdown")).toEqual({ kind: "retry", after: 10_000 });
    expect(await answered(500, "InternalServerError")).toEqual({ kind: "retry", after: 10_000 });
  });

  const KEY = "it does not take the token: are key_file, key_id and team_id those of one key?";
  const TOPICS = "the key may not push to this topic: look at topic and topics";
  test.each([
    [400, "DeviceTokenNotForTopic", "the device token is of another application than the topic"],
    [400, "TopicDisallowed", TOPICS],
    [400, "BadTopic", TOPICS],
    [400, "BadPriority", "it does not understand the push"],
    [403, "InvalidProviderToken", KEY],
    [403, "ExpiredProviderToken", "it calls a new token expired: is this machine's clock right?"],
    [
      403,
      "BadEnvironmentKeyInToken",
      "the key is for the other environment (push.apns.environment)",
    ],
    [403, "Forbidden", "it does not let this system push"],
    [404, "BadPath", "it is no APNs: look at push.apns.url"],
    [413, "PayloadTooLarge", "the push is too large for it"],
    [418, "something secret", "it answers 418"],
  ])(
    "%d %s: refused, in our own words, and the operator is told once",
    async (status, reason, why) => {
      await service.mood({ do: "answer", status, reason });
      const tokens = await installAll(2);
      const clock = stillClock();
      const to = provider({ clock });
      expect(await to.send(tokens.map((token) => itemFor(token)))).toEqual(
        Array.from({ length: 2 }, () => ({ kind: "rejected", reason: why })),
      );
      expect(logged()).toEqual([
        expect.objectContaining({
          event: "push.rejected",
          provider: "apns",
          reason: why,
        }),
      ]);
      for (const secret of [...tokens, "something secret", "bearer"]) {
        expect(lines.join("")).not.toContain(secret);
      }
      await clock.advance(600_000);
      await sendOne(to, itemFor(tokens[0]!));
      expect(lines).toHaveLength(2);
    },
  );

  test("BadDeviceToken: refused, not gone, as with a wrong environment no device would be left", async () => {
    expect(await sendOne(provider(), itemFor("0a".repeat(32)))).toEqual({
      kind: "rejected",
      reason:
        "it does not know the device token: is it of the other environment (push.apns.environment)?",
    });
    await service.caughtUp();
    expect(service.refusals).toEqual(["400 BadDeviceToken"]);
  });

  test("an answer without an end costs no memory and no time", async () => {
    await service.mood({ do: "answer", status: 400, text: "x".repeat(4_000_000) });
    expect(await sendOne(provider(), itemFor(await service.install()))).toEqual({
      kind: "rejected",
      reason: "it does not understand the push",
    });
  });
});

describe("the provider's token", () => {
  const authorizations = async (): Promise<number> => {
    await service.caughtUp();
    return new Set(service.requests.map((one) => headersOf(one)["authorization"])).size;
  };

  test("is kept, and renewed in time", async () => {
    const clock = stillClock();
    const to = provider({ clock });
    const token = await service.install();
    const after = async (minutes: number): Promise<PushOutcome> => {
      await clock.advance(minutes * 60_000);
      await service.time(clock.now());
      return sendOne(to, itemFor(token, { expires: clock.now() + 60_000 }));
    };
    expect(await after(0)).toEqual({ kind: "sent" });
    expect(await after(39)).toEqual({ kind: "sent" });
    expect(await authorizations()).toBe(1);
    expect(await after(1)).toEqual({ kind: "sent" });
    expect(await authorizations()).toBe(2);
    expect(await after(39)).toEqual({ kind: "sent" });
    expect(await authorizations()).toBe(2);
    expect(service.refusals).toEqual([]);
  });

  test("that is refused is renewed once, and what was refused with it is sent again", async () => {
    const clock = stillClock();
    const to = provider({ clock });
    const tokens = await installAll(50);
    expect(await sendOne(to, itemFor(tokens[0]!))).toEqual({ kind: "sent" });
    await clock.advance(25 * 60_000);
    // For APNs it is an hour later.
    await service.time(clock.now() + 40 * 60_000);
    expect(kinds(await to.send(tokens.map((token) => itemFor(token))))).toEqual({ sent: 50 });
    expect(await authorizations()).toBe(2);
    expect(new Set(service.refusals)).toEqual(new Set(["403 ExpiredProviderToken"]));
    expect(lines).toEqual([]);
  });

  test("that is refused when it is new is not made anew: APNs would take no other", async () => {
    const clock = stillClock();
    await service.time(clock.now() + 2 * 3_600_000);
    const to = provider({ clock });
    const outcome = await sendOne(to, itemFor(await service.install()));
    expect(outcome).toMatchObject({ kind: "rejected" });
    expect(await authorizations()).toBe(1);
    expect(service.requests).toHaveLength(1);
  });

  test("with a key that APNs does not know nobody is asked again and again", async () => {
    const key = { ...service.key, keyId: "XXXXXXXXXX" };
    const to = provider({ key, clock: stillClock() });
    const tokens = await installAll(40);
    for (const token of tokens) await sendOne(to, itemFor(token));
    await service.caughtUp();
    expect(service.requests).toHaveLength(5);
  });
});

describe("one connection", () => {
  const sendAll = async (
    on: ApnsService,
    count: number,
    options: Partial<ApnsOptions> = {},
  ): Promise<string[]> => {
    const tokens = await installAll(count, on);
    const to = provider({ clock: stillClock(), ...options }, on);
    const outcomes = await to.send(tokens.map((token) => itemFor(token)));
    expect(kinds(outcomes)).toEqual({ sent: count });
    await on.caughtUp();
    return tokens;
  };

  test("L10: 1,000 pushes at once over a new one: no more under way than APNs allows, and none refused", async () => {
    const own = await start({ streams: { trusted: 100 } });
    const tokens = await sendAll(own, 1_000);
    expect(own.connections).toBe(1);
    expect(Math.max(...own.requests.map(({ number }) => number))).toBe(1_000);
    for (const token of tokens) expect(own.taken(token)).toHaveLength(1);
    expect(own.mostOpen).toBeWithin(2, 101);
  });

  test("L10: no more than 256, whatever it allows", async () => {
    const own = await start({ streams: { first: 1_000, trusted: 1_000 } });
    await sendAll(own, 1_000);
    expect(own.connections).toBe(1);
    expect(own.mostOpen).toBeLessThanOrEqual(256);
  });

  test("what it refuses after all is sent again, more slowly", async () => {
    const own = await start({ streams: { trusted: 100, served: 20 } });
    const tokens = await sendAll(own, 300);
    expect(own.connections).toBe(1);
    expect(Math.max(...own.requests.map(({ number }) => number))).toBeLessThan(500);
    for (const token of tokens) expect(own.taken(token)).toHaveLength(1);
  });

  test("L5: that APNs ends in the middle (GOAWAY) loses nothing, and sends nothing twice", async () => {
    const own = await start({});
    await own.mood({ do: "goaway", after: 200, times: 1 });
    const tokens = await sendAll(own, 500);
    expect(own.connections).toBe(2);
    for (const token of tokens) expect(own.taken(token)).toHaveLength(1);
  });

  test.each(["reset", "drop"] as const)(
    "L5: that breaks in the middle (%s) loses nothing",
    async (how) => {
      const own = await start({});
      await own.mood({ do: how, after: 200, times: 1 });
      const tokens = await sendAll(own, 500);
      expect(own.connections).toBe(2);
      for (const token of tokens) expect(own.taken(token).length).toBeWithin(1, 3);
    },
  );

  test("that refuses each stream is given up", async () => {
    await service.mood({ do: "refuse" });
    const outcome = await sendOne(
      provider({ clock: stillClock() }),
      itemFor(await service.install()),
    );
    expect(outcome).toEqual({ kind: "retry", after: 10_000 });
    await service.caughtUp();
    expect(service.requests).toHaveLength(8);
  });

  test("that breaks at each push is given up", async () => {
    await service.mood({ do: "reset" });
    const { connections } = service;
    const outcome = await sendOne(
      provider({ clock: stillClock() }),
      itemFor(await service.install()),
    );
    expect(outcome).toEqual({ kind: "retry", after: 10_000 });
    await service.caughtUp();
    expect(service.connections - connections).toBe(2);
  });

  test("that is dead is found out by a PING, and what waited for its answer goes over another", async () => {
    const pipe = await Pipe.to(service);
    const clock = stillClock();
    const to = provider({ clock, url: pipe.url });
    const token = await service.install();
    expect(await sendOne(to, itemFor(token))).toEqual({ kind: "sent" });
    pipe.stall();
    const second = sendOne(to, itemFor(token));
    expect(await pass(clock, second)).toBeLessThan(4_000);
    expect(await second).toEqual({ kind: "sent" });
    await service.caughtUp();
    expect(service.taken(token)).toHaveLength(2);
  });

  test("that died while nothing was sent is found out before anything is", async () => {
    const pipe = await Pipe.to(service);
    const clock = stillClock();
    const to = provider({ clock, url: pipe.url });
    const token = await service.install();
    expect(await sendOne(to, itemFor(token))).toEqual({ kind: "sent" });
    await clock.advance(31_000);
    pipe.stall();
    const second = sendOne(to, itemFor(token));
    expect(await pass(clock, second)).toBeWithin(1_000, 1_500);
    expect(await second).toEqual({ kind: "sent" });
    // A PING in TLS, and no push.
    expect(pipe.stalledBytes).toBeWithin(1, 200);
  });

  test("that does not come about within 2 s is tried once more", async () => {
    const pipe = await Pipe.to(service);
    pipe.isMute = true;
    const clock = stillClock();
    const sent = sendOne(provider({ clock, url: pipe.url }), itemFor(await service.install()));
    expect(await pass(clock, sent)).toBeLessThan(4_000);
    expect(await sent).toEqual({ kind: "sent" });
  });

  test("that APNs ended while nothing was sent: another is made", async () => {
    const { connections } = service;
    const to = provider({ clock: stillClock() });
    const token = await service.install();
    for (let i = 0; i < 3; i++) {
      expect(await sendOne(to, itemFor(token))).toEqual({ kind: "sent" });
      await service.disconnect();
    }
    expect(service.connections - connections).toBe(3);
  });

  test("that was not used for long and lives is used", async () => {
    const { connections } = service;
    const clock = stillClock();
    const to = provider({ clock });
    const token = await service.install();
    for (let i = 0; i < 3; i++) {
      expect(await sendOne(to, itemFor(token))).toEqual({ kind: "sent" });
      await clock.advance(600_000);
    }
    await service.caughtUp();
    expect(service.connections - connections).toBe(1);
  });
});

describe("APNs is away", () => {
  test("L5: a batch has its answers within 5 s, however many pushes there are", async () => {
    await service.mood({ do: "silence" });
    const tokens = await installAll(300);
    const clock = stillClock();
    const sent = provider({ clock }).send(tokens.map((token) => itemFor(token)));
    await until(() => service.requests.length > 0, "a push");
    expect(await pass(clock, sent)).toBeLessThan(5_000);
    expect(kinds(await sent)).toEqual({ retry: 300 });
  });

  test("L5: the same where it takes connections and says nothing", async () => {
    const mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => void mute.close());
    const clock = stillClock();
    const url = new URL(`https://localhost:${(mute.address() as AddressInfo).port}`);
    const sent = sendOne(provider({ clock, url }), itemFor(await service.install()));
    expect(await pass(clock, sent)).toBeLessThan(5_000);
    expect(await sent).toEqual({ kind: "retry", after: 10_000 });
    expect(logged()).toEqual([
      expect.objectContaining({
        event: "push.unreachable",
        provider: "apns",
        reason: "no answer in time",
      }),
    ]);
  });

  test("nobody listens there: later", async () => {
    const url = new URL("https://localhost:1");
    const to = provider({ url, clock: stillClock() });
    const tokens = await installAll(300);
    expect(kinds(await to.send(tokens.map((token) => itemFor(token))))).toEqual({ retry: 300 });
    expect(logged()).toMatchObject([{ event: "push.unreachable", reason: "ECONNREFUSED" }]);
  });

  test("it is not who it says: nothing is sent there", async () => {
    const outcome = await sendOne(
      provider({ ca: undefined, clock: stillClock() }),
      itemFor(await service.install()),
    );
    expect(outcome).toEqual({ kind: "retry", after: 10_000 });
    await service.caughtUp();
    expect(service.requests).toEqual([]);
  });

  test("is left alone after five failures, then asked once, and again and again when it is back", async () => {
    await service.mood({ do: "answer", status: 503, reason: "ServiceUnavailable" });
    const clock = stillClock();
    const to = provider({ clock });
    const token = await service.install();
    const asked = async (): Promise<number> => {
      await service.caughtUp();
      return service.requests.length;
    };
    for (let i = 0; i < 5; i++) await sendOne(to, itemFor(token));
    expect(await asked()).toBe(5);
    expect(await sendOne(to, itemFor(token))).toEqual({ kind: "retry", after: 10_000 });
    expect(await asked()).toBe(5);
    await clock.advance(10_000);
    const others = [token, ...(await installAll(20))].map((one) => itemFor(one));
    expect(kinds(await to.send(others))).toEqual({ retry: 21 });
    expect(await asked()).toBe(6);
    await service.mood();
    await clock.advance(20_000);
    expect(await sendOne(to, itemFor(token))).toEqual({ kind: "sent" });
    expect(kinds(await to.send(others))).toEqual({ sent: 21 });
  });

  test("closing answers what is under way", async () => {
    await service.mood({ do: "silence" });
    const to = provider({ clock: stillClock() });
    const sent = to.send((await installAll(10)).map((token) => itemFor(token)));
    await to.close();
    expect(kinds(await sent)).toEqual({ retry: 10 });
    expect(await sendOne(to, itemFor(await service.install()))).toMatchObject({ kind: "retry" });
  });
});

test("whatever devices registered: one outcome each, and none of them spoils the others", async () => {
  const phone = await service.install();
  const to = provider({ clock: stillClock() });
  const token = fc.oneof(
    fc.string(),
    fc.json(),
    fc.record({ device: fc.string(), topic: fc.string() }).map((one) => JSON.stringify(one)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(token, { maxLength: 20 }), async (tokens) => {
      const outcomes = await to.send([...tokens, phone].map((one) => itemFor(one)));
      expect(outcomes.map(({ kind }) => kind)).toEqual([
        ...tokens.map(() => "rejected" as const),
        "sent",
      ]);
    }),
    { numRuns: 50 },
  );
  for (const line of logged()) expect(line["reason"]).toStartWith("the registration is no good: ");
});

/** Passes everything on to a service, until its connections stall; later ones do not. */
class Pipe {
  stalledBytes = 0;
  /** The next connection stalls from its beginning. */
  isMute = false;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #stalled = new Set<Socket>();

  private constructor(port: number) {
    this.#server = createServer((socket) => {
      const service = connectTo(port, "127.0.0.1");
      for (const end of [socket, service]) {
        end.on("error", () => undefined);
        end.on("close", () => {
          socket.destroy();
          service.destroy();
        });
      }
      this.#open.add(socket);
      if (this.isMute) this.#stalled.add(socket);
      this.isMute = false;
      socket.on("data", (chunk) => {
        if (this.#stalled.has(socket)) this.stalledBytes += chunk.length;
        else service.write(chunk);
      });
      service.on("data", (chunk) => {
        if (!this.#stalled.has(socket)) socket.write(chunk);
      });
    });
  }

  static async to(service: ApnsService): Promise<Pipe> {
    const pipe = new Pipe(Number(service.url.port));
    await new Promise<void>((resolve) => pipe.#server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => {
      pipe.#server.close();
      for (const socket of pipe.#open) socket.destroy();
    });
    return pipe;
  }

  get url(): URL {
    return new URL(`https://localhost:${(this.#server.address() as AddressInfo).port}`);
  }

  stall(): void {
    for (const socket of this.#open) this.#stalled.add(socket);
  }
}
