import type { TlsPair } from "./certificate.ts";
import type { Socket, SocketHandler } from "./socket.ts";

export interface ListenerOptions {
  /** A device has connected. */
  accept: (socket: Socket) => SocketHandler;
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** Bytes that may wait in a socket's buffer; more closes the connection. */
  readonly maxBufferedBytes: number;
  /** With it devices connect by TLS, and not otherwise. */
  readonly tls?: TlsPair | undefined;
}

/** Where devices connect by one protocol. */
export interface Listener {
  readonly url: string;
  /**
   * Takes new connections with another certificate from now on; those that are there keep theirs. Resolves when none is under
   * way with the one before, and another may follow. Throws, and changes nothing, where it cannot be served.
   */
  secure(tls: TlsPair): Promise<void>;
  /** Takes no more connections. */
  close(): void;
  /** As if the process had been killed: resets all connections, and tells nobody here. */
  kill(): void;
}

export function urlOf(scheme: string, hostname: string, port: number): string {
  return `${scheme}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
