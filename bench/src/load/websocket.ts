import type { Socket, SocketHandler } from "bun";

/** Who gets what a {@link WebSocketClient} reads. */
export interface Reader {
  /** One message: the bytes from `start` to `end`, valid during the call. */
  message(bytes: Uint8Array, start: number, end: number): void;
  /** All that came in this turn has been given to `message`. */
  turn(): void;
  /** The connection has ended, and not by our own close. */
  lost(reason: string): void;
}

const BINARY = 0x2;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;

/** What is sent in one turn, and is written with one system call by `flush`. Bounded by the window. */
let out: Buffer = Buffer.allocUnsafe(64 * 1024);
let outEnd = 0;

/**
 * A WebSocket client that costs as little as it can, so that the server is what is measured: one
 * read and one write a turn, however many messages, and no object for each of them. Its masking key
 * is zero, so it has nothing to mask; a server unmasks with it as with any other.
 *
 * All clients share one buffer for what they send: `send` and `flush` of one client belong
 * together, with no other client's between them.
 */
export class WebSocketClient {
  static readonly #handlers: SocketHandler<WebSocketClient> = {
    data: (socket, bytes) => socket.data.#read(bytes),
    drain: (socket) => socket.data.#drain(),
    close: (socket) => socket.data.#lost("the server closed the socket"),
    error: (socket, error) => socket.data.#lost(error.message),
  };

  #socket: Socket<WebSocketClient> | undefined;
  #reader: Reader;
  /** An incomplete frame. */
  #rest: Buffer | undefined;
  /** What the kernel has not taken yet. */
  #unsent: Buffer[] = [];
  #upgraded: ((error?: Error) => void) | undefined;
  #closing = false;

  private constructor(reader: Reader) {
    this.#reader = reader;
  }

  static async connect(
    port: number,
    path: string,
    reader: Reader,
    subprotocol?: string,
  ): Promise<WebSocketClient> {
    const client = new WebSocketClient(reader);
    const upgraded = Promise.withResolvers<void>();
    client.#upgraded = (error) => (error ? upgraded.reject(error) : upgraded.resolve());
    client.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      data: client,
      socket: WebSocketClient.#handlers,
    });
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      ...(subprotocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${subprotocol}`]),
    ];
    client.#socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    await upgraded.promise;
    return client;
  }

  /** Adds a message to what `flush` will write. */
  send(message: Uint8Array): void {
    const at = this.reserve(message.length);
    out.set(message, at);
  }

  /** As `send`, for a message of `length` bytes that the caller writes into {@link buffer} at the answer. */
  reserve(length: number): number {
    return header(BINARY, length);
  }

  /** Where `reserve` makes room. Another one after each `reserve`. */
  static get buffer(): Buffer {
    return out;
  }

  flush(): void {
    if (outEnd === 0) return;
    const written = this.#unsent.length === 0 ? this.#socket!.write(out, 0, outEnd) : 0;
    if (written < outEnd) {
      this.#unsent.push(Buffer.from(out.subarray(Math.max(0, written), outEnd)));
    }
    outEnd = 0;
  }

  /** Ends the connection at once, without the handshake of closing. */
  terminate(): void {
    this.#closing = true;
    this.#socket?.terminate();
  }

  #drain(): void {
    while (this.#unsent.length > 0) {
      const first = this.#unsent[0]!;
      const written = Math.max(0, this.#socket!.write(first));
      if (written < first.length) {
        this.#unsent[0] = first.subarray(written);
        return;
      }
      this.#unsent.shift();
    }
  }

  #lost(reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#upgraded?.(new Error(reason));
    this.#reader.lost(reason);
  }

  #read(bytes: Buffer): void {
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = undefined;
    }
    let at = 0;
    if (this.#upgraded !== undefined) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) {
        this.#rest = Buffer.from(bytes);
        return;
      }
      const status = bytes.toString("latin1", 0, bytes.indexOf("\r\n"));
      const upgraded = this.#upgraded;
      this.#upgraded = undefined;
      upgraded(status.includes(" 101") ? undefined : new Error(`not upgraded: ${status}`));
      at = end + 4;
    }
    const start = at;
    at = this.#messages(bytes, at);
    // What was read belongs to Bun: it may be used again for the next read.
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
    if (at > start) this.#reader.turn();
  }

  /** Gives away each complete message from `at` on, and returns where the incomplete one starts. */
  #messages(bytes: Buffer, at: number): number {
    while (at + 2 <= bytes.length) {
      let start = at + 2;
      let length = bytes[at + 1]!;
      if (length === 126) {
        if (at + 4 > bytes.length) break;
        length = bytes.readUInt16BE(at + 2);
        start = at + 4;
      } else if (length === 127) {
        if (at + 10 > bytes.length) break;
        length = Number(bytes.readBigUInt64BE(at + 2));
        start = at + 10;
      }
      const end = start + length;
      if (end > bytes.length) break;
      const opcode = bytes[at]! & 0x0f;
      if (opcode === BINARY) this.#reader.message(bytes, start, end);
      else this.#control(opcode, bytes.subarray(start, end));
      at = end;
    }
    return at;
  }

  #control(opcode: number, body: Buffer): void {
    if (opcode === PING) {
      const at = header(PONG, body.length);
      out.set(body, at);
      this.flush();
    } else if (opcode === CLOSE) {
      const code = body.length >= 2 ? body.readUInt16BE(0) : 1005;
      this.#lost(`the server closed with ${code} ${body.toString("utf8", 2)}`);
    }
  }
}

/** Makes room for a frame with a body of `length` bytes, writes its head, and returns where the body goes. */
function header(opcode: number, length: number): number {
  const needed = outEnd + 14 + length;
  if (needed > out.length) {
    const grown = Buffer.allocUnsafe(2 * needed);
    grown.set(out.subarray(0, outEnd));
    out = grown;
  }
  out[outEnd++] = 0x80 | opcode;
  if (length < 126) {
    out[outEnd++] = 0x80 | length;
  } else if (length < 0x10000) {
    out[outEnd++] = 0x80 | 126;
    outEnd = out.writeUInt16BE(length, outEnd);
  } else {
    out[outEnd++] = 0x80 | 127;
    outEnd = out.writeBigUInt64BE(BigInt(length), outEnd);
  }
  outEnd = out.writeUInt32LE(0, outEnd);
  const body = outEnd;
  outEnd += length;
  return body;
}
