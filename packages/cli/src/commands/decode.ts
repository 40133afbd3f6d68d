import { decodeText } from "@beckon/protocol";
import { Command } from "commander";

import type { Terminal } from "../terminal.ts";

interface DecodeOptions {
  readonly payload?: true;
  readonly json?: true;
}

export function decodeCommand(terminal: Terminal): Command {
  return new Command("decode")
    .summary("print the frames of the device protocol in a readable form")
    .description(
      "Prints the frames of a message of the device protocol, one a line. Tokens, tickets and keys are never shown.",
    )
    .argument(
      "[message]",
      "hexadecimal or base64; without it the standard input, which may be the bytes themselves",
    )
    .option("--payload", "show the beginning of payloads, too")
    .option("--json", "one JSON object a line")
    .addHelpText(
      "after",
      `
Examples:
  beckon decode 022a00                     a PING
  beckon decode --payload < message.bin    a message from a file`,
    )
    .action(async (message: string | undefined, options: DecodeOptions) => {
      const input = message ?? (await terminal.input());
      terminal.out(
        `${decodeText(input, { payload: options.payload ?? false, json: options.json ?? false })}\n`,
      );
    });
}
