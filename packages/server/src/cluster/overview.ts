/** The whole system, put together from what one server heard and what the others answered. Pure. */
import type { Address, Millis } from "@beckon/protocol";

import type { Deliveries, Lately, ServerStatus } from "./control-messages.ts";
import type { Member } from "./membership.ts";

/** Deliveries of a span of time, and which part of them was local. */
export interface Locality extends Deliveries {
  /** Of all deliveries those by the server that accepted the message, live or from the store; null: there was none. */
  readonly locality: number | null;
}

export interface RecentLocality {
  /** The last five minutes. */
  readonly fiveMinutes: Locality;
  readonly hour: Locality;
}

export interface SystemOverview {
  readonly servers: readonly ServerOverview[];
  /** Of all servers that answer together: each delivery weighs the same. */
  readonly deliveries: RecentLocality;
}

export interface ServerOverview {
  readonly server: string;
  readonly state: "up" | "draining";
  /** Version of its software; "": not known. */
  readonly software: string;
  readonly connections: number;
  /** Connections that it takes at most; 0: not known. */
  readonly capacity: number;
  /** CPUs that its process used lately. */
  readonly cpu: number;
  /** When it came up, by its own clock. */
  readonly since: Millis;
  readonly addresses: readonly Address[];
  /** How long ago its last heartbeat came, ms. */
  readonly heard: Millis;
  /** Whether its store answers it; null: it did not say. */
  readonly store: boolean | null;
  /** False: it was asked and did not answer; what is said of it is what its last heartbeat said. */
  readonly answers: boolean;
  /** Of each other server's partition; none where it does not answer. */
  readonly replicas: readonly ReplicaOverview[];
  /** Null: it did not say. */
  readonly deliveries: RecentLocality | null;
}

export interface ReplicaOverview {
  /** Its owner. */
  readonly server: string;
  /** Changes that its owner has published and it has not; null: it waits for a snapshot, or its owner did not say. */
  readonly behind: number | null;
  /** How long ago it was last known to be complete, ms; null: there is none, the one has not heard of the other. */
  readonly confirmed: Millis | null;
}

/** `answers`: by server, of those that answered. */
export function overviewOf(
  members: readonly Member[],
  answers: ReadonlyMap<string, ServerStatus>,
  silence: (server: string) => Millis | undefined,
): SystemOverview {
  const servers = members.map((member) => {
    const { name: server, software, capacity, since, addresses, load } = member;
    const answer = answers.get(server);
    const { state, connections, cpu } = answer ?? { ...member, connections: load };
    return {
      server,
      state,
      software,
      connections,
      capacity,
      cpu: cpu / 1_000,
      since,
      addresses,
      heard: Math.round(silence(server) ?? 0),
      store: answer?.store ?? null,
      answers: answer !== undefined,
      replicas:
        answer === undefined
          ? []
          : members
              .filter(({ name }) => name !== server)
              .map(({ name }) => replicaOf(name, answer, answers.get(name))),
      deliveries: answer?.lately === undefined ? null : recentLocality([answer.lately]),
    };
  });
  const lately = [...answers.values()].flatMap((answer) => answer.lately ?? []);
  return { servers, deliveries: recentLocality(lately) };
}

/** The part of deliveries that was local; undefined: there was none. */
export function localityOf({
  local,
  remote,
  wakeLocal,
  wakeRemote,
}: Deliveries): number | undefined {
  const all = local + remote + wakeLocal + wakeRemote;
  return all === 0 ? undefined : (local + wakeLocal) / all;
}

function recentLocality(lately: readonly Lately[]): RecentLocality {
  return {
    fiveMinutes: together(lately.map(({ fiveMinutes }) => fiveMinutes)),
    hour: together(lately.map(({ hour }) => hour)),
  };
}

function together(each: readonly Deliveries[]): Locality {
  const sum = { local: 0, remote: 0, wakeLocal: 0, wakeRemote: 0 };
  for (const { local, remote, wakeLocal, wakeRemote } of each) {
    sum.local += local;
    sum.remote += remote;
    sum.wakeLocal += wakeLocal;
    sum.wakeRemote += wakeRemote;
  }
  return { ...sum, locality: localityOf(sum) ?? null };
}

/** Both were asked at almost the same time: a change that was published in between is no lag. */
function replicaOf(
  server: string,
  { replicas }: ServerStatus,
  owner: ServerStatus | undefined,
): ReplicaOverview {
  const replica = replicas.find((one) => one.server === server);
  if (replica === undefined) return { server, behind: null, confirmed: null };
  const { version, confirmed, incarnation } = replica;
  const isComparable = version !== undefined && owner?.incarnation === incarnation;
  const behind = isComparable ? Math.max(0, owner.published - version) : null;
  return { server, behind, confirmed };
}
