import type { MessageLimits, ProtocolError } from "@beckon/protocol";

/** A device's transport as the gateway sees it. Each call of `message` is one message of the transport. */
export interface Socket {
  /** The address at its other end; behind a trusted proxy the one that the proxy names. */
  readonly remote: string;
  /** False: the message was dropped and the connection is dead. The bytes are copied before it returns. */
  send(message: Uint8Array): boolean;
  /** Bytes accepted by `send` that have not left yet. */
  buffered(): number;
  /** Sends what is buffered, then closes. */
  close(code: number, reason: string): void;
  /** Resets at once. */
  terminate(): void;
}

export interface SocketHandler {
  /** Of the next message; where the transport has no messages of its own, what it makes one of. */
  readonly limits: MessageLimits;
  message(bytes: Uint8Array): void;
  /** What has come is no message. */
  malformed(error: ProtocolError): void;
  /** The buffer has emptied after it was over the bound. */
  drained(): void;
  /** Called once, whoever closed it; nothing is called after it. */
  closed(): void;
}
