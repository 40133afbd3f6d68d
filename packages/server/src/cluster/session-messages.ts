import type { Address, Millis } from "@beckon/protocol";
import { BadMessage, ByteReader, ByteWriter } from "./bytes.ts";

/** Where each server publishes all that is below: one subject, so that what one of them says comes in order. */
export const SESSIONS_SUBJECT = "beckon.sessions";

export type ServerState =
  | "up"
  /** Its devices are being sent elsewhere; it attracts nobody. */
  | "draining"
  /** Its last word: it is to be forgotten at once. */
  | "left";

/** One connection in its owner's partition. */
export interface SessionRecord {
  readonly user: string;
  readonly device: string;
  readonly epoch: number;
  readonly durable: boolean;
  readonly background: boolean;
  readonly setVersion: number;
  readonly setSize: number;
  /** Known to be one of that set. */
  readonly member: boolean;
}

/** A user's set of durable devices has changed. */
export interface SetRecord {
  readonly user: string;
  readonly setVersion: number;
  readonly setSize: number;
}

export interface RemovedRecord {
  readonly user: string;
  readonly device: string;
  /** The device itself said that it goes: it is not about to come back. */
  readonly goodbye: boolean;
}

interface FromOwner {
  readonly server: string;
  /** New and greater at every start. */
  readonly incarnation: number;
  /** Of the owner's partition, once this message is applied. */
  readonly version: number;
}

export interface Heartbeat extends FromOwner {
  readonly kind: "heartbeat";
  /** The owner has read its users' sets again since it last may have missed an announcement. */
  readonly settled: boolean;
  readonly state: ServerState;
  /** Connections. */
  readonly load: number;
  /** When it came up, and when it sent this; by its own clock. */
  readonly since: Millis;
  readonly time: Millis;
  readonly addresses: readonly Address[];
  /** Connections that it takes at most; 0: it does not say. */
  readonly capacity: number;
  /** Thousandths of one CPU that its process used lately. */
  readonly cpu: number;
  /** Version of its software; "": it does not say. */
  readonly software: string;
}

/** Changes of a partition; at most one a device, because only the last of several counts. */
export interface Delta extends FromOwner {
  readonly kind: "delta";
  /** The version that the changes build on. */
  readonly base: number;
  readonly entries: readonly SessionRecord[];
  readonly removed: readonly RemovedRecord[];
  readonly sets: readonly SetRecord[];
}

/** Part of a snapshot. Deltas that come between two pages are part of it, too. */
export interface SnapshotPage extends FromOwner {
  readonly kind: "page";
  /** Tells one snapshot of an incarnation from the next. */
  readonly snapshot: number;
  /** From 0. */
  readonly page: number;
  readonly last: boolean;
  readonly entries: readonly SessionRecord[];
}

export interface SnapshotRequest {
  readonly kind: "snapshot-request";
  readonly server: string;
  readonly owner: string;
}

export type SessionMessage = Heartbeat | Delta | SnapshotPage | SnapshotRequest;

const VERSION = 1;
const KIND = { heartbeat: 1, delta: 2, page: 3, request: 4 } as const;
const STATES = ["up", "draining", "left"] as const satisfies readonly ServerState[];
const DURABLE = 1;
const BACKGROUND = 2;
const MEMBER = 4;

export function encodeSessionMessage(message: SessionMessage): Uint8Array {
  const out = new ByteWriter().byte(VERSION);
  switch (message.kind) {
    case "heartbeat":
      writeOwner(out, KIND.heartbeat, message);
      out.byte(message.settled ? 1 : 0).byte(STATES.indexOf(message.state));
      out.varint(message.load).varint(message.since).varint(message.time);
      writeList(out, message.addresses, writeAddress);
      out.varint(message.capacity).varint(message.cpu).string(message.software);
      break;
    case "delta":
      writeOwner(out, KIND.delta, message);
      out.varint(message.base);
      writeList(out, message.entries, writeEntry);
      writeList(out, message.removed, writeRemoved);
      writeList(out, message.sets, writeSet);
      break;
    case "page":
      writeOwner(out, KIND.page, message);
      out
        .varint(message.snapshot)
        .varint(message.page)
        .byte(message.last ? 1 : 0);
      writeList(out, message.entries, writeEntry);
      break;
    case "snapshot-request":
      out.byte(KIND.request).string(message.server).string(message.owner);
      break;
  }
  return out.finish();
}

