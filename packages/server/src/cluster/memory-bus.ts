import type { Clock } from "../lib/clock.ts";
import { type Bus, type BusHandler, BusTimeout, BusUnavailable, NobodyListens } from "./bus.ts";

export interface MemoryBusOptions {
  readonly clock: Clock;
  /** Messages that may wait for one handle; what comes over it is lost, and counted in `lost`. Default 65,536. */
  readonly queueLimit?: number;
  /** Requests that one handle may have under way; one more fails with BusUnavailable. Default 10,000. */
  readonly requestLimit?: number;
  /**
   * For simulations: what becomes of a message between two handles, named by `id`. Milliseconds that it takes, at least those that
   * the one before it took; `undefined`: it is lost. Without it every message arrives in the next turn.
   */
  readonly fate?: (from: number, to: number, subject: string) => number | undefined;
}

/** One server's handle on a {@link MemoryBusHub}. */
export interface MemoryBus extends Bus {
  /** Counted from 1 in the order of `connect`. */
  readonly id: number;
}

/** The bus of several servers in one process. Handles are connected when made. */
export interface MemoryBusHub {
  connect(): MemoryBus;
  /** The handle's link goes down: what waits for it is lost, what it has published still arrives. */
  cut(bus: Bus): void;
  restore(bus: Bus): void;
  /** The handle is gone without a last word: nothing of it is called any more, and its requests never end. */
  kill(bus: Bus): void;
  /** Messages lost at a bound or by `fate`. */
  readonly lost: number;
}

const QUEUE_LIMIT = 65_536;
const REQUEST_LIMIT = 10_000;
/** Messages handled in one turn; then others have theirs. */
const TURN = 256;

interface Message {
  readonly from: Handle;
  readonly to: Handle;
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** The request that it makes or answers; 0: none. */
  readonly request: number;
  readonly isAnswer: boolean;
  readonly due: number;
}

interface PendingRequest {
  readonly resolve: (answer: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: () => void;
}

export function createMemoryBus(options: MemoryBusOptions): MemoryBusHub {
  return new Hub(options);
}

class Hub implements MemoryBusHub {
  readonly clock: Clock;
  readonly requestLimit: number;
  lost = 0;
  readonly #queueLimit: number;
  readonly #fate: MemoryBusOptions["fate"];
  readonly #handles = new Set<Handle>();
  #connected = 0;

  constructor(options: MemoryBusOptions) {
    this.clock = options.clock;
    this.requestLimit = options.requestLimit ?? REQUEST_LIMIT;
    this.#queueLimit = options.queueLimit ?? QUEUE_LIMIT;
    this.#fate = options.fate;
  }

