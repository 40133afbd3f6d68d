/** Requests to one HTTP/2 server, over one connection at a time. */
import type { Millis } from "@beckon/protocol";

import { type Fate, type Http2Answer, Http2Link, type Http2Request } from "./http2-link.ts";
import type { LinkOptions } from "./http2-link.ts";

export interface Http2Post extends Http2Request {
  /** What has no answer by then is silent. */
  readonly ms: Millis;
}

/** `silent`: no connection, no TLS, or no answer in time. `failure`: the runtime's name for the reason, such as ECONNREFUSED. */
export type Http2Result = Http2Answer | { readonly kind: "silent"; readonly failure?: string };

export type Http2ClientOptions = Omit<LinkOptions, "onChange">;

/** Requests that wait for a connection or a stream; one more is silent at once. */
const WAITING = 4_096;
/** How often one is sent that is refused each time. */
const TRIES = 8;
/** How often one is sent whose connection is lost each time. The other side may get it as often. */
const LOSSES = 2;
/** Connections one after the other that were of no use; then what waits is silent, and the next request tries anew. */
const FAILURES = 2;

interface Job {
  readonly post: Http2Post;
  readonly settle: (result: Http2Result) => void;
  readonly cancel: () => void;
  tries: number;
  losses: number;
  abandon: (() => void) | undefined;
}

/**
 * What a connection refuses, or leaves unanswered when it ends (GOAWAY, a reset, no answer to a PING), goes over the next one. Never
 * rejects.
 */
export class Http2Client {
  readonly #options: LinkOptions;
  readonly #waiting: Job[] = [];
  /** All that have no answer yet. */
  readonly #jobs = new Set<Job>();
  #link: Http2Link | undefined;
  #failures = 0;
  #isClosed = false;

  constructor(options: Http2ClientOptions) {
    this.#options = { ...options, onChange: this.#pump };
  }

  post(post: Http2Post): Promise<Http2Result> {
    if (this.#isClosed || this.#waiting.length >= WAITING) {
      return Promise.resolve({ kind: "silent" });
    }
    const { promise, resolve } = Promise.withResolvers<Http2Result>();
    const job: Job = {
      post,
      settle: resolve,
      cancel: this.#options.clock.after(post.ms, () => this.#finish(job, SILENT)),
      tries: 0,
      losses: 0,
      abandon: undefined,
    };
    this.#jobs.add(job);
    this.#waiting.push(job);
    this.#pump();
    return promise;
  }

  close(): void {
    this.#isClosed = true;
    for (const job of this.#jobs) this.#finish(job, SILENT);
    this.#link?.destroy();
  }

  readonly #pump = (): void => {
    if (this.#link?.isOver === true) {
      const { hasAnswered, failure } = this.#link;
      this.#link = undefined;
      this.#failures = hasAnswered ? 0 : this.#failures + 1;
      if (this.#failures >= FAILURES) this.#giveUp(failure);
    }
    while (this.#waiting.length > 0) {
      this.#link ??= new Http2Link(this.#options);
      if (!this.#link.admits()) return;
      this.#send(this.#link, this.#waiting.shift()!);
    }
  };

  #send(link: Http2Link, job: Job): void {
    job.tries++;
    job.abandon = link.send(job.post, (fate) => {
      job.abandon = undefined;
      this.#settled(job, fate);
      this.#pump();
    });
  }

  #giveUp(failure: string | undefined): void {
    this.#failures = FAILURES - 1;
    const result = failure === undefined ? SILENT : { ...SILENT, failure };
    for (const job of this.#waiting.splice(0)) this.#finish(job, result);
  }

  #settled(job: Job, fate: Fate): void {
    if (!this.#jobs.has(job)) return;
    if (fate.kind === "answered") return this.#finish(job, fate);
    if (fate.kind === "lost") job.losses++;
    if (job.losses < LOSSES && job.tries < TRIES) this.#waiting.unshift(job);
    else this.#finish(job, SILENT);
  }

  #finish(job: Job, result: Http2Result): void {
    if (!this.#jobs.delete(job)) return;
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
    job.cancel();
    job.settle(result);
    job.abandon?.();
  }
}

const SILENT = { kind: "silent" } as const;
