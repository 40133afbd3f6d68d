/** One connection to an HTTP/2 server, and the requests that are under way on it. */
import { connect, constants } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";

/** For TCP, TLS and the SETTINGS of the other side. */
const CONNECT_MS: Millis = 2_000;
/** Nothing came for so long though something is asked for: is the other side there? */
const QUIET_MS: Millis = 1_500;
/** The same where nothing was asked for: what lies between forgets connections that are not used. */
const IDLE_MS: Millis = 30_000;
/** For the answer to a PING. */
const PONG_MS: Millis = 1_000;
/** Bytes of an answer; the rest is not kept. */
const ANSWER = 16_384;

export interface Http2Request {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Http2Answer {
  readonly kind: "answered";
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

/** `refused`: it was not looked at, and can be sent again. `lost`: nobody knows. */
export type Fate = Http2Answer | { readonly kind: "refused" | "lost" };

export interface LinkOptions {
  readonly origin: URL;
  /** PEM: who else may vouch for the other side. Default: whom the runtime trusts. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  /** Requests under way at once, where the other side allows as many. */
  readonly streams: number;
  /** It takes requests that it did not take before, or takes no more. Not told when one is settled. */
  readonly onChange: () => void;
}

/**
 * Sends nothing before the other side has said how many streams it takes at once, and never more than that: what goes beyond is refused,
 * by some together with the connection.
 */
export class Http2Link {
  readonly #options: LinkOptions;
  readonly #session: ClientHttp2Session;
  readonly #exchanges = new Set<Exchange>();
  readonly #cancelConnect: () => void;
  #cancelWatch: (() => void) | undefined;
  #isOpen = false;
  #isOver = false;
  #isProbing = false;
  /** It was silent while nothing was asked for: nothing is sent before it has answered a PING. */
  #isDoubtful = false;
  #hasAnswered = false;
  #failure: string | undefined;
  /** What the other side allows, none before it has said so; and what it was seen to take. */
  #allowed = 0;
  #taken: number;
  #heard: Millis;

  constructor(options: LinkOptions) {
    const { origin, ca, clock, streams } = options;
    this.#options = options;
    this.#taken = streams;
    this.#heard = clock.monotonic();
    const session = connect(origin, {
      settings: { enablePush: false },
      ...(ca === undefined ? {} : { ca }),
    });
    this.#session = session;
    this.#cancelConnect = clock.after(CONNECT_MS, () => clock.defer(this.#giveUp));
    session.on("remoteSettings", ({ maxConcurrentStreams }) => {
      this.#isOpen = true;
      this.#cancelConnect();
      this.#hear();
      this.#allowed = Math.min(streams, maxConcurrentStreams ?? streams);
      this.#taken = this.#allowed;
      options.onChange();
    });
    // `close` follows.
    session.on("error", (error: NodeJS.ErrnoException) => (this.#failure = error.code));
    session.on("close", () => {
      this.#end();
      for (const exchange of this.#exchanges) exchange.settle({ kind: "lost" });
    });
  }

  /** It takes no more requests. */
  get isOver(): boolean {
    // GOAWAY closes it: streams that the other side has taken are still answered, the others are refused. When it breaks, its streams
    // may be told first; and what is asked of it then has neither an error nor an answer.
    return this.#isOver || this.#session.destroyed || this.#session.closed;
  }

  /** The runtime's name for what it failed of, such as ECONNREFUSED. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** It was of some use. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** Whether a request can be sent now; if not, `onChange` says when to ask again. */
  admits(): boolean {
    if (this.isOver || this.#isDoubtful) return false;
    if (this.#exchanges.size > 0) {
      return this.#exchanges.size < Math.floor(this.#taken);
    }
    if (this.#silence() < IDLE_MS) return this.#allowed > 0;
    this.#isDoubtful = true;
    this.#probe();
    return false;
  }

  /** `settle` is called once. The answer abandons the request, which is settled as lost. */
  send(request: Http2Request, settle: (fate: Fate) => void): () => void {
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request({
        ":method": "POST",
        ":path": request.path,
        ...request.headers,
        "content-length": request.body.length,
      });
    } catch {
      // It has come to its end in this very turn.
      this.#end();
      queueMicrotask(() => settle({ kind: "refused" }));
      return () => undefined;
    }
    const exchange = new Exchange(stream, (fate) => {
      this.#exchanges.delete(exchange);
      this.#note(fate);
      settle(fate);
    });
    this.#exchanges.add(exchange);
    if (this.#exchanges.size === 1) this.#watch();
    stream.on("response", this.#hear);
    stream.end(request.body);
    return () => exchange.abandon();
  }

  destroy(): void {
    this.#cancelConnect();
    this.#session.destroy();
    this.#end();
  }

  /** After a refusal no more at once than are left; after as many answers as that, one more. */
  #note({ kind }: Fate): void {
    if (kind === "refused") this.#taken = Math.max(1, this.#exchanges.size);
    if (kind !== "answered") return;
    this.#hasAnswered = true;
    this.#taken = Math.min(this.#allowed, this.#taken + 1 / this.#taken);
  }

  readonly #hear = (): void => {
    this.#heard = this.#options.clock.monotonic();
  };

  #silence(): Millis {
    return this.#options.clock.monotonic() - this.#heard;
  }

  readonly #end = (): void => {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelConnect();
    this.#cancelWatch?.();
    this.#options.onChange();
  };

  readonly #giveUp = (): void => {
    if (!this.#isOpen) this.destroy();
  };

  readonly #watch = (): void => {
    this.#cancelWatch?.();
    if (this.#exchanges.size === 0) return;
    if (this.#silence() >= QUIET_MS) this.#probe();
    this.#cancelWatch = this.#options.clock.after(QUIET_MS, this.#watch);
  };

  #probe(): void {
    if (this.#isProbing || this.isOver) return;
    this.#isProbing = true;
    const { clock, onChange } = this.#options;
    const asked = clock.monotonic();
    // After a stall of this process what has come meanwhile is read first.
    const cancel = clock.after(PONG_MS, () =>
      clock.defer(() => {
        this.#isProbing = false;
        if (this.#heard < asked) this.destroy();
      }),
    );
    this.#session.ping((error) => {
      cancel();
      this.#isProbing = false;
      if (error !== null) return;
      this.#hear();
      this.#isDoubtful = false;
      onChange();
    });
  }
}

/** A request and what becomes of it. */
class Exchange {
  readonly #stream: ClientHttp2Stream;
  #settle: ((fate: Fate) => void) | undefined;

  constructor(stream: ClientHttp2Stream, settle: (fate: Fate) => void) {
    this.#stream = stream;
    this.#settle = settle;
    let status: number | undefined;
    let retryAfter: string | undefined;
    let bytes = 0;
    const chunks: Buffer[] = [];
    stream.on("response", (headers) => {
      status = headers[":status"];
      retryAfter = headers["retry-after"];
    });
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= ANSWER) chunks.push(chunk);
      else stream.close(constants.NGHTTP2_CANCEL);
    });
    // What it fails of is in its code; `close` follows.
    stream.on("error", () => undefined);
    stream.on("close", () => {
      if (status !== undefined) {
        const text = Buffer.concat(chunks).toString();
        this.settle({ kind: "answered", status, retryAfter, text });
      } else {
        const isRefused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
        this.settle({ kind: isRefused ? "refused" : "lost" });
      }
    });
  }

  settle(fate: Fate): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(fate);
  }

  abandon(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
    this.settle({ kind: "lost" });
  }
}
