/** Transmits the outbox: each lane in order, within the window and the rate that WELCOME states. */
import { type AckFrame, errorByNumber, type ErrorFrame, type Millis } from "@beckon/protocol";

import { backoff } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { BeckonError } from "./errors.ts";
import type { Entry, Outbox, OutLane } from "./outbox.ts";
import { createPace } from "./pace.ts";
import type { Random } from "./random.ts";
import { createTimers } from "./timers.ts";

export interface Sender {
  /** The lane may have something to transmit. */
  ready(lane: OutLane): void;
  /** Everything unacknowledged goes out again, in order. */
  connected(connection: Connection): void;
  disconnected(): void;
  acknowledged(frame: AckFrame): void;
  refused(frame: ErrorFrame): void;
  /** As much is unanswered as the server allows. */
  full(): boolean;
  /** Nothing goes out until it is released, or connected anew; resolves when nothing is unanswered. */
  hold(): Promise<void>;
  release(): void;
}

/** A lane on the present connection. */
interface Course {
  inFlight: number;
  /** One was refused: nothing goes out until all in flight are answered, then all again from the first. */
  halted: boolean;
  /** How long to wait then. */
  pause: Millis;
  /** Pauses since something was acknowledged. */
  attempts: number;
  /** It is in the queue of lanes. */
  queued: boolean;
}

/** Bytes that may wait in the transport before SENDs do. */
const BUFFERED = 1024 * 1024;
const BUFFERED_MS = 50;
/** From the first refusal that may pass to the next attempt, and at most. */
const PAUSE_MS = 250;
const MAX_PAUSE_MS = 30_000;
/** The longest wait that a server can ask for. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** `transmitted` is told each that goes out. */
export function createSender(
  outbox: Outbox,
  clock: Clock,
  random: Random,
  transmitted: (entry: Entry) => void,
): Sender {
  const pace = createPace();
  let connection: Connection | undefined;
  /** What the server has not answered, by its number on this connection. */
  const sent = new Map<number, Entry>();
  const courses = new Map<OutLane, Course>();
  /** Lanes that may have something to transmit; each in turn sends one. */
  let queue: OutLane[] = [];
  let sends = 0;
  const timers = createTimers(clock);
  let pumping = false;
  let waiting = false;
  let held = false;
  let idle = (): void => {};

  function ready(lane: OutLane): void {
    if (connection === undefined || lane.queue.length === 0) return;
    enqueue(lane, courseOf(lane));
    pump();
  }

  function courseOf(lane: OutLane): Course {
    let course = courses.get(lane);
    if (course === undefined) {
      course = { inFlight: 0, halted: false, pause: 0, attempts: 0, queued: false };
      courses.set(lane, course);
    }
    return course;
  }

  function enqueue(lane: OutLane, course: Course): void {
    if (course.queued) return;
    course.queued = true;
    if (lane.call) queue.unshift(lane);
    else queue.push(lane);
  }

  function rest(lane: OutLane, course: Course): void {
    if (lane.queue.length === 0 && !course.queued) courses.delete(lane);
  }

  function pump(): void {
    // `identify` and `refused` may call back.
    if (pumping || waiting || held) return;
    pumping = true;
    while (step());
    pumping = false;
  }

  /** Lets the first lane send one; false: nothing may go now. */
  function step(): boolean {
    const to = connection;
    const [lane] = queue;
    if (to === undefined || lane === undefined) return false;
    const course = courseOf(lane);
    const entry = lane.queue[lane.next];
    if (entry === undefined || entry.unsaved > 0 || course.halted) {
      queue.shift();
      course.queued = false;
      rest(lane, course);
      return true;
    }
    const room = to.limits.window - sent.size;
    // The next ACK goes on.
    if (room <= 0) return false;
    if (entry.payload.length > to.limits.payload) {
      outbox.refused(entry, new BeckonError("payload-too-large"));
      return true;
    }
    if (entry.id === undefined) {
      outbox.identify(lane, room);
      return true;
    }
    const wait = to.buffered() > BUFFERED ? BUFFERED_MS : pace.take(clock.now());
    if (wait > 0) {
      waiting = true;
      timers.after(wait, () => {
        waiting = false;
        pump();
      });
      return false;
    }
    transmit(to, entry, entry.id);
    course.inFlight++;
    lane.next++;
    queue.shift();
    queue.push(lane);
    return true;
  }

  function transmit(to: Connection, entry: Entry, id: Uint8Array): void {
    const { n, prev, payload, wake, preview, ends } = entry;
    entry.transmitted = true;
    transmitted(entry);
    sent.set(++sends, entry);
    to.write({ type: "send", id, to: entry.lane.to, n, prev, payload, wake, preview, ends });
  }

  function answered(send: number): Entry | undefined {
    const entry = sent.get(send);
    if (entry === undefined) return undefined;
    sent.delete(send);
    if (sent.size === 0) idle();
    courseOf(entry.lane).inFlight--;
    return entry;
  }

  function acknowledged({ send, count, status, route, at }: AckFrame): void {
    const server = connection?.welcome?.server ?? "";
    for (let number = send; number < send + count && number <= sends; number++) {
      const entry = answered(number);
      if (entry === undefined) continue;
      courseOf(entry.lane).attempts = 0;
      outbox.acknowledged(entry, { status, route, at, server });
      settle(entry.lane);
    }
    pump();
  }

  function refused({ send, code, message, retryAfter }: ErrorFrame): void {
    const entry = answered(send);
    if (entry === undefined) return;
    const { lane } = entry;
    const course = courseOf(lane);
    // A code that this version does not know may pass.
    const error = errorByNumber(code) ?? { code: "internal", retryable: true };
    const follows = error.code === "out-of-order" && course.halted;
    course.halted = true;
    if (!error.retryable) {
      outbox.refused(entry, new BeckonError(error.code, message));
    } else if (!follows) {
      if (course.pause === 0) {
        course.pause = backoff(course.attempts++, PAUSE_MS, MAX_PAUSE_MS, random);
      }
      course.pause = Math.max(course.pause, Math.min(retryAfter, MAX_RETRY_AFTER_MS));
    }
    settle(lane);
    pump();
  }

  /** After a refusal, once nothing of the lane is in flight, all of it goes out again. */
  function settle(lane: OutLane): void {
    const course = courseOf(lane);
    if (course.inFlight > 0) return;
    if (!course.halted) return rest(lane, course);
    lane.next = 0;
    const { pause } = course;
    course.pause = 0;
    const go = (): void => {
      course.halted = false;
      ready(lane);
    };
    if (pause === 0) go();
    else timers.after(pause, go);
  }

  function disconnected(): void {
    connection = undefined;
    timers.clear();
    courses.clear();
    sent.clear();
    queue = [];
    waiting = held = false;
    idle();
  }

  return {
    ready,
    connected(to) {
      disconnected();
      connection = to;
      sends = 0;
      pace.reset(to.limits, clock.now());
      for (const { lane } of outbox.entries()) {
        lane.next = 0;
        enqueue(lane, courseOf(lane));
      }
      pump();
    },
    disconnected,
    acknowledged,
    refused,
    full: () => sent.size >= (connection?.limits.window ?? Infinity),
    hold: () =>
      new Promise((resolve) => {
        held = true;
        idle = resolve;
        if (sent.size === 0) resolve();
      }),
    release() {
      held = false;
      pump();
    },
  };
}
