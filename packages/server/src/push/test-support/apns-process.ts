/**
 * Apple's push service, as far as a provider sees it: it refuses what Apple's documents say is refused, and tells its parent all that
 * came. Runs under Node, whose HTTP/2 server keeps to the standard.
 */
import { createPublicKey, verify } from "node:crypto";
import { constants, createSecureServer } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Socket } from "node:net";

export interface Setup {
  readonly tls: { readonly cert: string; readonly key: string };
  /** SPKI, PEM. */
  readonly publicKey: string;
  readonly keyId: string;
  readonly teamId: string;
  /** To which the key may push. */
  readonly topics: readonly string[];
  /** Streams at once: before a request with a good token, from then on, and how many of these are served. */
  readonly streams: { readonly first: number; readonly trusted: number; readonly served: number };
}

export interface Device {
  readonly token: string;
  readonly topic: string;
  readonly state: "active" | "unregistered" | "expired";
}

/** What it does instead of looking at a push. */
export type Mood = {
  /** Pushes of this device only. */
  readonly token?: string;
  /** After so many others that it would have been for. */
  readonly after?: number;
  /** Default: for all. */
  readonly times?: number;
} & (
  | {
      readonly do: "answer";
      readonly status: number;
      readonly reason?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly text?: string;
    }
  | { readonly do: "silence" | "refuse" | "reset" | "drop" }
  /** Ends the connection: this push is still taken, what was sent after it is not looked at. */
  | { readonly do: "goaway" }
);

export type Order =
  | { readonly do: "setup"; readonly setup: Setup }
  | { readonly do: "device"; readonly device: Device }
  | { readonly do: "mood"; readonly mood: Mood | undefined }
  /** What time it is for APNs; undefined: as it is. */
  | { readonly do: "time"; readonly now: number | undefined }
  /** Ends the connections, as soon as nothing is under way on them. */
  | { readonly do: "disconnect" }
  /** Nothing: what came before is told before this is done. */
  | { readonly do: "nothing" };

export type Report =
  | { readonly told: "port"; readonly port: number }
  | { readonly told: "done" }
  | { readonly told: "connection" }
  | { readonly told: "request"; readonly request: Received };

export interface Received {
  /** Counted from 1. */
  readonly connection: number;
  /** Of the connection's requests, counted from 1, those that were refused among them. */
  readonly number: number;
  /** Requests of that connection that were not answered then. */
  readonly open: number;
  /** All of them, as they came. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  /** Why it was refused; undefined: it was not, or not looked at. */
  readonly refusal: string | undefined;
  readonly taken: boolean;
}

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly timestamp?: number;
}

const HOUR = 3600;
const LEAST = 20 * 60;

interface Connection {
  readonly number: number;
  readonly session: ServerHttp2Session;
  open: number;
  isTrusted: boolean;
  /** What comes on later streams is not looked at. */
  last: number;
  /** The last token that was good, and when it was first seen. */
  token: { readonly text: string; readonly since: number } | undefined;
}

const devices = new Map<string, Device>();
const sockets = new Set<Socket>();
const sessions = new Set<ServerHttp2Session>();
let setup: Setup;
let mood: Mood | undefined;
let moodSeen = 0;
let fixedTime: number | undefined;
let connections = 0;

const report = (what: Report): void => void process.send!(what);
const seconds = (): number => (fixedTime ?? Date.now()) / 1000;

