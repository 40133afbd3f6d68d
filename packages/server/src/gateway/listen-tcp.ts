import { createServer } from "node:net";
import type { AddressInfo, Socket as NetSocket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";

import { FrameStream, ProtocolError, SUBPROTOCOL } from "@beckon/protocol";
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { canonicalAddress } from "./address.ts";
import { type Listener, type ListenerOptions, urlOf } from "./listener.ts";
import { BadProxyHeader, readProxyHeader } from "./proxy-protocol.ts";
import type { Socket, SocketHandler } from "./socket.ts";

export interface TcpListenerOptions extends ListenerOptions {
  /** Trusted proxies say first, by the PROXY protocol, where a device is. Whoever else connects is a device. */
  readonly proxyProtocol: boolean;
  readonly isTrusted: (address: string) => boolean;
  /** A trusted proxy did not say it, or not so that it can be understood. */
  readonly refused: (proxy: string, why: string) => void;
  /** From a connection to the end of what comes before its first frame: the proxy's header, and TLS's handshake. */
  readonly openMs: Millis;
  readonly clock: Clock;
}

/** Connections that have not come so far. One more, and the oldest of them is reset: who means it takes a moment. */
const MOST_ARRIVING = 4_096;
/** For so long a device may go on to read what was sent before the end. */
const CLOSING_MS = 5_000;
/** The system probes a connection that was silent for so long; a device says something every 25 s. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Devices over TCP, on the runtime's own server. TLS begins on a connection that is there: with the certificate of that moment, and
 * after what the proxy says.
 */
export function listenTcp(options: TcpListenerOptions): Listener {
  const { accept, clock, hostname, isTrusted, proxyProtocol } = options;
  let context = options.tls && createSecureContext(options.tls);
  let isDead = false;
  const connections = new Set<NetSocket>();
  /** In order of their coming. */
  const arriving = new Set<NetSocket>();

  function arrive(raw: NetSocket): void {
    const { remoteAddress } = raw;
    // It was reset before it was looked at, as a balancer's checks are: nobody knows any more who it was.
    if (isDead || remoteAddress === undefined) {
      raw.on("error", ignore);
      raw.resetAndDestroy();
      return;
    }
    connections.add(raw);
    if (arriving.size >= MOST_ARRIVING) {
      for (const oldest of arriving) {
        oldest.resetAndDestroy();
        break;
      }
    }
    arriving.add(raw);
    const cancel = clock.after(options.openMs, () => raw.destroy());
    const arrived = (): void => {
      cancel();
      arriving.delete(raw);
    };
    raw.on("error", ignore);
    raw.once("close", () => {
      arrived();
      connections.delete(raw);
    });
    const peer = canonicalAddress(remoteAddress) ?? remoteAddress;
    const open = (remote: string): void => {
      if (context === undefined) {
        arrived();
        begin(raw, raw, remote);
        return;
      }
      const stream = new TLSSocket(raw, {
        isServer: true,
        secureContext: context,
        ALPNProtocols: [SUBPROTOCOL],
      });
      stream.on("error", ignore);
      stream.once("secure", () => {
        arrived();
        begin(raw, stream, remote);
      });
    };
    if (proxyProtocol && isTrusted(peer)) readHeader(raw, peer, open);
    else open(peer);
  }

  function readHeader(raw: NetSocket, proxy: string, open: (remote: string) => void): void {
    let bytes: Buffer = Buffer.alloc(0);
    const over = (): void => {
      raw.off("data", take);
      raw.off("end", ended);
    };
    const refuse = (why: string): void => {
      over();
      if (!isDead) options.refused(proxy, why);
      raw.destroy();
    };
    const ended = (): void => {
      // One that says nothing sees whether anybody is there.
      if (bytes.length > 0) refuse("is cut off");
      else raw.destroy();
    };
    const take = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      let header;
      try {
        header = readProxyHeader(bytes);
      } catch (error) {
        if (!(error instanceof BadProxyHeader)) throw error;
        refuse(error.message);
        return;
      }
      if (header === undefined) return;
      over();
      raw.pause();
      const rest = bytes.subarray(header.size);
      if (rest.length > 0) raw.unshift(rest);
      open(header.source ?? proxy);
    };
    raw.on("data", take);
    raw.once("end", ended);
  }

  /** `stream`: what devices write and read on `raw`. */
  function begin(raw: NetSocket, stream: NetSocket, remote: string): void {
    const socket = new TcpSocket(raw, stream, remote, options);
    const handler = accept(socket);
    stream.on("data", (chunk: Buffer) => {
      if (!isDead) socket.read(chunk, handler);
    });
    stream.on("drain", () => {
      if (!isDead) handler.drained();
    });
    stream.once("end", () => stream.end());
    stream.once("close", () => {
      socket.over();
      if (!isDead) handler.closed();
    });
    stream.resume();
  }

  const server = createServer(
    {
      // What was sent before the end is read by a device that is still writing.
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    },
    arrive,
  );
  // Told once more, and late, where it could not listen.
  server.on("error", ignore);
  server.listen({ host: hostname, port: options.port });
  const bound = server.address() as AddressInfo | null;
  if (bound === null) throw whyNot(hostname, options.port);

  return {
    url: urlOf(context === undefined ? "tcp" : "tls", hostname, bound.port),
    secure(tls) {
      if (context !== undefined) context = createSecureContext(tls);
      return Promise.resolve();
    },
    close: () => void server.close(),
    kill() {
      isDead = true;
      server.close();
      for (const raw of connections) {
        // What was said to one that has been closed is on its way.
        if (raw.writableEnded) raw.destroy();
        else raw.resetAndDestroy();
      }
    },
  };
}

