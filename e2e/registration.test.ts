/** Who is woken, and who is not any more: the SDK against `beckon serve` in a process of its own, with a push service beside it. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  spyOn,
  setDefaultTimeout,
  test,
} from "bun:test";

import {
  type Beckon,
  connect,
  type ConnectOptions,
  type WebSocketConstructor,
} from "@beckon/client";
import { BeckonError, registerPush, removePush } from "@beckon/client/registration";
import { memory } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";

import { SignJWT } from "jose";

import { API_TOKEN, Installation, SECRET, type ServerProcess } from "./support/process.ts";
import { PushStandIn } from "./support/push-stand-in.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const KEY = { id: 77, key: new Uint8Array(32).fill(9) };

let installation: Installation;
let pushes: PushStandIn;
let server: ServerProcess;
beforeAll(async () => {
  installation = await Installation.create();
  pushes = new PushStandIn();
  server = await installation.serve({
    BECKON_PUSH_DEV_URL: pushes.urlFor("eu-1"),
    BECKON_LISTENER_0_PROTOCOL: "tcp",
    BECKON_LISTENER_0_LISTEN: "127.0.0.1:0",
  });
}, 60_000);
afterAll(async () => {
  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
  await pushes.close();
  await installation.remove();
});

const clients: Beckon[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});

/** As the application's backend mints it. */
function tokenOf(user: string): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(user)
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

async function device(user: string, options: Partial<ConnectOptions> = {}): Promise<Beckon> {
  const token = await tokenOf(user);
  const client = connect({
    servers: [server.url],
    token: () => token,
    device: "phone",
    storage: memory(),
    ...options,
  });
  clients.push(client);
  return client;
}

async function connected(user: string, options: Partial<ConnectOptions> = {}): Promise<Beckon> {
  const client = await device(user, options);
  await until(() => client.state.name === "connected", `${user} to connect`);
  return client;
}

const push = (token: string) => ({ provider: "dev", token });

async function admin(method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${server.admin}${path}`, {
    method,
    headers: { authorization: `Bearer ${API_TOKEN}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(response.ok).toBe(true);
  return response.status === 204 ? undefined : response.json();
}

async function devicesOf(user: string): Promise<{ device: string; push: string | null }[]> {
  const { devices } = (await admin("GET", `/v1/users/${user}/devices`)) as { devices: never[] };
  return devices;
}

/** A message that is held, and another to somebody whose push shows that the first would have been pushed by now. */
async function pushedTo(from: Beckon, user: string, token: string): Promise<number> {
  const witness = `witness of ${crypto.randomUUID()}`;
  await registerPush({
    server: server.url,
    token: await tokenOf("witness"),
    device: "phone",
    push: push(witness),
    key: KEY,
  });
  const before = pushes.count(token);
  expect(await from.send(user, "are you there?")).toMatchObject({ status: "held" });
  await from.send("witness", "are you there?");
  await until(() => pushes.count(witness) === 1, "the witness");
  return pushes.count(token) - before;
}

describe("without a connection", () => {
  test("M7, M8: what a service worker registers wakes the device, and its page opens the wake", async () => {
    const asked = {
      server: server.url.replace(/^ws/, "http"),
      token: await tokenOf("bob"),
      device: "phone",
    };
    await registerPush({ ...asked, push: push("bob's old"), key: KEY });
    await registerPush({ ...asked, push: push("bob's"), key: KEY, protocols: ["ws"] });
    expect(await devicesOf("bob")).toMatchObject([{ device: "phone", push: "dev" }]);
    let body: string | undefined;
    pushes.phones.register("bob's", (given) => (body = given));
    const ann = await connected("ann");
    expect(await pushedTo(ann, "bob", "bob's")).toBe(1);
    expect(pushes.count("bob's old")).toBe(0);
    await until(() => body !== undefined, "a push");
    const bob = await device("bob", { push: { ...push("bob's"), key: KEY } });
    expect(await bob.onWake(body)).toBe("connected");
    expect((await bob.messages().next()).value?.text()).toBe("are you there?");
    await bob.close();

    await removePush(asked);
    expect(await devicesOf("bob")).toMatchObject([{ device: "phone", push: null }]);
    expect(await pushedTo(ann, "bob", "bob's")).toBe(0);
    await removePush({ ...asked, forget: true });
    expect(await devicesOf("bob")).toEqual([]);
  });

  test("what is refused says why, and whether to try again", async () => {
    const asked = { server: server.url, token: "no token", device: "phone" };
    const failure = async (promise: Promise<void>): Promise<unknown> =>
      promise.then(
        () => undefined,
        (error: unknown) => error,
      );
    const bad = await failure(registerPush({ ...asked, push: push("x"), key: KEY }));
    expect(bad).toBeInstanceOf(BeckonError);
    expect(bad).toMatchObject({ code: "bad-token", retryable: false });
    const token = await tokenOf("bob");
    const short = { id: 1, key: new Uint8Array(31) };
    expect(
      await failure(registerPush({ ...asked, token, push: push("x"), key: short })),
    ).toMatchObject({ code: "bad-argument" });
    expect(await failure(removePush({ ...asked, token, device: "" }))).toMatchObject({
      code: "bad-argument",
    });
    expect(await failure(removePush({ ...asked, server: "tcp://a:1" }))).toMatchObject({
      code: "bad-argument",
    });
    expect(await failure(removePush({ ...asked, server: "ws://127.0.0.1:1" }))).toMatchObject({
      code: "unreachable",
      retryable: true,
    });
    // Somebody else's server.
    expect(await failure(removePush({ ...asked, server: server.admin }))).toMatchObject({
      code: expect.any(String),
    });
  });
});