function listen(): void {
  const server = createSecureServer({
    ...setup.tls,
    settings: { maxConcurrentStreams: setup.streams.first },
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("session", (session) => {
    const connection: Connection = {
      number: ++connections,
      session,
      open: 0,
      isTrusted: false,
      last: Infinity,
      token: undefined,
    };
    report({ told: "connection" });
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => undefined);
    session.on("stream", (stream, headers, _flags, raw) => {
      receive(connection, stream, headers, raw);
    });
  });
  server.listen(0, "127.0.0.1", () => {
    report({ told: "port", port: (server.address() as AddressInfo).port });
  });
}

function receive(
  connection: Connection,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
): void {
  connection.open++;
  const { open } = connection;
  stream.on("error", () => undefined);
  stream.on("close", () => connection.open--);
  if (open > setup.streams.served) {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    if (stream.id! > connection.last) return;
    const body = Buffer.concat(chunks).toString();
    const pairs = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]!] as const] : []));
    const tell = (refusal: Refusal | undefined, taken: boolean): void => {
      const why = refusal === undefined ? undefined : `${refusal.status} ${refusal.reason}`;
      const { number } = connection;
      // A client's streams have odd numbers.
      const nth = (stream.id! + 1) / 2;
      const received = {
        connection: number,
        number: nth,
        open,
        headers: pairs,
        body,
        refusal: why,
        taken,
      };
      report({ told: "request", request: received });
    };
    const now = moodFor(headers);
    if (now !== undefined && now.do !== "goaway") {
      tell(undefined, false);
      act(now, stream);
      return;
    }
    const refusal = refusalOf(connection, headers, body);
    tell(refusal, refusal === undefined);
    if (now !== undefined) {
      connection.last = stream.id!;
      const reason = JSON.stringify({ reason: "Shutdown" });
      connection.session.goaway(constants.NGHTTP2_NO_ERROR, stream.id, Buffer.from(reason));
    }
    answer(stream, headers, refusal);
  });
}

function moodFor(headers: IncomingHttpHeaders): Mood | undefined {
  if (mood === undefined) return undefined;
  const { token, after = 0, times = Infinity } = mood;
  if (token !== undefined && !String(headers[":path"]).endsWith(token)) return undefined;
  const at = moodSeen++;
  return at >= after && at < after + times ? mood : undefined;
}

function act(what: Exclude<Mood, { readonly do: "goaway" }>, stream: ServerHttp2Stream): void {
  switch (what.do) {
    case "silence":
      return;
    case "refuse":
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    case "reset":
      for (const socket of sockets) socket.resetAndDestroy();
      return;
    case "drop":
      for (const socket of sockets) socket.destroy();
      return;
    case "answer": {
      const { status, reason, headers, text } = what;
      stream.respond({ ":status": status, ...headers });
      stream.end(text ?? (reason === undefined ? "" : JSON.stringify({ reason })));
    }
  }
}

function answer(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  refusal: Refusal | undefined,
): void {
  // Others that are under way get in, too.
  setTimeout(() => {
    if (stream.destroyed) return;
    const id = String(headers["apns-id"] ?? "");
    stream.respond({ ":status": refusal?.status ?? 200, ...(id === "" ? {} : { "apns-id": id }) });
    const { reason, timestamp } = refusal ?? {};
    stream.end(refusal === undefined ? "" : JSON.stringify({ reason, timestamp }));
  }, 1);
}

function refusalOf(
  connection: Connection,
  headers: IncomingHttpHeaders,
  body: string,
): Refusal | undefined {
  const bad = (status: number, reason: string): Refusal => ({ status, reason });
  const header = (name: string): string => String(headers[name] ?? "");
  if (header(":method") !== "POST") return bad(405, "MethodNotAllowed");
  const [, path] = /^\/3\/device\/(.*)$/.exec(header(":path")) ?? [];
  if (path === undefined) return bad(404, "BadPath");
  if (path === "") return bad(400, "MissingDeviceToken");
  const untrusted = tokenFault(connection, header("authorization"));
  if (untrusted !== undefined) return untrusted;
  const unknown = Object.keys(headers).find((name) => !HEADERS.has(name));
  if (unknown !== undefined) return bad(400, `UnknownHeader ${unknown}`);
  if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(header("apns-id"))) {
    return bad(400, "BadMessageId");
  }
  if (!/^(0|\d{10})$/.test(header("apns-expiration"))) return bad(400, "BadExpirationDate");
  const priority = header("apns-priority");
  if (!/^(1|5|10)$/.test(priority)) return bad(400, "BadPriority");
  if (Buffer.byteLength(header("apns-collapse-id")) > 64) return bad(400, "BadCollapseId");
  const topic = header("apns-topic");
  if (topic === "") return bad(400, "MissingTopic");
  const type = header("apns-push-type");
  if (!/^(alert|background|voip)$/.test(type)) return bad(400, "InvalidPushType");
  if ((type === "voip") !== topic.endsWith(".voip")) return bad(400, "BadTopic");
  if (!setup.topics.includes(topic.replace(/\.voip$/, ""))) return bad(400, "TopicDisallowed");
  if (body === "") return bad(400, "PayloadEmpty");
  const most = type === "voip" ? 5120 : 4096;
  if (Buffer.byteLength(body) > most) return bad(413, "PayloadTooLarge");
  const wrong = payloadFault(body, type, priority);
  if (wrong !== undefined) return bad(400, wrong);
  const device = devices.get(path);
  if (device === undefined) return bad(400, "BadDeviceToken");
  if (device.topic !== topic) return bad(400, "DeviceTokenNotForTopic");
  if (device.state === "active") return undefined;
  const reason = device.state === "expired" ? "ExpiredToken" : "Unregistered";
  return { status: 410, reason, timestamp: Date.now() };
}

