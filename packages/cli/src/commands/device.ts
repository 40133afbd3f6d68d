import { readFile } from "node:fs/promises";

import { validDeviceId, validUserId } from "@beckon/protocol";
import { Command } from "commander";

import { Failure, UsageError } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly dev: string;
  readonly server?: readonly string[];
  readonly token?: string;
  readonly tokenFile?: string;
  readonly push?: string;
  readonly device: string;
  readonly storage?: string;
}

/** For what was sent to be acknowledged when nothing more is typed, ms. */
const ANSWERED_MS = 60_000;

const HELP = `
Type, and see what comes of it:
  bob: hello     sends to bob; later lines without a name go to the same user
  /sleep /wake   closes and opens the application; a push is heard while it sleeps
  /where         where this device is
  /help /quit

Without --server it belongs to the \`beckon dev\` that runs on this machine. What is piped in is sent line by line; it
ends when all of it is acknowledged.

Examples:
  beckon device eve
  echo "bob: hello" | beckon device eve
  beckon device eve --storage eve.db   what was typed and not sent goes out at the next start, also after kill -9
  beckon device ann --server wss://eu-1.chat.example.com --token-file token
  beckon device ann --server tls://eu-1.chat.example.com:7000 --token-file token`;

export function deviceCommand(terminal: Terminal): Command {
  return new Command("device")
    .summary("be a device, in the terminal")
    .description("Connects as a device of a user: sends what is typed, and shows what arrives.")
    .argument("<user>", "whose device")
    .option("--dev <url>", "the page of `beckon dev`", "http://localhost:4680")
    .option(
      "--server <url...>",
      "servers instead of `beckon dev`'s: wss://, ws://, tls:// or tcp://",
    )
    .option("--token <token>", "for --server (default: $BECKON_TOKEN, which others cannot see)")
    .option("--token-file <file>", "the same, in a file")
    .option("--push <url>", "the `beckon push` of --server's, to hear pushes from")
    .option("--storage <file>", "keep there what must survive: what is unsent, what was seen, keys")
    .option("--device <device>", "the device's id", "terminal")
    .addHelpText("after", HELP)
    .action(async (user: string, options: Options) => {
      if (!validUserId(user)) {
        throw new UsageError("a user id has 1 to 128 bytes without control characters");
      }
      if (!validDeviceId(options.device)) {
        throw new UsageError("--device: a device id has 1 to 64 bytes without control characters");
      }
      const { devSystem, ownSystem } = await import("../device/system.ts");
      const { TerminalPhone } = await import("../device/phone.ts");
      const system =
        options.server === undefined
          ? await devSystem(address("--dev", options.dev), user)
          : ownSystem(
              options.server,
              await tokenOf(options, terminal),
              options.push === undefined ? undefined : new URL(address("--push", options.push)),
            );
      const conversation = terminal.converse();
      const { device, storage } = options;
      const say = (line: string): void => conversation.say(line);
      const phone = new TerminalPhone({ user, device, system, say, storage });
      say(`${user}, on this terminal. Type as in "bob: hello"; /help says what else there is.`);
      await phone.start();
      for await (const line of conversation.lines) if (await phone.take(line)) break;
      conversation.close();
      await phone.answered(ANSWERED_MS);
      const left = phone.unanswered;
      await phone.close();
      if (left === 0) return;
      throw new Failure(
        `${left} messages are not acknowledged`,
        "No server took them in time: they may not have been sent.",
      );
    });
}

function address(option: string, given: string): string {
  if (/^https?:/.test(given) && URL.canParse(given)) return given;
  throw new UsageError(
    `${option}: "${given}" is not an address`,
    "Write it as http://localhost:4680",
  );
}

async function tokenOf({ token, tokenFile }: Options, { env }: Terminal): Promise<string> {
  if (tokenFile !== undefined) {
    try {
      return (await readFile(tokenFile, "utf8")).trim();
    } catch {
      throw new Failure(`${tokenFile}: cannot be read`, "Name a file with the user's token.");
    }
  }
  const given = token ?? env["BECKON_TOKEN"];
  if (given !== undefined) return given;
  throw new UsageError(
    "a server needs the user's token",
    "Set BECKON_TOKEN, or name a --token-file; `beckon token` makes one.",
  );
}
