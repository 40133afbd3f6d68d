/** Who may write to whom. Denied unless something allows it. */
import type { Clock } from "../lib/clock.ts";
import { ExpiringMap } from "../lib/expiring-map.ts";

/** What is known of the user who writes: an identity of the gateway, or a service of the application. */
export interface Sender {
  readonly user: string;
  /** The list in the token; undefined: it has none. */
  readonly mayWriteTo: readonly string[] | undefined;
}

/**
 * Whether one user may write to another; most answer at once, from memory. A throw or a rejection means that nobody could
 * tell: `authorizer-unavailable`.
 */
export type Authorize = (from: Sender, to: string) => boolean | Promise<boolean>;

/** `auth.send` of the configuration. */
export type SendRule =
  /** Whoever has a token may write to everybody. */
  | { readonly kind: "anyone" }
  /** The token lists the users that may be written to. */
  | { readonly kind: "claim" }
  /** The application is asked: POST {from, to}, answered {allow}. */
  | { readonly kind: "ask"; readonly url: URL; readonly token: string | undefined };

/** In one's own process: what the application knows. */
export type EmbeddedAuthorize = (ask: {
  readonly from: string;
  readonly to: string;
}) => boolean | Promise<boolean>;

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export function createAuthorize(rule: SendRule, clock: Clock, fetch: Fetch): Authorize {
  if (rule.kind === "anyone") return () => true;
  if (rule.kind === "claim") return (from, to) => from.mayWriteTo?.includes(to) ?? false;
  const authorizer = new RemoteAuthorizer(rule.url, rule.token, clock, fetch);
  return (from, to) => authorizer.ask(from.user, to);
}

/** Anything but `true` is no; an answer that does not come within the time-out is none. */
export function embeddedAuthorize(authorize: EmbeddedAuthorize, clock: Clock): Authorize {
  return (from, to) => {
    const answer: unknown = authorize({ from: from.user, to });
    return answer instanceof Promise ? withinTimeout(answer, clock) : answer === true;
  };
}

function withinTimeout(answer: Promise<unknown>, clock: Clock): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(TIMEOUT, () => reject(noAnswer()));
    answer
      .then((allow) => resolve(allow === true))
      .catch(reject)
      .finally(cancel);
  });
}

function noAnswer(): AuthorizerUnavailable {
  return new AuthorizerUnavailable(`no answer within ${TIMEOUT} ms`);
}

export class AuthorizerUnavailable extends Error {
  override readonly name = "AuthorizerUnavailable";
  readonly code = "authorizer-unavailable";
}

/** For one answer, its time in the queue included, ms. */
const TIMEOUT = 2000;
/** How long an answer is good for, ms: a yes, and a no, which a user may be waiting to see changed. */
const ALLOWED_FOR = 60_000;
const DENIED_FOR = 5000;
/** Pairs whose answers are kept: some 30 MB at most. */
const CACHED = 100_000;
/** Questions that the application is asked at once, and that wait for their turn. */
const CONCURRENT = 64;
const WAITING = 4096;
/** Bytes of an answer. */
const LONGEST_ANSWER = 4096;

interface Question {
  readonly from: string;
  readonly to: string;
  /** Ends the wait in the queue, or the request. */
  readonly abort: AbortController;
  readonly answered: (allow: boolean) => void;
  readonly failed: (error: AuthorizerUnavailable) => void;
}

class RemoteAuthorizer {
  readonly #url: URL;
  readonly #headers: Record<string, string>;
  readonly #clock: Clock;
  readonly #fetch: Fetch;
  readonly #answers: ExpiringMap<boolean>;
  /** One question a pair, however many messages wait for the answer. */
  readonly #open = new Map<string, Promise<boolean>>();
  readonly #queue: Question[] = [];
  #asking = 0;

  constructor(url: URL, token: string | undefined, clock: Clock, fetch: Fetch) {
    this.#url = url;
    this.#headers = { "content-type": "application/json", accept: "application/json" };
    if (token !== undefined) this.#headers["authorization"] = `Bearer ${token}`;
    this.#clock = clock;
    this.#fetch = fetch;
    this.#answers = new ExpiringMap(CACHED, () => clock.monotonic());
  }

  ask(from: string, to: string): boolean | Promise<boolean> {
    // Ids have no control characters.
    const pair = `${from}\n${to}`;
    const known = this.#answers.get(pair);
    if (known !== undefined) return known;
    const open = this.#open.get(pair);
    if (open !== undefined) return open;
    if (this.#queue.length >= WAITING) {
      throw new AuthorizerUnavailable(`${WAITING} questions wait for the authorizer`);
    }
    const question = this.#enqueue(from, to).then((allow) => {
      this.#answers.set(pair, allow, allow ? ALLOWED_FOR : DENIED_FOR);
      return allow;
    });
    const answer = question.finally(() => this.#open.delete(pair));
    this.#open.set(pair, answer);
    this.#next();
    return answer;
  }

  #enqueue(from: string, to: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const abort = new AbortController();
      const cancel = this.#clock.after(TIMEOUT, () => {
        abort.abort();
        reject(noAnswer());
      });
      const answered = (allow: boolean): void => {
        cancel();
        resolve(allow);
      };
      const failed = (error: AuthorizerUnavailable): void => {
        cancel();
        reject(error);
      };
      this.#queue.push({ from, to, abort, answered, failed });
    });
  }

  #next(): void {
    while (this.#asking < CONCURRENT) {
      const question = this.#queue.shift();
      if (question === undefined) return;
      if (question.abort.signal.aborted) continue;
      this.#asking++;
      void this.#request(question).finally(() => {
        this.#asking--;
        this.#next();
      });
    }
  }

  async #request({ from, to, abort, answered, failed }: Question): Promise<void> {
    try {
      const response = await this.#fetch(this.#url, {
        method: "POST",
        headers: this.#headers,
        body: JSON.stringify({ from, to }),
        // To follow one would send the question, and the token, where nobody configured it.
        redirect: "error",
        signal: abort.signal,
      });
      answered(await readAnswer(response));
    } catch (error) {
      const isOurs = error instanceof AuthorizerUnavailable;
      failed(isOurs ? error : new AuthorizerUnavailable("the request failed", { cause: error }));
    }
  }
}

async function readAnswer(response: Response): Promise<boolean> {
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new AuthorizerUnavailable(`it answered with status ${response.status}`);
  }
  const allow = parseAllow(await readText(response));
  if (allow === undefined)
    throw new AuthorizerUnavailable('it answered something else than {"allow": boolean}');
  return allow;
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > LONGEST_ANSWER) throw new AuthorizerUnavailable("its answer is too long");
  }
  return text;
}

function parseAllow(text: string): boolean | undefined {
  try {
    const { allow } = JSON.parse(text) as { allow?: unknown };
    return typeof allow === "boolean" ? allow : undefined;
  } catch {
    return undefined;
  }
}
