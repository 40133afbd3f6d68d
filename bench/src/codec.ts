import type { AckFrame, DeliverFrame, Frame, ReceivedFrame, SendFrame } from "@beckon/protocol";

import {
  deliverBody,
  encodeOrigin,
  encodeSendBody,
  FrameWriter,
  LIMITS,
  readFrames,
  uuidv7,
} from "@beckon/protocol";

import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import {
  FrameType,
  toMessage,
  typeOf,
} from "../../packages/protocol/src/test-support/reflection.ts";
import { parseOptions, UsageError } from "./options.ts";
import { cell, conditions, printConditions, printTable, progress } from "./report.ts";
import { ratios, spread } from "./statistics.ts";

/** `payload` in bytes; `rounds` of so many messages of `frames` frames are one run. */
const DEFAULTS = { payload: 80, runs: 15, rounds: 1500, frames: 64 };

/** What both codecs do with the same frame. Each call handles one message of `frames` frames. */
interface Work {
  readonly name: string;
  readonly bytes: number;
  readonly ours: () => void;
  readonly theirs: () => void;
}

interface Row {
  readonly name: string;
  /** Of a frame, its length in front included. */
  readonly bytes: number;
  /** µs a frame. */
  readonly ours: Spread;
  readonly protobufjs: Spread;
  /** Ours to theirs. */
  readonly ratio: Spread;
}

/** µs to encode and to decode the frames of a message's way, beside protobufjs by reflection. */
export async function run(args: readonly string[]): Promise<void> {
  const { json, chosen } = parseOptions(args, DEFAULTS);
  if (Math.min(chosen.runs, chosen.rounds, chosen.frames) < 1) {
    throw new UsageError("--runs, --rounds and --frames are 1 at least");
  }
  if (chosen.frames > LIMITS.messageFrames || chosen.payload > LIMITS.payload) {
    throw new UsageError("more than the protocol's limits allow");
  }
  const rows = measureCodec(chosen);
  const given = conditions("codec", chosen);
  if (json) console.log(JSON.stringify({ ...given, rows }));
  else print(given, rows);
}

export function measureCodec(chosen: typeof DEFAULTS): Row[] {
  return works(chosen.payload, chosen.frames).map((work) => {
    const row = measure(work, chosen);
    progress(`${row.name}: ${cell(row.ours, 3)} µs, protobufjs ${cell(row.protobufjs, 3)}`);
    return row;
  });
}

/** Both codecs, run after run in turn. The first run of each only warms the engine. */
function measure(
  { name, bytes, ours, theirs }: Work,
  { runs, rounds, frames }: typeof DEFAULTS,
): Row {
  const micros: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
  for (let run = 0; run <= runs; run++) {
    for (const [codec, work] of [
      ["ours", ours],
      ["theirs", theirs],
    ] as const) {
      const start = Bun.nanoseconds();
      for (let round = 0; round < rounds; round++) work();
      const each = (Bun.nanoseconds() - start) / 1000 / rounds / frames;
      if (run > 0) micros[codec].push(each);
    }
  }
  return {
    name,
    bytes,
    ours: spread(micros.ours),
    protobufjs: spread(micros.theirs),
    ratio: ratios(micros.ours, micros.theirs),
  };
}

/** Read by nobody; so that no work can be left out as useless. */
let sink = 0;

function works(payload: number, frames: number): Work[] {
  const now = Date.now();
  const content = {
    id: uuidv7(now, (bytes) => crypto.getRandomValues(bytes)),
    to: "user-1234567",
    n: 1234,
    prev: 1233,
    payload: crypto.getRandomValues(new Uint8Array(payload)),
    wake: "message",
    preview: "",
    ends: new Uint8Array(),
  } as const;
  const send: SendFrame = { type: "send", ...content };
  const deliver: DeliverFrame = {
    type: "deliver",
    ...content,
    from: "user-7654321",
    fromDevice: "7d4f2c1b",
    outbox: now,
    at: now,
    held: false,
    redelivered: false,
    server: "eu-1",
  };
  const ack: AckFrame = {
    type: "ack",
    send: 1234,
    count: 1,
    status: "delivered",
    route: "local",
    at: now,
  };
  const received: ReceivedFrame = { type: "received", ranges: [1234, 16] };

  const writer = new FrameWriter();
  const flush = (): void => writer.flush((bytes) => void (sink += bytes.length));
  const origin = encodeOrigin(deliver.from, deliver.fromDevice, deliver.outbox, deliver.server);
  // As the server does: the SEND's own bytes once a message, and the result for each device.
  const raw: SendFrame = { ...send, raw: encodeSendBody(send) };
  const body = deliverBody(raw, origin, now);
  const writeAck = (): void => writer.ack(ack.send, ack.count, ack.status, ack.route, ack.at);

  return [
    encoding(send, frames, () => writer.write(send), flush),
    decoding(send, frames),
    {
      ...encoding(
        deliver,
        frames,
        () => writer.deliver(deliverBody(raw, origin, now), false, false),
        flush,
      ),
      name: "encode DELIVER, once",
    },
    {
      ...encoding(deliver, frames, () => writer.deliver(body, false, false), flush),
      name: "encode DELIVER, device",
    },
    decoding(deliver, frames),
    encoding(ack, frames, writeAck, flush),
    decoding(ack, frames),
    encoding(received, frames, () => writer.received(received.ranges), flush),
    decoding(received, frames),
  ];
}

function encoding(frame: Frame, frames: number, write: () => void, flush: () => void): Work {
  const type = typeOf(FrameType.fields[frame.type]!);
  const message = { [frame.type]: toMessage(type, frame) };
  return {
    name: `encode ${frame.type.toUpperCase()}`,
    bytes: messageOf(frame, 1).length,
    ours: () => {
      for (let i = 0; i < frames; i++) write();
      flush();
    },
    theirs: () => {
      for (let i = 0; i < frames; i++) sink += FrameType.encodeDelimited(message).finish().length;
    },
  };
}

function decoding(frame: Frame, frames: number): Work {
  const message = messageOf(frame, frames);
  const one = messageOf(frame, 1);
  return {
    name: `decode ${frame.type.toUpperCase()}`,
    bytes: one.length,
    ours: () => readFrames(message, LIMITS, ({ type }) => void (sink += type.length)),
    theirs: () => {
      for (let i = 0; i < frames; i++) sink += FrameType.decodeDelimited(one) === undefined ? 0 : 1;
    },
  };
}

function messageOf(frame: Frame, count: number): Uint8Array {
  const writer = new FrameWriter();
  for (let i = 0; i < count; i++) writer.write(frame);
  return writer.toBytes();
}

function print(given: Conditions, rows: readonly Row[]): void {
  printConditions(given);
  printTable(
    ["µs a frame", "bytes", "ours", "protobufjs", "ratio"],
    rows.map(({ name, bytes, ours, protobufjs, ratio }) => [
      name,
      String(bytes),
      cell(ours, 3),
      cell(protobufjs, 3),
      cell(ratio),
    ]),
  );
}
