import type { BeckonError } from "./errors.ts";
import type { Ack, Message, Unsent } from "./message.ts";
import type { ConnectOptions, SendOptions } from "./options.ts";
import type { State } from "./state.ts";

export interface Events {
  /** At once with the present state, then at each change. */
  readonly state: (state: State) => void;
  /**
   * Takes the messages, one at a time: each is acknowledged when the handler has resolved. A handler that
   * fails gets it again, marked `redelivered`, after a while. One at a time, and not beside {@link Beckon.messages}.
   */
  readonly message: (message: Message) => void | Promise<void>;
  /** What no call can answer for: a refused token, a failing handler, storage that does not write. */
  readonly error: (error: BeckonError) => void;
}

export interface Beckon {
  readonly state: State;
  /** Resolves when the message is delivered or held. While offline it waits; it rejects with {@link BeckonError} when it will never be sent. */
  send(to: string, payload: string | Uint8Array, options?: SendOptions): Promise<Ack>;
  /** What comes in. Asking for the next message acknowledges the one before; what a loop leaves behind unasked is handed over again. */
  messages(): AsyncIterableIterator<Message>;
  /** What waits to be acknowledged, oldest first, with what was left by the last run. */
  outbox(): Promise<readonly Unsent[]>;
  /**
   * Takes the data of any push, and of a service worker's message. `connected`: it was a wake for this device, and the device is
   * connected. `ignored`: it was something else, forged, expired, or no server could be reached within 30 s.
   */
  onWake(data: unknown): Promise<"connected" | "ignored">;
  /** The answer ends the listening. */
  on<E extends keyof Events>(event: E, handler: Events[E]): () => void;
  /** Whether the application is in the background: then the user is woken by push though connected. */
  background(value: boolean): void;
  /** Says goodbye and ends. What is unsent rejects with `closed`; with storage it is sent by the next run. */
  close(): Promise<void>;
  /** For a log-out: closes, and removes what is stored on this device. */
  forget(): Promise<void>;
}

/** Returns at once, and connects until it is closed. Throws for options that can never work, never for the network. */
export function connect(_options: ConnectOptions): Beckon {
  throw new Error("not yet");
}
