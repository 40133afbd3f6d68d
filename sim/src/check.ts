/**
 * Recomputes what `placement` has said from its log and the trace alone; it shares no code with it. The log is read as a story that has
 * to be possible: who is connected is so at one server, who accepts or delivers is where the log says, and every message is the trace's.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";

export interface Checked {
  readonly local: number;
  readonly imbalanceP95: number;
  readonly imbalanceMax: number;
  readonly moves: number;
  readonly redirects: number;
  readonly deliveries: number;
  readonly servers: number;
  /** What cannot have been, the first of it. */
  readonly problems: readonly string[];
}

const SAMPLE_MS = 600_000;
const LEAST_MEAN = 10;
const SHOWN = 20;

function linesOf(path: string): AsyncIterable<string> {
  const file: Readable = createReadStream(path);
  return createInterface({ input: path.endsWith(".gz") ? file.pipe(createGunzip()) : file });
}

export async function checkLog(log: string, trace: string): Promise<Checked> {
  const rows: { time: number; from: string; to: string }[] = [];
  for await (const line of linesOf(trace)) {
    if (line === "" || line.startsWith("#")) continue;
    const [seconds, from, to] = line.trimEnd().split("\t");
    rows.push({ time: Math.round(Number(seconds) * 1000), from: from!, to: to! });
  }
  const start = rows[0]?.time ?? 0;

  const problems: string[] = [];
  const where = new Map<string, string>();
  const loads = new Map<string, number>();
  const draining = new Set<string>();
  const acceptedBy = new Map<number, string>();
  const delivered = new Set<number>();
  const redirected = new Map<string, string>();
  const counted: number[] = [];
  const others: number[] = [];
  const counts = { moves: 0, redirects: 0, deliveries: 0, local: 0, servers: 0, accepted: 0 };
  let nextSample = start + SAMPLE_MS;
  let now = start;

  const demand = (holds: boolean, line: string): void => {
    if (!holds && problems.length < SHOWN) problems.push(line);
  };
  const put = (user: string, server: string | undefined): void => {
    const before = where.get(user);
    if (before !== undefined) loads.set(before, loads.get(before)! - 1);
    if (server === undefined) where.delete(user);
    else where.set(user, server);
    if (server !== undefined) loads.set(server, (loads.get(server) ?? 0) + 1);
  };
  const sample = (): void => {
    const mean = where.size / loads.size;
    if (where.size > 0)
      (mean >= LEAST_MEAN ? counted : others).push(Math.max(...loads.values()) / mean);
  };

  for await (const line of linesOf(log)) {
    const [at, what, user, server, number] = line.split("\t") as [
      string,
      string,
      string,
      string,
      string?,
    ];
    const time = Number(at);
    demand(time >= now, line);
    now = time;
    for (; nextSample <= time; nextSample += SAMPLE_MS) sample();
    const row = rows[Number(number)];
    const here = where.get(user);
    switch (what) {
      case "up":
        loads.set(server, loads.get(server) ?? 0);
        draining.delete(server);
        counts.servers = Math.max(counts.servers, loads.size);
        break;
      case "draining":
        draining.add(server);
        break;
      case "down":
        demand(loads.get(server) === 0, line);
        loads.delete(server);
        break;
      case "redirect":
        demand(here === undefined && loads.has(server) && !redirected.has(user), line);
        redirected.set(user, server);
        counts.redirects++;
        break;
      case "connect":
        demand(here === undefined && loads.has(server) && redirected.get(user) !== server, line);
        demand(!redirected.has(user) || !draining.has(server), line);
        redirected.delete(user);
        put(user, server);
        break;
      case "disconnect":
        demand(here === server, line);
        put(user, undefined);
        break;
      case "drain":
      case "move":
        demand(
          here !== undefined && here !== server && loads.has(server) && !draining.has(server),
          line,
        );
        demand(what === "move" || draining.has(here!), line);
        if (what === "move") counts.moves++;
        put(user, server);
        break;
      case "accept":
        demand(
          Number(number) === counts.accepted++ && row?.time === time && row.from === user,
          line,
        );
        demand(here === server, line);
        acceptedBy.set(Number(number), server);
        break;
      case "delivery":
        demand(row?.to === user && here === server && acceptedBy.has(Number(number)), line);
        demand(!delivered.has(Number(number)), line);
        delivered.add(Number(number));
        counts.deliveries++;
        if (acceptedBy.get(Number(number)) === server) counts.local++;
        break;
      default:
        demand(false, line);
    }
  }

  const sorted = (counted.length > 0 ? counted : others).sort((a, b) => a - b);
  const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
  return {
    local: rounded(counts.local / Math.max(1, counts.deliveries), 4),
    imbalanceP95: rounded(sorted[Math.max(0, Math.ceil(sorted.length * 0.95) - 1)] ?? 0, 4),
    imbalanceMax: rounded(sorted.at(-1) ?? 0, 4),
    moves: rounded((counts.moves * 1000) / Math.max(1, counts.accepted), 1),
    redirects: rounded((counts.redirects * 1000) / Math.max(1, counts.accepted), 1),
    deliveries: counts.deliveries,
    servers: counts.servers,
    problems,
  };
}
