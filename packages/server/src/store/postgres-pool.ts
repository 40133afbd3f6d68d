/**
 * Connections, lent one by one. While the database is away each call is refused at once; a connection is tried for again and again,
 * and the first that comes up ends that.
 */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { Link, unavailable } from "./postgres-link.ts";
import type { LinkOptions } from "./postgres-link.ts";
import { StoreUnavailable } from "./store.ts";

const RETRY_MS: Millis = 250;

interface Waiter {
  resolve(link: Link): void;
  reject(error: Error): void;
}

export interface PoolLimits {
  readonly connections: number;
  /** Calls that may wait for one. */
  readonly maxWaiting: number;
}

export class Pool {
  readonly #options: LinkOptions;
  readonly #limits: PoolLimits;
  readonly #clock: Clock;
  readonly #idle: Link[] = [];
  readonly #lent = new Set<Link>();
  #connecting = 0;
  #waiting: Waiter[] = [];
  /** Why calls are refused at once. */
  #away: StoreUnavailable | undefined;
  #isClosed = false;
  #cancelRetry: (() => void) | undefined;

  constructor(options: LinkOptions, limits: PoolLimits, clock: Clock) {
    this.#options = options;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** @throws {StoreUnavailable} */
  async with<Result>(run: (link: Link) => Promise<Result>): Promise<Result> {
    const link = await this.#acquire();
    try {
      return await run(link);
    } finally {
      this.#release(link);
    }
  }

  #acquire(): Promise<Link> {
    if (this.#isClosed) return Promise.reject(new StoreUnavailable("the store is closed"));
    if (this.#away !== undefined) return Promise.reject(this.#away);
    for (let link = this.#idle.pop(); link !== undefined; link = this.#idle.pop()) {
      if (!link.isOpen) continue;
      this.#lent.add(link);
      return Promise.resolve(link);
    }
    if (this.#waiting.length >= this.#limits.maxWaiting) {
      return Promise.reject(
        new StoreUnavailable(`${this.#limits.maxWaiting} calls wait for the database`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#grow();
    });
  }

  #grow(): void {
    const wanted = Math.min(
      this.#waiting.length,
      this.#limits.connections - this.#lent.size - this.#idle.length,
    );
    while (this.#connecting < wanted) void this.#connect();
  }

  async #connect(): Promise<void> {
    this.#connecting++;
    try {
      const link = await Link.connect(this.#options, this.#clock, this.#lost);
      this.#connecting--;
      this.#away = undefined;
      if (this.#isClosed) link.close();
      else this.#give(link);
    } catch (error) {
      this.#connecting--;
      // What is connected goes on; without any there is nothing to wait for.
      if (this.#lent.size === 0 && this.#idle.length === 0) this.#goAway(unavailable(error));
    }
  }

  #give(link: Link): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) {
      this.#idle.push(link);
      return;
    }
    this.#lent.add(link);
    waiter.resolve(link);
  }

  #release(link: Link): void {
    this.#lent.delete(link);
    if (this.#isClosed) link.close();
    else if (link.isOpen) this.#give(link);
    else this.#lost();
  }

  readonly #lost = (): void => {
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      if (!this.#idle[at]!.isOpen) this.#idle.splice(at, 1);
    }
    if (this.#isClosed) return;
    const isAny = this.#idle.length > 0 || [...this.#lent].some(({ isOpen }) => isOpen);
    if (isAny) this.#grow();
    else this.#goAway(new StoreUnavailable("the link to the database is lost"), 0);
  };

  #goAway(reason: StoreUnavailable, retryMs: Millis = RETRY_MS): void {
    this.#away = reason;
    for (const waiter of this.#waiting.splice(0)) waiter.reject(reason);
    if (this.#isClosed || this.#connecting > 0) return;
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.after(retryMs, () => {
      if (!this.#isClosed && this.#away !== undefined && this.#connecting === 0) {
        void this.#connect();
      }
    });
  }

  /** What is lent goes on, and is closed when it is given back. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    for (const waiter of this.#waiting.splice(0)) {
      waiter.reject(new StoreUnavailable("the store is closed"));
    }
    for (const link of this.#idle.splice(0)) link.close();
  }
}
