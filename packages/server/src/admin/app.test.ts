import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { formatUuid, parseUuid, uuidv7 } from "@beckon/protocol";
import type { Hono } from "hono";
import * as z from "zod";

import type { ServerOverview } from "../cluster/overview.ts";
import { createLog } from "../lib/log.ts";
import { StoreUnavailable } from "../store/store.ts";
import { createAdminApp } from "./app.ts";
import type { AdminBackend, Health, OutgoingMessage, UserPlacement } from "./backend.ts";
import { type AdminListener, listenAdmin } from "./listen.ts";

const TOKEN = "an admin token: 0123456789";
const ID = uuidv7(1_700_000_000_000, (bytes) => bytes.fill(7));
const KEY = new Uint8Array(32).fill(0xfb);

const HALF = { local: 3, remote: 2, wakeLocal: 1, wakeRemote: 2, locality: 0.5 };
const NONE = { local: 0, remote: 0, wakeLocal: 0, wakeRemote: 0, locality: null };
const DELIVERIES = { fiveMinutes: NONE, hour: HALF };

const EU_1: ServerOverview = {
  server: "eu-1",
  state: "up",
  software: "0.0.0",
  connections: 3,
  capacity: 100,
  cpu: 0.25,
  since: 1_700_000_000_000,
  addresses: [],
  heard: 0,
  answers: true,
  store: false,
  replicas: [{ server: "eu-2", behind: 2, confirmed: 700 }],
  deliveries: DELIVERIES,
};

const ANN: UserPlacement = {
  policy: "move",
  gains: { redirect: 22.5, move: 218.75 },
  devices: [
    {
      device: "phone",
      server: "eu-1",
      background: false,
      since: 5,
      now: { what: "move", to: "eu-2", why: "attraction", gain: 300.5 },
      last: {
        at: 4,
        kind: "redirect",
        why: "attraction",
        from: "eu-2",
        to: "eu-1",
        attraction: { here: 0, there: 40 },
        gain: 39.5,
      },
    },
    { device: "tablet", server: null, background: false, since: 5, now: null, last: null },
  ],
  servers: [
    {
      server: "eu-1",
      state: "up",
      devices: 3,
      fair: 2.5,
      cap: 10,
      busy: 0.1,
      attracts: true,
      associates: 1,
      weight: 20,
      pressure: 1.3,
      score: 18.7,
    },
  ],
  associates: 2,
  strongest: [
    { user: "bob", weight: 20, servers: ["eu-1", "eu-2"], named: null },
    { user: "cat", weight: 0.5, servers: [], named: "eu-2" },
  ],
  silent: ["us-1"],
};

const healthy: Health = {
  server: "eu-1",
  state: "up",
  connections: 3,
  checks: { store: true, bus: true },
};

