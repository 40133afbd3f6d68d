/** The queue in front of the database's thread: while one batch is being committed the next gathers. */
import type { Clock } from "../lib/clock.ts";
import type { SqliteAnswer, SqliteCall } from "./sqlite-database.ts";
import { packCalls, unpackAnswers } from "./sqlite-wire.ts";
import type { BoundMessage, CloseMessage, FromDatabase, OpenMessage } from "./sqlite-wire.ts";
import { StoreUnavailable } from "./store.ts";

export interface QueueLimits {
  /** Hold requests, and other calls, that may wait; one more is rejected. */
  readonly maxWaiting: number;
  /** Bytes of message bodies that may wait. */
  readonly maxWaitingBytes: number;
  /** What has not been answered by then is rejected, and everything after it until the database answers again. */
  readonly answerTimeoutMs: number;
}

export interface SqliteStats {
  /** Hold requests, and other calls, that wait for the next batch. */
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Since the start: each is one commit at most. */
  readonly batches: number;
  readonly calls: number;
}

/** Of one batch, in units of about 20 µs: what comes behind it need not wait for much longer than 50 ms. */
const MAX_BATCH_WORK = 2_000;
/** Rows that are as much work to settle, or to read, as one message to hold. */
const ROWS_SETTLED = 4;
const ROWS_READ = 16;
/** Of a change: two rows, each in a place of its own. */
const CHANGE_WORK = 2;

const NO_ANSWER = "the database does not answer";

interface Waiting {
  readonly call: SqliteCall;
  /** Hold requests; 1 for any other call. */
  readonly count: number;
  readonly bytes: number;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** `bun build --compile --root <this folder> MAIN sqlite-worker.ts` puts the file where an executable finds it under this name. */
export function startSqliteWorker(): Worker {
  return new Worker(new URL("./sqlite-worker.ts", import.meta.url).href);
}

type Unnumbered<Call = SqliteCall> = Call extends unknown ? Omit<Call, "id"> : never;

export class SqliteThread {
  readonly #clock: Clock;
  readonly #limits: QueueLimits;
  #openMessage: OpenMessage;
  readonly #startWorker: () => Worker;
  #worker: Worker | undefined;
  /** Settles once the first open has. */
  readonly opened: Promise<void>;
  #onOpened: ((error: string) => void) | undefined;
  #onClosed: (() => void) | undefined;
  #onIdle: (() => void) | undefined;

  #waiting: Waiting[] = [];
  #waitingCount = 0;
  #waitingBytes = 0;
  #isDeferred = false;
  /** Sent to the thread and not answered. */
  readonly #inFlight = new Map<number, Waiting>();
  #cancelTimeout: (() => void) | undefined;
  /** What is in flight was rejected, because it was not answered in time. */
  #isStuck = false;
  #lastId = 0;
  #batches = 0;
  #calls = 0;

  constructor(
    clock: Clock,
    limits: QueueLimits,
    openMessage: OpenMessage,
    startWorker: () => Worker = startSqliteWorker,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#openMessage = openMessage;
    this.#startWorker = startWorker;
    this.opened = new Promise((resolve, reject) => {
      const cancel = clock.after(limits.answerTimeoutMs, () => this.#onOpened?.(NO_ANSWER));
      this.#onOpened = (error) => {
        cancel();
        if (error === "") resolve();
        else reject(new StoreUnavailable(error));
      };
    });
    this.#worker = this.#start();
  }

  get stats(): SqliteStats {
    return {
      waiting: this.#waitingCount,
      waitingBytes: this.#waitingBytes,
      batches: this.#batches,
      calls: this.#calls,
    };
  }

  /** Bounds the file for what is asked from now on. */
  bound(maxBytes: number): void {
    this.#openMessage = { ...this.#openMessage, maxBytes };
    this.#worker?.postMessage({ kind: "bound", maxBytes } satisfies BoundMessage, []);
  }

