/**
 * A push service as browsers have them, with the devices that listen to it. It refuses what the standards let a real one refuse
 * (RFC 8030, 8188, 8292), and opens bodies with another implementation of RFC 8291 than the one that made them.
 */
import { createECDH, createPublicKey, type ECDH, randomBytes, verify } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

import ece from "http_ece";

const DAY = 86_400;
const BODY = 4096;

/** One subscription of a device. */
export class Subscriber {
  readonly endpoint: string;
  /** The only one that may push (`applicationServerKey`); undefined: any. */
  readonly key: string | undefined;
  /** `JSON.stringify(subscription)`. */
  readonly token: string;
  /** What came and could be opened, in order, and how it was sent. */
  readonly received: string[] = [];
  readonly requests: Received[] = [];
  /** The device has unsubscribed. */
  isExpired = false;
  readonly #keys: ECDH;
  readonly #auth: Buffer = randomBytes(16);

  constructor(endpoint: string, key: string | undefined) {
    this.endpoint = endpoint;
    this.key = key;
    this.#keys = createECDH("prime256v1");
    this.#keys.generateKeys();
    this.token = JSON.stringify({
      endpoint,
      expirationTime: null,
      keys: {
        p256dh: this.#keys.getPublicKey("base64url"),
        auth: this.#auth.toString("base64url"),
      },
    });
  }

  take(request: Received): void {
    this.requests.push(request);
    const opened = ece.decrypt(request.body, {
      version: "aes128gcm",
      privateKey: this.#keys,
      authSecret: this.#auth,
    });
    this.received.push(opened.toString());
  }
}

export interface Received {
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** Instead of taking a push. `silence`: no answer at all. */
export type Mood =
  | "silence"
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

export interface ServiceOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** In endpoints, instead of 127.0.0.1. */
  readonly host?: string;
}

export class WebPushService {
  /** Why it refused, in the order of the requests. */
  readonly refusals: string[] = [];
  /** Asked before a push is looked at; undefined: it is in no mood. */
  mood: (endpoint: string) => Mood | undefined = () => undefined;
  connections = 0;
  /** Pushes that it looks at now, and most of them at once. */
  busy = 0;
  mostBusy = 0;
  readonly #server: ReturnType<typeof createServer>;
  readonly #subscribers = new Map<string, Subscriber>();
  readonly #scheme: "http" | "https";
  readonly #host: string;

  private constructor({ tls, host = "127.0.0.1" }: ServiceOptions) {
    const handle = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#handle(request, response);
    this.#server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
    this.#server.on(tls === undefined ? "connection" : "secureConnection", () => {
      this.connections++;
    });
    this.#scheme = tls === undefined ? "http" : "https";
    this.#host = host;
  }

  static async start(options: ServiceOptions = {}): Promise<WebPushService> {
    const service = new WebPushService(options);
    await new Promise<void>((resolve) => service.#server.listen(0, "127.0.0.1", resolve));
    return service;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get origin(): string {
    return `${this.#scheme}://${this.#host}:${this.port}`;
  }

  /** `at`: where the endpoint is, if another leads here. */
  subscribe(key?: string, at: string = this.origin): Subscriber {
    const path = `/push/${randomBytes(16).toString("base64url")}`;
    const subscriber = new Subscriber(at + path, key);
    this.#subscribers.set(path, subscriber);
    return subscriber;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.mostBusy = Math.max(this.mostBusy, ++this.busy);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const received = { headers: request.headers, body: Buffer.concat(chunks) };
    // Others that are under way get in, too, so that `mostBusy` is of some worth.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.busy--;
    const mood = this.mood(request.url ?? "");
    if (mood === "silence") return;
    if (mood !== undefined) {
      response.writeHead(mood.status, mood.headers);
      response.end(mood.body);
      return;
    }
    const subscriber = this.#subscribers.get(request.url ?? "");
    const refusal =
      request.method === "POST"
        ? refusalOf(received, subscriber, `${this.#scheme}://${request.headers.host}`)
        : ([405, "method"] as const);
    if (refusal !== undefined) {
      this.refusals.push(`${refusal[0]} ${refusal[1]}`);
      response.writeHead(refusal[0]).end(JSON.stringify({ reason: refusal[1] }));
      return;
    }
    subscriber!.take(received);
    response.writeHead(201, { location: `/message/${randomBytes(8).toString("hex")}` }).end();
  }
}

type Refusal = readonly [status: number, why: string];

function refusalOf(
  { headers, body }: Received,
  subscriber: Subscriber | undefined,
  origin: string,
): Refusal | undefined {
  if (subscriber === undefined) return [404, "subscription"];
  if (subscriber.isExpired) return [410, "subscription"];
  const vapid = vapidFault(headers.authorization, subscriber.key, origin);
  if (vapid !== undefined) return vapid;
  if (!/^\d{1,10}$/.test(String(headers["ttl"]))) return [400, "ttl"];
  if (!/^(very-low|low|normal|high)$/.test(String(headers["urgency"] ?? "normal"))) {
    return [400, "urgency"];
  }
  if (!/^[\w-]{1,32}$/.test(String(headers["topic"] ?? "none"))) return [400, "topic"];
  if (body.length > BODY) return [413, "size"];
  if (headers["content-encoding"] !== "aes128gcm") return [415, "content-encoding"];
  // Salt, record size, the length of the key and the key.
  if (body.length < 86 + 17 || body.readUInt32BE(16) < 18 || body[20] !== 65) return [400, "body"];
  return undefined;
}

interface Claims {
  readonly aud?: unknown;
  readonly exp?: unknown;
  readonly sub?: unknown;
}

/** What is wrong with `vapid t=JWT, k=KEY`. */
function vapidFault(
  header: string | undefined,
  key: string | undefined,
  origin: string,
): Refusal | undefined {
  const [, t = "", k = ""] = /^vapid t=([\w.-]+), *k=([\w-]+)$/i.exec(header ?? "") ?? [];
  const point = Buffer.from(k, "base64url");
  const [head = "", claims = "", signature = ""] = t.split(".");
  if (point.length !== 65) return [401, "authorization"];
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) =>
    half.toString("base64url"),
  );
  const publicKey = createPublicKey({
    key: { kty: "EC", crv: "P-256", x: x!, y: y! },
    format: "jwk",
  });
  const isSigned = verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  if (!isSigned || json(head)["alg"] !== "ES256") return [401, "signature"];
  const { aud, exp, sub } = json(claims) as Claims;
  const now = Date.now() / 1000;
  if (aud !== origin) return [401, "aud"];
  if (typeof exp !== "number" || exp <= now) return [401, "exp"];
  if (exp > now + DAY) return [401, "exp too far"];
  if (!/^(mailto:.+@.+|https:.+)$/.test(String(sub))) return [401, "sub"];
  if (key !== undefined && key !== k) return [403, "k"];
  return undefined;
}

function json(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
}