/** Remembers what it was asked, and answers what the test says. */
function fakeServer({ token }: { token: string | undefined } = { token: TOKEN }) {
  const asked: unknown[] = [];
  const lines: string[] = [];
  let health = healthy;
  let answer = (message: OutgoingMessage) =>
    Promise.resolve({ id: message.id ?? ID, status: "held", route: "wake" } as const);
  const backend: AdminBackend = {
    sendMessage(message) {
      asked.push(message);
      return answer(message);
    },
    registerDevice: (device) => Promise.resolve(void asked.push(device)),
    devices: (user) =>
      Promise.resolve(
        user === "ann"
          ? [
              {
                device: "laptop",
                server: "eu-1",
                durable: false,
                background: false,
                since: 5,
                push: null,
                quiet: null,
              },
              {
                device: "phone",
                server: null,
                durable: true,
                background: false,
                since: 4,
                push: "dev",
                quiet: 9_000,
              },
            ]
          : [],
      ),
    placement(user) {
      asked.push({ user });
      return Promise.resolve(ANN);
    },
    servers: () => Promise.resolve({ servers: [EU_1], deliveries: DELIVERIES }),
    drainServer(server) {
      asked.push({ server });
      return Promise.resolve({ connections: 3, within: 10_000 });
    },
    quietDevice: (user, name, until) => Promise.resolve(void asked.push({ user, name, until })),
    mute: (user, conversation, until) =>
      Promise.resolve(void asked.push({ user, conversation, until })),
    mutes: (user) => Promise.resolve(user === "ann" ? [{ conversation: "eve", until: 9_000 }] : []),
    eraseAssociates(user) {
      asked.push({ erased: user });
      return Promise.resolve(["eu-2"]);
    },
    forgetDevice: (user, device) => Promise.resolve(void asked.push({ user, device })),
    health: () => health,
    metrics: () => Promise.resolve("# TYPE x counter\nx 1\n"),
  };
  const app = createAdminApp({
    backend,
    token,
    payloadLimit: 1000,
    version: "0.0.0",
    log: createLog({
      level: "debug",
      format: "json",
      sink: (line) => lines.push(line),
      now: () => 0,
    }),
  });
  return {
    app,
    asked,
    lines,
    answerWith: (next: typeof answer) => void (answer = next),
    fail(error: Error) {
      answer = async () => {
        throw error;
      };
    },
    setHealth: (next: Partial<Health>) => void (health = { ...healthy, ...next }),
  };
}

