/** {@link Bus} over core NATS: no stream, no persistence; whoever needs to know counts. */
import type { ConnectionOptions, Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { connect, credsAuthenticator, errors } from "@nats-io/transport-node";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { type Bus, type BusHandler, BusTimeout, BusUnavailable, NobodyListens } from "./bus.ts";

export interface NatsBusOptions {
  /** `nats://` or `tls://`; any that answers will do. */
  readonly servers: readonly string[];
  /** Of this server, as NATS's own monitoring shows it. */
  readonly name: string;
  /** Clusters of different names do not hear each other. */
  readonly cluster: string;
  readonly credentials?: NatsCredentials | undefined;
  /** PEM. When it is there, a NATS without TLS is not spoken to. */
  readonly tls?:
    | { readonly ca?: string; readonly cert?: string; readonly key?: string }
    | undefined;
  readonly clock: Clock;
  /** Is told why it cannot connect: when it begins to fail, and when the reason is another one. */
  readonly onFailure?: (reason: string) => void;
  /** Requests that may be under way; one more fails with BusUnavailable. Default 10,000. */
  readonly requestLimit?: number;
  /** Bytes that NATS has not confirmed; more fails with BusUnavailable. Default 64 MiB. */
  readonly unconfirmedLimit?: number;
}

export type NatsCredentials =
  | { readonly user: string; readonly password: string }
  | { readonly token: string }
  /** What a `.creds` file has. */
  | { readonly creds: string };

const REQUEST_LIMIT = 10_000;
const UNCONFIRMED_LIMIT = 64 * 1024 * 1024;
/** A PING is written behind so many bytes; its PONG says that NATS has read them. */
const CONFIRM_BYTES = 256 * 1024;

/** A link that drops packets without a word is known to be down after three of these at the latest. */
const PING: Millis = 1_000;
const PINGS_UNANSWERED = 2;
/** For the answer of one NATS server at a connect. */
const CONNECT: Millis = 2_000;
const RETRY: Millis = 250;
const RETRY_JITTER: Millis = 250;
/** For NATS to hear that this server listens no more. */
const FAREWELL: Millis = 500;

/** Connects in the background, for as long as it is not closed; until then it is as while disconnected. */
export function createNatsBus(options: NatsBusOptions): Bus {
  return new NatsBus(options);
}

class NatsBus implements Bus {
  readonly #options: NatsBusOptions;
  readonly #handlers = new Map<string, Set<BusHandler>>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #linkListeners = new Set<(up: boolean) => void>();
  readonly #requests = new Set<(error: Error) => void>();
  #nats: NatsConnection | undefined;
  #up = false;
  #closed = false;
  /** Bytes that were published since the last confirmation was asked for, and before. */
  #unasked = 0;
  #asked = 0;

  constructor(options: NatsBusOptions) {
    this.#options = options;
    void this.#connect();
  }

  get up(): boolean {
    return this.#up;
  }

  publish(subject: string, message: Uint8Array): void {
    this.#link(message.length).publish(this.#name(subject), message.slice());
  }

  subscribe(subject: string, handler: BusHandler): () => void {
    const own: BusHandler = (message, reply) => handler(message, reply);
    const handlers = this.#handlers.get(subject) ?? new Set();
    this.#handlers.set(subject, handlers.add(own));
    if (handlers.size === 1) this.#listen(subject);
    return () => {
      handlers.delete(own);
      if (handlers.size > 0 || this.#handlers.get(subject) !== handlers) return;
      this.#handlers.delete(subject);
      this.#subscriptions.get(subject)?.unsubscribe();
      this.#subscriptions.delete(subject);
    };
  }

  async request(subject: string, message: Uint8Array, timeout: Millis): Promise<Uint8Array> {
    const nats = this.#link(message.length);
    if (this.#requests.size >= (this.#options.requestLimit ?? REQUEST_LIMIT)) {
      throw new BusUnavailable("too many requests under way");
    }
    const { promise: lost, reject } = Promise.withResolvers<never>();
    this.#requests.add(reject);
    try {
      const answer = nats.request(this.#name(subject), message.slice(), { timeout });
      const { data } = await Promise.race([answer, lost]);
      return data;
    } catch (error) {
      throw translated(error, subject);
    } finally {
      this.#requests.delete(reject);
    }
  }

  onLink(listener: (up: boolean) => void): () => void {
    const own = (up: boolean): void => listener(up);
    this.#linkListeners.add(own);
    return () => void this.#linkListeners.delete(own);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const wasUp = this.#up;
    this.#handlers.clear();
    this.#linkListeners.clear();
    this.#setUp(false);
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe();
    // Whoever asks from now on is told at once that nobody listens.
    if (wasUp) await Promise.race([this.#nats?.flush(), this.#pause(FAREWELL)]).catch(() => {});
    await this.#nats?.close();
  }

  async #connect(): Promise<void> {
    const { servers, name, credentials, tls } = this.#options;
    const nats = await this.#dial({
      ...authentication(credentials),
      ...(tls === undefined ? {} : { tls }),
      servers: [...servers],
      name,
      noEcho: true,
      // Its own defaults give up after some tries, and notice a dead link after minutes.
      maxReconnectAttempts: -1,
      reconnectTimeWait: RETRY,
      reconnectJitter: RETRY_JITTER,
      reconnectJitterTLS: RETRY_JITTER,
      ignoreAuthErrorAbort: true,
      pingInterval: PING,
      maxPingOut: PINGS_UNANSWERED,
      timeout: CONNECT,
    });
    if (nats === undefined) return;
    this.#nats = nats;
    this.#subscriptions.clear();
    for (const subject of this.#handlers.keys()) this.#listen(subject);
    this.#setUp(true);
    for await (const { type } of nats.status()) {
      if (type === "disconnect" || type === "staleConnection") this.#setUp(false);
      if (type === "reconnect") this.#setUp(true);
    }
    // The client has given up.
    this.#setUp(false);
    if (!this.#closed) void this.#connect();
  }

  /** Until one answers; the client itself gives up at a first refusal, as of a token that is not known yet. */
  async #dial(options: ConnectionOptions): Promise<NatsConnection | undefined> {
    let told = "";
    while (!this.#closed) {
      try {
        const nats = await connect(options);
        if (!this.#closed) return nats;
        await nats.close();
      } catch (error) {
        const reason = reasonOf(error);
        if (reason !== told) this.#options.onFailure?.(reason);
        told = reason;
        await this.#pause(RETRY);
      }
    }
    return undefined;
  }

  #pause(ms: Millis): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }

  #setUp(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    if (!up) {
      this.#unasked = 0;
      this.#asked = 0;
      const error = new BusUnavailable("the link to NATS is down");
      for (const reject of this.#requests) reject(error);
    }
    for (const listener of this.#linkListeners) listener(up);
  }

  #listen(subject: string): void {
    if (this.#nats === undefined || this.#subscriptions.has(subject)) return;
    const callback = (error: Error | null, message: Msg): void => {
      if (error === null) this.#heard(subject, message);
    };
    this.#subscriptions.set(subject, this.#nats.subscribe(this.#name(subject), { callback }));
  }

  #heard(subject: string, message: Msg): void {
    const reply =
      message.reply === undefined || message.reply === ""
        ? undefined
        : (answer: Uint8Array): void => void (this.#up && message.respond(answer.slice()));
    for (const handler of this.#handlers.get(subject) ?? []) handler(message.data, reply);
  }

  /** The connection, if it is up and keeps pace. @throws {BusUnavailable} */
  #link(bytes: number): NatsConnection {
    const nats = this.#nats;
    if (!this.#up || nats === undefined) throw new BusUnavailable("the link to NATS is down");
    const limit = this.#options.unconfirmedLimit ?? UNCONFIRMED_LIMIT;
    if (this.#asked + this.#unasked + bytes > limit) {
      throw new BusUnavailable("NATS does not keep pace");
    }
    this.#unasked += bytes;
    if (this.#asked === 0 && this.#unasked >= CONFIRM_BYTES) this.#confirm(nats);
    return nats;
  }

  #confirm(nats: NatsConnection): void {
    this.#asked = this.#unasked;
    this.#unasked = 0;
    // Rejects when the link goes down: then nothing is unconfirmed any more.
    nats.flush().then(
      () => (this.#asked = 0),
      () => undefined,
    );
  }

  /** Subjects of NATS are words with dots between them; names of servers are anything. */
  #name(subject: string): string {
    const words = subject.replaceAll(/[^\w.-]/g, (unit) => `=${unit.charCodeAt(0).toString(16)}`);
    return `beckon.${this.#options.cluster}.${words}`;
  }
}

function authentication(credentials: NatsCredentials | undefined): ConnectionOptions {
  if (credentials === undefined) return {};
  if ("token" in credentials) return { token: credentials.token };
  if ("user" in credentials) return { user: credentials.user, pass: credentials.password };
  return { authenticator: credsAuthenticator(new TextEncoder().encode(credentials.creds)) };
}

/** What TLS has against the other side's certificate, by the code of its error. */
const OF_CERTIFICATE =
  /^(UNABLE_TO_(VERIFY|GET)_\w+|SELF_SIGNED_CERT\w*|DEPTH_ZERO_\w+|CERT_\w+|ERR_TLS_CERT_\w+)$/;

/** In words that have nothing in them of what was sent. */
function reasonOf(error: unknown): string {
  if (
    error instanceof errors.AuthorizationError ||
    error instanceof errors.UserAuthenticationExpiredError
  ) {
    return "it refuses the credentials";
  }
  if (error instanceof errors.TimeoutError) return "it does not answer";
  const { cause, code, message } = error as { cause?: unknown; code?: unknown; message?: string };
  const of = (cause as { code?: unknown } | undefined)?.code ?? code;
  if (of === "ECONNREFUSED") return `nobody answers at its address (${of})`;
  if (of === "ENOTFOUND" || of === "EAI_AGAIN") return `its host name is not known (${of})`;
  if (typeof of === "string") {
    return OF_CERTIFICATE.test(of) ? `its certificate is not to be trusted (${of})` : of;
  }
  if (message?.includes("'tls'") === true) return "it offers no TLS";
  return "it refuses the connection";
}

function translated(error: unknown, subject: string): Error {
  if (error instanceof BusUnavailable) return error;
  if (error instanceof errors.NoRespondersError) return nobody(subject);
  if (error instanceof errors.RequestError && error.isNoResponders()) return nobody(subject);
  if (error instanceof errors.TimeoutError) return new BusTimeout(`no answer from ${subject}`);
  return new BusUnavailable("the request was not sent", { cause: error });
}

const nobody = (subject: string): Error => new NobodyListens(`nobody listens to ${subject}`);