  connect(): MemoryBus {
    const handle = new Handle(this, ++this.#connected);
    this.#handles.add(handle);
    return handle;
  }

  cut(bus: Bus): void {
    this.#find(bus)?.setLink(false);
  }

  restore(bus: Bus): void {
    this.#find(bus)?.setLink(true);
  }

  kill(bus: Bus): void {
    const handle = this.#find(bus);
    if (handle === undefined) return;
    this.#handles.delete(handle);
    handle.die();
  }

  forget(handle: Handle): void {
    this.#handles.delete(handle);
  }

  listeners(subject: string, except: Handle): Handle[] {
    return [...this.#handles].filter((h) => h !== except && h.up && h.subscribes(subject));
  }

  send(message: Omit<Message, "due">): void {
    const { from, to } = message;
    const delay = this.#fate === undefined ? 0 : this.#fate(from.id, to.id, message.subject);
    if (delay === undefined || to.waiting >= this.#queueLimit) {
      this.lost++;
      return;
    }
    to.take({ ...message, due: this.#fate === undefined ? 0 : this.clock.monotonic() + delay });
  }

  #find(bus: Bus): Handle | undefined {
    return [...this.#handles].find((handle) => handle === bus);
  }
}

class Handle implements MemoryBus {
  readonly id: number;
  up = true;
  /** Messages under way to this handle. */
  waiting = 0;
  readonly #hub: Hub;
  readonly #handlers = new Map<string, Set<BusHandler>>();
  readonly #linkListeners = new Set<(up: boolean) => void>();
  readonly #requests = new Map<number, PendingRequest>();
  #requested = 0;
  #isClosed = false;
  /** What has arrived and awaits its turn. */
  #inbox: Message[] = [];
  #isScheduled = false;
  /** With `fate`: what is under way from each other handle, in order. */
  readonly #pipes = new Map<Handle, Message[]>();

  constructor(hub: Hub, id: number) {
    this.#hub = hub;
    this.id = id;
  }

  publish(subject: string, message: Uint8Array): void {
    this.#mustBeUp();
    const bytes = message.slice();
    for (const to of this.#hub.listeners(subject, this)) {
      this.#hub.send({ from: this, to, subject, bytes, request: 0, isAnswer: false });
    }
  }

  subscribe(subject: string, handler: BusHandler): () => void {
    const own: BusHandler = (message, reply) => handler(message, reply);
    const handlers = this.#handlers.get(subject) ?? new Set();
    handlers.add(own);
    this.#handlers.set(subject, handlers);
    return () => {
      handlers.delete(own);
      if (handlers.size === 0 && this.#handlers.get(subject) === handlers) {
        this.#handlers.delete(subject);
      }
    };
  }

  async request(subject: string, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    this.#mustBeUp();
    if (this.#requests.size >= this.#hub.requestLimit) {
      throw new BusUnavailable("too many requests under way");
    }
    const listeners = this.#hub.listeners(subject, this);
    if (listeners.length === 0) throw new NobodyListens(`nobody listens to ${subject}`);
    const request = ++this.#requested;
    const bytes = message.slice();
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const cancelTimer = this.#hub.clock.after(timeoutMs, () => {
      this.#requests.delete(request);
      reject(new BusTimeout(`no answer from ${subject} within ${timeoutMs} ms`));
    });
    this.#requests.set(request, { resolve, reject, cancelTimer });
    for (const to of listeners) {
      this.#hub.send({ from: this, to, subject, bytes, request, isAnswer: false });
    }
    return promise;
  }

  onLink(listener: (up: boolean) => void): () => void {
    const own = (up: boolean): void => listener(up);
    this.#linkListeners.add(own);
    return () => void this.#linkListeners.delete(own);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#hub.forget(this);
    this.#stop();
    this.#failRequests();
  }

  subscribes(subject: string): boolean {
    return this.#handlers.has(subject);
  }

  setLink(up: boolean): void {
    if (this.#isClosed || this.up === up) return;
    this.up = up;
    if (!up) {
      this.#loseWaiting();
      this.#failRequests();
    }
    for (const listener of this.#linkListeners) listener(up);
  }

  die(): void {
    for (const { cancelTimer } of this.#requests.values()) cancelTimer();
    this.#requests.clear();
    this.#stop();
  }

  take(message: Message): void {
    this.waiting++;
    if (message.due === 0) {
      this.#arrive(message);
      return;
    }
    const pipe = this.#pipes.get(message.from) ?? [];
    this.#pipes.set(message.from, pipe);
    pipe.push(message);
    if (pipe.length === 1) this.#awaitHead(pipe);
  }

  /** One timer a pipe: a message that is due before the one in front of it waits for that. */
  #awaitHead(pipe: Message[]): void {
    const head = pipe[0];
    if (head === undefined) return;
    this.#hub.clock.after(Math.max(0, head.due - this.#hub.clock.monotonic()), () => {
      if (pipe[0] !== head) return;
      pipe.shift();
      this.#arrive(head);
      this.#awaitHead(pipe);
    });
  }

  #arrive(message: Message): void {
    this.#inbox.push(message);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#inbox.length === 0) return;
    this.#isScheduled = true;
    this.#hub.clock.defer(() => {
      this.#isScheduled = false;
      const inbox = this.#inbox;
      const batch = inbox.splice(0, TURN);
      for (const message of batch) {
        // A handler may have closed or cut this handle.
        if (this.#inbox !== inbox) return;
        this.waiting--;
        this.#handle(message);
      }
      this.#schedule();
    });
  }

  #handle(message: Message): void {
    const { from, subject, bytes, request } = message;
    if (message.isAnswer) {
      const pending = this.#requests.get(request);
      this.#requests.delete(request);
      pending?.cancelTimer();
      pending?.resolve(bytes);
      return;
    }
    const reply =
      request === 0
        ? undefined
        : (answer: Uint8Array): void => {
            if (!this.up || !from.up) return;
            const message = { from: this, to: from, subject, bytes: answer.slice(), request };
            this.#hub.send({ ...message, isAnswer: true });
          };
    for (const handler of this.#handlers.get(subject) ?? []) {
      try {
        handler(bytes, reply);
      } catch (error) {
        this.#hub.clock.defer(() => {
          throw error;
        });
      }
    }
  }

  #mustBeUp(): void {
    if (!this.up) throw new BusUnavailable(this.#isClosed ? "the bus is closed" : "no link");
  }

  #stop(): void {
    this.up = false;
    this.#isClosed = true;
    this.#handlers.clear();
    this.#linkListeners.clear();
    this.#loseWaiting();
  }

  #loseWaiting(): void {
    this.#inbox = [];
    for (const pipe of this.#pipes.values()) pipe.length = 0;
    this.#pipes.clear();
    this.waiting = 0;
  }

  #failRequests(): void {
    const pending = [...this.#requests.values()];
    this.#requests.clear();
    for (const { cancelTimer, reject } of pending) {
      cancelTimer();
      reject(new BusUnavailable("the link went down"));
    }
  }
}
