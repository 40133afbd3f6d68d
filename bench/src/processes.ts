import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";

import type { LoadResult, LoadTask } from "./load/task.ts";
import type { Listening } from "./stand-by.ts";

import { SECRET } from "./token.ts";

/** What is measured: the bare relay, or ours. */
export type Target = "floor" | "beckon";

/** Which core the server runs on, and which the load; without it the kernel chooses. */
export interface Cores {
  readonly server: number;
  readonly load: number;
}

export interface RunningServer extends Listening, AsyncDisposable {
  readonly pid: number;
}

export const env: Readonly<Record<string, string | undefined>> = {
  ...process.env,
  [SECRET]: randomBytes(32).toString("base64url"),
};

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** `taskset` becomes the program, so that the pid is the program's, and its threads stay on the core. */
export function command(core: number | undefined, file: string, ...args: string[]): string[] {
  const pinned = core === undefined ? [] : ["taskset", "--cpu-list", String(core)];
  return [...pinned, process.execPath, path(file), ...args];
}

/** Nobody listens there now. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}

export async function startServer(
  target: Target | "wake-server",
  cores?: Cores,
  ...args: readonly string[]
): Promise<RunningServer> {
  const child = Bun.spawn(command(cores?.server, `./${target}.ts`, ...args), {
    env,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const line = await firstLine(child.stdout);
  if (line === undefined) throw new Error(`the ${target}'s server did not start`);
  return {
    ...(JSON.parse(line) as Listening),
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      // What it leaves behind it removes when its standard input ends.
      await child.stdin.end();
      await child.exited;
    },
  };
}

/** Runs a load in a process of its own. Rejects with what it wrote when it fails. */
export async function runLoad<T extends LoadTask>(task: T, cores?: Cores): Promise<LoadResult<T>> {
  const child = Bun.spawn(command(cores?.load, "./load/main.ts", JSON.stringify(task)), {
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`the load on the ${task.target} failed:\n${errors.trim()}`);
  return JSON.parse(output) as LoadResult<T>;
}

export async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  // Not the stream's own iterator: it would cancel the stream at the end of the loop.
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return undefined;
    text += decoder.decode(value, { stream: true });
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
}
