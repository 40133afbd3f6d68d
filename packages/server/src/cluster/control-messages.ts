import type { Millis } from "@beckon/protocol";

import { BadMessage, ByteReader, ByteWriter } from "./bytes.ts";

/** Where a server is asked how it is and what it has decided, and told to go. */
export function controlSubject(server: string): string {
  return `beckon.control.${server}`;
}

export type ControlRequest =
  | { readonly kind: "status" | "drain" }
  /** Nothing that names the user is to be left among what the server knows of ties. */
  | { readonly kind: "forget"; readonly user: string }
  /** The last decision about each of these devices. */
  | { readonly kind: "decisions"; readonly user: string; readonly devices: readonly string[] };

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
  /** Undefined: its version does not say. */
  readonly lately: Lately | undefined;
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

/** What a server decided last about a device. */
export interface DeviceDecision {
  /** Milliseconds since 1970, by its clock. */
  readonly at: Millis;
  /** Sent on as it connected; moved while connected; sent away by a server that is being emptied. */
  readonly kind: "redirect" | "move" | "drain";
  /** `hint`: its push named that server; `attraction`: its associates are there; `room`, `full`: there is more room. */
  readonly why: "hint" | "attraction" | "room" | "full";
  /** Where it was, which is the server that decided. */
  readonly from: string;
  readonly to: string;
  /** What drew the user to the two servers, in weight. */
  readonly attraction: { readonly here: number; readonly there: number };
  /** By how much the other server is better, in weight: of a move less what the crowd there takes off. */
  readonly gain: number;
}

/** A server has begun to go. */
export interface Departure {
  /** Devices that it still has. */
  readonly connections: number;
  /** Its process ends within it, ms. */
  readonly within: Millis;
}

const VERSION = 1;
const REQUESTS = [
  "status",
  "drain",
  "forget",
  "decisions",
] as const satisfies readonly ControlRequest["kind"][];
const STATES = ["up", "draining"] as const satisfies readonly ServerStatus["state"][];
const DECIDED = ["redirect", "move", "drain"] as const satisfies DeviceDecision["kind"][];
const REASONS = ["hint", "attraction", "room", "full"] as const satisfies DeviceDecision["why"][];
/** Weights are told in hundredths, and as no more than this. */
const MOST_WEIGHT = 1e12;

export function encodeControlRequest(request: ControlRequest): Uint8Array {
  const out = new ByteWriter().byte(VERSION).byte(REQUESTS.indexOf(request.kind));
  if ("user" in request) out.string(request.user);
  if (request.kind === "decisions") {
    out.varint(request.devices.length);
    for (const device of request.devices) out.string(device);
  }
  return out.finish();
}

/** @throws {BadMessage} */
export function decodeControlRequest(bytes: Uint8Array): ControlRequest {
  const input = begin(bytes);
  const kind = oneOf(REQUESTS, input.byte());
  if (kind === "status" || kind === "drain") return { kind };
  const user = input.string();
  if (kind === "forget") return { kind, user };
  const devices: string[] = [];
  for (let left = input.count(); left > 0; left--) devices.push(input.string());
  return { kind, user, devices };
}

/** In the order of the devices that were asked about. */
export function encodeDecisions(decisions: readonly (DeviceDecision | undefined)[]): Uint8Array {
  const out = new ByteWriter().byte(VERSION).varint(decisions.length);
  for (const decision of decisions) {
    out.byte(decision === undefined ? 0 : 1);
    if (decision === undefined) continue;
    const { at, kind, why, from, to, attraction, gain } = decision;
    out.varint(at).byte(DECIDED.indexOf(kind)).byte(REASONS.indexOf(why)).string(from).string(to);
    for (const weight of [attraction.here, attraction.there, gain]) writeWeight(out, weight);
  }
  return out.finish();
}

/** @throws {BadMessage} */
export function decodeDecisions(bytes: Uint8Array): (DeviceDecision | undefined)[] {
  const input = begin(bytes);
  const decisions: (DeviceDecision | undefined)[] = [];
  for (let left = input.count(); left > 0; left--) {
    decisions.push(input.byte() === 0 ? undefined : readDecision(input));
  }
  return decisions;
}

function readDecision(input: ByteReader): DeviceDecision {
  const at = input.varint();
  const [kind, why] = [oneOf(DECIDED, input.byte()), oneOf(REASONS, input.byte())];
  const [from, to] = [input.string(), input.string()];
  const attraction = { here: readWeight(input), there: readWeight(input) };
  return { at, kind, why, from, to, attraction, gain: readWeight(input) };
}

function writeWeight(out: ByteWriter, weight: number): void {
  out.byte(weight < 0 ? 1 : 0).varint(Math.round(100 * Math.min(MOST_WEIGHT, Math.abs(weight))));
}

function readWeight(input: ByteReader): number {
  const sign = input.byte() === 0 ? 1 : -1;
  return (sign * input.varint()) / 100;
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
  const { lately } = status;
  for (const deliveries of lately === undefined ? [] : [lately.fiveMinutes, lately.hour]) {
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
  const lately = input.isAtEnd
    ? undefined
    : { fiveMinutes: readDeliveries(input), hour: readDeliveries(input) };
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
