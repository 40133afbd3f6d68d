import { Command } from "commander";

import { type ApiOptions, callApi, Unreachable, withApiOptions } from "../api.ts";
import { Failure } from "../failure.ts";
import { roughly } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import { createView } from "../view.ts";
import { readServers, type Servers } from "./status.ts";

interface Options extends ApiOptions {
  /** `--no-wait`: false. */
  readonly wait: boolean;
}

interface Departure {
  readonly connections: number;
  readonly within: number;
}

const LOOK_MS = 250;
/** What its process may take beyond the time that it was given: a server that has died is dropped from the list after 5 s. */
const GRACE_MS = 10_000;

const HELP = `
It is what SIGTERM to its process does: no more devices are taken, those that are there are told where to go, at the
pace of its [drain], what is under way is finished or held, and the process ends. Nothing is lost.

Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon drain eu-2
  beckon drain eu-2 --no-wait --admin http://10.0.0.5:9090`;

export function drainCommand(terminal: Terminal): Command {
  const command = new Command("drain")
    .summary("send a server's devices elsewhere, and end it")
    .description(
      "Empties a server and ends its process, through the admin API of any one server (POST /v1/servers/SERVER/drain). It answers when the server has gone.",
    )
    .argument("<server>", "its name");
  return withApiOptions(command, "the admin address of any server")
    .option("--no-wait", "answer when it has begun")
    .addHelpText("after", HELP)
    .action(async (server: string, options: Options) => {
      const before = await readServers(options, terminal);
      const path = `/v1/servers/${encodeURIComponent(server)}/drain`;
      const begun = await callApi<Departure>({ method: "POST", path }, options, terminal);
      const { connections, within } = begun;
      if (options.json) terminal.out(`${JSON.stringify(begun)}\n`);
      else {
        const time = roughly(within);
        terminal.note(`${server} sends ${countOf(connections)} elsewhere, in ${time} at most\n`);
      }
      if (!options.wait) return;
      await untilGone(server, before, within, options, terminal);
      if (!options.json) terminal.out(`${server} has gone\n`);
    });
}

async function untilGone(
  server: string,
  before: Servers,
  within: number,
  options: Options,
  terminal: Terminal,
): Promise<void> {
  const end = performance.now() + within + GRACE_MS;
  const since = find(before, server)?.since;
  const view = terminal.interactive && !options.json ? createView(terminal) : undefined;
  for (;;) {
    const now = await present(server, before, options, terminal);
    // Whoever looks after its process may have started it again already.
    if (now === undefined || now.since !== since) break;
    view?.show([`${countOf(now.connections)} left`]);
    if (performance.now() > end) {
      throw new Failure(
        `${server} is still there, with ${countOf(now.connections)}`,
        "Look at its log; another SIGTERM to its process ends it at once, and loses nothing.",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  view?.show([]);
}

/** Undefined: it has gone. Where it is itself the one that is asked, then nobody answers any more. */
async function present(
  server: string,
  before: Servers,
  options: Options,
  terminal: Terminal,
): Promise<Servers["servers"][number] | undefined> {
  try {
    return find(await readServers(options, terminal), server);
  } catch (error) {
    if (error instanceof Unreachable && before.server === server) return undefined;
    throw error;
  }
}

function find({ servers }: Servers, name: string): Servers["servers"][number] | undefined {
  return servers.find(({ server }) => server === name);
}

function countOf(devices: number): string {
  return devices === 1 ? "1 device" : `${devices.toLocaleString("en-US")} devices`;
}
