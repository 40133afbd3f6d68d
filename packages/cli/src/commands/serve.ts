import { createServer, describeConfig } from "@beckon/server";
import { Command } from "commander";

import { CONFIG_HELP, readConfig } from "../config.ts";
import { Failure } from "../failure.ts";
import { untilStopped } from "../stop.ts";
import type { Terminal } from "../terminal.ts";

const HELP = `
${CONFIG_HELP}

SIGTERM, SIGINT and beckon drain stop it gracefully: it takes no more connections, sends its devices elsewhere at the
pace of [drain], and finishes or stores what is under way. Another signal a second later stops it at once; what was
acknowledged is safe all the same. SIGHUP makes it look at once whether the files of its certificate have changed.
Where npx started it, SIGTERM to npx does; a SIGINT that is not typed has to go to the server's own process.

Examples:
  beckon serve beckon.toml --check     say what it would run with, or what is wrong
  beckon serve beckon.toml
  BECKON_LISTEN=0.0.0.0:8080 BECKON_AUTH_SEND=anyone BECKON_AUTH_SECRET_FILE=secret.txt beckon serve

The least that a file has to say:
  [auth]
  secret_file = "secret.txt"   # what the application's backend signs its tokens with: 32 bytes or more
  send = "anyone"              # who may write to whom`;

const LINGER_MS = 200;

const NO_API_TOKEN =
  "Without api.token or api.token_file nobody may use the admin API: your backend cannot send.\n";

export function serveCommand(terminal: Terminal): Command {
  return new Command("serve")
    .summary("run one server")
    .description("Runs one communication server until it is told to stop.")
    .argument("[file]", "the configuration")
    .option("--check", "check the configuration, print it with its secrets masked, and end")
    .addHelpText("after", HELP)
    .action(async (file: string | undefined, options: { readonly check?: true }) => {
      const config = await readConfig(file, terminal, { isStrict: options.check === true });
      if (config.apiToken === undefined) terminal.note(NO_API_TOKEN);
      if (options.check) {
        terminal.out(describeConfig(config));
        return;
      }
      const server = createServer(config);
      const told = untilStopped(() => server.drain());
      if (config.tls !== undefined) process.on("SIGHUP", () => void server.reloadCertificate());
      try {
        await server.start();
      } catch (error) {
        throw explain(error);
      }
      terminal.note(
        `${config.name} serves devices at ${server.urls.join(", ")}, and the admin API at ${server.adminUrl?.origin}\n`,
      );
      await Promise.race([told, server.stopped]);
      // What would not close in time does not keep the process.
      setTimeout(() => process.exit(), LINGER_MS).unref();
    });
}

function explain(error: unknown): Failure {
  const { code, message } = error as Error & { readonly code?: string };
  if (code === "EADDRINUSE") {
    return new Failure(
      `cannot listen: ${message}`,
      "Another program has the port: stop it, or change listen or admin.",
    );
  }
  if (code === "EACCES") {
    return new Failure(
      `cannot listen: ${message}`,
      "Ports below 1024 need a privilege: choose another.",
    );
  }
  if (message.startsWith("another server process has ")) {
    return new Failure(`cannot start: ${message}`, "Stop it, or give this one another store.");
  }
  return new Failure(`cannot start: ${message}`);
}
