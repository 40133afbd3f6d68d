import { join } from "node:path";

import {
  DEV_SECRET,
  DevPushService,
  devProvider,
  type Node,
  silentLog,
  systemClock,
} from "@beckon/server";

import { createHub, LocalServer } from "../local/server.ts";
import { mintDevToken } from "../token.ts";
import { seeded } from "./random.ts";
import type { Gain, Policy } from "./result.ts";

/** How a device connects. */
export const PROTOCOLS = ["ws", "tcp"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface ClusterOptions {
  readonly servers: number;
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly gain: Gain;
  readonly cap: number;
  readonly seed: number;
  /** The clock by which ties and moves age; default: the machine's. */
  readonly placementNow?: () => number;
  /** From 0 to 1: what servers choose by between others of which nothing is known. */
  readonly choose: () => number;
  /** Servers tell each other of a device within the turn: for those who wait for that after each. */
  readonly isPrompt: boolean;
}

/** Several real servers, and a push service for development. */
export interface Cluster {
  readonly names: readonly string[];
  /** They stay the same when a server starts again. Of a protocol that no device speaks they lead nowhere. */
  readonly urls: Readonly<Record<Protocol, readonly string[]>>;
  readonly pushes: DevPushService;
  token(user: string): string;
  /** What all servers have counted, those that were killed included. */
  counted(): Promise<Counted>;
  /** Whether `cpuMs` is of the servers alone, and not of the devices, too. */
  readonly isApart: boolean;
  /** No last word. */
  kill(server: number): Promise<void>;
  /** Resolves when its devices have been sent elsewhere, and it has stopped. */
  drain(server: number): Promise<void>;
  restart(server: number): Promise<void>;
  isUp(server: number): boolean;
  /** Whether those that are up know each other, nobody else, and all that is to be known. */
  isWhole(): Promise<boolean>;
  /**
   * Whether all servers have the device where it is; undefined: nowhere. Of servers in other processes nobody can say.
   */
  readonly agree:
    | ((user: string, device: string, server: string | undefined) => boolean)
    | undefined;
  /** Devices that were told to go elsewhere, and are not there yet; undefined: nobody can say. */
  readonly leaving: (() => number) | undefined;
  /** Until what this server knows of who talks to whom is known to all; undefined: nobody can ask it for that. */
  readonly tell: ((server: string) => Promise<void>) | undefined;
  /** What went wrong with a server, in words. */
  readonly problems: readonly string[];
  stop(): Promise<void>;
}

export interface Counted {
  readonly local: number;
  readonly remote: number;
  /** CPU. */
  readonly cpuMs: number;
  /** Heard over the bus. */
  readonly busBytes: number;
}

export const namesOf = (servers: number): string[] =>
  Array.from({ length: servers }, (_, i) => `s${i + 1}`);

/** Makes each user's token once. */
export function createTokens(): (user: string) => string {
  const tokens = new Map<string, string>();
  return (user) => {
    const token = tokens.get(user) ?? mintDevToken(user);
    tokens.set(user, token);
    return token;
  };
}

export function urlsOf(
  servers: readonly { readonly url: string; readonly tcpUrl: string }[],
): Cluster["urls"] {
  return { ws: servers.map(({ url }) => url), tcp: servers.map(({ tcpUrl }) => tcpUrl) };
}

/** What a server is told of placement, as environment variables. */
export function settingsOf({
  policy,
  gain,
  cap,
}: Pick<ClusterOptions, "policy" | "gain" | "cap">): Record<string, string> {
  return {
    BECKON_PLACEMENT_POLICY: policy === "random" ? "wake" : policy,
    BECKON_PLACEMENT_GAIN: `${gain}`,
    BECKON_PLACEMENT_CAP: `${cap}`,
  };
}

/** In this process: a bus in memory, and one SQLite file in `folder`. */
export async function startCluster(options: ClusterOptions, folder: string): Promise<Cluster> {
  const names = namesOf(options.servers);
  const random = seeded(options.seed).fork("wakes");
  const hub = createHub();
  const pushes = new DevPushService(systemClock);
  const servers = names.map(
    (name) =>
      new LocalServer({
        hub,
        name,
        port: 0,
        adminPort: 0,
        tcp: options.protocols.includes("tcp"),
        store: join(folder, "beckon.db"),
        secret: DEV_SECRET,
        settings: settingsOf(options),
        embedding: {
          authorize: () => true,
          logger: silentLog,
          providers: [devProvider(pushes)],
          ...(options.isPrompt ? { tableBatchMs: 0 } : {}),
          placementChoose: options.choose,
          ...(options.placementNow === undefined ? {} : { placementNow: options.placementNow }),
          ...(options.policy === "random" ? { wakeNames: () => random.pick(names) } : {}),
        },
      }),
  );
  await Promise.all(servers.map((server) => server.start()));
  const nodes = (): Node[] => servers.flatMap(({ node }) => (node === undefined ? [] : [node]));

  return {
    names,
    urls: urlsOf(servers),
    pushes,
    token: createTokens(),
    problems: [],
    isApart: false,
    counted: () => {
      const counts = servers.map((server) => server.counts);
      const { user, system } = process.cpuUsage();
      return Promise.resolve({
        local: counts.reduce((sum, { local }) => sum + local, 0),
        remote: counts.reduce((sum, { remote }) => sum + remote, 0),
        cpuMs: (user + system) / 1_000,
        busBytes: counts.reduce((sum, { busBytes }) => sum + busBytes, 0),
      });
    },
    kill: (i) => {
      servers[i]!.kill();
      return Promise.resolve();
    },
    drain: (i) => servers[i]!.drain(),
    restart: (i) => servers[i]!.start(),
    isUp: (i) => servers[i]!.node !== undefined,
    isWhole: () => {
      const up = nodes();
      return Promise.resolve(
        up.every(({ members, table }) => table.trusted && members.list().length === up.length),
      );
    },
    agree: (user, device, server) =>
      servers.every(
        ({ node }) => node === undefined || node.table.find(user, device)?.server === server,
      ),
    leaving: () =>
      nodes().reduce(
        (sum, { placement }) =>
          sum +
          (placement === undefined ? 0 : placement.moves - placement.moved - placement.declined),
        0,
      ),
    tell: async (name) => {
      const circles = servers[names.indexOf(name)]?.node?.circles;
      // What was being written already, and then the rest.
      await circles?.flush();
      await circles?.flush();
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
