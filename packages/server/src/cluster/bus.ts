/**
 * What servers say to each other.
 *
 * MUST deliver what one publisher sends on one subject in the order sent (FIFO), each message at most once.
 * MUST NOT echo: a subscriber never gets what its own handle published.
 * `request` MUST reject with `NobodyListens` at once when no other handle subscribes to the subject.
 * While disconnected `publish` and `request` MUST fail at once with `BusUnavailable`, and queue nothing;
 * subscriptions outlive it.
 * A message may be lost, above all when a link goes down or a queue is at its bound: whoever needs to know counts.
 */
export interface Bus {
  /**
   * Takes the bytes before it returns: the caller may use the buffer again.
   * @throws {BusUnavailable}
   */
  publish(subject: string, message: Uint8Array): void;
  /** Handlers run in a later turn than `publish`. The answer ends the subscription. */
  subscribe(subject: string, handler: BusHandler): () => void;
  /** Every listener gets it, the first answer counts. Rejects with NobodyListens, BusUnavailable or BusTimeout. */
  request(subject: string, message: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** Whether the link is up; `listener` hears each change. The answer ends the listening. */
  onLink(listener: (up: boolean) => void): () => void;
  readonly up: boolean;
  /** Rejects the requests under way with BusUnavailable; afterwards all is as while disconnected. */
  close(): Promise<void>;
}

/**
 * `reply` is there when the message is a request; an answer that comes too late is dropped. The handler may keep `message`, and must
 * not write in it. It must not throw: what it throws reaches no publisher.
 */
export type BusHandler = (message: Uint8Array, reply?: (answer: Uint8Array) => void) => void;

export class BusUnavailable extends Error {
  override readonly name = "BusUnavailable";
}

export class NobodyListens extends Error {
  override readonly name = "NobodyListens";
}

export class BusTimeout extends Error {
  override readonly name = "BusTimeout";
}
