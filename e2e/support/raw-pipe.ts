/** What a raw device writes to and hears from, by either protocol; what comes is not judged. */
import { connect } from "node:net";
import { connect as connectSecure } from "node:tls";

import { FrameStream, LIMITS, SUBPROTOCOL } from "@beckon/protocol";

export interface Pipe {
  readonly isOpen: () => boolean;
  write(bytes: Uint8Array): void;
  /** Over a WebSocket alone. */
  text(text: string): void;
  close(): void;
}

export interface PipeHandler {
  frames(bytes: Uint8Array): void;
  /** Undefined: the transport has no close codes. */
  closed(code: number | undefined): void;
}

export function overWebSocket(
  url: string,
  headers: Readonly<Record<string, string>>,
  handler: PipeHandler,
): Pipe {
  // Headers are Bun's own; the browser's types, which this package has, do not know them.
  const options: unknown = { protocols: [SUBPROTOCOL], headers };
  const socket = new WebSocket(url, options as string[]);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) =>
    handler.frames(new Uint8Array(data)),
  );
  socket.addEventListener("close", ({ code }) => handler.closed(code));
  return {
    isOpen: () => socket.readyState === WebSocket.OPEN,
    write: (bytes) => socket.send(bytes as Uint8Array<ArrayBuffer>),
    text: (text) => socket.send(text),
    close: () => socket.close(),
  };
}

export function overTcp(url: string, handler: PipeHandler): Pipe {
  const { protocol, hostname: host, port } = new URL(url);
  const place = { host, port: Number(port) };
  const isSecure = protocol === "tls:";
  const frames = new FrameStream();
  let isOpen = false;
  // It looks at frames, not at names.
  const socket = isSecure ? connectSecure({ ...place, rejectUnauthorized: false }) : connect(place);
  socket.once(isSecure ? "secureConnect" : "connect", () => (isOpen = true));
  socket.on("data", (chunk: Uint8Array) =>
    frames.push(
      chunk,
      () => LIMITS,
      (bytes) => handler.frames(bytes),
    ),
  );
  // The end follows.
  socket.on("error", () => undefined);
  socket.once("close", () => {
    isOpen = false;
    handler.closed(undefined);
  });
  return {
    isOpen: () => isOpen,
    write: (bytes) => void socket.write(Uint8Array.from(bytes)),
    text() {
      throw new Error("there is no text on tcp");
    },
    close: () => void socket.end(),
  };
}
