import { FrameWriter } from "@beckon/protocol";
import type { AckStatus, Frame, Millis, Route } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { TurnBatch } from "../lib/turn.ts";
import type { Socket } from "./socket.ts";

/** A message of the transport is closed at these bounds, well within what a device reads. */
const FLUSH_BYTES = 256 * 1024;
const FLUSH_FRAMES = 1_000;
const SPARE_WRITERS = 64;

/** What the connections of a server share for writing. Idle connections keep no buffer. */
export class WriterPool {
  readonly #dirty: TurnBatch<Outgoing>;
  readonly #spare: FrameWriter[] = [];
  readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
    this.#dirty = new TurnBatch(clock, (connections) => {
      for (const connection of connections) connection.flush();
    });
  }

  take(connection: Outgoing): FrameWriter {
    this.#dirty.add(connection);
    return this.#spare.pop() ?? new FrameWriter();
  }

  giveBack(writer: FrameWriter): void {
    if (this.#spare.length < SPARE_WRITERS) this.#spare.push(writer);
  }
}

/** Frames to one device: all that is written in a turn goes out as one message. */
export class Outgoing {
  readonly #pool: WriterPool;
  readonly #socket: Socket;
  readonly #dead: () => void;
  #writer: FrameWriter | undefined;
  /** ACKs that follow each other and say the same are one frame. */
  #ackFirst = 0;
  #ackCount = 0;
  #ackStatus: AckStatus = "delivered";
  #ackRoute: Route = "local";
  #ackAt: Millis = 0;
  /** Bytes in the socket's buffer after the last flush. */
  buffered = 0;

  /** `dead`: the socket has dropped a message. */
  constructor(pool: WriterPool, socket: Socket, dead: () => void) {
    this.#pool = pool;
    this.#socket = socket;
    this.#dead = dead;
  }

  frame(frame: Frame): void {
    this.#open().write(frame);
  }

  deliver(body: Uint8Array, held: boolean, redelivered: boolean): void {
    const writer = this.#open();
    writer.deliver(body, held, redelivered);
    if (writer.size >= FLUSH_BYTES || writer.frames >= FLUSH_FRAMES) this.#send(writer);
  }

  ack(send: number, status: AckStatus, route: Route): void {
    const at = this.#pool.clock.now();
    if (
      this.#ackCount > 0 &&
      send === this.#ackFirst + this.#ackCount &&
      status === this.#ackStatus &&
      route === this.#ackRoute &&
      at === this.#ackAt
    ) {
      this.#ackCount++;
      return;
    }
    this.#writeAck(this.#open());
    this.#ackFirst = send;
    this.#ackCount = 1;
    this.#ackStatus = status;
    this.#ackRoute = route;
    this.#ackAt = at;
  }

  flush(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#writeAck(writer);
    this.#writer = undefined;
    if (writer.frames > 0) this.#send(writer);
    this.#pool.giveBack(writer);
  }

  #open(): FrameWriter {
    return (this.#writer ??= this.#pool.take(this));
  }

  #writeAck(writer: FrameWriter): void {
    if (this.#ackCount === 0) return;
    writer.ack(this.#ackFirst, this.#ackCount, this.#ackStatus, this.#ackRoute, this.#ackAt);
    this.#ackCount = 0;
  }

  #send(writer: FrameWriter): void {
    const sent = writer.flush((bytes) => this.#socket.send(bytes));
    this.buffered = this.#socket.buffered();
    if (!sent) this.#dead();
  }
}
