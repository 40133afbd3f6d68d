/** Web Push from the message to the SDK, through servers as they are configured and a push service that opens what it gets. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Beckon, BeckonError, connect, type Message } from "@beckon/client";
import { memory, type Storage } from "@beckon/client/storage";
import { generateVapidKey, processLog, systemClock, vapidJwk } from "@beckon/server";

import {
  type Subscriber,
  WebPushService,
} from "../packages/server/src/push/test-support/web-push-service.ts";
import { webPushProvider } from "../packages/server/src/push/webpush.ts";
import { API_TOKEN, Installation, type ServerProcess } from "./support/process.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const key = generateVapidKey();
let service: WebPushService;
const clients: Beckon[] = [];

beforeEach(async () => {
  service = await WebPushService.start();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await service.close();
});

interface Person {
  readonly servers: readonly string[];
  readonly token: string;
  readonly storage?: Storage;
  readonly subscription?: string;
}

function open({ servers, token, storage, subscription }: Person): Beckon {
  const client = connect({
    servers,
    token: () => token,
    ...(storage === undefined ? {} : { storage }),
    ...(subscription === undefined ? {} : { push: { provider: "webpush", token: subscription } }),
  });
  clients.push(client);
  return client;
}

const connected = (client: Beckon, server?: string): Promise<void> =>
  until(
    () =>
      client.state.name === "connected" && (server === undefined || client.state.server === server),
    () => `${client.state.name} to be connected to ${server ?? "any server"}`,
  );

describe("two servers", () => {
  let system: System;

  beforeEach(async () => {
    system = await startSystem(2, {
      providers: [
        webPushProvider({
          key,
          subject: "mailto:push@example.com",
          isAllowed: (address) => address === "127.0.0.1",
          clock: systemClock,
          log: processLog("error"),
        }),
      ],
    });
  });
  afterEach(() => system.stop());

  test("M7, M8: what the push service got, opened, wakes the device at the sender's server, and the message is there; B5: once more sealed", async () => {
    const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
    const phone = service.subscribe(key.publicKey);
    const bobs: Person = {
      servers: [s2],
      token: await system.token("bob"),
      storage: memory(),
      subscription: phone.token,
    };
    const asleep = open(bobs);
    await connected(asleep, "s2");
    await asleep.close();

    const ann = open({ servers: [s1], token: await system.token("ann") });
    await connected(ann, "s1");
    const ack = await ann.send("bob", "Are you there?", { preview: "Are you there?" });
    expect(ack).toMatchObject({ status: "held", route: "wake" });
    await until(() => phone.received.length > 0, "the push");
    expect(service.refusals).toEqual([]);
    const [body] = phone.received as [string];
    expect(Object.keys(JSON.parse(body) as object)).toEqual(["beckon"]);
    for (const secret of ["there", new URL(s1).host]) {
      const inside = Buffer.from((JSON.parse(body) as { beckon: string }).beckon, "base64url");
      expect(inside.toString("latin1")).not.toContain(secret);
    }

    const woken = open(bobs);
    const messages: Message[] = [];
    woken.on("message", (message) => void messages.push(message));
    expect(await woken.onWake(body)).toBe("connected");
    await until(() => messages.length > 0, "the message");
    expect(woken.state.server).toBe("s1");
    expect(messages[0]!.text()).toBe("Are you there?");
    expect(phone.received).toHaveLength(1);
    // From now on the two are on one server; the first may be held, as he still reads what he was woken for.
    const route = async (): Promise<string> => (await ann.send("bob", "Good.")).route;
    await until(async () => (await route()) === "local", "a local message");
  });

  test("another device's push is none for this one", async () => {
    const [s1] = system.servers.map(({ url }) => url) as [string];
    const [bobs, evas] = [service.subscribe(key.publicKey), service.subscribe(key.publicKey)];
    const people = ["bob", "eva"].map(async (name, at): Promise<Person> => ({
      servers: [s1],
      token: await system.token(name),
      storage: memory(),
      subscription: [bobs, evas][at]!.token,
    }));
    const [bob, eva] = (await Promise.all(people)) as [Person, Person];
    const asleep = open(bob);
    const awake = open(eva);
    await Promise.all([connected(asleep), connected(awake)]);
    await asleep.close();
    await awake.send("bob", "hello");
    await until(() => bobs.received.length > 0, "the push");
    expect(await awake.onWake(bobs.received[0])).toBe("ignored");
    expect(evas.received).toEqual([]);
  });
});

describe("a server as it is configured", () => {
  let installation: Installation;
  let server: ServerProcess;
  let phone: Subscriber;

  beforeEach(async () => {
    installation = await Installation.create();
    await writeFile(join(installation.folder, "vapid.jwk"), JSON.stringify(vapidJwk(key)));
    await appendFile(
      join(installation.folder, "beckon.toml"),
      `\n[push.webpush]
key_file = "vapid.jwk"
subject = "mailto:push@example.com"
allow = ["127.0.0.1"]
`,
    );
    server = await installation.serve();
    phone = service.subscribe(key.publicKey);
  });
  afterEach(async () => {
    server.child.kill("SIGTERM");
    expect(await server.child.exited).toBe(0);
    await installation.remove();
  });

  const post = (path: string, body: object): Promise<Response> =>
    fetch(new URL(path, server.admin), {
      method: "POST",
      headers: { authorization: `Bearer ${API_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const register = (token: string): Promise<Response> =>
    post("/v1/devices", {
      user: "bob",
      device: "phone",
      push: { provider: "webpush", token, key: { id: 1, key: "A".repeat(43) } },
    });

  test("the application's backend registers a subscription, and what it sends is pushed; after one that has ended, the next", async () => {
    const send = async (): Promise<void> => {
      const message = { from: "shop", to: "bob", text: "Your parcel is here" };
      expect((await post("/v1/messages", message)).status).toBe(200);
    };
    const pushes = async (outcome: string): Promise<boolean> => {
      const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
      return metrics.includes(
        `beckon_pushes_total{provider="webpush",class="message",outcome="${outcome}"} 1`,
      );
    };
    const ended = service.subscribe(key.publicKey);
    ended.isExpired = true;
    expect((await register(ended.token)).status).toBe(204);
    await send();
    await until(() => pushes("gone"), "the push service to say that it is gone");

    expect((await register(phone.token)).status).toBe(204);
    await send();
    await until(() => phone.received.length > 0, "the push");
    await until(() => pushes("sent"), "the push to be counted");
    expect(service.refusals).toEqual(["410 subscription"]);
  });

  test("a registration that is none is refused, with what is wrong with it: over the admin API, and over a connection", async () => {
    const inside = JSON.stringify({ ...JSON.parse(phone.token), endpoint: "https://10.0.0.1/x" });
    for (const [token, why] of [
      ["a-token", "it must be JSON with endpoint, keys.p256dh and keys.auth"],
      [inside, "endpoint leads to an address that push.webpush.allow does not list"],
    ] as const) {
      const answer = await register(token);
      expect(answer.status).toBe(400);
      const { error } = (await answer.json()) as { error: { code: string; message: string } };
      expect(error.code).toBe("bad-argument");
      expect(error.message).toContain(`push.token: ${why}`);

      const bob = open({
        servers: [server.url],
        token: await installation.token("bob"),
        subscription: token,
      });
      await until(() => bob.state.name === "closed", "the refusal");
      const refusal = bob.state.error;
      expect(refusal).toBeInstanceOf(BeckonError);
      expect(refusal!.code).toBe("bad-hello");
      expect(refusal!.message).toContain(`push: ${why}`);
    }
    expect(service.connections).toBe(0);
  });
});
