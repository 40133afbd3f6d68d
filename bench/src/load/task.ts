import type { Target } from "../processes.ts";

/** So many pairs, each with so many unacknowledged messages, for so long. */
export interface RelayTask {
  readonly scenario: "relay";
  readonly target: Target;
  /** Of the server; of two, where senders connect to the first and recipients to the second. */
  readonly ports: readonly number[];
  /** The processes of the server side, whose CPU is added up. */
  readonly pids: readonly number[];
  readonly pairs: number;
  readonly window: number;
  /** Bytes. */
  readonly payload: number;
  /** Seconds before what is measured, and of what is measured. */
  readonly warmup: number;
  readonly seconds: number;
}

export interface RelayResult {
  /** CPU of the server side for an acknowledged message, and of the load; microseconds. */
  readonly serverMicros: number;
  readonly loadMicros: number;
  /** Share of one core. */
  readonly serverShare: number;
  readonly loadShare: number;
  /** Acknowledged messages. */
  readonly perSecond: number;
  /** From writing a message to reading its acknowledgement, microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** All messages, those of the warm-up too: a run that loses one has failed. */
  readonly messages: number;
  /** Of these, acknowledged as held: they cost a commit, and are not what is to be measured. */
  readonly held: number;
  /** Delivered once more, because the first acknowledgement took too long. */
  readonly repeated: number;
}

/** So many connections, which do nothing. */
export interface IdleTask {
  readonly scenario: "idle";
  readonly target: Target;
  readonly port: number;
  /** Of the server, whose CPU and memory are read. */
  readonly pid: number;
  readonly connections: number;
}

/** How a connection says who it is. The floor asks nobody, and does the same each time. */
export const ENTRIES = ["first", "token", "ticket"] as const;
export type Entry = (typeof ENTRIES)[number];

export interface IdleResult {
  /** Resident memory of the server for a connection, bytes. */
  readonly bytes: number;
  /** CPU of the server for a connect, microseconds. */
  readonly connectMicros: { readonly [E in Entry]: number };
}

/** What is sent to devices that are asleep: what wakes nobody, a wake each, and so many messages to one device that coalesce into one wake. */
export const SLEEPERS = ["hold", "wake", "coalesce"] as const;
export type Sleeper = (typeof SLEEPERS)[number];

/** Messages to devices that are asleep, at a pace; then the devices connect, at a pace. */
export interface WakeTask {
  readonly scenario: "wake";
  readonly target: Target;
  readonly port: number;
  /** Of the server, whose CPU is read. */
  readonly pid: number;
  /** Where the load stands in for a push service. */
  readonly push: number;
  /** Messages a second, and for how many seconds before what is measured, and of what is measured. */
  readonly rate: number;
  readonly warmup: number;
  readonly seconds: number;
  /** Bytes. */
  readonly payload: number;
  /** Messages that coalesce into one wake. */
  readonly coalesced: number;
  /** Devices that connect, and how many of them a second. */
  readonly connects: number;
  readonly connectRate: number;
}

/** Milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface WakeResult {
  /** From writing a SEND to the arrival of its wake at the push service: each to another device; and of the first of those that coalesce. */
  readonly wake: Latency;
  readonly coalesce: Latency;
  /** From writing HELLO to reading the first held message. */
  readonly hello: Latency;
  /** CPU of the server for a message that is held, as it is without a wake and with one, and for one that coalesced; microseconds. */
  readonly micros: { readonly [Kind in Sleeper]: number };
  /** Share of one core, while each message woke another device. */
  readonly serverShare: number;
  readonly loadShare: number;
  /** Messages a second that were sent meanwhile. */
  readonly perSecond: number;
  /** Wakes that came twice: a run that misses one has failed. */
  readonly repeated: number;
}

export type LoadTask = RelayTask | IdleTask | WakeTask;
export type LoadResult<T extends LoadTask> = T extends RelayTask
  ? RelayResult
  : T extends IdleTask
    ? IdleResult
    : WakeResult;