  call(call: Unnumbered): Promise<unknown> {
    const count = call.operation === "hold" ? call.args[0].length : 1;
    const bytes = bytesOf(call);
    const refusal = this.#refusal(count, bytes);
    if (refusal !== undefined) return Promise.reject(new StoreUnavailable(refusal));
    return new Promise((resolve, reject) => {
      const numbered = { ...call, id: ++this.#lastId } as SqliteCall;
      this.#waiting.push({ call: numbered, count, bytes, resolve, reject });
      this.#waitingCount += count;
      this.#waitingBytes += bytes;
      this.#calls++;
      if (this.#inFlight.size > 0 || this.#isDeferred) return;
      this.#isDeferred = true;
      this.#clock.defer(this.#send);
    });
  }

  #refusal(count: number, bytes: number): string | undefined {
    if (this.#isStuck) return NO_ANSWER;
    if (this.#waiting.length === 0) return undefined;
    const { maxWaiting, maxWaitingBytes } = this.#limits;
    if (this.#waitingCount + count > maxWaiting) {
      return `${maxWaiting} calls wait for the database`;
    }
    if (this.#waitingBytes + bytes > maxWaitingBytes) {
      return `${maxWaitingBytes} bytes wait for the database`;
    }
    return undefined;
  }

  readonly #send = (): void => {
    this.#isDeferred = false;
    if (this.#inFlight.size > 0 || this.#waiting.length === 0) return;
    const batch = this.#nextBatch();
    this.#batches++;
    for (const waiting of batch) this.#inFlight.set(waiting.call.id, waiting);
    this.#cancelTimeout = this.#clock.after(this.#limits.answerTimeoutMs, this.#timedOut);
    const message = packCalls(batch.map(({ call }) => call));
    this.#worker ??= this.#start();
    this.#worker.postMessage(message, [message.bytes.buffer]);
  };

  #nextBatch(): Waiting[] {
    let work = 0;
    let end = 0;
    for (; end < this.#waiting.length; end++) {
      work += workOf(this.#waiting[end]!.call);
      if (end > 0 && work > MAX_BATCH_WORK) break;
    }
    const batch = this.#waiting.splice(0, end);
    for (const { count, bytes } of batch) {
      this.#waitingCount -= count;
      this.#waitingBytes -= bytes;
    }
    return batch;
  }

  readonly #received = ({ data }: MessageEvent<FromDatabase>): void => {
    switch (data.kind) {
      case "answers":
        for (const answer of unpackAnswers(data)) this.#answered(answer);
        this.#next();
        break;
      case "opened":
        this.#onOpened?.(data.error);
        break;
      case "closed":
        this.#onClosed?.();
        break;
    }
  };

  #answered(answer: SqliteAnswer): void {
    const waiting = this.#inFlight.get(answer.id);
    this.#inFlight.delete(answer.id);
    if ("value" in answer) waiting?.resolve(answer.value);
    else if (answer.isUnavailable) waiting?.reject(new StoreUnavailable(answer.error));
    else waiting?.reject(new Error(answer.error));
  }

  #next(): void {
    if (this.#inFlight.size > 0) return;
    this.#cancelTimeout?.();
    this.#isStuck = false;
    if (this.#waiting.length > 0) this.#send();
    else this.#onIdle?.();
  }

  readonly #timedOut = (): void => {
    this.#isStuck = true;
    this.#rejectAll([...this.#inFlight.values(), ...this.#waiting], NO_ANSWER);
    this.#waiting = [];
    this.#waitingCount = 0;
    this.#waitingBytes = 0;
  };

  /** The thread is gone: the next batch gets a new one. */
  readonly #failed = (event: Event): void => {
    if (event.target !== this.#worker) return;
    this.#worker?.terminate();
    this.#worker = undefined;
    const reason = "the database's thread has failed";
    const inFlight = [...this.#inFlight.values()];
    this.#inFlight.clear();
    this.#rejectAll(inFlight, reason);
    this.#onOpened?.(reason);
    this.#onClosed?.();
    this.#next();
  };

  #rejectAll(calls: readonly Waiting[], reason: string): void {
    for (const call of calls) call.reject(new StoreUnavailable(reason));
  }

  #start(): Worker {
    const worker = this.#startWorker();
    worker.addEventListener("message", this.#received);
    worker.addEventListener("error", this.#failed);
    worker.addEventListener("close", this.#failed);
    worker.postMessage(this.#openMessage, []);
    return worker;
  }

  /** What waits is answered first. */
  async close(): Promise<void> {
    if (this.#inFlight.size > 0 || this.#waiting.length > 0) {
      await this.#within((resolve) => {
        this.#onIdle = resolve;
      });
    }
    const worker = this.#worker;
    if (worker === undefined) return;
    await this.#within((resolve) => {
      this.#onClosed = resolve;
      worker.postMessage({ kind: "close" } satisfies CloseMessage, []);
    });
    this.#worker = undefined;
    worker.terminate();
  }

  async #within(start: (resolve: () => void) => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(this.#limits.answerTimeoutMs, resolve);
    start(resolve);
    await promise;
    cancel();
  }
}

function workOf(call: SqliteCall): number {
  switch (call.operation) {
    case "hold":
      return call.args[0].length;
    case "settle":
    case "markSent":
      return 1 + call.args[0].length / ROWS_SETTLED;
    case "pending":
      return 1 + call.args[2] / ROWS_READ;
    case "strengthen":
      return 1 + CHANGE_WORK * call.args[0].length;
    default:
      return 1;
  }
}

function bytesOf(call: Unnumbered): number {
  if (call.operation !== "hold") return 0;
  return call.args[0].reduce((sum, { body }) => sum + body.length, 0);
}