const HEADERS = new Set(
  [":method :path :scheme :authority authorization content-length content-type"]
    .concat("apns-id apns-expiration apns-priority apns-topic apns-collapse-id apns-push-type")
    .flatMap((names) => names.split(" ")),
);

function payloadFault(body: string, type: string, priority: string): string | undefined {
  const payload = parse(body);
  const aps = payload?.["aps"] as Record<string, unknown> | undefined;
  if (aps === undefined) return "BadPayload";
  const isSeen = "alert" in aps || "sound" in aps || "badge" in aps;
  if (type === "alert" && !isSeen) return "InvalidPushType alert";
  if (type !== "background") return undefined;
  if (isSeen || aps["content-available"] !== 1) return "InvalidPushType background";
  return priority === "10" ? "BadPriority background" : undefined;
}

/** What is wrong with `bearer JWT`. */
function tokenFault(connection: Connection, header: string): Refusal | undefined {
  const bad = (reason: string): Refusal => ({ status: 403, reason });
  const [, text] = /^bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(header) ?? [];
  if (text === undefined) return bad("MissingProviderToken");
  const [head = "", claims = "", signature = ""] = text.split(".");
  const { alg, kid } = parse(decode(head)) ?? {};
  const { iss, iat } = parse(decode(claims)) ?? {};
  if (alg !== "ES256" || kid !== setup.keyId || iss !== setup.teamId || typeof iat !== "number") {
    return bad("InvalidProviderToken");
  }
  const { token } = connection;
  // One that was good is not looked at again.
  const isSigned =
    token?.text === text ||
    verify(
      "sha256",
      Buffer.from(`${head}.${claims}`),
      { key: createPublicKey(setup.publicKey), dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    );
  if (!isSigned) return bad("InvalidProviderToken");
  if (iat > seconds() + 60) return bad("InvalidProviderToken");
  if (iat < seconds() - HOUR) return bad("ExpiredProviderToken");
  if (token !== undefined && token.text !== text && seconds() - token.since < LEAST) {
    return { status: 429, reason: "TooManyProviderTokenUpdates" };
  }
  if (token?.text !== text) connection.token = { text, since: seconds() };
  if (!connection.isTrusted) {
    connection.isTrusted = true;
    connection.session.settings({ maxConcurrentStreams: setup.streams.trusted });
  }
  return undefined;
}

function decode(part: string): string {
  return Buffer.from(part, "base64url").toString();
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

process.on("message", (order: Order) => {
  switch (order.do) {
    case "setup":
      setup = order.setup;
      listen();
      return;
    case "device":
      devices.set(order.device.token, order.device);
      break;
    case "mood":
      mood = order.mood;
      moodSeen = 0;
      break;
    case "time":
      fixedTime = order.now;
      break;
    case "disconnect":
      for (const session of sessions) session.close();
      break;
    case "nothing":
  }
  report({ told: "done" });
});
process.on("disconnect", () => process.exit());
