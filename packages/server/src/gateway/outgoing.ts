import { FrameWriter } from "@beckon/protocol";
import type { AckStatus, Frame, Millis, Route } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { TurnBatch } from "../lib/turn.ts";
import type { Socket } from "./socket.ts";

/** A message of the transport is closed at these bounds, well within what a device reads. */
const FLUSH_BYTES = 256 * 1024;
const FLUSH_FRAMES = 1_000;
const SPARE_WRITERS = 64;

/** What the connections of a server share for writing. */
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

  /** Flushes the connection at the end of the turn. */
  add(connection: Outgoing): void {
    this.#dirty.add(connection);
  }

  take(): FrameWriter {
    return this.#spare.pop() ?? new FrameWriter();
  }

  giveBack(writer: FrameWriter): void {
    if (this.#spare.length < SPARE_WRITERS) this.#spare.push(writer);
  }
}

export interface Owner {
  /** The socket has dropped a message. */
  dropped(): void;
}

/**
 * Frames to one device: all that is written in a turn goes out as one message. One DELIVER and one run of ACKs wait as they are, so
 * that of many connections with little to say each is written with the same buffer, when its turn comes.
 */
export class Outgoing {
  readonly #pool: WriterPool;
  readonly #socket: Socket;
  readonly #owner: Owner;
  #isDirty = false;
  /** Holds what does not wait as it is. */
  #writer: FrameWriter | undefined;
  /** A live DELIVER that waits. */
  #body: Uint8Array | undefined;
  /** ACKs that follow each other and say the same are one frame. */
  #ackFirst = 0;
  #ackCount = 0;
  #ackStatus: AckStatus = "delivered";
  #ackRoute: Route = "local";
  #ackAt: Millis = 0;
  /** Bytes in the socket's buffer after the last flush. */
  buffered = 0;

  constructor(pool: WriterPool, socket: Socket, owner: Owner) {
    this.#pool = pool;
    this.#socket = socket;
    this.#owner = owner;
  }

  frame(frame: Frame): void {
    this.#open().write(frame);
  }

  deliver(body: Uint8Array, held: boolean, redelivered: boolean): void {
    if (this.#writer === undefined && this.#body === undefined && !held && !redelivered) {
      this.#body = body;
      this.#touch();
      return;
    }
    const writer = this.#open();
    writer.deliver(body, held, redelivered);
    if (writer.size >= FLUSH_BYTES || writer.frames >= FLUSH_FRAMES) this.#send(writer);
  }

  ack(send: number, status: AckStatus, route: Route): void {
    if (
      this.#ackCount > 0 &&
      send === this.#ackFirst + this.#ackCount &&
      status === this.#ackStatus &&
      route === this.#ackRoute
    ) {
      this.#ackCount++;
      return;
    }
    if (this.#ackCount > 0) this.#writeAck(this.#open());
    this.#ackFirst = send;
    this.#ackCount = 1;
    this.#ackStatus = status;
    this.#ackRoute = route;
    // All ACKs of a turn that say the same have its time.
    this.#ackAt = this.#pool.clock.now();
    this.#touch();
  }

  flush(): void {
    if (!this.#isDirty) return;
    const writer = this.#open();
    if (this.#ackCount > 0) this.#writeAck(writer);
    this.#writer = undefined;
    // What is written while it is being sent is for the next turn.
    this.#isDirty = false;
    if (writer.frames > 0) this.#send(writer);
    this.#pool.giveBack(writer);
  }

  #touch(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.#pool.add(this);
  }

  #open(): FrameWriter {
    let writer = this.#writer;
    if (writer === undefined) {
      this.#writer = writer = this.#pool.take();
      this.#touch();
    }
    const body = this.#body;
    if (body !== undefined) {
      this.#body = undefined;
      writer.deliver(body, false, false);
    }
    return writer;
  }

  #writeAck(writer: FrameWriter): void {
    writer.ack(this.#ackFirst, this.#ackCount, this.#ackStatus, this.#ackRoute, this.#ackAt);
    this.#ackCount = 0;
  }

  #send(writer: FrameWriter): void {
    const sent = writer.flush((bytes) => this.#socket.send(bytes));
    this.buffered = this.#socket.buffered();
    if (!sent) this.#owner.dropped();
  }
}
