import { CLOSE, encodeFrames, errorByNumber, LIMITS, readFrames, uuidv7 } from "@beckon/protocol";
import type { Frame, HelloFrame, SendFrame, UnknownFrame } from "@beckon/protocol";

import { overTcp, overWebSocket, type Pipe } from "./raw-pipe.ts";
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
  readonly #pipe: Pipe;
  #saidBye = false;

  /** By WebSocket or TCP, as the URL has it. */
  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    const handler = {
      frames: (bytes: Uint8Array) => {
        readFrames(bytes, LIMITS, (frame) => void this.frames.push(frame));
      },
      closed: (code: number | undefined) => (this.closed = code ?? this.#meant()),
    };
    this.#pipe = url.startsWith("ws")
      ? overWebSocket(url, headers, handler)
      : overTcp(url, handler);
  }

  /** [P-1.6] */
  #meant(): number {
    const codes = this.of("error").filter(({ send }) => send === 0);
    const closing = codes.map(({ code }) => errorByNumber(code)?.closes).findLast(Boolean);
    if (closing !== undefined) return closing;
    if (this.of("redirect").length > 0) return CLOSE.redirected;
    return this.#saidBye ? CLOSE.bye : 1006;
  }

  async open(): Promise<this> {
    await until(() => this.#pipe.isOpen(), "the socket to open");
    return this;
  }

  bytes(bytes: Uint8Array): void {
    this.#pipe.write(bytes);
  }

  text(text: string): void {
    this.#pipe.text(text);
  }

  write(...frames: readonly Frame[]): void {
    this.#saidBye ||= frames.some(({ type }) => type === "bye");
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
    this.#pipe.close();
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
    ends: new Uint8Array(),
    ...overrides,
  };
}
