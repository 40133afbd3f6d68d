/** The protocol "tcp", for Node and Bun: frames one after the other, over TLS (`tls://`) or not (`tcp://`). */
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectSecure } from "node:tls";

import { FrameStream, LIMITS, type MessageLimits, SUBPROTOCOL } from "@beckon/protocol";

import type { Dial, Transport, TransportHandler } from "../transport.ts";

export interface TcpOptions {
  /** Whom a server's certificate has to come from, PEM. Default: those whom the runtime trusts. */
  readonly ca?: string | readonly string[];
}

/** What a WebSocket would say of a connection that ended without a close code: here none has one, as ERROR says it. */
const ABNORMAL = 1006;
/** For so long what was sent before the end may take to leave. */
const CLOSING_MS = 5_000;
/** The system probes a connection that was silent for so long. */
const KEEP_ALIVE_MS = 60_000;
/** As of any server at most: beyond it something is wrong. */
const INBOUND: MessageLimits = { messageBytes: 16 * LIMITS.messageBytes, messageFrames: 65_536 };

/** For `transports`: `connect({ servers: ["tls://…"], transports: { tcp: tcp() } })`. */
export function tcp(options: TcpOptions = {}): Dial {
  return ({ url, secure }, handler) => {
    const place = placeOf(url);
    if (place === undefined) {
      setImmediate(() => handler.closed(ABNORMAL, `no host and port: ${url}`));
      return { send: () => {}, buffered: () => 0, close: () => {} };
    }
    const socket = secure ? dialSecure(place, options) : connectPlain(place);
    return listen(socket, secure ? "secureConnect" : "connect", handler);
  };
}

interface Place {
  readonly host: string;
  readonly port: number;
}

function placeOf(url: string): Place | undefined {
  if (!URL.canParse(url)) return undefined;
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return host === "" || port === "" ? undefined : { host, port: Number(port) };
}

/** The runtime checks the certificate, and the name in it. */
function dialSecure(place: Place, { ca }: TcpOptions): Socket {
  return connectSecure({
    ...place,
    // A name, never an address, is what is asked for (RFC 6066).
    ...(isIP(place.host) === 0 ? { servername: place.host } : {}),
    ...(ca === undefined ? {} : { ca: typeof ca === "string" ? ca : [...ca] }),
    ALPNProtocols: [SUBPROTOCOL],
    rejectUnauthorized: true,
  });
}

function listen(
  socket: Socket,
  openEvent: "connect" | "secureConnect",
  handler: TransportHandler,
): Transport {
  const frames = new FrameStream();
  let isOpen = false;
  let reason = "";
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  socket.once(openEvent, () => {
    isOpen = true;
    handler.opened();
  });
  socket.on("data", (chunk: Uint8Array) => {
    // Before it is open nothing is believed.
    if (!isOpen || socket.destroyed) return;
    try {
      frames.push(
        chunk,
        () => INBOUND,
        (message) => handler.message(message),
      );
    } catch (error) {
      reason = (error as Error).message;
      socket.destroy();
    }
  });
  // The end of the connection follows.
  socket.on("error", (error) => (reason = error.message));
  socket.once("close", () => {
    isOpen = false;
    handler.closed(ABNORMAL, reason);
  });
  return {
    send(message) {
      if (isOpen && socket.writable) socket.write(Uint8Array.from(message));
    },
    buffered: () => socket.writableLength,
    close() {
      if (!isOpen) {
        socket.destroy();
        return;
      }
      socket.end();
      setTimeout(() => socket.destroy(), CLOSING_MS).unref();
    },
  };
}
