/** What an application sees of the SDK. */
import type { BeckonError } from "./errors.ts";
import type { Forgotten } from "./log-out.ts";
import type { Ack, Message, MessageHandler, Unsent } from "./message.ts";
import type { SendOptions } from "./options.ts";
import type { State } from "./state.ts";
import type { Wake } from "./wake-event.ts";

export interface Events {
  /** At once with the present state, then at each change. */
  readonly state: (state: State) => void;
  /**
   * Takes the messages, one at a time: each is acknowledged when the handler has resolved. One that the handler fails on comes
   * again, marked `redelivered`, after a while. There is one taker of messages at a time.
   */
  readonly message: MessageHandler;
  /** A push was opened by `onWake`, which now connects: what a notification can say at once. */
  readonly wake: (wake: Wake) => void;
  /** What no call can answer for: a refused token, a failing handler, a storage that does not write. Without a listener: `console.warn`. */
  readonly error: (error: BeckonError) => void;
}

export interface Beckon {
  readonly state: State;
  /** Resolves when the message is delivered or held. While offline it waits; it rejects with {@link BeckonError} when it will never be sent. */
  send(to: string, payload: string | Uint8Array, options?: SendOptions): Promise<Ack>;
  /** What comes in. Asking for the next message acknowledges the one before; one that a loop leaves without asking on is handed over again. */
  messages(): AsyncIterableIterator<Message>;
  /** What waits to be acknowledged, oldest first, with what the last run has left. */
  outbox(): Promise<readonly Unsent[]>;
  /**
   * Takes the data of any push. `connected`: it was a wake for this device, and the device is connected: to the server that the
   * wake names, or where it was if it was connected before. `ignored`: it was something else, forged, expired, opened twice
   * before, or no server could be reached within 30 s.
   */
  onWake(data: unknown): Promise<"connected" | "ignored">;
  /** The answer ends the listening. */
  on<E extends keyof Events>(event: E, handler: Events[E]): () => void;
  /** Whether the application is in the background: then the user is woken by push though connected. */
  background(value: boolean): void;
  /** Says goodbye and ends. What is unsent rejects with `closed`; what is in a storage is sent by the next run. */
  close(): Promise<void>;
  /**
   * Who is not to wake anybody until then: a conversation (the user who writes) none of the user's devices, or, without one, nobody this
   * device. A time, ms since 1970; `Infinity`: for ever; 0: no longer. Resolves when a server has stored it, and while offline waits; no
   * storage keeps it, so the next run does not say it again. Of several words on one conversation the last counts.
   */
  quiet(quiet: { readonly conversation?: string; readonly until: Date | number }): Promise<void>;
  /**
   * For a log-out: the system forgets this device, nobody pushes to it any more, and what is stored here is removed. `local`: that alone,
   * as no server could be told within some seconds; until the application's backend forgets the device, or for 30 days, it may be pushed to.
   * Rejects with `closed` where the client is closed already, and with `storage-failed` where what is stored cannot be removed.
   */
  forget(): Promise<Forgotten>;
}
