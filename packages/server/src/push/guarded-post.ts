/** POST to a URL that a stranger has named: to public addresses alone, without following anything. */
import { lookup } from "node:dns";
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";

import type { Clock } from "../lib/clock.ts";
import { bareHost, isPublic, plainAddress } from "./public-address.ts";

/** Connections to one host. */
const SOCKETS = 32;
/** Bytes of an answer: nothing in it is of use. */
const ANSWER = 16_384;

export interface Post {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body: Uint8Array;
  readonly ms: number;
}

export type PostResult =
  | { readonly kind: "answered"; readonly status: number; readonly retryAfter: string | undefined }
  /** No connection, no TLS, or no answer in time. */
  | { readonly kind: "silent" }
  /** It leads to addresses that are neither public nor allowed; nothing was sent. */
  | { readonly kind: "forbidden" };

export interface PostOptions {
  readonly clock: Clock;
  /** Addresses that are allowed beside the public ones. */
  readonly isAllowed: (address: string) => boolean;
  /** PEM: who else may vouch for the other side. Default: whom the runtime trusts. */
  readonly ca?: string | undefined;
  /** How names are resolved. Default: as the machine does. */
  readonly resolve?: Resolve;
}

/** All addresses of a name. */
export type Resolve = (host: string) => Promise<readonly { address: string; family: number }[]>;

export interface GuardedPost {
  /** Never rejects. */
  post(post: Post): Promise<PostResult>;
  close(): void;
}

class Forbidden extends Error {
  override readonly name = "Forbidden";
}

/**
 * Connections are kept for the next. The address that is looked at is the one that is connected to, at each connection anew, so
 * that a name cannot lead elsewhere between the two.
 */
export function createGuardedPost(options: PostOptions): GuardedPost {
  const { clock, ca, resolve = resolveByMachine } = options;
  const http = new HttpAgent({ keepAlive: true, maxSockets: SOCKETS });
  const https = new HttpsAgent({ keepAlive: true, maxSockets: SOCKETS });
  const mayReach = (address: string): boolean =>
    isPublic(address) || options.isAllowed(plainAddress(address));

  const guardedLookup: LookupFunction = (host, { all }, answer) => {
    resolve(host).then(
      (found) => {
        const [first, ...rest] = found.filter(({ address }) => mayReach(address));
        if (first === undefined) answer(new Forbidden(), "", 0);
        else if (all === true) answer(null, [first, ...rest]);
        else answer(null, first.address, first.family);
      },
      (error: unknown) => answer(error as Error, "", 0),
    );
  };

  return {
    post({ url, headers, body, ms }) {
      const host = bareHost(url);
      // A lookup is not asked about what is an address already.
      if (isIP(host) !== 0 && !mayReach(host)) return Promise.resolve({ kind: "forbidden" });
      const { promise, resolve: settle } = Promise.withResolvers<PostResult>();
      const isHttps = url.protocol === "https:";
      const request = (isHttps ? httpsRequest : httpRequest)(url, {
        method: "POST",
        agent: isHttps ? https : http,
        headers: { ...headers, "content-length": body.length },
        lookup: guardedLookup,
        ...(ca === undefined ? {} : { ca }),
      });
      const cancel = clock.after(ms, () => {
        settle({ kind: "silent" });
        request.destroy();
      });
      request.on("response", (response) => {
        settle({
          kind: "answered",
          status: response.statusCode ?? 0,
          retryAfter: response.headers["retry-after"],
        });
        drain(response, () => request.destroy(), cancel);
      });
      request.on("error", (error) => {
        cancel();
        settle({ kind: error instanceof Forbidden ? "forbidden" : "silent" });
      });
      request.end(body);
      return promise;
    },
    close() {
      http.destroy();
      https.destroy();
    },
  };
}

/** The connection can be used again when the answer was read to its end. */
function drain(response: IncomingMessage, abort: () => void, done: () => void): void {
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > ANSWER) abort();
  });
  response.on("error", done);
  response.on("close", done);
}

function resolveByMachine(host: string): ReturnType<Resolve> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, found) => {
      if (error === null) resolve(found);
      else reject(error);
    });
  });
}
