/** Registration for push, and its end, without a connection: what the device itself asks by HTTP where it would connect. [P-4.13] */
import { ERRORS, MEANINGS, decodeBase64, validDeviceId } from "@beckon/protocol";
import type { ErrorCode, PushRegistration } from "@beckon/protocol";

import { AgingMap } from "../lib/aging-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { SessionTable } from "../sessions/table.ts";
import type { DeviceStore } from "../store/store.ts";
import { StoreUnavailable } from "../store/store.ts";
import type { ConnectionFailure } from "./failure-log.ts";
import { pushFaultOf } from "./handshake.ts";
import { BadToken } from "./identity.ts";
import type { Authenticate } from "./identity.ts";
import { SendRate } from "./send.ts";

/** Undefined: it is none of its requests. */
export type HttpHandler = (request: Request, remote: string) => Promise<Response> | undefined;

export interface RegistrationParts {
  readonly clock: Clock;
  readonly devices: Pick<DeviceStore, "register" | "unregister" | "forget">;
  readonly table: Pick<SessionTable, "announceSet">;
  readonly authenticate: Authenticate;
  readonly state: () => "up" | "draining";
  pushFault(push: PushRegistration): string | undefined;
  onFailure(failure: ConnectionFailure): void;
}

const PATH = "/v1/push";
const BODY_BYTES = 8 * 1024;
/** Requests that are under way; one more is refused. */
const CONCURRENT = 256;
/** Of one address, at once and a second: signatures that a stranger can make a server check. */
const BURST = 100;
const RATE = 10;
/** Addresses whose rate is remembered; beyond it the one that has been silent longest begins anew. */
const REMOTES = 10_000;
const MAX_AGE_S = 86_400;

/** The token says who asks, and no cookie does: a page of any origin may. */
const CORS = { "access-control-allow-origin": "*" };

type RefusalCode = Extract<
  ErrorCode,
  | "bad-argument"
  | "bad-token"
  | "token-expired"
  | "device-forbidden"
  | "unsupported"
  | "message-too-large"
  | "rate-limited"
  | "internal"
  | "unavailable"
  | "draining"
>;

const STATUS: { readonly [C in RefusalCode]: number } = {
  "bad-argument": 400,
  "bad-token": 401,
  "token-expired": 401,
  "device-forbidden": 403,
  unsupported: 405,
  "message-too-large": 413,
  "rate-limited": 429,
  internal: 500,
  unavailable: 503,
  draining: 503,
};

class Refused extends Error {
  override readonly name = "Refused";
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string = MEANINGS[code]) {
    super(message);
    this.code = code;
  }
}

