import { ProtocolError, SUBPROTOCOL } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { TlsPair } from "./certificate.ts";
import { preferNewest } from "./listen-newest.ts";
import { type Listener, type ListenerOptions, urlOf } from "./listener.ts";
import { remoteOf } from "./remote.ts";
import type { HttpHandler } from "./registration-http.ts";
import type { Socket, SocketHandler } from "./socket.ts";

export interface WsListenerOptions extends ListenerOptions {
  /** Bytes of one message. */
  readonly maxMessageBytes: number;
  /** Whether the proxy at this address is believed when it says where a device is. Default: none is. */
  readonly isTrusted?: (address: string) => boolean;
  readonly clock: Clock;
  /** Answers what is no WebSocket. Undefined, here or as its answer: nobody does. */
  readonly http?: HttpHandler;
}

const HEADROOM_BYTES = 64 * 1024;

/** Of a request that is no WebSocket, before anybody has read any of it. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * For so long a listener that has been replaced goes on to accept what was on its way to it: longer than two thirds of a
 * handshake of TCP take on a bad line.
 */
const LINGER_MS = 4_000;

interface Attachment {
  handler: SocketHandler | undefined;
  readonly remote: string;
}

type WsServer = Bun.Server<Attachment>;

/**
 * Devices over WebSocket, on Bun's own server. That keeps the certificate that it began with, so that another one is another
 * server on the same port; the connections of the one before live on for as long as they last.
 */
export function listenWs(options: WsListenerOptions): Listener {
  const { accept, hostname, clock, isTrusted = () => false } = options;
  let isDead = false;
  let isClosed = false;
  /** All that have connections: as many as certificates were served while the oldest connection lasts. */
  const servers = new Set<WsServer>();
  let lingering: WsServer | undefined;

  function serve(port: number, tls: TlsPair | undefined): WsServer {
    const server = Bun.serve<Attachment>({
      hostname,
      port,
      maxRequestBodySize: MAX_BODY_BYTES,
      ...(tls === undefined ? {} : { reusePort: true, tls: { cert: tls.cert, key: tls.key } }),
      fetch(request, server) {
        const offered = request.headers.get("sec-websocket-protocol");
        const peer = server.requestIP(request)?.address ?? "unknown";
        const remote = remoteOf(peer, request.headers, isTrusted);
        if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
          return options.http?.(request, remote) ?? notWebSocket();
        }
        if (!offered?.split(",").some((protocol) => protocol.trim() === SUBPROTOCOL)) {
          return new Response(`Ask for the subprotocol ${SUBPROTOCOL}.\n`, { status: 400 });
        }
        const upgraded = server.upgrade(request, {
          data: { handler: undefined, remote },
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
          if (typeof message !== "string") ws.data.handler?.message(message);
          // [P-1.2]
          else ws.data.handler?.malformed(new ProtocolError("bad-frame", "a text message", 0));
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
    servers.add(server);
    return server;
  }

  /** Connections that it has accepted stay, also those whose handshake is under way. */
  function retire(server: WsServer): void {
    if (lingering === server) lingering = undefined;
    void server.stop(false).then(() => servers.delete(server));
  }

  const isSecure = options.tls !== undefined;
  let current = serve(isSecure ? freePort(hostname, options.port) : options.port, options.tls);
  const port = current.port ?? options.port;
  const canLinger = isSecure && preferNewest(port);
  return {
    url: urlOf(isSecure ? "wss" : "ws", hostname, port),
    secure(tls) {
      if (isClosed || isDead) return Promise.resolve();
      const before = current;
      current = serve(port, tls);
      if (lingering !== undefined) retire(lingering);
      lingering = before;
      const { promise, resolve } = Promise.withResolvers<void>();
      const over = (): void => {
        if (lingering === before) retire(before);
        resolve();
      };
      // After a stall what came before it is accepted first.
      if (canLinger) clock.after(LINGER_MS, () => clock.defer(() => clock.defer(over)));
      else over();
      return promise;
    },
    close() {
      isClosed = true;
      for (const server of servers) retire(server);
    },
    kill() {
      isDead = true;
      for (const server of servers) void server.stop(true);
    },
  };
}

function notWebSocket(): Response {
  return new Response("This is a Beckon server: connect with a WebSocket.\n", { status: 426 });
}

/**
 * Two listeners of one user can share a port, so that a second one can take over, and so that another process of that user that
 * has the port already would not be noticed. This fails as if it could not be shared.
 */
function freePort(hostname: string, port: number): number {
  const probe = Bun.serve({ hostname, port, fetch: () => new Response() });
  const free = probe.port ?? port;
  void probe.stop(true);
  return free;
}

class WsSocket implements Socket {
  readonly #ws: Bun.ServerWebSocket<Attachment>;

  constructor(ws: Bun.ServerWebSocket<Attachment>) {
    this.#ws = ws;
  }

  get remote(): string {
    return this.#ws.data.remote;
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
