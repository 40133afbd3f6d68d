import type { Session } from "../sessions/table.ts";
import type { Recipient } from "./recipient.ts";
import { isBefore } from "./message.ts";
import type { Message, Try, TryOwner } from "./message.ts";

const MIN_DEADLINE_MS = 250;
const MAX_DEADLINE_MS = 2000;

/** A connected device as an accepting server sees it: what is on its way there, and how fast it acknowledges. */
export class Destination {
  readonly owner: TryOwner;
  session: Session;
  /** The connection, when it terminates here. */
  recipient: Recipient | undefined;
  /** Live tries in the order sent; those that are over are dropped from the front. */
  #tries: Try[] = [];
  #head = 0;
  /** Smoothed time to acknowledge, ms. 0: not known. */
  #smoothed = 0;
  /** Nothing may go there live before the hold of this number has been committed: what it holds comes first (L3). */
  blockedUntil = 0;
  /** Messages that are to go there through the store, and whose hold has no number yet because another of theirs is under way. */
  unheld = 0;

  constructor(owner: TryOwner, session: Session, recipient: Recipient | undefined) {
    this.owner = owner;
    this.session = session;
    this.recipient = recipient;
  }

  add(attempt: Try): void {
    this.#tries.push(attempt);
  }

  /** A sample of the time to acknowledge: TCP's smoothing (RFC 6298, section 2), one part in eight. */
  acknowledged(sampleMs: number): void {
    this.#smoothed += (sampleMs - this.#smoothed) / 8;
    this.#trim();
  }

  /** How long a live try may take before the message is held: twice the smoothed time, within 250 ms and 2 s. */
  get deadline(): number {
    return Math.min(Math.max(2 * this.#smoothed, MIN_DEADLINE_MS), MAX_DEADLINE_MS);
  }

  /** The tries that are open or overdue, oldest first. */
  get tries(): readonly Try[] {
    if (this.#head > 0) {
      this.#tries.splice(0, this.#head);
      this.#head = 0;
    }
    return this.#tries;
  }

  /**
   * What is under way there and comes before the message in its lane, oldest first. Nobody knows yet that it arrives: its connection may be
   * dead, and the device be reading the store over another one (L3).
   */
  openBefore(message: Message): readonly Try[] {
    return this.tries.filter(
      (attempt) => attempt.state === "open" && isBefore(attempt.message, message),
    );
  }

  get idle(): boolean {
    this.#trim();
    return this.#head === this.#tries.length;
  }

  /** Takes all tries away. */
  takeAll(): readonly Try[] {
    const tries = this.tries;
    this.#tries = [];
    return tries;
  }

  #trim(): void {
    const tries = this.#tries;
    let head = this.#head;
    while (head < tries.length && (tries[head]!.state === "acked" || tries[head]!.state === "lost"))
      head++;
    if (head === tries.length) {
      tries.length = 0;
      head = 0;
    } else if (head > 64 && head * 2 > tries.length) {
      tries.splice(0, head);
      head = 0;
    }
    this.#head = head;
  }
}
