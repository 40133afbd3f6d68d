import { SUBPROTOCOL } from "@beckon/protocol";

import type { Socket, SocketHandler } from "./socket.ts";

export interface WsListenerOptions {
  /** A device has connected. */
  accept: (socket: Socket) => SocketHandler;
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** Bytes of one message. */
  readonly maxMessageBytes: number;
  /** Bytes that may wait in a socket's buffer; more closes the connection. */
  readonly maxBufferedBytes: number;
}

export interface Listener {
  readonly url: string;
  /** Takes no more connections. */
  close(): void;
  /** As if the process had been killed: resets all connections, and tells nobody here. */
  kill(): void;
}

const HEADROOM_BYTES = 64 * 1024;

interface Attachment {
  handler: SocketHandler | undefined;
}

/** Devices over WebSocket, on Bun's own server. */
export function listenWs(options: WsListenerOptions): Listener {
  const { accept } = options;
  let isDead = false;
  const server = Bun.serve<Attachment>({
    hostname: options.hostname,
    port: options.port,
    fetch(request, server) {
      const offered = request.headers.get("sec-websocket-protocol");
      if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
        return new Response("This is a Beckon server: connect with a WebSocket.\n", {
          status: 426,
        });
      }
      if (!offered?.split(",").some((protocol) => protocol.trim() === SUBPROTOCOL)) {
        return new Response(`Ask for the subprotocol ${SUBPROTOCOL}.\n`, { status: 400 });
      }
      const upgraded = server.upgrade(request, {
        data: { handler: undefined },
        headers: { "sec-websocket-protocol": SUBPROTOCOL },
      });
      return upgraded ? undefined : new Response("Not a WebSocket handshake.\n", { status: 400 });
    },
    websocket: {
      // Beyond what the gateway refuses with an error, so that it is the gateway that refuses.
      maxPayloadLength: options.maxMessageBytes + HEADROOM_BYTES,
      backpressureLimit: options.maxBufferedBytes,
      closeOnBackpressureLimit: true,
      // The gateway has a clock of its own for silence, and answers PING frames.
      idleTimeout: 0,
      sendPings: false,
      perMessageDeflate: false,
      open(ws) {
        // Of a Buffer, which is what it gives otherwise, the codec would have to make this first.
        ws.binaryType = "uint8array";
        ws.data.handler = accept(new WsSocket(ws));
      },
      message(ws, message) {
        if (isDead) return;
        if (typeof message === "string") ws.data.handler?.malformed("a text message");
        else ws.data.handler?.message(message);
      },
      drain(ws) {
        if (!isDead) ws.data.handler?.drained();
      },
      close(ws) {
        if (!isDead) ws.data.handler?.closed();
        ws.data.handler = undefined;
      },
    },
  });
  return {
    url: urlOf(options.hostname, server.port ?? options.port),
    close: () => void server.stop(false),
    kill() {
      isDead = true;
      void server.stop(true);
    },
  };
}

function urlOf(hostname: string, port: number): string {
  return `ws://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

class WsSocket implements Socket {
  readonly #ws: Bun.ServerWebSocket<Attachment>;

  constructor(ws: Bun.ServerWebSocket<Attachment>) {
    this.#ws = ws;
  }

  send(message: Uint8Array): boolean {
    // 0: dropped. -1: taken, and the buffer is filling.
    return this.#ws.sendBinary(message) !== 0;
  }

  buffered(): number {
    return this.#ws.getBufferedAmount();
  }

  close(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  terminate(): void {
    this.#ws.terminate();
  }
}
