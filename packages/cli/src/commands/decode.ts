import { decodeText, ProtocolError } from "@beckon/protocol";
import { Command } from "commander";

import { Failure } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

const HELP = `
Takes one message of the transport (one or more frames) as hexadecimal, base64 or base64url; without an argument the
same, or the bytes themselves, from the standard input. Tokens, tickets and keys are never shown; payloads and
previews only with --payload. Where the bytes stop being frames, the last line says why, and the exit code is 1.

Examples:
  beckon decode 02 2a 00
  beckon decode --payload < message.bin`;

export function decodeCommand(terminal: Terminal): Command {
  return new Command("decode")
    .summary("print frames of the protocol so that people can read them")
    .description("Prints the frames of a message of the device protocol, a line each.")
    .argument("[text...]", "hexadecimal, base64 or base64url; spaces do not matter")
    .option("--payload", "show the beginning of payloads and previews")
    .option("--json", "print one JSON object a line")
    .addHelpText("after", HELP)
    .action(
      async (
        words: readonly string[],
        options: { readonly payload?: true; readonly json?: true },
      ) => {
        const input = words.length > 0 ? words.join("") : await terminal.input();
        if (input.length === 0)
          throw new Failure("there is nothing to decode", "Name the bytes, or pipe them in.");
        let problem: ProtocolError | undefined;
        const onError = (error: ProtocolError): void => void (problem = error);
        try {
          terminal.out(`${decodeText(input, { ...options, onError })}\n`);
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
          throw new Failure(
            `cannot be decoded: ${error.message}`,
            "Write the bytes as hexadecimal, base64 or base64url.",
          );
        }
        if (problem !== undefined) {
          throw new Failure(
            `not frames of the protocol: ${problem.message}`,
            "Is it one whole message, from its first byte on?",
          );
        }
      },
    );
}
