/** Hands messages to the application, one at a time: each goes to its handler, or to whoever asks for the next. */
import type { Millis } from "@beckon/protocol";

import { backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import { BeckonError } from "./errors.ts";
import type { Message, MessageHandler } from "./message.ts";
import type { Random } from "./random.ts";
import { createTimers } from "./timers.ts";

/** What is handed over. */
export interface Handed {
  /** Those of one lane keep their order, also when one fails. */
  readonly lane: string;
  redelivered: boolean;
  /** It goes before all that waits and does not. */
  readonly first: boolean;
  /** How often the handler failed on it. */
  failures: number;
}

export interface Handover<T extends Handed> {
  push(item: T): void;
  /** The answer ends it. */
  on(handler: MessageHandler): () => void;
  iterate(): AsyncIterableIterator<Message>;
  close(): void;
}

/** From a handler's failure to its next try, and at most. */
const RETRY_MS: Millis = 1_000;
const MAX_RETRY_MS: Millis = 60_000;

const END: IteratorResult<Message> = { done: true, value: undefined };

export function createHandover<T extends Handed>(
  clock: Clock,
  random: Random,
  toMessage: (item: T) => Message,
  handled: (item: T) => void,
  report: (error: BeckonError) => void,
): Handover<T> {
  /** In order of arrival. */
  const queue: T[] = [];
  /** Lanes whose first message waits for its next try: what is later in them waits behind it. */
  const parked = new Set<string>();
  const timers = createTimers(clock);
  /** Who takes the messages. */
  let taker: object | undefined;
  /** The taker before has finished its message. */
  let idle: Promise<void> = Promise.resolve();
  let waiting: ((item: T | undefined) => void) | undefined;
  let closed = false;

  function take(): T | undefined {
    const at = queue.findIndex((item) => !parked.has(item.lane));
    return at < 0 ? undefined : queue.splice(at, 1)[0];
  }

  /** Undefined: there will be none. */
  function next(): Promise<T | undefined> {
    const item = closed ? undefined : take();
    if (item !== undefined || closed) return Promise.resolve(item);
    return new Promise((resolve) => (waiting = resolve));
  }

  function offer(): void {
    const item = waiting && take();
    if (item !== undefined) wake(item);
  }

  function wake(item: T | undefined): void {
    const resolve = waiting;
    waiting = undefined;
    resolve?.(item);
  }

  function requeue(item: T): void {
    queue.unshift(item);
    offer();
  }

  /** It was handed over and not handled: it comes first again. */
  function putBack(item: T): void {
    item.redelivered = true;
    requeue(item);
  }

  function failed(item: T, cause: unknown): void {
    parked.add(item.lane);
    const delay = backoff(item.failures++, RETRY_MS, MAX_RETRY_MS, random);
    timers.after(delay, () => {
      parked.delete(item.lane);
      offer();
    });
    putBack(item);
    report(new BeckonError("handler-failed", "", { cause }));
  }

  function claim(by: object): void {
    if (taker === by) return;
    if (taker !== undefined) throw new BeckonError("bad-argument", "messages have a taker already");
    taker = by;
  }

  function release(by: object): void {
    if (taker !== by) return;
    taker = undefined;
    wake(undefined);
  }

  async function run(handler: MessageHandler, by: object): Promise<void> {
    for (;;) {
      const item = taker === by ? await next() : undefined;
      if (item === undefined) return;
      // It was given in the turn in which this taker went.
      if (taker !== by) return requeue(item);
      try {
        await handler(toMessage(item));
        handled(item);
      } catch (cause) {
        failed(item, cause);
      }
    }
  }

  function iterate(): AsyncIterableIterator<Message> {
    let given: T | undefined;
    let over = false;
    let last: Promise<unknown> = Promise.resolve();

    async function step(): Promise<IteratorResult<Message>> {
      if (over) return END;
      claim(iterator);
      if (given !== undefined) handled(given);
      given = undefined;
      await idle;
      const item = taker === iterator ? await next() : undefined;
      if (item === undefined) return END;
      if (taker !== iterator) {
        requeue(item);
        return END;
      }
      given = item;
      return { done: false, value: toMessage(item) };
    }

    const iterator: AsyncIterableIterator<Message> = {
      next() {
        const result = last.then(step);
        // One that is refused does not refuse those after it.
        last = result.catch(() => {});
        return result;
      },
      return() {
        over = true;
        release(iterator);
        if (given !== undefined) putBack(given);
        given = undefined;
        return Promise.resolve(END);
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  return {
    push(item) {
      const at = item.first ? queue.findIndex(({ first }) => !first) : -1;
      queue.splice(at < 0 ? queue.length : at, 0, item);
      offer();
    },
    on(handler) {
      const by = {};
      claim(by);
      idle = idle.then(() => run(handler, by));
      return () => release(by);
    },
    iterate,
    close() {
      closed = true;
      timers.clear();
      wake(undefined);
    },
  };
}
