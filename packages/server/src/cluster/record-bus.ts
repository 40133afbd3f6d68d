import type { Bus } from "./bus.ts";
import { BusUnavailable } from "./bus.ts";
import { BadMessage } from "./bytes.ts";
import { decodeDelivery, deliverySubject, encodeDelivery } from "./delivery-messages.ts";
import type { ServerBus, ServerRecord } from "./server-bus.ts";

export interface RecordBusOptions {
  readonly bus: Bus;
  /** Name of this server. */
  readonly server: string;
  /** Whether a server is there to be sent to, as far as is known. */
  readonly isKnown: (server: string) => boolean;
  /** A message came that could not be read; it was dropped. */
  readonly onMalformed?: () => void;
}

/** Bytes of bodies in one message of the bus; a single larger body goes alone. NATS takes 1 MiB at most, unless told otherwise. */
const MESSAGE_BYTES = 256 * 1024;
/** Records in one message. */
const MESSAGE_RECORDS = 4096;

/** The {@link ServerBus} over a {@link Bus}; it ends when the bus is closed. */
export function createServerBus(options: RecordBusOptions): ServerBus {
  const { bus, server, isKnown, onMalformed } = options;
  return {
    send(to, records) {
      if (!isKnown(to)) return false;
      try {
        for (const part of split(records)) {
          bus.publish(deliverySubject(to), encodeDelivery(server, part));
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
        else handler(message.from, message.records);
      });
    },
  };
}

function decode(bytes: Uint8Array): ReturnType<typeof decodeDelivery> | undefined {
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
