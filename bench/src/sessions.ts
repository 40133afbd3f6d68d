/** The session table: what a lookup, an entry, and the learning of the other servers' partitions cost. */
import {
  decodeSessionMessage,
  encodeSessionMessage,
  type SessionRecord,
} from "../../packages/server/src/cluster/session-messages.ts";
import { Replication } from "../../packages/server/src/sessions/replication.ts";
import { SessionIndex } from "../../packages/server/src/sessions/session-index.ts";

import type { Conditions } from "./report.ts";
import type { Spread } from "./statistics.ts";

import { parseOptions } from "./options.ts";
import { cell, conditions, printConditions, printTable, progress, whole } from "./report.ts";
import { spread } from "./statistics.ts";

const DEFAULTS = { entries: [1_000_000, 10_000_000] as readonly number[], runs: 3 };

/** Partitions over which the entries are spread. */
const SERVERS = 16;
const PAGE = 500;
const LOOKUPS = 1_000_000;
const WARM_UP = 20_000;
const ACTIVE = 1000;
/** Of the two ids of a session, as {@link record} makes them. */
const NAME_BYTES = 16 + 22;
/** Strings that are made before their lookups are timed: few, so that these do not wait for them. */
const BATCH = 500;

interface Sample {
  /** Nanoseconds of a lookup of a random user, by a string that is new, as one that was just read from a frame. */
  readonly lookupNanos: number;
  /** The same among {@link ACTIVE} users, which the processor has in its caches. */
  readonly activeNanos: number;
  /** The first in a bare `Map` of as many users: what the table adds to it. */
  readonly mapNanos: number;
  /** What the resident memory has grown by, for an entry. */
  readonly residentBytes: number;
  /** Of the table's own memory: what the ids take, and all else. */
  readonly nameBytes: number;
  readonly fixedBytes: number;
  /** Nanoseconds to take an entry from a snapshot's page, bytes included. */
  readonly learnNanos: number;
  /** The page that took longest, of {@link PAGE} entries: what a device waits at most. */
  readonly stallMillis: number;
  /** Nanoseconds to withdraw an entry of a server that is dropped, and the longest step of it. */
  readonly dropNanos: number;
  readonly dropStallMillis: number;
}

type Result = { readonly entries: number } & { readonly [F in keyof Sample]: Spread };

export async function run(args: readonly string[]): Promise<void> {
  const { json, chosen } = parseOptions(args, DEFAULTS);
  const results: Result[] = [];
  for (const entries of chosen.entries) {
    const samples: Sample[] = [];
    for (let run = 1; run <= chosen.runs; run++) {
      const sample = await measureApart(entries);
      samples.push(sample);
      progress(
        `${whole(entries)} entries, run ${run} of ${chosen.runs}: ` +
          `${sample.lookupNanos.toFixed(0)} ns a lookup, ${sample.residentBytes.toFixed(0)} bytes an entry`,
      );
    }
    const of = (figure: keyof Sample): Spread => spread(samples.map((sample) => sample[figure]));
    results.push({
      entries,
      lookupNanos: of("lookupNanos"),
      activeNanos: of("activeNanos"),
      mapNanos: of("mapNanos"),
      residentBytes: of("residentBytes"),
      nameBytes: of("nameBytes"),
      fixedBytes: of("fixedBytes"),
      learnNanos: of("learnNanos"),
      stallMillis: of("stallMillis"),
      dropNanos: of("dropNanos"),
      dropStallMillis: of("dropStallMillis"),
    });
  }
  const given = conditions("sessions", { ...chosen, servers: SERVERS, lookups: LOOKUPS });
  if (json) console.log(JSON.stringify({ ...given, results }));
  else print(given, results);
}

