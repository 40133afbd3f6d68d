import { Command, CommanderError } from "commander";

import packageFile from "../package.json" with { type: "json" };
import { decodeCommand } from "./commands/decode.ts";
import { deviceCommand } from "./commands/device.ts";
import { devCommand } from "./commands/dev.ts";
import { drainCommand } from "./commands/drain.ts";
import { pushCommand } from "./commands/push.ts";
import { replayCommand } from "./commands/replay.ts";
import { sendCommand } from "./commands/send.ts";
import { serveCommand } from "./commands/serve.ts";
import { statusCommand } from "./commands/status.ts";
import { tokenCommand } from "./commands/token.ts";
import { vapidCommand } from "./commands/vapid.ts";
import { whereCommand } from "./commands/where.ts";
import { whyCommand } from "./commands/why.ts";
import { Failure } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

/** Runs a command and answers the exit code: 0, 1 for a failure, 2 where the command line is wrong. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof Failure)) throw error;
    terminal.note(`beckon: ${error.message}\n`);
    if (error.hint !== undefined) terminal.note(`${error.hint}\n`);
    return error.exitCode;
  }
}

function createProgram(terminal: Terminal): Command {
  const program = new Command("beckon")
    .description(
      "Runs Beckon's communication servers, and everything needed to try and operate them.",
    )
    .version(packageFile.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", EXAMPLES);
  const commands = [
    devCommand,
    deviceCommand,
    serveCommand,
    statusCommand,
    whereCommand,
    whyCommand,
    drainCommand,
    tokenCommand,
    vapidCommand,
    sendCommand,
    pushCommand,
    decodeCommand,
    replayCommand,
  ];
  for (const create of commands) program.addCommand(create(terminal));
  // Set on each: a command that is added does not inherit what was set before.
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .showHelpAfterError(
        `Try: ${["beckon", ...(command === program ? [] : [command.name()]), "--help"].join(" ")}`,
      )
      .configureOutput({
        writeOut: terminal.out,
        writeErr: terminal.note,
        outputError: (text, write) => write(text.replace(/^error: /, "beckon: ")),
        getErrHasColors: () => false,
        getOutHasColors: () => false,
      });
  }
  return program;
}

const EXAMPLES = `
Examples:
  beckon dev                           a whole system on this machine, to try and to develop with
  beckon device eve                    be a device of eve's in it, in the terminal
  beckon replay --generate community   watch a community's messages go through four servers
  beckon serve beckon.toml             run one server
  beckon status                        show all servers of the system
  beckon where ann                     show where ann's devices are
  beckon why ann                       show why they are there
  beckon drain eu-2                    send a server's devices elsewhere, and end it
  beckon token --user ann              a token with which ann's devices can connect
  beckon send --from shop --to ann "Your parcel is here"

Exit codes: 0 all went well, 1 it failed, 2 the command line is wrong.`;