/** The cause, which `listen` tells later: asks once more, in a way that says it at once. */
function whyNot(hostname: string, port: number): Error {
  try {
    Bun.listen({ hostname, port, socket: { data: ignore } }).stop(true);
  } catch (error) {
    return error as Error;
  }
  return new Error(`cannot listen on ${hostname}:${port}`);
}

/** The end of the connection follows, and is enough. */
function ignore(): void {}

class TcpSocket implements Socket {
  readonly remote: string;
  readonly #raw: NetSocket;
  readonly #stream: NetSocket;
  readonly #frames = new FrameStream();
  readonly #options: Pick<TcpListenerOptions, "maxBufferedBytes" | "clock">;
  #isClosed = false;
  #cancelEnd: (() => void) | undefined;

  constructor(
    raw: NetSocket,
    stream: NetSocket,
    remote: string,
    options: Pick<TcpListenerOptions, "maxBufferedBytes" | "clock">,
  ) {
    this.#raw = raw;
    this.#stream = stream;
    this.remote = remote;
    this.#options = options;
  }

  read(chunk: Uint8Array, handler: SocketHandler): void {
    // What comes after the end is read, so that the end is not a reset, and goes nowhere.
    if (this.#isClosed) return;
    try {
      this.#frames.push(
        chunk,
        () => handler.limits,
        (message) => handler.message(message),
      );
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      handler.malformed(error);
    }
  }

  send(message: Uint8Array): boolean {
    const { writable, writableLength } = this.#stream;
    if (!writable || writableLength + message.length > this.#options.maxBufferedBytes) return false;
    this.#stream.write(Buffer.from(message));
    return true;
  }

  buffered(): number {
    return this.#stream.writableLength;
  }

  /** [P-1.6] There are no close codes; ERROR has said it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stream.end();
    this.#cancelEnd = this.#options.clock.after(CLOSING_MS, () => this.#raw.destroy());
  }

  terminate(): void {
    this.#isClosed = true;
    this.#raw.resetAndDestroy();
  }

  over(): void {
    this.#isClosed = true;
    this.#cancelEnd?.();
  }
}
