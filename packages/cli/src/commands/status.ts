import type { Locality, ServerOverview, SystemOverview } from "@beckon/server";
import { Command } from "commander";

import { type ApiOptions, callApi, withApiOptions } from "../api.ts";
import { Failure, UsageError } from "../failure.ts";
import { untilStopped } from "../stop.ts";
import { roughly, tableOf } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { createView } from "../view.ts";
import { within } from "../within.ts";

interface Options extends ApiOptions {
  readonly watch?: true;
}

export interface Servers extends SystemOverview {
  /** The one that answers. */
  readonly server: string;
}

const WATCH_MS = 1_000;

const HELP = `
CPU is how much of one CPU the process used in the last second or so. LOCAL is which part of the deliveries of the last
5 minutes, and of the last hour, were by the server that had accepted the message; below, those of all servers together:
live over the same server, live over two, and from the store after a wake. BEHIND is how many changes of another
server's sessions were published and are not here yet, CONFIRMED how long ago all of them were last known to be here:
about a second where all is well.

Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon status
  beckon status --watch --admin http://10.0.0.5:9090
  beckon status --json | jq '[.servers[].connections] | add'
  beckon status --json | jq .deliveries.hour.locality`;

export function statusCommand(terminal: Terminal): Command {
  const command = new Command("status")
    .summary("show all servers of the system")
    .description(
      "Shows every server: its state, connections, load, locality and version, and how far it is behind the others. Any one server is asked (GET /v1/servers), and asks the others.",
    );
  return withApiOptions(command, "the admin address of any server")
    .option("--watch", "show it anew each second, until Ctrl-C")
    .addHelpText("after", HELP)
    .action(async (options: Options) => {
      if (options.watch) await watch(options, terminal);
      else terminal.out(show(await readServers(options, terminal), options));
    });
}

export function readServers(options: ApiOptions, terminal: Terminal): Promise<Servers> {
  return callApi<Servers>({ method: "GET", path: "/v1/servers" }, options, terminal);
}

function show(answer: Servers, { json }: Options): string {
  return json
    ? `${JSON.stringify(answer)}\n`
    : linesOf(answer)
        .map((line) => `${line}\n`)
        .join("");
}

async function watch(options: Options, terminal: Terminal): Promise<void> {
  if (!terminal.interactive || options.json) {
    throw new UsageError(
      "--watch needs a terminal, and shows no JSON",
      "Leave it out, and ask as often as you like.",
    );
  }
  const view = createView(terminal);
  const stop = new AbortController();
  const ended = untilStopped(() => Promise.resolve(stop.abort()));
  // What can never work is said at once; what fails later is shown, and tried again.
  view.show(linesOf(await readServers(options, terminal)));
  while (!stop.signal.aborted) {
    await within(WATCH_MS, ended);
    if (!stop.signal.aborted) view.show(await readServers(options, terminal).then(linesOf, failed));
  }
}

function failed(error: unknown): string[] {
  if (!(error instanceof Failure)) throw error;
  return [error.message, ...(error.hint === undefined ? [] : [error.hint])];
}

const HEAD = [
  "SERVER",
  "STATE",
  "CONNECTIONS",
  "CPU",
  "LOCAL 5M",
  "LOCAL 1H",
  "BEHIND",
  "CONFIRMED",
  "UP",
  "VERSION",
  "ADDRESSES",
];
const RIGHT = [2, 3, 4, 5];

function linesOf(system: Servers): string[] {
  return [...serversOf(system), "", ...deliveriesOf(system)];
}

function serversOf({ servers }: Servers): string[] {
  const silent = new Set(servers.filter(({ answers }) => !answers).map(({ server }) => server));
  return tableOf(
    [
      HEAD,
      ...servers.map((one) => [
        one.server,
        one.answers ? stateOf(one) : `no answer, heard ${roughly(one.heard)} ago`,
        number(one.connections) + (one.capacity === 0 ? "" : ` of ${number(one.capacity)}`),
        percent(one.cpu),
        percent(one.deliveries?.fiveMinutes.locality),
        percent(one.deliveries?.hour.locality),
        ...lagOf(one, silent),
        roughly(Date.now() - one.since),
        one.software || "?",
        one.addresses.map(({ url }) => url).join(" "),
      ]),
    ],
    RIGHT,
  );
}

function deliveriesOf({ deliveries: { fiveMinutes, hour } }: Servers): string[] {
  return tableOf(
    [
      ["DELIVERIES", "ALL", "LOCAL", "LIVE, LOCAL", "LIVE, REMOTE", "WOKEN"],
      ["last 5 min", ...partsOf(fiveMinutes)],
      ["last hour", ...partsOf(hour)],
    ],
    [1, 2, 3, 4, 5],
  );
}

function partsOf({ local, remote, wakeLocal, wakeRemote, locality }: Locality): string[] {
  const woken = wakeLocal + wakeRemote;
  const all = local + remote + woken;
  const part = (count: number): string => percent(all === 0 ? null : count / all);
  return [number(all), percent(locality), part(local), part(remote), part(woken)];
}

/** Without its store it takes no device. */
function stateOf({ state, store }: ServerOverview): string {
  return store === false ? `${state}, no store` : state;
}

/** The worst of what it has of the others; what those are behind that do not answer, nobody knows. */
function lagOf({ answers, replicas }: ServerOverview, silent: ReadonlySet<string>): string[] {
  if (!answers) return ["?", "?"];
  const known = replicas.filter(({ server }) => !silent.has(server));
  const ages = replicas.flatMap(({ confirmed }) => (confirmed === null ? [] : [confirmed]));
  const age = ages.length === 0 ? "-" : `${roughly(Math.max(...ages))} ago`;
  const stranger = known.find(({ confirmed }) => confirmed === null);
  if (stranger !== undefined) return [`does not hear ${stranger.server}`, age];
  const waiting = known.find(({ behind }) => behind === null);
  if (waiting !== undefined) return [`waits for ${waiting.server}`, age];
  if (known.length === 0) return ["-", age];
  return [number(Math.max(...known.map(({ behind }) => behind ?? 0))), age];
}

function percent(part: number | null | undefined): string {
  return typeof part === "number" ? `${Math.round(100 * part)}%` : "-";
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
