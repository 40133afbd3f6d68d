import { Command, Option } from "commander";

import { Failure } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

interface SendOptions {
  readonly from: string;
  readonly to: string;
  readonly wake: string;
  readonly preview?: string;
  readonly id?: string;
  readonly admin: string;
  readonly token?: string;
  readonly json?: true;
}

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly route: string;
}

export function sendCommand(terminal: Terminal): Command {
  return new Command("send")
    .summary("send a message as your application's backend does")
    .description(
      "Sends a message through a server's admin API, as a named service. It answers when the message is delivered, or held for a device that is away.",
    )
    .argument("<text>", "the message")
    .requiredOption("--from <service>", "who sends: the name of a service")
    .requiredOption("--to <user>", "who receives")
    .addOption(
      new Option("--wake <class>", "how to wake who is away")
        .choices(["message", "call", "silent", "none"])
        .default("message"),
    )
    .option("--preview <text>", "shown by the notification")
    .option("--id <uuid>", "UUIDv7; the same again is the same message")
    .option("--admin <url>", "the server's admin address", "http://127.0.0.1:9090")
    .addOption(
      new Option(
        "--token <token>",
        "the admin token; better as a variable, which other users cannot see",
      ).env("BECKON_API_TOKEN"),
    )
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
Example:
  BECKON_API_TOKEN=$(cat api-token) beckon send --from shop --to ann "Your parcel is here"`,
    )
    .action(async (text: string, options: SendOptions) => {
      const answer = await post(text, options);
      const { id, status, route } = answer;
      terminal.out(
        options.json === true ? `${JSON.stringify(answer)}\n` : `${status} (${route}) ${id}\n`,
      );
    });
}

async function post(text: string, options: SendOptions): Promise<Answer> {
  const { from, to, wake, preview, id, token } = options;
  let response: Response;
  try {
    response = await fetch(new URL("/v1/messages", options.admin), {
      method: "POST",
      headers: { authorization: `Bearer ${token ?? ""}`, "content-type": "application/json" },
      body: JSON.stringify({ from, to, text, wake, preview, id }),
    });
  } catch {
    throw new Failure(
      `no server answers at ${options.admin}`,
      "Start one (beckon serve), or say where it is with --admin.",
    );
  }
  const body: unknown = await response.json().catch(() => undefined);
  if (response.ok) return body as Answer;
  const { error } = (body ?? {}) as { error?: { code: string; message: string; hint?: string } };
  throw new Failure(
    error === undefined
      ? `the server answered ${response.status}`
      : `${error.code}: ${error.message}`,
    error?.hint,
  );
}
