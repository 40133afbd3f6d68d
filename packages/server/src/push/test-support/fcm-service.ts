/**
 * Firebase Cloud Messaging (HTTP v1) with its OAuth server, and the devices that have tokens of it. It refuses what Google refuses, in
 * Google's form, and looks at signatures with another implementation than the one that made them.
 */
import { createPublicKey, type KeyObject, randomBytes, verify } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import * as z from "zod";

import { readServiceAccount, type ServiceAccount } from "../service-account.ts";
import { EMAIL, keys, PROJECT, serviceAccountFile } from "./service-account.ts";

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const DATA = 4096;

/** What a test looks at in a message. */
export interface FcmMessage {
  readonly token: string;
  readonly data?: Readonly<Record<string, string>> | undefined;
  readonly notification?: object | undefined;
  readonly android?: object | undefined;
  readonly apns?: object | undefined;
  readonly webpush?: object | undefined;
}

/** One installation of the application. */
export interface FcmDevice {
  readonly token: string;
  readonly kind: "android" | "ios";
  /** What native code hands over, in order: `data` of a message, as JSON. */
  readonly received: string[];
  /** The messages. */
  readonly messages: FcmMessage[];
  state: "here" | "unregistered" | "of another sender";
}

/** Instead of an answer. `cut`: the connection ends in the middle of it. */
export type FcmMood =
  | "silence"
  | "cut"
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

const text = z.record(z.string(), z.string());
const shown = z.strictObject({ title: z.string().optional(), body: z.string().optional() });
const json: z.ZodType<Record<string, unknown>> = z.record(z.string(), z.unknown());
const schema = z.strictObject({
  validate_only: z.boolean().optional(),
  message: z.strictObject({
    token: z.string(),
    data: text.optional(),
    notification: shown.optional(),
    android: z
      .strictObject({
        collapse_key: z.string().optional(),
        priority: z.enum(["normal", "high", "NORMAL", "HIGH"]).optional(),
        ttl: z
          .string()
          .regex(/^\d+(\.\d{1,9})?s$/)
          .refine((ttl) => parseFloat(ttl) <= 2_419_200)
          .optional(),
        data: text.optional(),
        notification: shown
          .extend({ tag: z.string().optional(), channel_id: z.string().optional() })
          .optional(),
      })
      .optional(),
    apns: z
      .strictObject({
        headers: z
          .record(z.string(), z.string())
          .refine((all) => /^(5|10)$/.test(all["apns-priority"] ?? "10"))
          .refine((all) => /^(alert|background)$/.test(all["apns-push-type"] ?? "alert"))
          .refine((all) => /^\d+$/.test(all["apns-expiration"] ?? "0"))
          .refine((all) => Buffer.byteLength(all["apns-collapse-id"] ?? "") <= 64)
          .optional(),
        payload: json.optional(),
      })
      .optional(),
    webpush: z
      .strictObject({
        headers: z
          .record(z.string(), z.string())
          .refine(({ TTL = "0" }) => /^\d+$/.test(TTL))
          .refine(({ Urgency = "normal" }) => /^(very-low|low|normal|high)$/.test(Urgency))
          .refine(({ Topic = "none" }) => /^[\w-]{1,32}$/.test(Topic))
          .optional(),
        data: text.optional(),
      })
      .optional(),
  }),
});

/** What FCM itself puts into a message. */
const RESERVED = /^(from|message_type|collapse_key|google\..*|gcm\..*)$/;

interface Access {
  readonly token: string;
  readonly until: number;
}

export class FcmService {
  /** Why it refused, in the order of the requests. */
  readonly refusals: string[] = [];
  /** Asked before a message is looked at; undefined: it is in no mood. */
  mood: (device: string) => FcmMood | undefined = () => undefined;
  /** The same for requests of access tokens. */
  oauthMood: () => FcmMood | undefined = () => undefined;
  /** Seconds for which an access token is good. */
  life = 3599;
  /** ms since 1970. */
  now: () => number = () => Date.now();
  /** Access tokens that were given out. */
  granted = 0;
  /** Those that messages came with. */
  readonly used: Set<string> = new Set();
  /** Requests of access tokens, and of messages. */
  asked = 0;
  sent = 0;
  connections = 0;
  /** Messages that it looks at now, and most of them at once. */
  busy = 0;
  mostBusy = 0;
  #access: Access[] = [];
  readonly #devices = new Map<string, FcmDevice>();
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  private constructor() {
    this.#server.on("connection", () => this.connections++);
  }

