import type { Sender, Tally } from "./pair.ts";
import type { Reader } from "./websocket.ts";

import { fail } from "./fail.ts";
import { Pair } from "./pair.ts";
import { WebSocketClient } from "./websocket.ts";

/** Bytes: number of the other connection, number of the message. */
const HEAD = 8;

const lost = (reason: string): never => fail(`the floor: ${reason}`);

/** A connection that does nothing. */
export function connectToFloor(port: number, number: number): Promise<WebSocketClient> {
  return WebSocketClient.connect(port, `/${number}`, {
    message: () => undefined,
    turn: () => undefined,
    lost,
  });
}

/** Connections `2 * index`, which sends, and `2 * index + 1`, which acknowledges. */
export async function connectFloorPair(
  ports: readonly number[],
  index: number,
  window: number,
  payload: Uint8Array,
  tally: Tally,
): Promise<Pair> {
  const to = 2 * index + 1;
  // One reading of the clock for all that came in a turn.
  let now = 0;
  const sending: Reader & Sender = {
    send(n) {
      const at = sender.reserve(HEAD + payload.length);
      const { buffer } = WebSocketClient;
      buffer.writeUInt32LE(to, at);
      buffer.writeUInt32LE(n, at + 4);
      buffer.set(payload, at + HEAD);
    },
    flush: () => sender.flush(),
    message(bytes, start) {
      now ||= performance.now();
      pair.acknowledged(readUint32(bytes, start + 4), 1, now);
    },
    turn() {
      now = 0;
      pair.fill();
    },
    lost,
  };
  const receiving: Reader = {
    message(bytes, start) {
      tally.delivered++;
      // Whom it came from is whom the acknowledgement is for.
      const at = recipient.reserve(HEAD);
      for (let i = 0; i < HEAD; i++) WebSocketClient.buffer[at + i] = bytes[start + i]!;
    },
    turn: () => recipient.flush(),
    lost,
  };
  const pair = new Pair(sending, window, tally);
  const [sender, recipient] = await Promise.all([
    WebSocketClient.connect(ports[0]!, `/${2 * index}`, sending),
    WebSocketClient.connect(ports.at(-1)!, `/${to}`, receiving),
  ]);
  return pair;
}

function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  );
}
