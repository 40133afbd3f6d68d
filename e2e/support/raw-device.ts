import {
  encodeFrames,
  errorByNumber,
  LIMITS,
  readFrames,
  SUBPROTOCOL,
  uuidv7,
} from "@beckon/protocol";
import type { Frame, HelloFrame, SendFrame, UnknownFrame } from "@beckon/protocol";

import { until } from "./until.ts";

const HELLO: HelloFrame = {
  type: "hello",
  token: "",
  ticket: new Uint8Array(0),
  device: "phone",
  durable: true,
  protocols: ["ws"],
  epoch: 0,
  outbox: 1,
  hinted: "",
  intent: "",
  noRedirect: false,
  noCopies: false,
  client: "raw/1",
  capabilities: 0,
  background: false,
};

/** A device that speaks the protocol frame by frame, as wrongly as a test wants. */
export class RawDevice {
  readonly frames: (Frame | UnknownFrame)[] = [];
  closed: number | undefined;
  readonly #socket: WebSocket;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    // Headers are Bun's own; the browser's types, which this package has, do not know them.
    const options: unknown = { protocols: [SUBPROTOCOL], headers };
    this.#socket = new WebSocket(url, options as string[]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) => {
      readFrames(new Uint8Array(data), LIMITS, (frame) => void this.frames.push(frame));
    });
    this.#socket.addEventListener("close", ({ code }) => {
      this.closed = code;
    });
  }

  async open(): Promise<this> {
    await until(() => this.#socket.readyState === WebSocket.OPEN, "the socket to open");
    return this;
  }

  bytes(bytes: Uint8Array): void {
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  text(text: string): void {
    this.#socket.send(text);
  }

  write(...frames: readonly Frame[]): void {
    this.bytes(encodeFrames(frames));
  }

  async hello(overrides: Partial<HelloFrame>): Promise<this> {
    await this.open();
    this.write({ ...HELLO, ...overrides });
    await until(() => this.of("welcome").length > 0 || this.closed !== undefined, "WELCOME");
    return this;
  }

  of<T extends Frame["type"]>(type: T): Extract<Frame, { type: T }>[] {
    return this.frames.filter((frame): frame is Extract<Frame, { type: T }> => frame.type === type);
  }

  /** The codes of the ERRORs so far. */
  get errors(): string[] {
    return this.of("error").map(({ code }) => errorByNumber(code)?.code ?? `unknown ${code}`);
  }

  /** The error that ended the connection, and its close code. */
  async end(): Promise<{ error: string | undefined; code: number }> {
    await until(() => this.closed !== undefined, "the connection to be closed");
    return { error: this.errors.at(-1), code: this.closed! };
  }

  close(): void {
    this.#socket.close();
  }
}

export function send(to: string, n: number, overrides: Partial<SendFrame> = {}): SendFrame {
  return {
    type: "send",
    id: uuidv7(Date.now(), (bytes) => void crypto.getRandomValues(bytes)),
    to,
    n,
    prev: n === 0 ? 0 : n - 1,
    payload: new TextEncoder().encode(`message ${n}`),
    wake: "message",
    preview: "",
    ...overrides,
  };
}
