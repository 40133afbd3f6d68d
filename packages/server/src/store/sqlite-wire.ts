/**
 * What goes to the database's thread and comes back. Cloning a hold request object by object costs 4 to 10 µs on the caller's
 * thread; so holds and pages of rows travel as one text of JSON and one buffer of bytes that is handed over (1 to 2 µs).
 */
import type { WakeClass } from "@beckon/protocol";

import type { SqliteAnswer, SqliteCall } from "./sqlite-database.ts";
import type { HoldRequest, PendingRow, StoreLimits } from "./store.ts";

export interface OpenMessage {
  readonly kind: "open";
  readonly path: string;
  readonly limits: StoreLimits;
  readonly busyTimeoutMs: number;
  readonly maxBytes: number;
}

/** `calls`: those that are cloned, in order; a hold's and a `pending`'s bulk is in `text` and `bytes`. */
export interface CallsMessage {
  readonly kind: "calls";
  readonly calls: readonly SqliteCall[];
  readonly text: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The file may become so large from now on; 0: as it likes. */
export interface BoundMessage {
  readonly kind: "bound";
  readonly maxBytes: number;
}

export interface CloseMessage {
  readonly kind: "close";
}

export type ToDatabase = OpenMessage | CallsMessage | BoundMessage | CloseMessage;

export interface AnswersMessage {
  readonly kind: "answers";
  readonly answers: readonly SqliteAnswer[];
  readonly text: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface OpenedMessage {
  readonly kind: "opened";
  /** Why not; "": it is open. */
  readonly error: string;
}

export interface ClosedMessage {
  readonly kind: "closed";
}

export type FromDatabase = AnswersMessage | OpenedMessage | ClosedMessage;

const ID_BYTES = 16;

/** The fields of a request that are not bytes. */
type FlatRequest = readonly [
  from: string,
  fromDevice: string,
  user: string,
  outbox: number,
  to: string,
  n: number,
  bodyBytes: number,
  digest: string,
  exclude: readonly string[],
  sent: readonly string[],
  orUser: boolean,
  wakeClass: WakeClass,
  server: string,
  conversation: string,
  preview: string,
  delay: number,
  rings: number,
  ends: string,
];

type FlatRow = readonly [
  row: PendingRow["row"],
  device: string,
  from: string,
  fromDevice: string,
  redelivered: boolean,
  bodyBytes: number,
];

const NONE: readonly [] = [];
const NO_BYTES = new Uint8Array();

export function packCalls(calls: readonly SqliteCall[]): CallsMessage {
  const holds = calls.filter((call) => call.operation === "hold");
  const requests = holds.flatMap(({ args }) => args[0]);
  const bytes = join(requests.flatMap(({ key, body }) => [key.id, body]));
  const flat = holds.map(({ args }) => args[0].map(flatten));
  const rest = calls.map((call) => (call.operation === "hold" ? { ...call, args: NONE } : call));
  return { kind: "calls", calls: rest as SqliteCall[], text: JSON.stringify(flat), bytes };
}

export function unpackCalls({ calls, text, bytes }: CallsMessage): SqliteCall[] {
  const flat = JSON.parse(text) as FlatRequest[][];
  const reader = new Reader(bytes);
  let next = 0;
  return calls.map((call) =>
    call.operation === "hold"
      ? { ...call, args: [flat[next++]!.map((request) => unflatten(request, reader))] }
      : call,
  );
}

/** `calls` are those that are answered, in the same order. */
export function packAnswers(
  calls: readonly SqliteCall[],
  answers: readonly SqliteAnswer[],
): AnswersMessage {
  const bulk: unknown[] = [];
  const parts: Uint8Array[] = [];
  const rest = answers.map((answer, at) => {
    const call = calls[at]!;
    if (!("value" in answer)) return answer;
    if (call.operation === "hold") {
      bulk.push(answer.value);
      return { id: answer.id, value: "text" };
    }
    if (call.operation === "pending") {
      const rows = answer.value as readonly PendingRow[];
      for (const { key, body } of rows) parts.push(key.id, body);
      bulk.push(rows.map(flattenRow));
      return { id: answer.id, value: "rows" };
    }
    return answer;
  });
  return { kind: "answers", answers: rest, text: JSON.stringify(bulk), bytes: join(parts) };
}

export function unpackAnswers({ answers, text, bytes }: AnswersMessage): SqliteAnswer[] {
  const bulk = JSON.parse(text) as unknown[];
  const reader = new Reader(bytes);
  let next = 0;
  return answers.map((answer) => {
    if (!("value" in answer)) return answer;
    if (answer.value === "text") return { id: answer.id, value: bulk[next++] };
    if (answer.value !== "rows") return answer;
    const rows = bulk[next++] as FlatRow[];
    // A page of its own: a row that is kept must not keep the pages of others.
    const page = new Reader(
      reader.take(rows.reduce((sum, row) => sum + ID_BYTES + row[5], 0)).slice(),
    );
    return { id: answer.id, value: rows.map((row) => unflattenRow(row, page)) };
  });
}

function flatten(request: HoldRequest): FlatRequest {
  const { key, wake } = request;
  return [
    key.from,
    key.fromDevice,
    request.user,
    request.outbox,
    request.to,
    request.n,
    request.body.length,
    request.digest,
    request.exclude,
    request.sent,
    request.orUser,
    wake.class,
    wake.server,
    wake.conversation,
    wake.preview,
    wake.delay,
    wake.rings,
    request.ends.length === 0 ? "" : request.ends.toHex(),
  ];
}

function unflatten(flat: FlatRequest, reader: Reader): HoldRequest {
  return {
    key: { from: flat[0], fromDevice: flat[1], id: reader.take(ID_BYTES) },
    user: flat[2],
    outbox: flat[3],
    to: flat[4],
    n: flat[5],
    body: reader.take(flat[6]),
    digest: flat[7],
    exclude: flat[8],
    sent: flat[9],
    orUser: flat[10],
    wake: {
      class: flat[11],
      server: flat[12],
      conversation: flat[13],
      preview: flat[14],
      delay: flat[15],
      rings: flat[16],
    },
    ends: flat[17] === "" ? NO_BYTES : Uint8Array.fromHex(flat[17]),
  };
}

function flattenRow({ row, device, key, body, redelivered }: PendingRow): FlatRow {
  return [row, device, key.from, key.fromDevice, redelivered, body.length];
}

function unflattenRow(flat: FlatRow, reader: Reader): PendingRow {
  const [row, device, from, fromDevice, redelivered, bodyBytes] = flat;
  const id = reader.take(ID_BYTES);
  return { row, device, key: { from, fromDevice, id }, body: reader.take(bodyBytes), redelivered };
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
