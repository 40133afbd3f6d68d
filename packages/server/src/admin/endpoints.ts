/**
 * The admin API, endpoint by endpoint: what requests and answers look like. The server checks by it, and the OpenAPI document is
 * made from it.
 */
import {
  decodeBase64,
  type ErrorCode,
  isUuidv7,
  type Millis,
  parseUuid,
  validDeviceId,
  validUserId,
} from "@beckon/protocol";
import * as z from "zod";

import type { Departure, DeviceDecision } from "../cluster/control-messages.ts";
import type {
  Locality,
  RecentLocality,
  ReplicaOverview,
  ServerOverview,
  SystemOverview,
} from "../cluster/overview.ts";
import type { AssociateReason, PlaceReason, Verdict } from "../placement/why.ts";
import type {
  DeviceRegistration,
  Health,
  Mute,
  OutgoingMessage,
  PlacedDevice,
  UserDevice,
  UserPlacement,
} from "./backend.ts";

export interface Endpoint {
  readonly method: "get" | "post" | "put" | "delete";
  /** With `{name}` for what is in the path. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Needs the admin token. */
  readonly secured: boolean;
  readonly params?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answers: readonly Answer[];
  /** What it may be refused with. */
  readonly errors: readonly ErrorCode[];
}

export interface Answer {
  readonly status: 200 | 204 | 503;
  readonly description: string;
  readonly type?: "application/json" | "text/plain";
  readonly schema?: z.ZodType;
}

const userId = z
  .string()
  .min(1)
  .max(128)
  .refine(validUserId, "must be a user id: 1 to 128 bytes without control characters")
  .meta({ description: "1 to 128 bytes of UTF-8 without control characters.", example: "ann" });

const deviceId = z
  .string()
  .min(1)
  .max(64)
  .refine(validDeviceId, "must be a device id: 1 to 64 bytes without control characters")
  .meta({ description: "1 to 64 bytes of UTF-8 without control characters.", example: "phone" });

const uuidv7 = z
  .string()
  .regex(
    /^[\da-fA-F]{8}-[\da-fA-F]{4}-7[\da-fA-F]{3}-[89abAB][\da-fA-F]{3}-[\da-fA-F]{12}$/,
    "must be a UUIDv7",
  );

const base64 = z.string().regex(/^[\w+/-]*={0,2}$/, "must be base64 or base64url");

/** In JSON Schema: an object that has this. */
function having(key: string): object {
  return { type: "object", properties: { [key]: { type: "string" } }, required: [key] };
}

const message = z
  .strictObject({
    from: userId.meta({
      description: "The service that sends, as its recipient sees it.",
      example: "shop",
    }),
    to: userId.meta({ description: "The recipient: a user.", example: "ann" }),
    text: z.string().optional().meta({ description: "The payload, as UTF-8. This or `payload`." }),
    payload: base64.optional().meta({ description: "The payload, in base64. This or `text`." }),
    id: uuidv7.optional().meta({
      description:
        "Makes a repeat safe: the same sender and id are the same message. Without it each request is a new one.",
    }),
    wake: z
      .enum(["message", "call", "silent", "none"])
      .default("message")
      .meta({ description: "How to wake a device that is away." }),
    preview: z
      .string()
      .default("")
      .meta({ description: "Shown by the notification; sealed for the device." }),
  })
  .meta({ oneOf: ["text", "payload"].map(having) });

const sent = z.object({
  id: z.string().meta({ description: "Of the message: UUIDv7." }),
  status: z.enum(["delivered", "held"]),
  route: z.enum(["local", "remote", "wake"]),
});

const device = z.strictObject({
  user: userId,
  device: deviceId,
  protocols: z
    .array(z.string().regex(/^[a-z][a-z\d-]{0,15}$/))
    .min(1)
    .max(8)
    .default(["ws"])
    .meta({ description: "Protocols that the device speaks; the one that it likes best first." }),
  push: z.strictObject({
    provider: z.string().min(1).max(32).meta({ example: "dev" }),
    token: z.string().min(1).max(4096).meta({ description: "The registration with the provider." }),
    key: z.strictObject({
      id: z.int().min(0),
      key: base64.meta({
        description: "32 bytes that the device made, in base64: wakes are sealed with it.",
      }),
    }),
  }),
});

