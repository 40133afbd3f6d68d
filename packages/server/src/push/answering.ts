import type { Millis } from "@beckon/protocol";

import { Breaker } from "./breaker.ts";
import type { PostResult } from "./guarded-post.ts";
import type { Posted } from "./post.ts";
import { PUSH_ANSWER_MS } from "./provider.ts";

/** For a batch where the last answer was one, */
const PROVEN_MS: Millis = PUSH_ANSWER_MS - 500;
/** and where it was none. */
const UNPROVEN_MS: Millis = 2_000;

/** Whether a push service answers: how long a batch may wait for it, and whether it is asked at all. Times are monotonic. */
export class Answering {
  readonly #breaker = new Breaker();
  #isProven: boolean;

  constructor(isProven: boolean) {
    this.#isProven = isProven;
  }

  /** The last answer was one. */
  get isProven(): boolean {
    return this.#isProven;
  }

  get patience(): Millis {
    return this.#isProven ? PROVEN_MS : UNPROVEN_MS;
  }

  /** How long to wait; 0: go ahead, and say by `note` what came of it. */
  admit(now: Millis): Millis {
    return this.#breaker.admit(now);
  }

  note(result: PostResult | Posted, now: Millis): void {
    const isAway = result.kind === "silent" || (result.kind === "answered" && result.status >= 500);
    if (isAway) this.#breaker.failed(now);
    else this.#breaker.succeeded();
    this.#isProven = !isAway;
  }
}
