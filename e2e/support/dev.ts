import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Act, Stage, StageEvent } from "@beckon/console/stage";
import { DEV_API_TOKEN } from "@beckon/server";

import { sayByApi } from "./shop.ts";
import { until } from "./until.ts";

export const MAIN: string = fileURLToPath(
  new URL("../../packages/cli/src/main.ts", import.meta.url),
);

/** Where these processes have their temporary files, and nobody else has any. */
export const TEMPORARY: string = mkdtempSync(join(tmpdir(), "beckon-e2e-dev-"));

/** A command in a process of its own, whose lines are read as they come. */
export class Running {
  readonly lines: string[] = [];
  readonly notes: string[] = [];
  readonly child: Bun.Subprocess<"pipe", "pipe", "pipe">;

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    // Another file's tests may have cleaned up after themselves.
    mkdirSync(TEMPORARY, { recursive: true });
    this.child = Bun.spawn([process.execPath, MAIN, ...args], {
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"], TMPDIR: TEMPORARY, ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    void collect(this.child.stdout, this.lines);
    void collect(this.child.stderr, this.notes);
  }

  type(...lines: readonly string[]): void {
    for (const line of lines) void this.child.stdin.write(`${line}\n`);
    void this.child.stdin.flush();
  }

  /** The first line from number `from` on that fits; waits for it. */
  async line(pattern: RegExp, from = 0, ms = 15_000): Promise<string> {
    const find = (): string | undefined =>
      this.lines.slice(from).find((line) => pattern.test(line));
    const seen = (): string => `${pattern} in:\n${[...this.lines, ...this.notes].join("\n")}`;
    await until(() => find() !== undefined, seen, ms);
    return find()!;
  }

  /** At the end of what is typed. */
  async end(): Promise<number> {
    await this.child.stdin.end();
    return this.child.exited;
  }

  async stop(): Promise<number> {
    this.child.kill("SIGINT");
    return this.child.exited;
  }
}

/** `beckon dev` on any ports that are free. */
export class DevProcess extends Running {
  url = "";

  static start(...args: readonly string[]): Promise<DevProcess> {
    return DevProcess.startIn({}, ...args);
  }

  /** With these environment variables, too. */
  static async startIn(
    env: Readonly<Record<string, string>>,
    ...args: readonly string[]
  ): Promise<DevProcess> {
    const port = args.includes("--port") ? [] : ["--port", "0"];
    const dev = new DevProcess(["dev", ...port, ...args], env);
    const look = await dev.line(/^ {2}look +http/);
    dev.url = /http\S+/.exec(look)![0];
    await dev.line(/^Ctrl-C/);
    return dev;
  }

  device(user: string, ...args: readonly string[]): Running {
    return new Running(["device", user, "--dev", this.url, ...args]);
  }

  /** A device that hears live what is said to it from now on: one that has come reads first what is held, and so long all is held. */
  async listener(user: string, ...args: readonly string[]): Promise<Running> {
    const device = this.device(user, ...args);
    await device.line(/^connected/);
    const { admin } = (await this.stage()).servers[0]!;
    let said = 0;
    const isLive = async (): Promise<boolean> => {
      await sayByApi(admin, DEV_API_TOKEN, user, `news ${++said}`);
      return (await device.line(new RegExp(`^shop: news ${said} `))).includes("(live, ");
    };
    await until(isLive, `${user} to have read what was held`);
    return device;
  }

  async stage(): Promise<Stage> {
    return (await (await fetch(`${this.url}/dev/stage`)).json()) as Stage;
  }

  async act(act: Act): Promise<number> {
    const body = JSON.stringify(act);
    return (await fetch(`${this.url}/dev/acts`, { method: "POST", body })).status;
  }

  /** What it tells a page. */
  async watch(query = ""): Promise<{ readonly events: StageEvent[]; close(): void }> {
    const events: StageEvent[] = [];
    const over = new AbortController();
    const response = await fetch(`${this.url}/dev/events${query}`, { signal: over.signal });
    const lines: string[] = [];
    void collect(response.body!, lines, (line) => {
      if (line.startsWith("data: ")) events.push(JSON.parse(line.slice(6)) as StageEvent);
    });
    await until(() => events.length > 0, "the first event");
    return { events, close: () => over.abort() };
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  lines: string[],
  each: (line: string) => void = () => undefined,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of stream) {
      const some = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = some.pop() ?? "";
      for (const line of some) {
        lines.push(line);
        each(line);
      }
    }
  } catch {
    // Whoever watched has stopped.
  }
}
