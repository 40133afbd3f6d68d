import { isUuidv7, utf8Length, uuidTime, validUserId } from "@beckon/protocol";
import type { Millis, ProtocolLimits, SendErrorCode, SendFrame } from "@beckon/protocol";

/** What may be wrong with a SEND by itself. Pure; undefined: nothing. */
export function faultOf(
  send: SendFrame,
  user: string,
  limits: ProtocolLimits,
  now: Millis,
): SendErrorCode | undefined {
  if (!isUuidv7(send.id)) return "bad-id";
  if (send.ends.length !== 0 && send.ends.length !== send.id.length) return "bad-id";
  const age = now - uuidTime(send.id);
  if (age > limits.idAge) return "id-too-old";
  if (age < -limits.idAhead) return "bad-id";
  if (send.to === user || !validUserId(send.to)) return "bad-recipient";
  if (send.payload.length > limits.payload || utf8Length(send.preview) > limits.preview) {
    return "payload-too-large";
  }
  if (send.n === 0 ? send.prev !== 0 : send.prev >= send.n) return "bad-lane";
  return undefined;
}

/** Lanes of one connection that may be refused at once; over it the oldest is forgotten. */
const MAX_REFUSED = 1024;

interface RefusedLane {
  /** Later ones wait for this one. */
  readonly first: number;
  /** None of them will be sent again. */
  isFinal: boolean;
  /** The last that was refused behind it. */
  last: number;
}

/**
 * What was refused in each lane of a connection: until that `n` comes again, or one that is linked past it, nothing after it is
 * taken, so that nothing is delivered across a hole that is about to be filled (L3). [P-5.10]
 */
export class RefusedLanes {
  readonly #refused = new Map<string, RefusedLane>();

  /** Whether a SEND may go on; when it does, the lane is open again. */
  admits({ to, n, prev }: SendFrame): boolean {
    const lane = this.#refused.get(to);
    if (lane === undefined || n < lane.first) return true;
    // Linked to one that was taken before, though it comes after what will never be.
    const isPastFinal = lane.isFinal && prev > lane.last;
    if (n > lane.first && prev >= lane.first && !isPastFinal) return false;
    this.#refused.delete(to);
    return true;
  }

  refuse(to: string, n: number, isFinal: boolean): void {
    if (n === 0) return;
    const before = this.#refused.get(to);
    if (before !== undefined && before.first <= n) {
      before.last = Math.max(before.last, n);
      before.isFinal &&= isFinal;
      return;
    }
    this.#refused.set(to, { first: n, isFinal, last: n });
    if (this.#refused.size > MAX_REFUSED) {
      for (const oldest of this.#refused.keys()) {
        this.#refused.delete(oldest);
        break;
      }
    }
  }
}

/** Of a SEND: what sums of fractions may be off by. */
const EPSILON = 1e-6;

/** A token bucket: `rate` SENDs a second, `burst` at once. */
export class SendRate {
  readonly #rate: number;
  readonly #burst: number;
  #level: number;
  #at: number;

  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#level = burst;
    this.#at = now;
  }

  /** `now`: monotonic ms. Answers 0 when it may pass, else after how many ms the next may. */
  take(now: number): Millis {
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) * this.#rate) / 1000);
    this.#at = now;
    if (this.#level >= 1 - EPSILON) {
      this.#level--;
      return 0;
    }
    return Math.ceil(((1 - this.#level) * 1000) / this.#rate - EPSILON);
  }
}
