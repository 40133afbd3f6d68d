import type { Frame, HelloFrame, UnknownFrame, WelcomeFrame } from "@beckon/protocol";

import { FrameWriter, LIMITS, readFrames, SUBPROTOCOL, uuidv7 } from "@beckon/protocol";

import type { Sender, Tally } from "./pair.ts";
import type { Reader } from "./websocket.ts";

import { mintToken } from "../token.ts";
import { fail } from "./fail.ts";
import { Pair } from "./pair.ts";
import { WebSocketClient } from "./websocket.ts";

/** A ticket, where there is one; otherwise a new token. */
export type Credentials = Pick<HelloFrame, "token" | "ticket">;

const NO_TICKET = new Uint8Array(0);
const DEVICE = "phone";

/** Frames of all devices: what one writes is flushed before another writes. */
const frames = new FrameWriter();

/** Limits of what the server sends; it keeps to those of the protocol. */
const { messageBytes, messageFrames } = LIMITS;
const READ_LIMITS = { messageBytes, messageFrames };

export const byToken = (user: string): Credentials => ({
  token: mintToken(user),
  ticket: NO_TICKET,
});

/** A durable device that has said HELLO and got WELCOME. */
export class BeckonDevice implements Reader {
  readonly user: string;
  #socket: WebSocketClient | undefined;
  #onFrame: (frame: Frame | UnknownFrame) => void;
  #onTurn: () => void;

  /** When HELLO was written, ms as `performance.now` counts them. */
  helloAt = 0;

  private constructor(user: string) {
    this.user = user;
    this.#onFrame = () => undefined;
    this.#onTurn = () => undefined;
  }

  static async connect(
    port: number,
    user: string,
    credentials: Credentials,
    /** What comes with WELCOME in one turn. */
    onFrame?: (frame: Frame | UnknownFrame) => void,
  ): Promise<{ device: BeckonDevice; welcome: WelcomeFrame }> {
    const device = new BeckonDevice(user);
    const welcome = new Promise<WelcomeFrame>((resolve) => {
      device.#onFrame = (frame) => {
        // Its bytes are views of what the next read overwrites.
        if (frame.type === "welcome") resolve({ ...frame, ticket: frame.ticket.slice() });
        else if (onFrame !== undefined) onFrame(frame);
        else fail(`${user} got ${JSON.stringify(frame)} instead of WELCOME`);
      };
    });
    device.#socket = await WebSocketClient.connect(port, "/", device, SUBPROTOCOL);
    device.write({ ...HELLO, ...credentials });
    device.helloAt = performance.now();
    device.flush();
    return { device, welcome: await welcome };
  }

  /** From now on `onFrame` gets what comes, and `onTurn` is called when all of a turn has. */
  listen(onFrame: (frame: Frame | UnknownFrame) => void, onTurn: () => void): void {
    this.#onFrame = onFrame;
    this.#onTurn = onTurn;
  }

  /** `flush` follows before another device writes. */
  write(frame: Frame): void {
    frames.write(frame);
  }

  /** Sends what was written to `frames` as one message. */
  flush(): void {
    if (frames.frames > 0) frames.flush((bytes) => this.#socket!.send(bytes));
    this.#socket!.flush();
  }

  terminate(): void {
    this.#socket?.terminate();
  }

  message(bytes: Uint8Array, start: number, end: number): void {
    readFrames(bytes.subarray(start, end), READ_LIMITS, this.#onFrame);
  }

  turn(): void {
    this.#onTurn();
  }

  lost(reason: string): void {
    fail(`${this.user}: ${reason}`);
  }
}

const HELLO: HelloFrame = {
  type: "hello",
  token: "",
  ticket: NO_TICKET,
  device: DEVICE,
  durable: true,
  protocols: ["ws"],
  epoch: 0,
  outbox: 1,
  hinted: "",
  intent: "",
  noRedirect: true,
  noCopies: false,
  client: "bench",
  capabilities: 0,
  background: false,
};

/** Two users with a durable device each; the first writes to the second. */
export async function connectBeckonPair(
  ports: readonly number[],
  index: number,
  window: number,
  payload: Uint8Array,
  tally: Tally,
): Promise<Pair> {
  const users = [`sender-${index}`, `recipient-${index}`] as const;
  const [from, to] = await Promise.all([
    BeckonDevice.connect(ports[0]!, users[0], byToken(users[0])),
    BeckonDevice.connect(ports.at(-1)!, users[1], byToken(users[1])),
  ]);
  const pair = new Pair(sendingTo(users[1], from.device, payload), window, tally);
  acknowledging(to.device, tally);
  reading(from.device, pair, tally);
  return pair;
}

/** Writes SENDs that differ in number and id alone. */
function sendingTo(to: string, device: BeckonDevice, payload: Uint8Array): Sender {
  const id = uuidv7(Date.now(), (bytes) => crypto.getRandomValues(bytes));
  const number = new DataView(id.buffer, id.length - 4);
  const content = { payload, wake: "none", preview: "", ends: new Uint8Array() } as const;
  const send = { type: "send", id, to, n: 0, prev: 0, ...content } as const;
  return {
    send(n) {
      number.setUint32(0, n);
      frames.write({ ...send, n, prev: n - 1 });
    },
    flush: () => device.flush(),
  };
}

/** [P-8.4] A device may stay: what is measured is a message between two servers. */
function isHint({ type }: { readonly type: string }): boolean {
  return type === "move";
}

/** The recipient: one RECEIVED for all that came in a turn. */
function acknowledging(device: BeckonDevice, tally: Tally): void {
  let first = 1;
  let count = 0;
  device.listen(
    (frame) => {
      if (frame.type === "deliver") count++;
      else if (!isHint(frame)) fail(`${device.user} got ${JSON.stringify(frame)}`);
    },
    () => {
      frames.received([first, count]);
      device.flush();
      tally.delivered += count;
      first += count;
      count = 0;
    },
  );
}

/** The sender: each acknowledgement makes room for the next message. */
function reading(device: BeckonDevice, pair: Pair, tally: Tally): void {
  // One reading of the clock for all that came in a turn.
  let now = 0;
  device.listen(
    (frame) => {
      if (isHint(frame)) return undefined;
      if (frame.type !== "ack") return fail(`${device.user} got ${JSON.stringify(frame)}`);
      now ||= performance.now();
      if (frame.status === "held") tally.held += frame.count;
      pair.acknowledged(frame.send, frame.count, now);
      return undefined;
    },
    () => {
      now = 0;
      pair.fill();
    },
  );
}
