import type {
  Address,
  AckStatus,
  Frame,
  Hint,
  Limits,
  PushRegistration,
  Route,
  SendFrame,
  ServerAddresses,
  Wake,
  WakeClass,
  WakeKey,
} from "./frames.ts";

/** Field numbers of `Frame`: which kind a frame is. [P-13.6] reserves 18 to 22. */
export const KINDS: { readonly [T in Frame["type"]]: number } = {
  send: 1,
  received: 2,
  deliver: 3,
  ack: 4,
  ping: 5,
  pong: 6,
  pull: 7,
  pulled: 8,
  error: 9,
  hello: 10,
  welcome: 11,
  auth: 12,
  state: 13,
  bye: 14,
  redirect: 15,
  move: 16,
  drain: 17,
  quiet: 23,
  quieted: 24,
  forget: 25,
};

/** Names of enum values, by number. */
export const WAKE_CLASSES: readonly WakeClass[] = ["message", "call", "silent", "none"];
export const ACK_STATUSES: readonly AckStatus[] = ["delivered", "held"];
export const ROUTES: readonly Route[] = ["local", "remote", "wake"];
/** [P-2.5] What a number that this version does not know counts as: what promises least. */
export const UNKNOWN_WAKE_CLASS: WakeClass = "message";
export const UNKNOWN_ACK_STATUS: AckStatus = "held";
export const UNKNOWN_ROUTE: Route = "remote";

/** How a field is written. `count`: a number that is 1 by default; `pairs`: packed numbers, an even number of them. */
export type Form =
  | { readonly form: "uint" | "count" | "bool" | "string" | "strings" | "bytes" | "pairs" }
  | { readonly form: "enum"; readonly names: readonly string[]; readonly unknown: string }
  | { readonly form: "message" | "optional" | "messages"; readonly schema: AnySchema };

export type Field = Form & { readonly number: number };

/** A message's fields in ascending order of their numbers. */
export type AnySchema = Readonly<Record<string, Field>>;

/** A schema has each property of `T`, in a form that holds its type. */
type Schema<T> = { readonly [K in keyof Omit<T, "type" | "raw">]-?: Field & FormOf<T, K> };

type FormOf<T, K extends keyof T> = undefined extends T[K]
  ? { readonly form: "optional" }
  : T[K] extends number
    ? { readonly form: "uint" | "count" }
    : T[K] extends boolean
      ? { readonly form: "bool" }
      : T[K] extends Uint8Array
        ? { readonly form: "bytes" }
        : T[K] extends WakeClass | AckStatus | Route
          ? { readonly form: "enum" }
          : T[K] extends string
            ? { readonly form: "string" }
            : T[K] extends readonly string[]
              ? { readonly form: "strings" }
              : T[K] extends readonly number[]
                ? { readonly form: "pairs" }
                : T[K] extends readonly unknown[]
                  ? { readonly form: "messages" }
                  : { readonly form: "message" };

type Plain<F extends string> = { readonly form: F; readonly number: number };
type Nested<F extends string> = Plain<F> & { readonly schema: AnySchema };
type Named = Plain<"enum"> & { readonly names: readonly string[]; readonly unknown: string };

const uint = (number: number): Plain<"uint"> => ({ form: "uint", number });
const bool = (number: number): Plain<"bool"> => ({ form: "bool", number });
const string = (number: number): Plain<"string"> => ({ form: "string", number });
const strings = (number: number): Plain<"strings"> => ({ form: "strings", number });
const bytes = (number: number): Plain<"bytes"> => ({ form: "bytes", number });
const oneOf = <N extends string>(number: number, names: readonly N[], unknown: N): Named => ({
  form: "enum",
  number,
  names,
  unknown,
});
const wake = (number: number): Named => oneOf(number, WAKE_CLASSES, UNKNOWN_WAKE_CLASS);
const message = (number: number, schema: AnySchema): Nested<"message"> => ({
  form: "message",
  number,
  schema,
});
const optional = (number: number, schema: AnySchema): Nested<"optional"> => ({
  form: "optional",
  number,
  schema,
});
const messages = (number: number, schema: AnySchema): Nested<"messages"> => ({
  form: "messages",
  number,
  schema,
});