const userDevice = z.object({
  device: deviceId,
  server: z
    .string()
    .nullable()
    .meta({ description: "The server that it is connected to; null: none.", example: "eu-1" }),
  durable: z.boolean().meta({ description: "Messages are held for it while it is away." }),
  background: z.boolean().meta({ description: "It is connected, and woken by push all the same." }),
  since: z.number().meta({
    description:
      "Connected: since when, ms since 1970. Else: when it connected or registered last, to the hour.",
  }),
  push: z
    .string()
    .nullable()
    .meta({ description: "The push service that it is registered with; null: none." }),
  quiet: z.number().nullable().meta({
    description: "It is not pushed to before then, ms since 1970; null: it is.",
  }),
}) satisfies z.ZodType<UserDevice>;

const why = z.enum(["hint", "attraction", "room", "full", "stay"]);

const verdict = z.object({
  what: z.enum(["stay", "move", "redirect", "leave", "any"]).meta({
    description:
      "`move`: the next message that crosses would move it, unless it has no time (a call, a full window, a move a moment ago). `redirect`: it would be sent on if it connected anew where it is, or is drawn there while it is connected nowhere. `leave`: its server is being emptied. `any`: nothing draws it anywhere.",
  }),
  to: z.string().nullable().meta({ description: "Another server; null: none." }),
  why,
  gain: z.number().nullable().meta({ description: "By how much that is better, in weight." }),
}) satisfies z.ZodType<Verdict>;

const decision = z.object({
  at: z.number().meta({ description: "ms since 1970, by the clock of `from`." }),
  kind: z.enum(["redirect", "move", "drain"]),
  why: why.exclude(["stay"]),
  from: z.string().meta({ description: "Where it was: the server that decided." }),
  to: z.string(),
  attraction: z
    .object({ here: z.number(), there: z.number() })
    .meta({ description: "What drew the user to `from` and to `to`, in weight." }),
  gain: z.number().meta({ description: "By how much `to` was better, in weight." }),
}) satisfies z.ZodType<DeviceDecision>;

const placedDevice = z.object({
  device: deviceId,
  server: z.string().nullable().meta({ description: "null: connected nowhere." }),
  background: z.boolean(),
  since: z.number(),
  now: verdict.nullable().meta({ description: "What would become of it now." }),
  last: decision.nullable().meta({
    description: "The last redirect or move that any server remembers to have decided about it.",
  }),
}) satisfies z.ZodType<PlacedDevice>;

const placeReason = z.object({
  server: z.string(),
  state: z.enum(["up", "draining"]),
  devices: z.int().meta({ description: "Connections, and seats that were promised." }),
  fair: z.number().meta({ description: "Its fair share of all devices." }),
  cap: z.number().meta({ description: "At so many devices it attracts nobody." }),
  busy: z.number().meta({ description: "CPUs that its process used lately." }),
  attracts: z.boolean().meta({ description: "It is up, below its cap, and not busy." }),
  associates: z.int().meta({ description: "Associates that draw the user there." }),
  weight: z.number().meta({ description: "What they weigh together." }),
  pressure: z.number().meta({ description: "What a seat costs there, in weight." }),
  score: z.number().meta({ description: "`weight` less `pressure`." }),
}) satisfies z.ZodType<PlaceReason>;

const associateReason = z.object({
  user: z.string(),
  weight: z.number(),
  servers: z.array(z.string()).meta({ description: "Where it is connected, once a device." }),
  named: z.string().nullable().meta({
    description: "Connected nowhere: the server that a push to it names; null: none.",
  }),
}) satisfies z.ZodType<AssociateReason>;

const userPlacement = z.object({
  policy: z.enum(["wake", "place", "move"]),
  gains: z
    .object({ redirect: z.number().nullable(), move: z.number().nullable() })
    .meta({ description: "What each has to bring, in weight; null: there are none." }),
  devices: z.array(placedDevice),
  servers: z.array(placeReason),
  associates: z.int().meta({ description: "How many are known." }),
  strongest: z.array(associateReason).meta({ description: "Ten of them at most." }),
  silent: z
    .array(z.string())
    .meta({ description: "Servers that did not say what they have decided." }),
}) satisfies z.ZodType<UserPlacement>;

const quiet = z.strictObject({
  until: z.int().min(1).meta({
    description: "ms since 1970; one that is past ends it, the greatest (2^53-1) is for ever.",
  }),
});

const conversation = userId.meta({
  description: "The user who writes: `from` of the messages.",
  example: "eve",
});

const mute = z.object({
  conversation: z.string(),
  until: z.number().meta({ description: "ms since 1970." }),
}) satisfies z.ZodType<Mute>;

