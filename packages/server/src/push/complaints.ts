import type { Millis } from "@beckon/protocol";

import { ExpiringMap } from "../lib/expiring-map.ts";
import type { Log } from "../lib/log.ts";
import { type PushOutcome, rejected } from "./provider.ts";

/** Different ones that are remembered; then the oldest is told again. */
const REMEMBERED = 100;
/** The same one is logged once in this time. */
const ONCE: Millis = 600_000;

/** What an operator is told of the push service of a provider, once and not with each push. */
export class Complaints {
  readonly #provider: string;
  readonly #log: Log;
  readonly #told: ExpiringMap<true>;

  /** `now`: monotonic. */
  constructor(provider: string, log: Log, now: () => Millis) {
    this.#provider = provider;
    this.#log = log;
    this.#told = new ExpiringMap(REMEMBERED, now);
  }

  /** In our own words, and of a bounded number. */
  tell(reason: string, event: "push.rejected" | "push.unreachable" = "push.rejected"): void {
    if (this.#told.get(reason) !== undefined) return;
    this.#told.set(reason, true, ONCE);
    this.#log.warn(event, { provider: this.#provider, reason });
  }

  reject(reason: string): PushOutcome {
    this.tell(reason);
    return rejected(reason);
  }
}