const ADDRESS: Schema<Address> = {
  url: string(1),
  protocol: string(2),
  secure: bool(3),
  network: string(4),
  region: string(5),
  priority: uint(6),
};

const SERVER: Schema<ServerAddresses> = {
  name: string(1),
  addresses: messages(2, ADDRESS),
};

const LIMITS: Schema<Limits> = {
  payload: uint(1),
  messageBytes: uint(2),
  messageFrames: uint(3),
  inFlight: uint(4),
  window: uint(5),
  rate: uint(6),
  burst: uint(7),
};

const WAKE_KEY: Schema<WakeKey> = { id: uint(1), key: bytes(2) };

const PUSH: Schema<PushRegistration> = {
  provider: string(1),
  token: string(2),
  key: message(3, WAKE_KEY),
};

const CONTENT: Schema<Omit<SendFrame, "raw">> = {
  id: bytes(1),
  to: string(2),
  n: uint(3),
  prev: uint(4),
  payload: bytes(5),
  wake: wake(6),
  preview: string(7),
  ends: bytes(8),
};

/** All frames. `hot-encode.ts` and `hot-decode.ts` say four of them again in code, for speed. */
export const SCHEMAS: {
  readonly [T in Frame["type"]]: Schema<Extract<Frame, { readonly type: T }>>;
} = {
  send: CONTENT,
  received: { ranges: { form: "pairs", number: 1 } },
  deliver: {
    ...CONTENT,
    from: string(9),
    fromDevice: string(10),
    outbox: uint(11),
    at: uint(12),
    held: bool(13),
    redelivered: bool(14),
    server: string(15),
  },
  ack: {
    send: uint(1),
    count: { form: "count", number: 2 },
    status: oneOf(3, ACK_STATUSES, UNKNOWN_ACK_STATUS),
    route: oneOf(4, ROUTES, UNKNOWN_ROUTE),
    at: uint(5),
  },
  ping: {},
  pong: { time: uint(1) },
  pull: {},
  pulled: { pull: uint(1) },
  error: { code: uint(1), message: string(2), send: uint(3), retryAfter: uint(4) },
  hello: {
    token: string(1),
    ticket: bytes(2),
    device: string(3),
    durable: bool(4),
    protocols: strings(5),
    push: optional(6, PUSH),
    epoch: uint(7),
    outbox: uint(8),
    hinted: string(9),
    intent: string(10),
    noRedirect: bool(11),
    noCopies: bool(12),
    client: string(13),
    capabilities: uint(14),
    background: bool(15),
  },
  welcome: {
    connection: string(1),
    server: string(2),
    user: string(3),
    epoch: uint(4),
    ticket: bytes(5),
    time: uint(6),
    heartbeat: uint(7),
    limits: message(8, LIMITS),
    servers: messages(9, SERVER),
    held: uint(10),
    recovered: bool(11),
    capabilities: uint(12),
  },
  auth: { token: string(1) },
  state: { background: bool(1) },
  bye: {},
  redirect: { server: message(1, SERVER), reason: string(2) },
  move: { server: message(1, SERVER), reason: string(2) },
  drain: { within: uint(1), servers: messages(2, SERVER) },
  quiet: { conversation: string(1), until: uint(2) },
  quieted: { count: uint(1) },
  forget: {},
};

export const WAKE: Schema<Wake> = { key: uint(1), nonce: bytes(2), sealed: bytes(3) };

export const HINT: Schema<Hint> = {
  server: message(1, SERVER),
  conversation: string(2),
  activity: uint(3),
  wake: wake(4),
  expires: uint(5),
  preview: string(6),
  call: bytes(7),
  ended: bool(8),
};
