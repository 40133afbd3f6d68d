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

export type LoadTask = RelayTask | IdleTask;
export type LoadResult<T extends LoadTask> = T extends RelayTask ? RelayResult : IdleResult;
