/** POST to a service that the operator has named. */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";

/** Bytes of an answer; one that is longer is no answer that anybody here can read. */
const ANSWER = 65_536;

export interface Posting {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** By then it has been answered to the last byte, or not at all. */
  readonly ms: Millis;
}

export type Posted =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly retryAfter: string | undefined;
      /** Undefined: it is too long. */
      readonly text: string | undefined;
    }
  /** No connection, no TLS, or no whole answer in time. */
  | { readonly kind: "silent" };

/** Follows no redirect; connections are kept for the next. Never rejects. */
export async function post(clock: Clock, { url, headers, body, ms }: Posting): Promise<Posted> {
  const abort = new AbortController();
  const cancel = clock.after(ms, () => abort.abort());
  try {
    const response = await fetch(url, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: abort.signal,
    });
    const text = await readText(response);
    const retryAfter = response.headers.get("retry-after") ?? undefined;
    return { kind: "answered", status: response.status, retryAfter, text };
  } catch {
    return { kind: "silent" };
  } finally {
    cancel();
  }
}

async function readText({ body }: Response): Promise<string | undefined> {
  if (body === null) return "";
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    // Leaving the loop ends the answer, and its connection with it.
    if (bytes > ANSWER) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** The JSON of an answer; undefined where it is none. */
export function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
