import { Command, Option } from "commander";

import { Failure, UsageError } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
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

/** Longer than the server takes to try, and then to store. */
const TIMEOUT_MS = 15_000;

const HELP = `
Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon send --from shop --to ann "Your parcel is here"
  beckon send --admin http://10.0.0.5:9090 --from shop --to ann "Hello" --json`;

export function sendCommand(terminal: Terminal): Command {
  return new Command("send")
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
    .option("--id <uuid>", "UUIDv7; the same one again is the same message")
    .option("--admin <url>", "the server's admin address", "http://127.0.0.1:9090")
    .option(
      "--token <token>",
      "the admin token (default: $BECKON_API_TOKEN, which others cannot see)",
    )
    .option("--json", "print the answer as JSON")
    .addHelpText("after", HELP)
    .action(async (text: string, options: Options) => {
      const token = options.token ?? terminal.env["BECKON_API_TOKEN"];
      const answer = await post(text, { ...options, ...(token === undefined ? {} : { token }) });
      const { id, status, route } = answer;
      terminal.out(options.json ? `${JSON.stringify(answer)}\n` : `${status} (${route}) ${id}\n`);
    });
}

async function post(text: string, options: Options): Promise<Answer> {
  const { from, to, wake, preview, id, admin, token } = options;
  if (!/^https?:/.test(admin) || !URL.canParse(admin)) {
    throw new UsageError(
      `--admin: "${admin}" is not an address`,
      "Write it as http://127.0.0.1:9090",
    );
  }
  if (token === undefined) {
    throw new UsageError(
      "the admin API needs its token",
      "Set BECKON_API_TOKEN to the server's api.token.",
    );
  }
  let response: Response;
  try {
    response = await fetch(new URL("/v1/messages", admin), {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ from, to, text, wake, preview, id }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const isSlow = (error as Error).name === "TimeoutError";
    throw new Failure(
      isSlow ? `the server at ${admin} does not answer` : `no server answers at ${admin}`,
      "Start one (beckon serve), or say where it is with --admin.",
    );
  }
  const body = (await response.json().catch(() => undefined)) as (Answer & Refusal) | undefined;
  if (response.ok && body !== undefined) return body;
  if (body?.error === undefined) {
    throw new Failure(
      `${admin} answered ${response.status}, and not as a Beckon server does`,
      "Is it the admin address, and not the one for devices?",
    );
  }
  throw new Failure(`${body.error.code}: ${body.error.message}`, body.error.hint);
}

interface Refusal {
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
}