describe("log-out", () => {
  test.each([["ws"], ["tcp"]])("over %s: nobody pushes to the phone any more", async (protocol) => {
    const ann = await connected("ann");
    const user = `carol-${protocol}`;
    const tcpUrl = /tcp:\/\/[\d.:]+/.exec(server.log())![0];
    const carol = await connected(user, {
      push: push(user),
      ...(protocol === "tcp" ? { servers: [tcpUrl], transports: { tcp: tcp() } } : {}),
      prefer: { protocols: [protocol] },
    });
    expect(await devicesOf(user)).toHaveLength(1);
    const asked = spyOn(globalThis, "fetch");
    expect(await carol.forget()).toBe("forgotten");
    expect(asked).not.toHaveBeenCalled();
    asked.mockRestore();
    expect([await devicesOf(user), carol.state.error]).toEqual([[], undefined]);
    expect(await pushedTo(ann, user, user)).toBe(0);
  });

  /** A network that lets no WebSocket through. */
  const blocked = class {
    binaryType = "";
    readyState = 3;
    bufferedAmount = 0;
    onopen = null;
    onmessage = null;
    onerror = null;
    onclose: ((event: never) => void) | null = null;
    constructor() {
      queueMicrotask(() => this.onclose?.({ code: 1006, reason: "" } as never));
    }
    send(): void {}
    close(): void {}
  } as WebSocketConstructor;

  test("without a connection, by HTTP; and where nobody can be reached it says so", async () => {
    const storage = memory();
    const dan = await connected("dan", { storage, push: push("dan's") });
    await dan.close();
    const away = await device("dan", { storage, webSocket: blocked, push: push("dan's") });
    expect(await away.forget()).toBe("forgotten");
    expect(await devicesOf("dan")).toEqual([]);
    const nowhere = await device("dan", { servers: ["ws://127.0.0.1:1"], webSocket: blocked });
    expect(await nowhere.forget()).toBe("local");
  });

  test("a phone's next user takes its pushes, also from one who never logged out", async () => {
    const ann = await connected("ann");
    const erin = await connected("erin", { push: push("shared phone") });
    await erin.close();
    expect(await pushedTo(ann, "erin", "shared phone")).toBe(1);
    const frank = await connected("frank", { push: push("shared phone") });
    await frank.close();
    expect(await devicesOf("erin")).toMatchObject([{ push: null }]);
    expect(await pushedTo(ann, "erin", "shared phone")).toBe(0);
    expect(await pushedTo(ann, "frank", "shared phone")).toBe(1);
  });
});

describe("quiet", () => {
  test("[P-4.10] a muted conversation wakes nobody, and its messages are there", async () => {
    const gina = await connected("gina", { push: push("gina's") });
    await gina.quiet({ conversation: "eve", until: Infinity });
    await gina.close();
    expect(await admin("GET", "/v1/users/gina/mutes")).toEqual({
      mutes: [{ conversation: "eve", until: Number.MAX_SAFE_INTEGER }],
    });
    const [eve, ann] = await Promise.all([connected("eve"), connected("ann")]);
    expect(await pushedTo(eve, "gina", "gina's")).toBe(0);
    expect(await pushedTo(ann, "gina", "gina's")).toBe(1);
    const back = await connected("gina");
    const from = [];
    for await (const message of back.messages()) {
      from.push(message.from);
      if (from.length === 2) break;
    }
    expect(from.toSorted()).toEqual(["ann", "eve"]);
  });

  test("[P-4.10] a quiet device is woken once when the application's backend ends it", async () => {
    const hugo = await connected("hugo", { push: push("hugo's") });
    await hugo.quiet({ until: new Date(Date.now() + 3_600_000) });
    await hugo.close();
    const ann = await connected("ann");
    expect(await pushedTo(ann, "hugo", "hugo's")).toBe(0);
    await admin("DELETE", "/v1/users/hugo/devices/phone/quiet");
    await until(() => pushes.count("hugo's") === 1, "the one wake");
  });
});
