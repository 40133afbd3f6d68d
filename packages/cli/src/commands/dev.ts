import { Command } from "commander";

import { integer } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { untilStopped } from "../stop.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly port: number;
  readonly servers: number;
  readonly data?: string;
  readonly json?: true;
}

const HELP = `
It starts three servers (s1, s2, s3) in this process, with a bus in memory, one SQLite file in a temporary folder and a
push service for development; a page that shows them, with four phones: ann on s1, cat and dan on s2, and bob, who was
on s2 and sleeps; and it says in the terminal what happens, a line each. While no page is open the phones are in this
process: bob taps a push after a second, answers, and sleeps again after 20 s. The page can make the browser a phone,
too, by Web Push. What else may be asked of it, and how to use it while an application is developed:
docs/development.md.

The page is at --port, the servers' ports follow it, and their admin APIs' are ten higher. A port that is taken is
passed over. Everything is on 127.0.0.1 alone: its secrets are known to everybody. Try what happens:
  curl -d '{"act":"kill","server":"s1"}' http://localhost:4680/dev/acts
  curl -d '{"act":"wakes","wakes":"balanced"}' http://localhost:4680/dev/acts
  curl -d '{"act":"fault","fault":"disk-full","on":true}' http://localhost:4680/dev/acts

Examples:
  beckon dev
  beckon dev --data ./data             keep the database, and the key for Web Push
  beckon dev --json > events.jsonl     what happens, as JSON`;

export function devCommand(terminal: Terminal): Command {
  return new Command("dev")
    .summary("run a whole system on this machine, to try and to develop with")
    .description("Runs a whole Beckon system on this machine, with a page that shows what it does.")
    .option("--port <port>", "of the page; 0: any ports that are free", integer(0, 65_000), 4680)
    .option("--servers <n>", "how many servers", integer(1, 8), 3)
    .option("--data <folder>", "keep database and Web Push key there (default: a temporary folder)")
    .option("--json", "say what happens as JSON, an event a line")
    .addHelpText("after", HELP)
    .action(async ({ port, servers, data, json }: Options) => {
      // Nothing else needs the page and the SDK.
      const { startDev } = await import("../dev/dev.ts");
      const starting = startDev(
        { port, servers, data, json: json === true, env: process.env },
        terminal,
      );
      // From now on: who stops it while it starts leaves nothing behind either.
      const stopped = untilStopped(async () => (await starting).stop());
      try {
        await starting;
      } catch (error) {
        throw new Failure(
          `the development system does not start: ${(error as Error).message}`,
          "Is there another one running? See: beckon dev --help",
        );
      }
      await stopped;
    });
}
