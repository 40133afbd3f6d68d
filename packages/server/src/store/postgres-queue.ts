/** Calls that wait to be written together: what one turn asks for is one commit, and several commits are under way at once. */
import type { Clock } from "../lib/clock.ts";
import { StoreUnavailable } from "./store.ts";

export interface QueueLimits {
  /** Of what the calls' `count` adds up to; one more is rejected. */
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
}

interface BatchLimits extends QueueLimits {
  /** Of one batch; a larger call is alone. */
  readonly batch: number;
  readonly inFlight: number;
  /** With one in flight already, the next goes when so many wait: small batches in a row are more work than one. */
  readonly worthwhile: number;
}

interface Waiting<Call, Value> {
  readonly call: Call;
  readonly count: number;
  readonly bytes: number;
  resolve(value: Value): void;
  reject(error: unknown): void;
}

export type Settle<Value> = { readonly value: Value } | { readonly error: unknown };

export class BatchQueue<Call, Value> {
  readonly #clock: Clock;
  readonly #limits: BatchLimits;
  readonly #write: (calls: Call[]) => Promise<Settle<Value>[]>;
  #waiting: Waiting<Call, Value>[] = [];
  #count = 0;
  #bytes = 0;
  #inFlight = 0;
  #isDeferred = false;
  #onIdle: (() => void) | undefined;
  /** Since the start. */
  batches = 0;

  constructor(
    clock: Clock,
    limits: BatchLimits,
    write: (calls: Call[]) => Promise<Settle<Value>[]>,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#write = write;
  }

  add(call: Call, count: number, bytes: number): Promise<Value> {
    const { maxWaiting, maxWaitingBytes } = this.#limits;
    if (this.#waiting.length > 0) {
      if (this.#count + count > maxWaiting) return refuse(`${maxWaiting} calls`);
      if (this.#bytes + bytes > maxWaitingBytes) return refuse(`${maxWaitingBytes} bytes`);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, count, bytes, resolve, reject });
      this.#count += count;
      this.#bytes += bytes;
      if (this.#isDeferred || !this.#mayStart()) return;
      this.#isDeferred = true;
      this.#clock.defer(this.#start);
    });
  }

  #mayStart(): boolean {
    const { inFlight, worthwhile } = this.#limits;
    if (this.#waiting.length === 0 || this.#inFlight >= inFlight) return false;
    return this.#inFlight === 0 || this.#count >= worthwhile;
  }

  readonly #start = (): void => {
    this.#isDeferred = false;
    while (this.#mayStart()) void this.#send(this.#next());
  };

  #next(): Waiting<Call, Value>[] {
    let count = 0;
    let end = 0;
    for (; end < this.#waiting.length; end++) {
      count += this.#waiting[end]!.count;
      if (end > 0 && count > this.#limits.batch) break;
    }
    const batch = this.#waiting.splice(0, end);
    for (const { count, bytes } of batch) {
      this.#count -= count;
      this.#bytes -= bytes;
    }
    return batch;
  }

  async #send(batch: Waiting<Call, Value>[]): Promise<void> {
    this.#inFlight++;
    this.batches++;
    try {
      const outcomes = await this.#write(batch.map(({ call }) => call));
      batch.forEach((waiting, at) => {
        const outcome = outcomes[at]!;
        if ("value" in outcome) waiting.resolve(outcome.value);
        else waiting.reject(outcome.error);
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
    this.#inFlight--;
    this.#start();
    if (this.#inFlight === 0 && this.#waiting.length === 0) this.#onIdle?.();
  }

  /** Until what was asked has been answered. */
  async idle(): Promise<void> {
    if (this.#inFlight === 0 && this.#waiting.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }
}

function refuse(what: string): Promise<never> {
  return Promise.reject(new StoreUnavailable(`${what} wait for the database`));
}
