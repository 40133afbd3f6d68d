import type { Address } from "@beckon/protocol";

/** What a transport tells. Nothing is told before the dial function has returned. */
export interface TransportHandler {
  opened(): void;
  /** One message: one or more whole frames. The bytes are the SDK's from then on. */
  message(bytes: Uint8Array): void;
  /** Told once, whoever closed it, also when it never opened; nothing is told after it. */
  closed(code: number, reason: string): void;
}

/** One connection on its way or open. */
export interface Transport {
  /** MUST have written or copied the bytes when it returns. On one that is closed it does nothing. */
  send(message: Uint8Array): void;
  /** Bytes accepted by `send` that have not left yet. */
  buffered(): number;
  /** Sends what is buffered, then closes; idempotent. On one that never opened it gives up. */
  close(): void;
}

/** Begins to connect; never throws for the network, but tells `closed`. */
export type Dial = (address: Address, handler: TransportHandler) => Transport;