  static async start(): Promise<FcmService> {
    const service = new FcmService();
    await new Promise<void>((resolve) => service.#server.listen(0, "127.0.0.1", resolve));
    return service;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}/`);
  }

  /** As Google's console makes it. */
  accountFile(change: Readonly<Record<string, unknown>> = {}): string {
    return serviceAccountFile({ token_uri: new URL("token", this.url).href, ...change });
  }

  account(change: Readonly<Record<string, unknown>> = {}): ServiceAccount {
    return readServiceAccount(this.accountFile(change));
  }

  install(kind: FcmDevice["kind"] = "android"): FcmDevice {
    const token = `${randomBytes(16).toString("base64url")}:APA91b${randomBytes(100).toString("base64url")}`;
    const device: FcmDevice = { token, kind, received: [], messages: [], state: "here" };
    this.#devices.set(token, device);
    return device;
  }

  /** As if the operator had withdrawn the account's keys a moment ago. */
  revoke(): void {
    this.#access = [];
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const isToken = request.url === "/token";
    const oauthMood = isToken ? this.oauthMood() : undefined;
    if (isToken) this.asked++;
    else this.sent++;
    this.mostBusy = Math.max(this.mostBusy, ++this.busy);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    // Others that are under way get in, too, so that `mostBusy` is of some worth.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.busy--;
    const mood = isToken ? oauthMood : this.mood(tokenIn(body));
    if (mood === "silence") return;
    if (mood === "cut") {
      response.writeHead(200, { "content-type": "application/json", "content-length": "100" });
      response.write('{"name": "projects/');
      response.socket?.end();
      return;
    }
    const answer = mood ?? (isToken ? this.#grant(request, body) : this.#take(request, body));
    response.writeHead(answer.status, {
      "content-type": "application/json; charset=UTF-8",
      ...answer.headers,
    });
    response.end(answer.body);
  }

  #grant({ method, headers }: IncomingMessage, body: string): Answer {
    const form = new URLSearchParams(body);
    const wrong = ((): string | undefined => {
      if (method !== "POST") return "method";
      if (!/^application\/x-www-form-urlencoded\b/.test(headers["content-type"] ?? ""))
        return "content-type";
      if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:jwt-bearer")
        return "grant_type";
      return this.#assertionFault(form.get("assertion") ?? "");
    })();
    if (wrong !== undefined) {
      this.refusals.push(`400 ${wrong}`);
      const error = wrong === "scope" ? "invalid_scope" : "invalid_grant";
      return { status: 400, body: JSON.stringify({ error, error_description: "Invalid JWT" }) };
    }
    const token = `ya29.${randomBytes(24).toString("base64url")}`;
    this.#access.push({ token, until: this.now() + this.life * 1_000 });
    this.granted++;
    const granted = { access_token: token, expires_in: this.life, token_type: "Bearer" };
    return { status: 200, body: JSON.stringify(granted) };
  }

  #assertionFault(jwt: string): string | undefined {
    const [head = "", claims = "", signature = ""] = jwt.split(".");
    const key: KeyObject = createPublicKey(keys.publicKey.export({ type: "spki", format: "pem" }));
    const isSigned = verify(
      "RSA-SHA256",
      Buffer.from(`${head}.${claims}`),
      key,
      Buffer.from(signature, "base64url"),
    );
    if (!isSigned || parse(head)["alg"] !== "RS256") return "signature";
    const { iss, aud, scope, iat, exp } = parse(claims);
    const now = this.now() / 1_000;
    if (iss !== EMAIL) return "iss";
    if (aud !== new URL("token", this.url).href) return "aud";
    if (scope !== SCOPE) return "scope";
    if (typeof iat !== "number" || iat > now + 60) return "iat";
    if (typeof exp !== "number" || exp <= now) return "exp";
    if (exp > iat + 3600) return "exp too far";
    return undefined;
  }

  #take(request: IncomingMessage, body: string): Answer {
    const refuse = (status: number, code: string, why: string, details: object[] = []): Answer => {
      this.refusals.push(`${status} ${why}`);
      const error = {
        code: status,
        message: MESSAGES[why] ?? `What is wrong: ${why}.`,
        status: code,
        details,
      };
      return { status, body: JSON.stringify({ error }) };
    };
    const { method, url, headers } = request;
    const [, project] = /^\/v1\/projects\/([^/]+)\/messages:send$/.exec(url ?? "") ?? [];
    if (method !== "POST" || project === undefined) {
      this.refusals.push("404 path");
      return { status: 404, headers: { "content-type": "text/html" }, body: "<h1>404</h1>" };
    }
    const [, bearer] = /^Bearer (.+)$/.exec(headers.authorization ?? "") ?? [];
    const access = this.#access.find(({ token }) => token === bearer);
    if (access === undefined || access.until <= this.now()) {
      return refuse(401, "UNAUTHENTICATED", access === undefined ? "bearer" : "bearer expired");
    }
    this.used.add(access.token);
    if (project !== PROJECT) return refuse(403, "PERMISSION_DENIED", "project");
    const invalid = (why: string, field: string): Answer =>
      refuse(400, "INVALID_ARGUMENT", why, [
        { "@type": BAD_REQUEST, fieldViolations: [{ field, description: why }] },
      ]);
    const { data: said, error } = schema.safeParse(parse(body, false));
    if (said === undefined) {
      const path = error.issues[0]!.path.join(".");
      return invalid(path === "" ? "json" : path, path);
    }
    const { message } = said;
    const data = { ...message.data, ...message.android?.data };
    const reserved = Object.keys(data).find((key) => RESERVED.test(key));
    if (reserved !== undefined) return invalid("reserved key", "message.data");
    const parts = [data, message.notification ?? {}];
    const bytes = Buffer.byteLength(parts.flatMap((part) => Object.entries(part).flat()).join(""));
    const fcmError = (errorCode: string): object => ({ "@type": FCM_ERROR, errorCode });
    if (bytes > DATA) {
      return refuse(400, "INVALID_ARGUMENT", "size", [fcmError("INVALID_ARGUMENT")]);
    }
    const device = this.#devices.get(message.token);
    if (device === undefined) {
      return refuse(400, "INVALID_ARGUMENT", "token", [fcmError("INVALID_ARGUMENT")]);
    }
    if (device.state === "unregistered") {
      return refuse(404, "NOT_FOUND", "unregistered", [fcmError("UNREGISTERED")]);
    }
    if (device.state === "of another sender") {
      return refuse(403, "PERMISSION_DENIED", "sender", [fcmError("SENDER_ID_MISMATCH")]);
    }
    // Apple is sent both, and what FCM adds of its own.
    const apple = JSON.stringify({ ...message.apns?.payload, ...data });
    if (device.kind === "ios" && Buffer.byteLength(apple) + 200 > DATA) {
      return refuse(400, "INVALID_ARGUMENT", "size", [fcmError("INVALID_ARGUMENT")]);
    }
    device.messages.push(message);
    device.received.push(JSON.stringify(data));
    const name = `projects/${PROJECT}/messages/0:${this.sent}`;
    return { status: 200, body: JSON.stringify({ name }) };
  }
}

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest";

/** Where others go by the words. */
const MESSAGES: Readonly<Record<string, string>> = {
  token: "The registration token is not a valid FCM registration token",
  unregistered: "Requested entity was not found.",
};

function tokenIn(body: string): string {
  const { message } = parse(body, false) as { message?: { token?: unknown } };
  return String(message?.token);
}

function parse(part: string, isEncoded = true): Record<string, unknown> {
  try {
    const text = isEncoded ? Buffer.from(part, "base64url").toString() : part;
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