function call(app: Hono, method: string, path: string, body?: unknown, token = TOKEN) {
  return app.request(path, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

interface Refused {
  error: { code: string; message: string; hint: string };
}

const errorOf = async (response: Response | Promise<Response>) =>
  ((await (await response).json()) as Refused).error;

const message = { from: "shop", to: "ann", text: "Your parcel is here" };
const device = {
  user: "ann",
  device: "phone",
  push: { provider: "dev", token: "t", key: { id: 1, key: Buffer.from(KEY).toString("base64") } },
};

describe("POST /v1/messages", () => {
  test("hands the message to the server, and answers id, status and route", async () => {
    const { app, asked } = fakeServer();
    const response = await call(app, "POST", "/v1/messages", message);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ id: formatUuid(ID), status: "held", route: "wake" });
    expect(asked).toEqual([
      {
        id: undefined,
        from: "shop",
        to: "ann",
        payload: new TextEncoder().encode("Your parcel is here"),
        wake: "message",
        preview: "",
      },
    ]);
  });

  test("takes bytes in base64 of either alphabet, an id, a class and a preview", async () => {
    const { app, asked } = fakeServer();
    const bytes = Buffer.from([0xfb, 0xff, 0x00, 0x10]);
    const id = formatUuid(ID);
    for (const payload of [bytes.toString("base64"), bytes.toString("base64url")]) {
      const full = { from: "shop", to: "ann", payload, id, wake: "call", preview: "☎" };
      expect((await call(app, "POST", "/v1/messages", full)).status).toBe(200);
      expect(asked.pop()).toEqual({
        id: parseUuid(id),
        from: "shop",
        to: "ann",
        payload: new Uint8Array(bytes),
        wake: "call",
        preview: "☎",
      });
    }
  });

  test.each([
    ["no JSON", "{", "the body is not JSON"],
    ["nothing", "", "the body is not JSON"],
    ["no object", "[]", "expected object"],
    ["no recipient", { from: "shop", text: "x" }, "to: "],
    ["a control character", { ...message, to: "a\n" }, "to: must be a user id"],
    ["a long user id", { ...message, from: "ü".repeat(65) }, "from: must be a user id"],
    ["neither text nor payload", { from: "shop", to: "ann" }, "one of text and payload"],
    ["both", { ...message, payload: "AAAA" }, "one of text and payload"],
    ["no base64", { from: "shop", to: "ann", payload: "%%%" }, "payload: must be base64"],
    ["cut base64", { from: "shop", to: "ann", payload: "A" }, "payload: must be base64"],
    ["another kind of id", { ...message, id: crypto.randomUUID() }, "id: must be a UUIDv7"],
    ["an unknown class", { ...message, wake: "shout" }, "wake: "],
    ["an unknown key", { ...message, urgent: true }, "urgent"],
  ])("%s is a bad argument that says which", async (_, body, why) => {
    const { app, asked } = fakeServer();
    const response = await call(app, "POST", "/v1/messages", body);
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error.code).toBe("bad-argument");
    expect(error.message).toContain(why);
    expect(asked).toEqual([]);
  });

  test.each([
    ["id-too-old", 400],
    ["bad-recipient", 400],
    ["id-conflict", 409],
    ["payload-too-large", 413],
    ["recipient-full", 429],
    ["store-unavailable", 503],
    ["out-of-order", 500],
  ])("%s of the server is status %d, in the catalogue's words", async (code, status) => {
    const { app, fail, lines } = fakeServer();
    fail(Object.assign(new Error("inside"), { code }));
    const response = await call(app, "POST", "/v1/messages", message);
    expect(response.status).toBe(status);
    expect(response.headers.get("retry-after")).toBe([429, 503].includes(status) ? "1" : null);
    const error = await errorOf(response);
    expect(error.code).toBe(code);
    expect(error.message).not.toContain("inside");
    expect(error.hint).not.toBe("");
    expect(lines).toEqual([]);
  });

  test("a store that is away is store-unavailable", async () => {
    const { app, fail } = fakeServer();
    fail(new StoreUnavailable("disk full"));
    const response = await call(app, "POST", "/v1/messages", message);
    expect(response.status).toBe(503);
    expect((await errorOf(response)).code).toBe("store-unavailable");
  });

  test("what nobody foresaw is internal, told to the log alone", async () => {
    const { app, fail, lines } = fakeServer();
    fail(new TypeError("secret plans"));
    const response = await call(app, "POST", "/v1/messages", message);
    expect(response.status).toBe(500);
    expect(await errorOf(response)).toMatchObject({ code: "internal" });
    expect(lines.join("")).toContain("TypeError: secret plans");
    expect(lines.join("")).not.toContain("parcel");
  });

  test("L10: a body has a bound, and so have the requests at once", async () => {
    const { app, asked, answerWith } = fakeServer();
    const large = await call(app, "POST", "/v1/messages", { ...message, text: "x".repeat(30_000) });
    expect(large.status).toBe(413);
    expect((await errorOf(large)).code).toBe("payload-too-large");
    expect(asked).toEqual([]);

    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    answerWith(() =>
      released.then(() => ({ id: ID, status: "delivered", route: "local" }) as never),
    );
    const many = Array.from({ length: 1024 }, () => call(app, "POST", "/v1/messages", message));
    const refused = await call(app, "POST", "/v1/messages", message);
    expect(refused.status).toBe(503);
    expect((await errorOf(refused)).code).toBe("unavailable");
    release();
    expect(new Set((await Promise.all(many)).map(({ status }) => status))).toEqual(new Set([200]));
    expect((await call(app, "POST", "/v1/messages", message)).status).toBe(200);
  });
});

