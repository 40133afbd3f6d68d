/** What this device knows of itself and of the system, across connections and runs. */
import {
  formatUuid,
  type Millis,
  type ServerAddresses,
  uuidv7,
  type WelcomeFrame,
} from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import { type Random, randomInteger } from "./random.ts";
import type { Stored } from "./storage.ts";

export interface Session {
  readonly device: string;
  /** Incarnation of the outbox. */
  readonly outbox: number;
  readonly epoch: number;
  /** Name of the last server. */
  readonly server: string;
  /** The servers known, the last one first. */
  readonly servers: readonly ServerAddresses[];
  /** Server-corrected. */
  serverTime(): Millis;
  /** The server's clock at this moment. */
  corrected(time: Millis): void;
  welcomed(welcome: WelcomeFrame): void;
  load(key: string, value: Stored): void;
  /** Makes what the storage did not have, and stores it; resolves when it may be told to others. */
  begin(device: string | undefined): Promise<void>;
}

/** Bounds of what is remembered of the system. */
const SERVERS = 64;
const ADDRESSES = 16;

export interface Identity {
  readonly device: string;
  readonly outbox: number;
}

export interface Place {
  readonly epoch: number;
  readonly server: string;
  readonly servers: readonly ServerAddresses[];
  /** The server's clock less this one's. */
  readonly offset: Millis;
}

export function createSession(clock: Clock, random: Random, journal: Journal): Session {
  let identity: Identity | undefined;
  let place: Place = { epoch: 0, server: "", servers: [], offset: 0 };

  function remember(changes: Partial<Place>): void {
    place = { ...place, ...changes };
    journal.write([{ key: "m/place", value: place as unknown as Stored }]);
  }

  const session: Session = {
    get device() {
      return identity!.device;
    },
    get outbox() {
      return identity!.outbox;
    },
    get epoch() {
      return place.epoch;
    },
    get server() {
      return place.server;
    },
    get servers() {
      return place.servers;
    },
    serverTime: () => clock.now() + place.offset,
    corrected(time) {
      // 0: the server did not say.
      if (time > 0) place = { ...place, offset: time - clock.now() };
    },
    welcomed(welcome) {
      const { epoch, server } = welcome;
      session.corrected(welcome.time);
      remember({ epoch, server, servers: merge(welcome.servers, place.servers) });
    },
    load(key, value) {
      if (key === "m/identity") identity = value as unknown as Identity;
      if (key === "m/place") place = value as unknown as Place;
    },
    begin(device) {
      const known = identity;
      identity = {
        device: device ?? known?.device ?? formatUuid(uuidv7(clock.now(), random)),
        outbox: known?.outbox ?? randomInteger(random),
      };
      if (known?.device === identity.device) return Promise.resolve();
      const value = { ...identity };
      return journal.written([{ key: "m/identity", value }]);
    },
  };
  return session;
}

/** The newer word of each server, in the newer order. */
function merge(
  newer: readonly ServerAddresses[],
  older: readonly ServerAddresses[],
): ServerAddresses[] {
  const names = new Set(newer.map(({ name }) => name));
  return [...newer, ...older.filter(({ name }) => !names.has(name))]
    .slice(0, SERVERS)
    .map(({ name, addresses }) => ({ name, addresses: addresses.slice(0, ADDRESSES) }));
}
