import type { Bus } from "./bus.ts";
import { BusUnavailable } from "./bus.ts";
import { BadMessage } from "./bytes.ts";
import { decodeDelivery, deliverySubject, encodeDelivery } from "./delivery-messages.ts";
import type { DeliveryMessage } from "./delivery-messages.ts";
import type { ServerBus, ServerRecord } from "./server-bus.ts";

export interface RecordBusOptions {
  readonly bus: Bus;
  /** Name of this server. */
  readonly server: string;
  /** Another number at each start of this server. */
  readonly stream: number;
  /** Of a server that is there to be sent to, as far as is known; another one at each of its starts. */
  readonly incarnationOf: (server: string) => number | undefined;
  /** A message came that could not be read; it was dropped. */
  readonly onMalformed?: () => void;
}

/** Bytes of bodies in one message of the bus; a single larger body goes alone. NATS takes 1 MiB at most, unless told otherwise. */
const MESSAGE_BYTES = 256 * 1024;
/** Records in one message. */
const MESSAGE_RECORDS = 4096;
/** Servers whose numbers are remembered; of one that was forgotten something counts as missed. */
const PEERS = 1024;

/** The last message of those that follow each other. */
interface Position {
  readonly stream: number;
  number: number;
}

/** The {@link ServerBus} over a {@link Bus}; it ends when the bus is closed. */
export function createServerBus(options: RecordBusOptions): ServerBus {
  const { bus, server, stream, incarnationOf, onMalformed } = options;
  /** By server; `stream`: which start of it they were sent to. */
  const sent = new Map<string, Position>();
  const heard = new Map<string, Position>();

  /** Whoever has just begun hears the first message as such. */
  const positionTo = (to: string, incarnation: number): Position => {
    let position = sent.get(to);
    if (position?.stream !== incarnation) position = { stream: incarnation, number: 0 };
    keep(sent, to, position);
    return position;
  };

  const hear = (message: DeliveryMessage): boolean => {
    const before = heard.get(message.from);
    const next = before?.stream === message.stream ? before.number + 1 : 1;
    keep(heard, message.from, { stream: message.stream, number: message.number });
    return message.number !== next;
  };

  return {
    send(to, records) {
      const incarnation = incarnationOf(to);
      if (incarnation === undefined) return false;
      const position = positionTo(to, incarnation);
      try {
        for (const part of split(records)) {
          const number = position.number + 1;
          bus.publish(
            deliverySubject(to),
            encodeDelivery({ from: server, stream, number, records: part }),
          );
          position.number = number;
        }
        return true;
      } catch (error) {
        if (error instanceof BusUnavailable) return false;
        throw error;
      }
    },
    onRecords(handler) {
      bus.subscribe(deliverySubject(server), (bytes) => {
        const message = decode(bytes);
        if (message === undefined) onMalformed?.();
        else handler(message.from, message.records, hear(message));
      });
    },
  };
}

/** At the bound who was spoken with least lately is forgotten. */
function keep(positions: Map<string, Position>, server: string, position: Position): void {
  positions.delete(server);
  positions.set(server, position);
  if (positions.size <= PEERS) return;
  const [oldest] = positions.keys();
  positions.delete(oldest!);
}

function decode(bytes: Uint8Array): DeliveryMessage | undefined {
  try {
    return decodeDelivery(bytes);
  } catch (error) {
    if (error instanceof BadMessage) return undefined;
    throw error;
  }
}

function* split(records: readonly ServerRecord[]): Generator<readonly ServerRecord[]> {
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!;
    const size = record.kind === "deliver" ? record.body.length : 0;
    if (i > start && (bytes + size > MESSAGE_BYTES || i - start === MESSAGE_RECORDS)) {
      yield records.slice(start, i);
      start = i;
      bytes = 0;
    }
    bytes += size;
  }
  yield start === 0 ? records : records.slice(start);
}
