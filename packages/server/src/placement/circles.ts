/** Between what this server knows of ties and what is stored of them: reads circles, writes changes. The store away costs placement, and nothing else (L8). */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { StoreUnavailable } from "../store/store.ts";
import type { AssociateStore, TieChange } from "../store/store.ts";
import type { Associates } from "./associates.ts";

export interface CirclesParts {
  readonly clock: Clock;
  /** The time of ties, milliseconds since 1970; a replay has its own. */
  readonly now: () => Millis;
  readonly store: AssociateStore;
  readonly associates: Associates;
}

/** Who connects does not wait longer for what its place is chosen by. */
const WAIT_MS: Millis = 250;
/** Users whose circles are being read; one more is not read. */
const LOADING = 4_096;
/** Associates that are read; the store keeps no more. */
const CIRCLE = 64;
const FLUSH_MS: Millis = 1_000;
/** Pairs whose changes are written at once, and how often in a row. */
const BATCH = 1_000;
const BATCHES = 16;
const FADE_MS: Millis = 60_000;
/** What has not been written then when the server stops is lost; who is to forget a user waits as long for what is being written. */
const STOP_MS: Millis = 1_500;

const NOBODY: ReadonlyMap<string, string> = new Map();

export class Circles {
  readonly associates: Associates;
  /** Changes that were written. */
  flushed = 0;
  /** Batches that were not; their changes wait again. */
  failedFlushes = 0;
  /** Circles that were not there in time. */
  unread = 0;
  readonly #parts: CirclesParts;
  /** By user. */
  readonly #loading = new Map<string, Promise<ReadonlyMap<string, string>>>();
  /** What is being written. */
  #flying: readonly TieChange[] = [];
  #flushing: Promise<void> | undefined;
  /** A circle that was asked for before somebody was forgotten may name them. */
  #forgotten = 0;
  /** The last user whose ties were looked at; "": begin with the first. */
  #faded = "";
  #isFading = false;
  #refused = 0;
  readonly #timers = new Set<() => void>();

  constructor(parts: CirclesParts) {
    this.#parts = parts;
    this.associates = parts.associates;
  }

  /** Changes that will never be written: there was no room for them, or the store refused them for what they are. */
  get lost(): number {
    return this.#refused + this.associates.unstored;
  }

  /**
   * Reads the user's circle into the associates. Answers by peer which server a push names that has led to no connection yet. Never rejects:
   * what is not there within 250 ms is empty, and counted. It is learned when it comes.
   */
  load(user: string): Promise<ReadonlyMap<string, string>> {
    const loading = this.#loading.get(user);
    if (loading !== undefined) return loading;
    if (this.#loading.size >= LOADING) {
      this.unread++;
      return Promise.resolve(NOBODY);
    }
    const { promise, resolve } = Promise.withResolvers<ReadonlyMap<string, string>>();
    let isOver = false;
    const end = (named: ReadonlyMap<string, string> | undefined): void => {
      if (isOver) return;
      isOver = true;
      cancel();
      if (named === undefined) this.unread++;
      resolve(named ?? NOBODY);
    };
    const cancel = this.#parts.clock.after(WAIT_MS, () => end(undefined));
    this.#loading.set(user, promise);
    void this.#read(user).then((named) => {
      this.#loading.delete(user);
      end(named);
    });
    return promise;
  }

  /** Undefined: it could not be read, or may not be used. */
  async #read(user: string): Promise<ReadonlyMap<string, string> | undefined> {
    const { store, now } = this.#parts;
    const before = this.#forgotten;
    try {
      const circle = await store.circle(user, CIRCLE, now());
      if (this.#forgotten !== before) return undefined;
      const named = new Map<string, string>();
      for (const tie of circle) {
        this.associates.learn(user, tie.peer, tie);
        if (tie.named !== undefined) named.set(tie.peer, tie.named);
      }
      return named;
    } catch {
      return undefined;
    }
  }

  /** From now on changes are written each second, and each minute what has decayed to nothing is looked for. */
  start(): void {
    this.#each(FLUSH_MS, () => void this.flush());
    this.#each(FADE_MS, () => void this.#fade());
  }

  /** Writes what waits, within 1.5 s. */
  async stop(): Promise<void> {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    await this.#within(this.flush().then(() => this.flush()));
  }

  /** Writes what waits, or waits for what is being written. Never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#write().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /** Nothing that names the user is left, here and in the store. Rejects with StoreUnavailable. Other servers are to forget them before and after. */
  async erase(user: string): Promise<void> {
    await this.forget(user);
    await this.#parts.store.erase(user);
    // What was read meanwhile.
    await this.forget(user);
  }

  /** Nothing that names the user is left here, nor on its way to the store. Rejects with StoreUnavailable where that does not answer within 1.5 s. */
  async forget(user: string): Promise<void> {
    this.#forgotten++;
    this.associates.erase(user);
    this.#flying = this.#flying.filter(({ a, b }) => a !== user && b !== user);
    if (this.#flushing === undefined || (await this.#within(this.#flushing))) return;
    throw new StoreUnavailable(
      "the store does not answer, and may yet take what is on its way to it",
    );
  }

  #each(ms: Millis, task: () => void): void {
    const again = (): void => {
      const cancel = this.#parts.clock.after(ms, () => {
        this.#timers.delete(cancel);
        again();
        task();
      });
      this.#timers.add(cancel);
    };
    again();
  }

  async #write(): Promise<void> {
    for (let batch = 0; batch < BATCHES; batch++) {
      const changes = this.associates.takeChanges(BATCH);
      if (changes.length === 0) return;
      this.#flying = changes;
      try {
        await this.#parts.store.strengthen(changes);
        this.flushed += changes.length;
      } catch (error) {
        this.failedFlushes++;
        // Without those that were forgotten meanwhile.
        if (error instanceof StoreUnavailable) this.associates.putBack(this.#flying);
        else this.#refused += changes.length;
        return;
      } finally {
        this.#flying = [];
      }
    }
  }

  async #fade(): Promise<void> {
    if (this.#isFading) return;
    this.#isFading = true;
    try {
      this.#faded = await this.#parts.store.fade(this.#faded, this.#parts.now());
    } catch {
      // In a minute again.
    }
    this.#isFading = false;
  }

  /** Whether it was done in time. */
  async #within(done: Promise<void>): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const cancel = this.#parts.clock.after(STOP_MS, () => resolve(false));
    const isDone = await Promise.race([done.then(() => true), promise]);
    cancel();
    return isDone;
  }
}
