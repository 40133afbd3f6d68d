import { BadMessage, ByteReader, ByteWriter } from "./bytes.ts";
import type { RefusalReason, SenderBid, ServerRecord } from "./server-bus.ts";

/** Where a server listens for the messages about deliveries to it. */
export function deliverySubject(server: string): string {
  return `beckon.delivery.${server}`;
}

export interface DeliveryMessage {
  /** Name of the server that sends it. */
  readonly from: string;
  /** Another one at each start of the sender. */
  readonly stream: number;
  /** From 1, without a hole, of those to one server. */
  readonly number: number;
  readonly records: readonly ServerRecord[];
}

const VERSION = 3;
const KIND = { deliver: 1, sameBody: 2, received: 3, refused: 4, kick: 5, move: 6 } as const;
/** What stands for a bid: nothing, leaving, or its gain and 1, and the number of associates. */
const BID = { none: 0, leaving: 1 } as const;
const REASONS = [
  "not-here",
  "behind",
  "full",
  "missed",
  "unacknowledged",
] as const satisfies readonly RefusalReason[];

/** A body that is the same object as that of the `deliver` before it is written once. */
export function encodeDelivery({ from, stream, number, records }: DeliveryMessage): Uint8Array {
  const out = new ByteWriter().byte(VERSION).string(from).varint(stream).varint(number);
  out.varint(records.length);
  let body: Uint8Array | undefined;
  for (const record of records) {
    switch (record.kind) {
      case "deliver":
        out.byte(record.body === body ? KIND.sameBody : KIND.deliver);
        out.varint(record.ref).string(record.user).string(record.device);
        out.varint(record.epoch).varint(record.heard);
        writeBid(out, record.bid);
        if (record.body !== body) out.bytes((body = record.body));
        break;
      case "received":
        out.byte(KIND.received).varint(record.refs.length);
        for (const ref of record.refs) out.varint(ref);
        break;
      case "refused":
        out.byte(KIND.refused).varint(record.ref).byte(REASONS.indexOf(record.reason));
        out.varint(record.number);
        break;
      case "kick":
        out.byte(KIND.kick).string(record.user).string(record.device);
        break;
      case "move":
        out.byte(KIND.move).string(record.user).string(record.device).varint(record.epoch);
        break;
    }
  }
  return out.finish();
}

/** Bodies are views of `bytes`. @throws {BadMessage} */
export function decodeDelivery(bytes: Uint8Array): DeliveryMessage {
  const input = new ByteReader(bytes);
  if (input.byte() !== VERSION) throw new BadMessage("unknown version");
  const from = input.string();
  const stream = input.varint();
  const number = input.varint();
  const records: ServerRecord[] = [];
  let body: Uint8Array | undefined;
  for (let left = input.count(); left > 0; left--) {
    const kind = input.byte();
    switch (kind) {
      case KIND.deliver:
      case KIND.sameBody: {
        const ref = input.varint();
        const user = input.string();
        const device = input.string();
        const epoch = input.varint();
        const heard = input.varint();
        const bid = readBid(input);
        if (kind === KIND.deliver) body = input.bytes();
        if (body === undefined) throw new BadMessage("no body to share");
        records.push({ kind: "deliver", ref, user, device, epoch, heard, bid, body });
        break;
      }
      case KIND.received: {
        const refs: number[] = [];
        for (let count = input.count(); count > 0; count--) refs.push(input.varint());
        records.push({ kind: "received", refs });
        break;
      }
      case KIND.refused: {
        const ref = input.varint();
        const reason = REASONS[input.byte()];
        if (reason === undefined) throw new BadMessage("unknown reason");
        records.push({ kind: "refused", ref, reason, number: input.varint() });
        break;
      }
      case KIND.kick:
        records.push({ kind: "kick", user: input.string(), device: input.string() });
        break;
      case KIND.move: {
        const user = input.string();
        const device = input.string();
        records.push({ kind: "move", user, device, epoch: input.varint() });
        break;
      }
      default:
        throw new BadMessage("unknown record");
    }
  }
  return { from, stream, number, records };
}

function writeBid(out: ByteWriter, bid: SenderBid): void {
  if (bid === undefined) out.varint(BID.none);
  else if (bid === "leaving") out.varint(BID.leaving);
  else out.varint(BID.leaving + bid.gain).varint(bid.associates);
}

function readBid(input: ByteReader): SenderBid {
  const first = input.varint();
  if (first === BID.none) return undefined;
  if (first === BID.leaving) return "leaving";
  return { gain: first - BID.leaving, associates: input.varint() };
}
