import { Command, Option } from "commander";

import { type ApiOptions, callApi, withApiOptions } from "../api.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ApiOptions {
  readonly from: string;
  readonly to: string;
  readonly wake: string;
  readonly preview?: string;
  readonly id?: string;
}

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly route: string;
}

const HELP = `
Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon send --from shop --to ann "Your parcel is here"
  beckon send --admin http://10.0.0.5:9090 --from shop --to ann "Hello" --json`;

export function sendCommand(terminal: Terminal): Command {
  const command = new Command("send")
    .summary("send a message as the application's backend does")
    .description(
      "Sends a message as a named service, through a server's admin API (POST /v1/messages). It answers when the message is delivered, or durably held for a device that is away.",
    )
    .argument("<text>", "the message")
    .requiredOption("--from <service>", "who sends: the name of a service")
    .requiredOption("--to <user>", "who receives")
    .addOption(
      new Option("--wake <class>", "how to wake a device that is away")
        .choices(["message", "call", "silent", "none"])
        .default("message"),
    )
    .option("--preview <text>", "shown by the notification; sealed for the device")
    .option("--id <uuid>", "UUIDv7; the same one again is the same message");
  return withApiOptions(command, "the server's admin address")
    .addHelpText("after", HELP)
    .action(async (text: string, options: Options) => {
      const { from, to, wake, preview, id: given } = options;
      const body = { from, to, text, wake, preview, id: given };
      const call = { method: "POST", path: "/v1/messages", body } as const;
      const answer = await callApi<Answer>(call, options, terminal);
      const { id, status, route } = answer;
      terminal.out(options.json ? `${JSON.stringify(answer)}\n` : `${status} (${route}) ${id}\n`);
    });
}