describe("/v1/devices", () => {
  test("POST registers a device for push", async () => {
    const { app, asked } = fakeServer();
    const response = await call(app, "POST", "/v1/devices", {
      ...device,
      protocols: ["tcp", "ws"],
    });
    expect(response.status).toBe(204);
    expect(await response.text()).toBe("");
    expect(asked).toEqual([
      {
        user: "ann",
        device: "phone",
        protocols: ["tcp", "ws"],
        push: { provider: "dev", token: "t", key: { id: 1, key: KEY } },
      },
    ]);
  });

  test.each([
    ["a short key", { id: 1, key: "AAAA" }, "push.key.key: must be 32 bytes"],
    ["no key", undefined, "push.key: "],
    ["a negative key id", { id: -1, key: "AAAA" }, "push.key.id: "],
  ])("%s is a bad argument, and is not repeated", async (_, key, why) => {
    const { app } = fakeServer();
    const body = { ...device, push: { ...device.push, token: "t0psecret", key } };
    const error = await errorOf(call(app, "POST", "/v1/devices", body));
    expect(error.message).toContain(why);
    expect(JSON.stringify(error)).not.toContain("t0psecret");
  });

  test("DELETE forgets it, whatever its name is", async () => {
    const { app, asked } = fakeServer();
    for (const [user, name] of [
      ["ann", "phone"],
      ["a/b?c#d", "ü 💥"],
      ["100%", "%2F"],
    ] as const) {
      const path = `/v1/devices/${encodeURIComponent(user)}/${encodeURIComponent(name)}`;
      expect((await call(app, "DELETE", path)).status).toBe(204);
      expect(asked.pop()).toEqual({ user, device: name });
    }
    const bad = await call(app, "DELETE", `/v1/devices/ann/${encodeURIComponent("a\u0000b")}`);
    expect(bad.status).toBe(400);
  });
});

describe("GET /v1/users/{user}/devices", () => {
  test("M3: says which devices there are, and where each is", async () => {
    const { app } = fakeServer();
    const answer = await call(app, "GET", "/v1/users/ann/devices");
    expect(await answer.json()).toEqual({
      devices: [
        {
          device: "laptop",
          server: "eu-1",
          durable: false,
          background: false,
          since: 5,
          push: null,
          quiet: null,
        },
        {
          device: "phone",
          server: null,
          durable: true,
          background: false,
          since: 4,
          push: "dev",
          quiet: 9_000,
        },
      ],
    });
    expect(await (await call(app, "GET", "/v1/users/nobody/devices")).json()).toEqual({
      devices: [],
    });
    const bad = await call(app, "GET", `/v1/users/${encodeURIComponent("a\u0000b")}/devices`);
    expect((await errorOf(bad)).code).toBe("bad-argument");
  });
});

describe("GET /v1/users/{user}/placement", () => {
  test("B4: says why the user's devices are where they are, and who says it", async () => {
    const { app, asked } = fakeServer();
    const path = `/v1/users/${encodeURIComponent("a/b")}/placement`;
    const answer = await call(app, "GET", path);
    expect([answer.status, await answer.json()]).toEqual([200, { server: "eu-1", ...ANN }]);
    expect(asked).toEqual([{ user: "a/b" }]);
    const bad = await call(app, "GET", `/v1/users/${encodeURIComponent("a\u0000b")}/placement`);
    expect((await errorOf(bad)).code).toBe("bad-argument");
  });
});

describe("quiet", () => {
  const until = Number.MAX_SAFE_INTEGER;

  test("PUT and DELETE of a device's", async () => {
    const { app, asked } = fakeServer();
    const path = `/v1/users/ann/devices/${encodeURIComponent("a/b")}/quiet`;
    expect((await call(app, "PUT", path, { until })).status).toBe(204);
    expect((await call(app, "DELETE", path)).status).toBe(204);
    expect(asked).toEqual([
      { user: "ann", name: "a/b", until },
      { user: "ann", name: "a/b", until: 0 },
    ]);
  });

  test("PUT, DELETE and GET of conversations", async () => {
    const { app, asked } = fakeServer();
    const path = `/v1/users/ann/mutes/${encodeURIComponent("ü?")}`;
    expect((await call(app, "PUT", path, { until })).status).toBe(204);
    expect((await call(app, "DELETE", path)).status).toBe(204);
    expect(asked).toEqual([
      { user: "ann", conversation: "ü?", until },
      { user: "ann", conversation: "ü?", until: 0 },
    ]);
    expect(await (await call(app, "GET", "/v1/users/ann/mutes")).json()).toEqual({
      mutes: [{ conversation: "eve", until: 9_000 }],
    });
  });

  test.each([
    ["no time", {}, "until"],
    ["no number", { until: "tomorrow" }, "until"],
    ["one too large", { until: 2 ** 53 }, "until"],
    ["another key", { until, device: "phone" }, ""],
  ])("%s is a bad argument", async (_, body, why) => {
    const { app, asked } = fakeServer();
    for (const path of ["/v1/users/ann/mutes/eve", "/v1/users/ann/devices/phone/quiet"]) {
      const error = await errorOf(call(app, "PUT", path, body));
      expect(error.code).toBe("bad-argument");
      expect(error.message).toContain(why);
    }
    expect(asked).toEqual([]);
  });
});

