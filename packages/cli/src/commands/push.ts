import { DevPushService, listenDevPush, systemClock } from "@beckon/server";
import { Command, InvalidArgumentError } from "commander";

import { untilStopped } from "../stop.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly listen: { readonly host: string; readonly port: number };
}

const HELP = `
Servers push through it with push.dev.url, and \`beckon device --push\` hears it. It keeps nothing that it could not
lose, and asks nobody who he is: whoever reaches it can push, and hear the (sealed) pushes of others. So it is for
development, on this machine or in a network of its own.

Examples:
  beckon push
  BECKON_PUSH_DEV_URL=http://127.0.0.1:4690 beckon serve beckon.toml
  beckon device bob --server ws://127.0.0.1:8080 --token-file bob.token --push http://127.0.0.1:4690`;

export function pushCommand(terminal: Terminal): Command {
  return new Command("push")
    .summary("run a push service for development")
    .description("Runs a push service without a vendor until it is told to stop.")
    .option("--listen <host:port>", "where", hostPort, { host: "127.0.0.1", port: 4690 })
    .addHelpText("after", HELP)
    .configureHelp({
      optionDescription: ({ long, description }) =>
        long === "--listen" ? `${description} (default: 127.0.0.1:4690)` : description,
    })
    .action(async ({ listen: { host, port } }: Options) => {
      const listener = listenDevPush(new DevPushService(systemClock), port, host);
      terminal.note(`a push service for development at ${listener.url.origin}\n`);
      await untilStopped(() => listener.close());
    });
}

function hostPort(text: string): Options["listen"] {
  const [, host, port] = /^(\[[\da-fA-F:.]+\]|[\w.-]+):(\d{1,5})$/.exec(text) ?? [];
  if (host !== undefined && Number(port) < 65_536) {
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  }
  throw new InvalidArgumentError("Write it as 127.0.0.1:4690.");
}
