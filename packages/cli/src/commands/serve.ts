import { createServer, describeConfig } from "@beckon/server";
import { Command } from "commander";

import { Failure } from "../failure.ts";
import type { Terminal } from "../terminal.ts";
import { readConfiguration } from "./configuration.ts";

interface ServeOptions {
  readonly check?: true;
}

export function serveCommand(terminal: Terminal): Command {
  return new Command("serve")
    .summary("run one communication server")
    .description(
      "Runs one communication server until SIGTERM or SIGINT; then it sends its devices elsewhere, finishes what is under way, and ends.",
    )
    .argument(
      "[config]",
      "configuration file (TOML); default: $BECKON_CONFIG. Each key is also a BECKON_… variable",
    )
    .option("--check", "validate the configuration, print it with secrets masked, and end")
    .addHelpText(
      "after",
      `
Examples:
  beckon serve --check beckon.toml
  BECKON_NAME=eu-2 BECKON_LISTEN=0.0.0.0:8081 beckon serve beckon.toml`,
    )
    .action(async (path: string | undefined, options: ServeOptions) => {
      const config = await readConfiguration(path, terminal);
      if (options.check === true) {
        terminal.out(describeConfig(config));
        return;
      }
      const server = createServer(config);
      try {
        await server.start();
      } catch (error) {
        throw new Failure(
          `the server could not start: ${(error as Error).message}`,
          "Check that listen and admin are free, and that the folder of the store can be written.",
        );
      }
      terminal.note(`beckon: ${config.name} serves devices at ${server.url}\n`);
      terminal.note(`beckon: health, metrics and the API for your backend at ${server.adminUrl}\n`);
      await stopSignal();
      await server.drain();
    });
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
  });
}