/** In a process of its own: memory that was once used is not given back. */
async function measureApart(entries: number): Promise<Sample> {
  const child = Bun.spawn([process.execPath, import.meta.path, String(entries)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`measuring ${entries} entries failed`);
  return JSON.parse(output) as Sample;
}

/** Figures of one process, which has to be new. */
export function measure(entries: number): Sample {
  const index = newIndex();
  const replication = new Replication({ index, now: () => 0, retryMs: 1000, onLoss: () => {} });
  // What comes first compiles the code.
  learn(
    new Replication({ index: newIndex(), now: () => 0, retryMs: 1000, onLoss: () => {} }),
    WARM_UP,
  );
  const before = resident();
  const learning = learn(replication, entries);
  const residentBytes = (resident() - before) / entries;
  const { slots, records } = index.bytes;
  const lookup = (user: string): object => index.lookup(user);
  const lookupNanos = nanosOf(lookup, entries);
  const activeNanos = nanosOf(lookup, Math.min(entries, ACTIVE));
  const map = new Map<string, object>();
  for (let i = 0; i < entries; i++) map.set(newString(userOf(i)), [{ i }]);
  const mapNanos = nanosOf((user) => map.get(user), entries);
  map.clear();
  const dropping = drop(index, "server-1");
  return {
    lookupNanos,
    activeNanos,
    mapNanos,
    residentBytes,
    nameBytes: NAME_BYTES,
    fixedBytes: (slots + records) / entries - NAME_BYTES,
    learnNanos: learning.nanos / entries,
    stallMillis: learning.longest / 1e6,
    dropNanos: dropping.nanos / dropping.entries,
    dropStallMillis: dropping.longest / 1e6,
  };
}

function newIndex(): SessionIndex {
  return new SessionIndex({
    own: "server-0",
    now: () => 0,
    hideMs: 5000,
    horizonMs: 10_000,
    onLifted: () => {},
    onChange: () => {},
    onForgotten: () => {},
  });
}

/** CPU nanoseconds, in all and of the longest piece. */
interface Work {
  nanos: number;
  longest: number;
}

function timed(work: Work, piece: () => void): void {
  const start = cpuNanos();
  piece();
  const spent = cpuNanos() - start;
  work.nanos += spent;
  work.longest = Math.max(work.longest, spent);
}

/** Of this process, its threads included: what else runs on the machine is not in it. */
function cpuNanos(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** The whole way of a snapshot, without the bus. */
function learn(replication: Replication, entries: number): Work {
  const work: Work = { nanos: 0, longest: 0 };
  const perServer = Math.ceil(entries / SERVERS);
  for (let server = 0; server < SERVERS; server++) {
    const owner = { server: `server-${server}`, incarnation: 1, version: 1 };
    replication.heartbeat({
      kind: "heartbeat",
      ...owner,
      settled: true,
      state: "up",
      load: perServer,
      since: 0,
      time: 0,
      addresses: [],
      capacity: 0,
      cpu: 0,
      software: "",
    });
    for (let page = 0; page * PAGE < perServer; page++) {
      const last = (page + 1) * PAGE >= perServer;
      const first = server * perServer + page * PAGE;
      const count = Math.min(PAGE, perServer - page * PAGE, entries - first);
      const records = Array.from({ length: count }, (_, i) => record(first + i));
      const bytes = encodeSessionMessage({
        kind: "page",
        ...owner,
        snapshot: 1,
        page,
        last,
        entries: records,
      });
      timed(work, () => {
        const message = decodeSessionMessage(bytes);
        if (message.kind === "page") replication.page(message);
      });
    }
  }
  return work;
}

function drop(index: SessionIndex, server: string): Work & { entries: number } {
  const work = { nanos: 0, longest: 0, entries: index.sizeOf(server) };
  timed(work, () => index.drop(server));
  while (index.hasWork) timed(work, () => index.work());
  return work;
}

function nanosOf(lookup: (user: string) => object | undefined, users: number): number {
  let spent = 0;
  let found = 0;
  for (let done = 0; done < LOOKUPS; done += BATCH) {
    const batch = Array.from({ length: BATCH }, (_, i) =>
      newString(userOf(((done + i) * 7_368_787) % users)),
    );
    const start = cpuNanos();
    for (let i = 0; i < BATCH; i++) if (lookup(batch[i]!) !== undefined) found++;
    spent += cpuNanos() - start;
  }
  if (found !== LOOKUPS) throw new Error(`found ${found} of ${LOOKUPS}`);
  return spent / LOOKUPS;
}

/** A string without a hash. */
function newString(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** One device a user, with ids as long as applications have. */
export function record(i: number): SessionRecord {
  return {
    user: userOf(i),
    device: `dev${(i * 2_654_435_761).toString(36).padStart(19, "0")}`,
    epoch: 1_750_000_000_000 + i,
    durable: true,
    background: false,
    setVersion: 1,
    setSize: 1,
    member: true,
  };
}

function userOf(i: number): string {
  return `user-${String(i).padStart(11, "0")}`;
}

function resident(): number {
  Bun.gc(true);
  Bun.gc(true);
  return process.memoryUsage.rss();
}

function print(given: Conditions, results: readonly Result[]): void {
  printConditions(given);
  const rows = (figures: readonly (keyof Sample)[], digits: number): string[][] =>
    results.map((result) => [
      whole(result.entries),
      ...figures.map((figure) => cell(result[figure], digits)),
    ]);
  printTable(
    ["entries", "ns a lookup", "of an active user", "in a bare Map", "ns to learn", "ns to drop"],
    rows(["lookupNanos", "activeNanos", "mapNanos", "learnNanos", "dropNanos"], 0),
  );
  console.log();
  printTable(
    ["entries", "resident bytes", "of ids", "of all else", "ms, longest page", "longest of a drop"],
    rows(["residentBytes", "nameBytes", "fixedBytes", "stallMillis", "dropStallMillis"], 1),
  );
}

if (import.meta.main) console.log(JSON.stringify(measure(Number(process.argv[2]))));
