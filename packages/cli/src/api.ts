/** A server's admin API, as the operator's commands call it. */
import type { Command } from "commander";

import { Failure, UsageError } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

export interface ApiOptions {
  readonly admin: string;
  readonly token?: string;
  readonly json?: true;
}

/** Nothing answers there, or not in time. */
export class Unreachable extends Failure {
  override readonly name = "Unreachable";
}

export interface Call {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: object;
}

/** Longer than the server takes to try, and then to store. */
const TIMEOUT_MS = 15_000;

/** `where`: what the address is of. */
export function withApiOptions(command: Command, where: string): Command {
  return command
    .option("--admin <url>", where, "http://127.0.0.1:9090")
    .option(
      "--token <token>",
      "the admin token (default: $BECKON_API_TOKEN, which others cannot see)",
    )
    .option("--json", "print the answer as JSON");
}

/** Answers what the server answers. Fails with one line, and what to do. */
export async function callApi<T>(
  { method, path, body }: Call,
  { admin, token: given }: ApiOptions,
  terminal: Terminal,
): Promise<T> {
  const token = given ?? terminal.env["BECKON_API_TOKEN"];
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
    response = await fetch(new URL(path, admin), {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    const isSlow = (error as Error).name === "TimeoutError";
    throw new Unreachable(
      isSlow ? `the server at ${admin} does not answer` : `no server answers at ${admin}`,
      "Start one (beckon serve), or say where it is with --admin.",
    );
  }
  const answer = (await response.json().catch(() => undefined)) as (T & Refusal) | undefined;
  if (response.ok && answer !== undefined) return answer;
  if (answer?.error === undefined) {
    throw new Failure(
      `${admin} answered ${response.status}, and not as a Beckon server does`,
      "Is it the admin address, and not the one for devices?",
    );
  }
  throw new Failure(`${answer.error.code}: ${answer.error.message}`, answer.error.hint);
}

interface Refusal {
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
}