export function createRegistration(parts: RegistrationParts): HttpHandler {
  const { clock, devices, table, state } = parts;
  const rates = new AgingMap<SendRate>();
  let busy = 0;

  /** Room, then the token, then the body: a stranger cannot make the server read. */
  async function serve(request: Request, remote: string): Promise<void> {
    if (request.method !== "PUT" && request.method !== "DELETE")
      throw new Refused("unsupported", "There is PUT, and DELETE.");
    limit(remote);
    if (state() !== "up") throw new Refused("draining");
    if (busy >= CONCURRENT) throw new Refused("unavailable", "Too many requests at once.");
    busy++;
    try {
      const identity = await parts.authenticate(bearer(request));
      const body = await readBody(request);
      const device = deviceOf(body);
      if (identity.device !== undefined && identity.device !== device) {
        throw new Refused("device-forbidden");
      }
      if (request.method === "PUT") await register(identity.user, device, body);
      else await end(identity.user, device, body);
    } finally {
      busy--;
    }
  }

  function limit(remote: string): void {
    const now = clock.monotonic();
    const rate = rates.get(remote) ?? new SendRate(RATE, BURST, now);
    rates.set(remote, rate);
    if (rates.size > REMOTES) rates.delete(rates.oldest!);
    if (rate.take(now) > 0) throw new Refused("rate-limited");
  }

  async function register(user: string, device: string, body: Body): Promise<void> {
    const push = pushOf(body);
    const fault = pushFaultOf(push, parts);
    if (fault !== undefined) throw new Refused("bad-argument", fault);
    const set = await devices.register(user, device, protocolsOf(body), push);
    table.announceSet(user, set.setVersion, set.setSize);
  }

  async function end(user: string, device: string, { forget = false }: Body): Promise<void> {
    if (typeof forget !== "boolean") throw new Refused("bad-argument", "forget: not true or false");
    if (!forget) {
      await devices.unregister(user, device);
      return;
    }
    const set = await devices.forget(user, device);
    table.announceSet(user, set.setVersion, set.setSize);
  }

  return (request, remote) => {
    // Where the request names no host it is no URL.
    const [path = ""] = request.url.split(/[?#]/, 1);
    if (!path.endsWith(PATH)) return undefined;
    if (request.method === "OPTIONS") return Promise.resolve(preflight());
    return serve(request, remote).then(
      () => new Response(null, { status: 204, headers: CORS }),
      (error: unknown) => {
        const refused = refusalOf(error);
        const { code } = refused;
        if (code !== "bad-argument" && code !== "internal") {
          parts.onFailure({ code, remote, session: undefined });
        }
        return answer(refused);
      },
    );
  };
}

function preflight(): Response {
  const headers = {
    ...CORS,
    "access-control-allow-methods": "PUT, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": String(MAX_AGE_S),
  };
  return new Response(null, { status: 204, headers });
}

function refusalOf(error: unknown): Refused {
  if (error instanceof Refused) return error;
  if (error instanceof BadToken) return new Refused(error.code, error.message);
  if (error instanceof StoreUnavailable) return new Refused("unavailable");
  return new Refused("internal");
}

function answer({ code, message }: Refused): Response {
  const status = STATUS[code];
  const headers: Record<string, string> = { ...CORS };
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="beckon"';
  if (status === 405) headers["allow"] = "PUT, DELETE, OPTIONS";
  if (status === 429 || status === 503) headers["retry-after"] = "1";
  const error = { code, message, hint: ERRORS[code].hint };
  return Response.json({ error }, { status, headers });
}

function bearer(request: Request): string {
  const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
  if (token === undefined) {
    throw new BadToken("bad-token", "Authorization: Bearer, and the device's token, is missing");
  }
  return token;
}

type Body = Readonly<Record<string, unknown>>;

async function readBody(request: Request): Promise<Body> {
  let text = "";
  let bytes = 0;
  const decoder = new TextDecoder();
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES) throw new Refused("message-too-large", "the body has over 8 KiB");
    text += decoder.decode(chunk, { stream: true });
  }
  try {
    return objectOf(JSON.parse(text + decoder.decode()), "the body");
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("bad-argument", "the body is not JSON");
  }
}

function objectOf(value: unknown, name: string): Body {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Body;
  throw new Refused("bad-argument", `${name}: not an object`);
}

function deviceOf({ device }: Body): string {
  if (typeof device === "string" && validDeviceId(device)) return device;
  throw new Refused("bad-argument", "device: not a device id");
}

function pushOf({ provider, token, key }: Body): PushRegistration {
  if (typeof provider !== "string") throw new Refused("bad-argument", "provider: not a text");
  if (typeof token !== "string") throw new Refused("bad-argument", "token: not a text");
  const { id, key: text } = objectOf(key, "key");
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0) {
    throw new Refused("bad-argument", "key.id: not a number of 0 to 2^53-1");
  }
  const bytes = typeof text === "string" ? decodeBase64(text) : undefined;
  if (bytes === undefined) throw new Refused("bad-argument", "key.key: not base64");
  return { provider, token, key: { id, key: bytes } };
}

const MOST_PROTOCOLS = 8;

function protocolsOf({ protocols = ["ws"] }: Body): readonly string[] {
  const isProtocol = (name: unknown): name is string =>
    typeof name === "string" && /^[a-z][a-z\d-]{0,15}$/.test(name);
  if (Array.isArray(protocols) && protocols.length <= MOST_PROTOCOLS && protocols.every(isProtocol))
    return protocols;
  throw new Refused("bad-argument", "protocols: not a list of up to 8 protocols");
}
