import type { Millis } from "@beckon/protocol";

import { BadMessage, ByteReader, ByteWriter } from "./bytes.ts";

/** Where a server is asked how it is, and told to go. */
export function controlSubject(server: string): string {
  return `beckon.control.${server}`;
}

export type ControlRequest =
  | { readonly kind: "status" | "drain" }
  /** Nothing that names the user is to be left among what the server knows of ties. */
  | { readonly kind: "forget"; readonly user: string };

/** How a server is, by itself. */
export interface ServerStatus {
  readonly state: "up" | "draining";
  /** Whether its store answers it. */
  readonly store: boolean;
  readonly incarnation: number;
  /** Connections that terminate there. */
  readonly connections: number;
  /** Thousandths of one CPU that its process used lately. */
  readonly cpu: number;
  /** The version of its own partition that it told the others last. */
  readonly published: number;
  /** Of the partitions of the others. */
  readonly replicas: readonly ReplicaStatus[];
  readonly lately: Lately;
}

/** Deliveries that one server counted: each delivery of a message to a device is counted once, by one server. */
export interface Deliveries {
  /** Live, of messages that this server accepted, over a connection to it. */
  readonly local: number;
  /** The same, over a connection to another server. */
  readonly remote: number;
  /** From the store, over a connection to this server, which had accepted the message itself: the wake led here. */
  readonly wakeLocal: number;
  /** The same, where another server had. */
  readonly wakeRemote: number;
}

export interface Lately {
  /** The last five minutes. */
  readonly fiveMinutes: Deliveries;
  readonly hour: Deliveries;
}

export interface ReplicaStatus {
  /** Its owner. */
  readonly server: string;
  readonly incarnation: number;
  /** The owner's version that it has reached; undefined: it waits for a snapshot. */
  readonly version: number | undefined;
  /** How long ago it was last known to be complete, ms. */
  readonly confirmed: Millis;
}

/** A server has begun to go. */
export interface Departure {
  /** Devices that it still has. */
  readonly connections: number;
  /** Its process ends within it, ms. */
  readonly within: Millis;
}

const VERSION = 1;
const REQUESTS = ["status", "drain", "forget"] as const satisfies readonly ControlRequest["kind"][];
const STATES = ["up", "draining"] as const satisfies readonly ServerStatus["state"][];

export function encodeControlRequest(request: ControlRequest): Uint8Array {
  const out = new ByteWriter().byte(VERSION).byte(REQUESTS.indexOf(request.kind));
  if (request.kind === "forget") out.string(request.user);
  return out.finish();
}

/** @throws {BadMessage} */
export function decodeControlRequest(bytes: Uint8Array): ControlRequest {
  const input = begin(bytes);
  const kind = oneOf(REQUESTS, input.byte());
  return kind === "forget" ? { kind, user: input.string() } : { kind };
}

export function encodeStatus(status: ServerStatus): Uint8Array {
  const out = new ByteWriter().byte(VERSION).byte(STATES.indexOf(status.state));
  out.byte(status.store ? 1 : 0);
  out.varint(status.incarnation).varint(status.connections).varint(status.cpu);
  out.varint(status.published).varint(status.replicas.length);
  for (const { server, incarnation, version, confirmed } of status.replicas) {
    out.string(server).varint(incarnation);
    out.varint(version === undefined ? 0 : version + 1).varint(confirmed);
  }
  for (const deliveries of [status.lately.fiveMinutes, status.lately.hour]) {
    out.varint(deliveries.local).varint(deliveries.remote);
    out.varint(deliveries.wakeLocal).varint(deliveries.wakeRemote);
  }
  return out.finish();
}

/** @throws {BadMessage} */
export function decodeStatus(bytes: Uint8Array): ServerStatus {
  const input = begin(bytes);
  const state = oneOf(STATES, input.byte());
  const store = input.byte() === 1;
  const [incarnation, connections] = [input.varint(), input.varint()];
  const [cpu, published] = [input.varint(), input.varint()];
  const replicas: ReplicaStatus[] = [];
  for (let left = input.count(); left > 0; left--) {
    const server = input.string();
    const [incarnation, reached, confirmed] = [input.varint(), input.varint(), input.varint()];
    const version = reached === 0 ? undefined : reached - 1;
    replicas.push({ server, incarnation, version, confirmed });
  }
  const lately = { fiveMinutes: readDeliveries(input), hour: readDeliveries(input) };
  return { state, store, incarnation, connections, cpu, published, replicas, lately };
}

function readDeliveries(input: ByteReader): Deliveries {
  const [local, remote] = [input.varint(), input.varint()];
  return { local, remote, wakeLocal: input.varint(), wakeRemote: input.varint() };
}

export function encodeDeparture({ connections, within }: Departure): Uint8Array {
  return new ByteWriter().byte(VERSION).varint(connections).varint(within).finish();
}

/** @throws {BadMessage} */
export function decodeDeparture(bytes: Uint8Array): Departure {
  const input = begin(bytes);
  return { connections: input.varint(), within: input.varint() };
}

/** It is done. */
export function encodeDone(): Uint8Array {
  return new ByteWriter().byte(VERSION).finish();
}

/** @throws {BadMessage} */
export function decodeDone(bytes: Uint8Array): true {
  begin(bytes);
  return true;
}

function begin(bytes: Uint8Array): ByteReader {
  const input = new ByteReader(bytes);
  if (input.byte() !== VERSION) throw new BadMessage("unknown version");
  return input;
}

function oneOf<T>(values: readonly T[], at: number): T {
  const value = values[at];
  if (value === undefined) throw new BadMessage("unknown value");
  return value;
}