/** @throws {BadMessage} */
export function decodeSessionMessage(bytes: Uint8Array): SessionMessage {
  const input = new ByteReader(bytes);
  if (input.byte() !== VERSION) throw new BadMessage("unknown version");
  const kind = input.byte();
  switch (kind) {
    case KIND.heartbeat: {
      const owner = readOwner(input);
      const settled = input.byte() === 1;
      const state = STATES[input.byte()];
      if (state === undefined) throw new BadMessage("unknown state");
      const load = input.varint();
      const since = input.varint();
      const time = input.varint();
      const addresses = readList(input, readAddress);
      const about = { capacity: input.varint(), cpu: input.varint(), software: input.string() };
      const said = { settled, state, load, since, time, addresses };
      return { kind: "heartbeat", ...owner, ...said, ...about };
    }
    case KIND.delta: {
      const owner = readOwner(input);
      const base = input.varint();
      const entries = readList(input, readEntry);
      const removed = readList(input, readRemoved);
      const sets = readList(input, readSet);
      return { kind: "delta", ...owner, base, entries, removed, sets };
    }
    case KIND.page: {
      const owner = readOwner(input);
      const snapshot = input.varint();
      const page = input.varint();
      const last = input.byte() === 1;
      return { kind: "page", ...owner, snapshot, page, last, entries: readList(input, readEntry) };
    }
    case KIND.request:
      return { kind: "snapshot-request", server: input.string(), owner: input.string() };
    default:
      throw new BadMessage("unknown kind");
  }
}

function writeOwner(out: ByteWriter, kind: number, owner: FromOwner): void {
  out.byte(kind).string(owner.server).varint(owner.incarnation).varint(owner.version);
}

function readOwner(input: ByteReader): FromOwner {
  return { server: input.string(), incarnation: input.varint(), version: input.varint() };
}

function writeEntry(out: ByteWriter, entry: SessionRecord): void {
  out.string(entry.user).string(entry.device).varint(entry.epoch);
  const { durable, background, member } = entry;
  out.byte((durable ? DURABLE : 0) | (background ? BACKGROUND : 0) | (member ? MEMBER : 0));
  out.varint(entry.setVersion).varint(entry.setSize);
}

function readEntry(input: ByteReader): SessionRecord {
  const user = input.string();
  const device = input.string();
  const epoch = input.varint();
  const flags = input.byte();
  return {
    user,
    device,
    epoch,
    durable: (flags & DURABLE) !== 0,
    background: (flags & BACKGROUND) !== 0,
    setVersion: input.varint(),
    setSize: input.varint(),
    member: (flags & MEMBER) !== 0,
  };
}

function writeRemoved(out: ByteWriter, removed: RemovedRecord): void {
  out
    .string(removed.user)
    .string(removed.device)
    .byte(removed.goodbye ? 1 : 0);
}

function readRemoved(input: ByteReader): RemovedRecord {
  return { user: input.string(), device: input.string(), goodbye: input.byte() === 1 };
}

function writeSet(out: ByteWriter, set: SetRecord): void {
  out.string(set.user).varint(set.setVersion).varint(set.setSize);
}

function readSet(input: ByteReader): SetRecord {
  return { user: input.string(), setVersion: input.varint(), setSize: input.varint() };
}

function writeAddress(out: ByteWriter, address: Address): void {
  out
    .string(address.url)
    .string(address.protocol)
    .byte(address.secure ? 1 : 0);
  out.string(address.network).string(address.region).varint(address.priority);
}

function readAddress(input: ByteReader): Address {
  return {
    url: input.string(),
    protocol: input.string(),
    secure: input.byte() === 1,
    network: input.string(),
    region: input.string(),
    priority: input.varint(),
  };
}

function writeList<T>(
  out: ByteWriter,
  items: readonly T[],
  write: (out: ByteWriter, item: T) => void,
): void {
  out.varint(items.length);
  for (const item of items) write(out, item);
}

function readList<T>(input: ByteReader, read: (input: ByteReader) => T): T[] {
  const items: T[] = [];
  for (let left = input.count(); left > 0; left--) items.push(read(input));
  return items;
}