const serverName = z
  .string()
  .regex(/^[\w.-]{1,64}$/, "must be the name of a server")
  .meta({ example: "eu-1" });

const replica = z.object({
  server: z.string().meta({ description: "Whose sessions they are." }),
  behind: z.int().nullable().meta({
    description:
      "Changes that are published and not here; null: it waits for all of them, or the owner did not answer.",
  }),
  confirmed: z.number().nullable().meta({
    description:
      "ms since it was last known to be complete; null: the one does not know the other.",
  }),
}) satisfies z.ZodType<ReplicaOverview>;

const locality = z.object({
  local: z.int().meta({ description: "Live, over a connection to the server that accepted it." }),
  remote: z.int().meta({ description: "Live, over a connection to another server." }),
  wakeLocal: z.int().meta({
    description: "From the store, by the server that accepted it: the wake led there.",
  }),
  wakeRemote: z.int().meta({ description: "From the store, by another server." }),
  locality: z.number().nullable().meta({
    description: "`local` and `wakeLocal` over all four; null: there was no delivery.",
    example: 0.83,
  }),
}) satisfies z.ZodType<Locality>;

const recentLocality = z.object({ fiveMinutes: locality, hour: locality }).meta({
  description: "Deliveries to devices in the last five minutes and in the last hour.",
}) satisfies z.ZodType<RecentLocality>;

const server = z.object({
  server: z.string().meta({ example: "eu-1" }),
  state: z.enum(["up", "draining"]),
  software: z.string().meta({ description: "Its version.", example: "0.1.0" }),
  connections: z.int(),
  capacity: z.int().meta({ description: "Connections that it takes at most; 0: not known." }),
  cpu: z.number().meta({ description: "CPUs that its process used lately.", example: 0.25 }),
  since: z.number().meta({ description: "When it came up, ms since 1970." }),
  addresses: z.array(
    z.object({
      url: z.string(),
      protocol: z.string(),
      secure: z.boolean(),
      network: z.string(),
      region: z.string(),
      priority: z.int(),
    }),
  ),
  heard: z.number().meta({ description: "ms since its last heartbeat." }),
  store: z.boolean().nullable().meta({
    description:
      "Whether its store answers it: if not, no device can connect. null: it did not say.",
  }),
  answers: z.boolean().meta({
    description: "false: it was asked and did not answer; this is what its last heartbeat said.",
  }),
  replicas: z
    .array(replica)
    .meta({ description: "What it knows of the sessions of each other server." }),
  deliveries: recentLocality.nullable(),
}) satisfies z.ZodType<ServerOverview>;

const system = z.object({
  servers: z.array(server),
  deliveries: recentLocality,
}) satisfies z.ZodType<SystemOverview>;

const departure = z.object({
  connections: z.int().meta({ description: "Devices that it still has." }),
  within: z.int().meta({ description: "Its process ends within it, ms." }),
}) satisfies z.ZodType<Departure>;

const health = z.object({
  server: z.string(),
  state: z.enum(["starting", "up", "draining", "stopped"]),
  connections: z.int(),
  checks: z.object({ store: z.boolean(), bus: z.boolean() }),
}) satisfies z.ZodType<Health>;