test("with whom a user exchanges messages is erased, and who did not say so is named", async () => {
  const { app, asked } = fakeServer();
  const answer = await call(app, "DELETE", "/v1/users/ann/associates");
  expect([answer.status, await answer.json()]).toEqual([200, { unanswered: ["eu-2"] }]);
  expect(asked).toEqual([{ erased: "ann" }]);
});

describe("/v1/servers", () => {
  test("M1: says which servers there are, and who says it", async () => {
    const { app } = fakeServer();
    const answer = await call(app, "GET", "/v1/servers");
    expect(await answer.json()).toEqual({
      server: "eu-1",
      servers: [EU_1],
      deliveries: DELIVERIES,
    });
  });

  test("B3: a server is told to go by its name", async () => {
    const { app, asked } = fakeServer();
    const answer = await call(app, "POST", "/v1/servers/eu-2/drain");
    expect([answer.status, await answer.json()]).toEqual([200, { connections: 3, within: 10_000 }]);
    expect(asked).toEqual([{ server: "eu-2" }]);
    const bad = await call(app, "POST", `/v1/servers/${encodeURIComponent("eu 2")}/drain`);
    expect(await errorOf(bad)).toMatchObject({
      code: "bad-argument",
      message: "server: must be the name of a server",
    });
  });
});

