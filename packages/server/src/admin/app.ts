/** The admin API over HTTP: for the application's backend, the operator and Prometheus. */
import { createHash, timingSafeEqual } from "node:crypto";
import { formatUuid } from "@beckon/protocol";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";

import type { Log } from "../lib/log.ts";
import type { AdminBackend } from "./backend.ts";
import {
  BadRequest,
  type Endpoint,
  endpoints,
  readDevice,
  readDeviceName,
  readMessage,
  readMute,
  readServer,
  readUntil,
  readUser,
} from "./endpoints.ts";
import { type Refusal, refusal, refusalOf, statusOf } from "./errors.ts";
import { openApiDocument } from "./openapi.ts";

export interface AdminOptions {
  readonly backend: AdminBackend;
  /** Undefined: nobody may send or register. */
  readonly token: string | undefined;
  /** Bytes of a message's payload, as configured. */
  readonly payloadLimit: number;
  readonly version: string;
  readonly log: Log;
}

/** Requests that wait for the backend at once; one more is refused. */
const CONCURRENT = 1024;
/** Bytes of a request that are not the payload. */
const AROUND_PAYLOAD = 16 * 1024;

type Handler = (c: Context) => Promise<Response>;

export function createAdminApp({ backend, token, payloadLimit, version, log }: AdminOptions): Hono {
  const app = new Hono();
  const isAdmin = bearerCheck(token);
  const document = openApiDocument(version);
  // A character of JSON may be six bytes (\u0000); base64 takes fewer.
  const limit = bodyLimit({
    maxSize: payloadLimit * 6 + AROUND_PAYLOAD,
    onError: (c) => refuse(c, refusal("payload-too-large")),
  });
  let busy = 0;

  /** Token, then room, then body: a stranger cannot make the server read. */
  const secured =
    (handler: Handler): Handler =>
    async (c) => {
      if (!isAdmin(c.req.header("authorization"))) return refuse(c, unauthorized(token));
      if (busy >= CONCURRENT)
        return refuse(c, refusal("unavailable", "Too many requests at once."));
      busy++;
      try {
        let answer: Response | undefined;
        const refused = await limit(c, async () => void (answer = await handler(c)));
        return refused ?? answer!;
      } finally {
        busy--;
      }
    };

  const handlers: { readonly [name in keyof typeof endpoints]: Handler } = {
    async sendMessage(c) {
      const { id, status, route } = await backend.sendMessage(readMessage(await json(c)));
      return c.json({ id: formatUuid(id), status, route });
    },
    async registerDevice(c) {
      await backend.registerDevice(readDevice(await json(c)));
      return c.body(null, 204);
    },
    async listDevices(c) {
      return c.json({ devices: await backend.devices(readUser(c.req.param())) });
    },
    async explainPlacement(c) {
      const placement = await backend.placement(readUser(c.req.param()));
      return c.json({ server: backend.health().server, ...placement });
    },
    async forgetDevice(c) {
      const { user, device } = readDeviceName(c.req.param());
      await backend.forgetDevice(user, device);
      return c.body(null, 204);
    },
    async quietDevice(c) {
      const { user, device } = readDeviceName(c.req.param());
      await backend.quietDevice(user, device, readUntil(await json(c)));
      return c.body(null, 204);
    },
    async endQuiet(c) {
      const { user, device } = readDeviceName(c.req.param());
      await backend.quietDevice(user, device, 0);
      return c.body(null, 204);
    },
    async listMutes(c) {
      return c.json({ mutes: await backend.mutes(readUser(c.req.param())) });
    },
    async mute(c) {
      const { user, conversation } = readMute(c.req.param());
      await backend.mute(user, conversation, readUntil(await json(c)));
      return c.body(null, 204);
    },
    async endMute(c) {
      const { user, conversation } = readMute(c.req.param());
      await backend.mute(user, conversation, 0);
      return c.body(null, 204);
    },
    async eraseAssociates(c) {
      return c.json({ unanswered: await backend.eraseAssociates(readUser(c.req.param())) });
    },
    async listServers(c) {
      return c.json({ server: backend.health().server, ...(await backend.servers()) });
    },
    async drainServer(c) {
      return c.json(await backend.drainServer(readServer(c.req.param())));
    },
    async metrics(c) {
      return c.text(await backend.metrics(), 200, { "content-type": METRICS });
    },
    async healthz(c) {
      return c.json(backend.health());
    },
    async readyz(c) {
      const health = backend.health();
      // Without the bus it serves devices all the same (L8): a balancer that took them from all servers would make it worse.
      const isReady = health.state === "up" && health.checks.store;
      return c.json(health, isReady ? 200 : 503);
    },
    async openapi(c) {
      return c.json(document);
    },
  };
  for (const [name, endpoint] of Object.entries(endpoints)) {
    const handler = handlers[name as keyof typeof endpoints];
    app.on(endpoint.method, honoPath(endpoint), endpoint.secured ? secured(handler) : handler);
  }
  app.notFound((c) => {
    const what = `There is no ${c.req.method} for this path.`;
    return refuse(c, refusal("unsupported", what, "GET /openapi.json lists what there is."));
  });
  app.onError((error, c) => {
    const known = refusalOf(error);
    if (known === undefined) log.error("admin.failed", { error, method: c.req.method });
    return refuse(c, known ?? refusal("internal"));
  });
  return app;
}

const METRICS = "text/plain; version=0.0.4; charset=utf-8";

function honoPath({ path }: Endpoint): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

async function json(c: Context): Promise<unknown> {
  try {
    return await c.req.json();
  } catch {
    throw new BadRequest("the body is not JSON");
  }
}

function refuse(c: Context, error: Refusal): Response {
  const status = statusOf(error.code);
  if (status === 401) c.header("www-authenticate", 'Bearer realm="beckon"');
  if (status === 503 || status === 429) c.header("retry-after", "1");
  return c.json({ error }, status);
}

function unauthorized(token: string | undefined): Refusal {
  return token === undefined
    ? refusal(
        "bad-token",
        "This server has no admin token.",
        "Set `api.token_file`, and start it again.",
      )
    : refusal(
        "bad-token",
        "The admin token is missing or wrong.",
        "Send `Authorization: Bearer`, and the token of `api.token_file`.",
      );
}

/** Compares digests, in constant time: neither the token's bytes nor its length show. */
function bearerCheck(token: string | undefined): (header: string | undefined) => boolean {
  if (token === undefined) return () => false;
  const digest = (text: string): Uint8Array => createHash("sha256").update(text).digest();
  const wanted = digest(token);
  return (header) => {
    const [, given] = /^Bearer +(.+)$/i.exec(header ?? "") ?? [];
    return given !== undefined && timingSafeEqual(digest(given), wanted);
  };
}