export const endpoints: {
  readonly [
    name in
      | "sendMessage"
      | "registerDevice"
      | "listDevices"
      | "explainPlacement"
      | "forgetDevice"
      | "quietDevice"
      | "endQuiet"
      | "listMutes"
      | "mute"
      | "endMute"
      | "eraseAssociates"
      | "listServers"
      | "drainServer"
      | "metrics"
      | "healthz"
      | "readyz"
      | "openapi"
  ]: Endpoint;
} = {
  sendMessage: {
    method: "post",
    path: "/v1/messages",
    summary: "Send a message as a service of the application",
    description:
      "Answers when every device of the recipient has acknowledged the message, or it is durably held. Asks no authorizer: the token is authority enough.",
    secured: true,
    body: message,
    answers: [{ status: 200, description: "It is safe.", type: "application/json", schema: sent }],
    errors: [
      ...(["bad-argument", "bad-id", "id-too-old", "id-conflict", "bad-recipient"] as const),
      ...([
        "payload-too-large",
        "recipient-full",
        "store-unavailable",
        "unavailable",
        "internal",
      ] as const),
    ],
  },
  registerDevice: {
    method: "post",
    path: "/v1/devices",
    summary: "Register a device for push, without or before a connection",
    secured: true,
    body: device,
    answers: [
      { status: 204, description: "It is registered; messages are held for it from now on." },
    ],
    errors: ["bad-argument", "payload-too-large", "store-unavailable", "unavailable", "internal"],
  },
  listDevices: {
    method: "get",
    path: "/v1/users/{user}/devices",
    summary: "A user's devices, and where they are connected",
    description:
      "Those that are connected to any server, as this server's session table says, and those that messages are held for.",
    secured: true,
    params: z.object({ user: userId }),
    answers: [
      {
        status: 200,
        description: "In the order of their names; none for a user that is not known.",
        type: "application/json",
        schema: z.object({ devices: z.array(userDevice) }),
      },
    ],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  explainPlacement: {
    method: "get",
    path: "/v1/users/{user}/placement",
    summary: "Why a user's devices are where they are",
    description:
      "What the servers are decided by, as the one that answers sees it (`server`), and what each was asked to remember over the bus, for 2 s at most. With `placement.policy` of `wake` there is nothing to decide.",
    secured: true,
    params: z.object({ user: userId }),
    answers: [
      {
        status: 200,
        description: "Without devices and associates for a user that is not known.",
        type: "application/json",
        schema: userPlacement.extend({ server: z.string() }),
      },
    ],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  forgetDevice: {
    method: "delete",
    path: "/v1/devices/{user}/{device}",
    summary: "Forget a device: log-out",
    description:
      "What was held for it is dropped. If it is a durable device and connected, its connection is closed as `revoked`, and its SDK does not connect again. A token that is still good would let it in again, as a new device. A device that is not there is forgotten already.",
    secured: true,
    params: z.object({ user: userId, device: deviceId }),
    answers: [{ status: 204, description: "Nothing is held for it any more." }],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  quietDevice: {
    method: "put",
    path: "/v1/users/{user}/devices/{device}/quiet",
    summary: "Push nothing to a device until a time",
    description:
      "Neither messages nor calls. They are held as ever; when it ends, what is still unread is pushed once, and repeated as ever. A device that is not registered is a `bad-argument`.",
    secured: true,
    params: z.object({ user: userId, device: deviceId }),
    body: quiet,
    answers: [{ status: 204, description: "It is stored." }],
    errors: ["bad-argument", "payload-too-large", "store-unavailable", "unavailable", "internal"],
  },
  endQuiet: {
    method: "delete",
    path: "/v1/users/{user}/devices/{device}/quiet",
    summary: "Push to a device again",
    secured: true,
    params: z.object({ user: userId, device: deviceId }),
    answers: [{ status: 204, description: "It is pushed to, for what is unread as well." }],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  listMutes: {
    method: "get",
    path: "/v1/users/{user}/mutes",
    summary: "The conversations that wake none of a user's devices",
    secured: true,
    params: z.object({ user: userId }),
    answers: [
      {
        status: 200,
        description: "In the order of their names.",
        type: "application/json",
        schema: z.object({ mutes: z.array(mute) }),
      },
    ],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  mute: {
    method: "put",
    path: "/v1/users/{user}/mutes/{conversation}",
    summary: "Let a conversation wake none of a user's devices until a time",
    description:
      "Its messages are held and delivered as ever, and are not pushed afterwards; its calls ring. At most 1,000 a user; one more, and the one that ends first is forgotten.",
    secured: true,
    params: z.object({ user: userId, conversation }),
    body: quiet,
    answers: [{ status: 204, description: "It is stored: for what is accepted from now on." }],
    errors: ["bad-argument", "payload-too-large", "store-unavailable", "unavailable", "internal"],
  },
  endMute: {
    method: "delete",
    path: "/v1/users/{user}/mutes/{conversation}",
    summary: "Let a conversation wake a user's devices again",
    secured: true,
    params: z.object({ user: userId, conversation }),
    answers: [{ status: 204, description: "It does." }],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  eraseAssociates: {
    method: "delete",
    path: "/v1/users/{user}/associates",
    summary: "Forget with whom a user exchanges messages",
    description:
      "In the store, and in the memory of every server; each is asked over the bus, twice, for 2 s at most. Messages that are accepted from then on make it known anew.",
    secured: true,
    params: z.object({ user: userId }),
    answers: [
      {
        status: 200,
        description: "It is erased in the store, and wherever a server has not failed to say so.",
        type: "application/json",
        schema: z.object({
          unanswered: z.array(z.string()).meta({
            description:
              "Servers that may still know, and store it again. Ask again when they are up.",
          }),
        }),
      },
    ],
    errors: ["bad-argument", "store-unavailable", "unavailable", "internal"],
  },
  listServers: {
    method: "get",
    path: "/v1/servers",
    summary: "The servers of the system, and how far each is behind the others",
    description:
      "Each is asked over the bus, for 2 s at most. `server` is the one that answers this request.",
    secured: true,
    answers: [
      {
        status: 200,
        description: "In the order of their names, this one among them.",
        type: "application/json",
        schema: system.extend({ server: z.string() }),
      },
    ],
    errors: ["unavailable", "internal"],
  },
  drainServer: {
    method: "post",
    path: "/v1/servers/{server}/drain",
    summary: "Send a server's devices elsewhere, and end it",
    description:
      "As SIGTERM to its process. Any server passes it on. A server that drains already answers the same.",
    secured: true,
    params: z.object({ server: serverName }),
    answers: [
      {
        status: 200,
        description: "It has begun.",
        type: "application/json",
        schema: departure,
      },
    ],
    errors: ["bad-argument", "unavailable", "internal"],
  },
  metrics: {
    method: "get",
    path: "/metrics",
    summary: "Metrics, in Prometheus's text format",
    secured: false,
    answers: [{ status: 200, description: "The metrics.", type: "text/plain", schema: z.string() }],
    errors: ["internal"],
  },
  healthz: {
    method: "get",
    path: "/healthz",
    summary: "Whether the process lives",
    secured: false,
    answers: [{ status: 200, description: "It does.", type: "application/json", schema: health }],
    errors: ["internal"],
  },
  readyz: {
    method: "get",
    path: "/readyz",
    summary: "Whether the server takes devices",
    secured: false,
    answers: [
      { status: 200, description: "It does.", type: "application/json", schema: health },
      {
        status: 503,
        description:
          "It starts (the bus was not up yet), drains or has stopped, or the store does not answer.",
        type: "application/json",
        schema: health,
      },
    ],
    errors: ["internal"],
  },
  openapi: {
    method: "get",
    path: "/openapi.json",
    summary: "This document",
    secured: false,
    answers: [
      {
        status: 200,
        description: "OpenAPI 3.1.",
        type: "application/json",
        schema: z.looseObject({}),
      },
    ],
    errors: ["internal"],
  },
};

/** What was wrong with a request: `bad-argument`. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
  readonly code = "bad-argument";
}

/** @throws {BadRequest} */
export function readMessage(body: unknown): OutgoingMessage {
  const { text, payload, id, ...rest } = check(message, body);
  if ((text === undefined) === (payload === undefined)) {
    throw new BadRequest("there must be one of text and payload");
  }
  const bytes = text === undefined ? decodeBase64(payload ?? "") : new TextEncoder().encode(text);
  if (bytes === undefined) throw new BadRequest("payload: must be base64 or base64url");
  return { ...rest, payload: bytes, id: id === undefined ? undefined : parseId(id) };
}

function parseId(text: string): Uint8Array {
  const id = parseUuid(text);
  if (id === undefined || !isUuidv7(id)) throw new BadRequest("id: must be a UUIDv7");
  return id;
}

/** @throws {BadRequest} */
export function readDevice(body: unknown): DeviceRegistration {
  const { push, ...rest } = check(device, body);
  const key = decodeBase64(push.key.key);
  if (key?.length !== 32) throw new BadRequest("push.key.key: must be 32 bytes in base64");
  return { ...rest, push: { ...push, key: { id: push.key.id, key } } };
}

/** @throws {BadRequest} */
export function readUser(params: unknown): string {
  return check(z.object({ user: userId }), params).user;
}

/** @throws {BadRequest} */
export function readMute(params: unknown): { user: string; conversation: string } {
  return check(z.object({ user: userId, conversation }), params);
}

/** @throws {BadRequest} */
export function readUntil(body: unknown): Millis {
  return check(quiet, body).until;
}

/** @throws {BadRequest} */
export function readServer(params: unknown): string {
  return check(z.object({ server: serverName }), params).server;
}

/** @throws {BadRequest} */
export function readDeviceName(params: unknown): { user: string; device: string } {
  return check(z.object({ user: userId, device: deviceId }), params);
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  // zod says what it wants and of which type a value is, never the value.
  throw new BadRequest(path.length === 0 ? message : `${path.join(".")}: ${message}`);
}