describe("the admin token", () => {
  const paths = [
    ["POST", "/v1/messages"],
    ["POST", "/v1/devices"],
    ["GET", "/v1/users/ann/devices"],
    ["GET", "/v1/users/ann/placement"],
    ["DELETE", "/v1/devices/ann/phone"],
    ["DELETE", "/v1/users/ann/associates"],
    ["GET", "/v1/servers"],
    ["POST", "/v1/servers/eu-1/drain"],
  ] as const;

  test.each(paths)("%s %s needs it", async (method, path) => {
    const { app, asked } = fakeServer();
    for (const authorization of [
      undefined,
      "",
      "Bearer",
      "Bearer ",
      `Basic ${TOKEN}`,
      TOKEN,
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(0, -1)}`,
      "Bearer undefined",
    ]) {
      const response = await app.request(path, {
        method,
        headers: authorization === undefined ? {} : { authorization },
        body: method === "POST" ? "not even JSON" : null,
      });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe('Bearer realm="beckon"');
      const error = await errorOf(response);
      expect(error.code).toBe("bad-token");
      expect(error.message).toBe("The admin token is missing or wrong.");
    }
    expect(asked).toEqual([]);
  });

  test.each(paths)("%s %s is refused to everybody where there is none", async (method, path) => {
    const { app, asked } = fakeServer({ token: undefined });
    for (const token of ["undefined", TOKEN, "x"]) {
      const response = await call(
        app,
        method,
        path,
        method === "POST" ? message : undefined,
        token,
      );
      expect(response.status).toBe(401);
      expect((await errorOf(response)).hint).toContain("api.token_file");
    }
    expect(asked).toEqual([]);
  });
});

describe("for the operator, without a token", () => {
  test("GET /healthz says that the process lives, whatever else", async () => {
    const { app, setHealth } = fakeServer();
    setHealth({ state: "draining", checks: { store: false, bus: false } });
    const response = await app.request("/healthz");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ server: "eu-1", state: "draining" });
  });

  test("GET /readyz says whether it takes devices: without the bus, too (L8)", async () => {
    const { app, setHealth } = fakeServer();
    expect((await app.request("/readyz")).status).toBe(200);
    setHealth({ checks: { store: true, bus: false } });
    expect((await app.request("/readyz")).status).toBe(200);
    for (const bad of [
      { state: "draining" },
      { state: "starting" },
      { state: "up", checks: { store: false, bus: true } },
    ] as const) {
      setHealth(bad);
      const response = await app.request("/readyz");
      expect(response.status).toBe(503);
      expect(await response.json()).toEqual({ ...healthy, ...bad });
    }
  });

  test("GET /metrics", async () => {
    const response = await fakeServer().app.request("/metrics");
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await response.text()).toBe("# TYPE x counter\nx 1\n");
  });

  test("what is not there is said in the same form", async () => {
    const { app } = fakeServer();
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", "/v1/messages"],
      ["PUT", "/v1/devices"],
    ] as const) {
      const response = await app.request(path, { method });
      expect(response.status).toBe(404);
      expect(await errorOf(response)).toMatchObject({ code: "unsupported" });
    }
  });
});

describe("GET /openapi.json", () => {
  interface Operation {
    operationId: string;
    security: unknown[];
    parameters?: { name: string; schema: object }[];
    requestBody?: { content: Record<string, { schema: object }> };
    responses: Record<string, { content?: Record<string, { schema: object }> }>;
  }
  interface Document {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: { Error: object } };
  }

  const load = async (): Promise<Document> =>
    (await (await fakeServer().app.request("/openapi.json")).json()) as Document;

  /** A schema of the document as something to check with. */
  const compile = (document: Document, schema: object): z.ZodType =>
    z.fromJSONSchema(("$ref" in schema ? document.components.schemas.Error : schema) as never);

  test("names every endpoint, and which need the token", async () => {
    const { openapi, paths } = await load();
    expect(openapi).toBe("3.1.0");
    const found = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(
        ([method, { security }]) => `${method} ${path}${security.length > 0 ? " *" : ""}`,
      ),
    );
    expect(found).toEqual([
      "post /v1/messages *",
      "post /v1/devices *",
      "get /v1/users/{user}/devices *",
      "get /v1/users/{user}/placement *",
      "delete /v1/devices/{user}/{device} *",
      "put /v1/users/{user}/devices/{device}/quiet *",
      "delete /v1/users/{user}/devices/{device}/quiet *",
      "get /v1/users/{user}/mutes *",
      "put /v1/users/{user}/mutes/{conversation} *",
      "delete /v1/users/{user}/mutes/{conversation} *",
      "delete /v1/users/{user}/associates *",
      "get /v1/servers *",
      "post /v1/servers/{server}/drain *",
      "get /metrics",
      "get /healthz",
      "get /readyz",
      "get /openapi.json",
    ]);
  });

  test("its schemas take the requests that the server takes, and refuse what it refuses", async () => {
    const document = await load();
    const { app } = fakeServer();
    const requests: [string, unknown][] = [
      ["/v1/messages", message],
      ["/v1/messages", { from: "shop", to: "ann", payload: "AAAA", id: formatUuid(ID) }],
      ["/v1/messages", { from: "shop" }],
      ["/v1/messages", { from: "shop", to: "ann" }],
      ["/v1/messages", { ...message, payload: "AAAA" }],
      ["/v1/messages", { ...message, id: "x" }],
      ["/v1/messages", { ...message, wake: "shout" }],
      ["/v1/devices", device],
      ["/v1/devices", { ...device, protocols: [] }],
      ["/v1/devices", { ...device, push: { provider: "dev" } }],
      ["/v1/devices", { ...device, user: "" }],
      ["/v1/devices", { ...device, extra: 1 }],
    ];
    for (const [path, body] of requests) {
      const { schema } = document.paths[path]!["post"]!.requestBody!.content["application/json"]!;
      const isTaken = (await call(app, "POST", path, body)).status < 300;
      expect({ body, isTaken: compile(document, schema).safeParse(body).success }).toEqual({
        body,
        isTaken,
      });
    }
  });

  test("every answer is one that it describes", async () => {
    const document = await load();
    const { app, fail, setHealth } = fakeServer();
    const described = async (path: string, method: string, response: Response): Promise<void> => {
      const answer =
        document.paths[path]![method.toLowerCase()]!.responses[String(response.status)];
      expect(answer).toBeDefined();
      const [type, content] = Object.entries(answer!.content ?? {})[0] ?? [];
      if (content === undefined) {
        expect(await response.text()).toBe("");
        return;
      }
      expect(response.headers.get("content-type")).toStartWith(type!);
      const body = type === "application/json" ? await response.json() : await response.text();
      compile(document, content.schema).parse(body);
    };
    const forget = "/v1/devices/{user}/{device}";
    await described("/v1/messages", "POST", await call(app, "POST", "/v1/messages", message));
    await described("/v1/messages", "POST", await call(app, "POST", "/v1/messages", {}));
    await described("/v1/messages", "POST", await call(app, "POST", "/v1/messages", {}, "x"));
    await described(
      "/v1/messages",
      "POST",
      await call(app, "POST", "/v1/messages", "x".repeat(30_000)),
    );
    await described("/v1/devices", "POST", await call(app, "POST", "/v1/devices", device));
    await described("/v1/devices", "POST", await call(app, "POST", "/v1/devices", {}));
    await described(forget, "DELETE", await call(app, "DELETE", "/v1/devices/ann/phone"));
    await described(
      forget,
      "DELETE",
      await call(app, "DELETE", "/v1/devices/ann/phone", undefined, "x"),
    );
    const list = "/v1/users/{user}/devices";
    await described(list, "GET", await call(app, "GET", "/v1/users/ann/devices"));
    await described(list, "GET", await call(app, "GET", "/v1/users/ann/devices", undefined, "x"));
    const why = "/v1/users/{user}/placement";
    await described(why, "GET", await call(app, "GET", "/v1/users/ann/placement"));
    await described("/v1/servers", "GET", await call(app, "GET", "/v1/servers"));
    for (const path of ["/metrics", "/healthz", "/readyz", "/openapi.json"]) {
      await described(path, "GET", await app.request(path));
    }
    setHealth({ state: "draining" });
    await described("/readyz", "GET", await app.request("/readyz"));
    for (const code of [
      "id-conflict",
      "recipient-full",
      "store-unavailable",
      "internal",
      "bad-id",
    ]) {
      fail(Object.assign(new Error("x"), { code }));
      await described("/v1/messages", "POST", await call(app, "POST", "/v1/messages", message));
    }
  });
});

describe("on a socket", () => {
  const { app, asked } = fakeServer();
  let listener: AdminListener;
  beforeAll(() => void (listener = listenAdmin(app, "127.0.0.1", 0)));
  afterAll(() => listener.close());

  test("a health check over HTTP/1.0, which names no host, is answered", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const check = "GET /readyz HTTP/1.0\r\n\r\n";
    const socket = await Bun.connect({
      hostname: listener.url.hostname,
      port: Number(listener.url.port),
      socket: {
        open: (opened) => void opened.write(check),
        data: (_, answer) => resolve(answer.toString()),
        close: () => resolve("closed"),
      },
    });
    expect(await promise).toStartWith("HTTP/1.1 200 ");
    socket.end();
  });

  test("a body without a length has a bound, too", async () => {
    const post = (chunks: number) =>
      fetch(new URL("/v1/messages", listener.url), {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}` },
        body: (async function* () {
          yield '{"from":"shop","to":"ann","text":"';
          for (let i = 0; i < chunks; i++) yield "x".repeat(1000);
          yield '"}';
        })() as unknown as ReadableStream,
      });
    const small = await post(2);
    expect(small.status).toBe(200);
    expect(asked).toHaveLength(1);
    const large = await post(40);
    expect(large.status).toBe(413);
    expect(asked).toHaveLength(1);
  });
});
