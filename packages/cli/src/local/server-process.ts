/** A server in a process of its own, on engines that it shares with others; it can be killed, and started again where it was. */
import { DEV_SECRET, lastingPort } from "@beckon/server";

import { Failure } from "../failure.ts";
import { linesOf } from "../lines.ts";
import { ownCommand } from "../own-command.ts";
import { listenTcp } from "./server.ts";

export interface ServerProcessOptions {
  readonly name: string;
  /** Whether it listens for TCP, too. */
  readonly tcp?: boolean;
  /** What runs a server; default: this very program. */
  readonly command?: readonly string[];
  /** Variables beside those that are the same for all such servers. */
  readonly env: Readonly<Record<string, string>>;
  /** It ended though nobody told it to. */
  readonly onCrash: (what: string) => void;
}

const READY_MS = 30_000;
const POLL_MS = 50;
/** It says that it listens: for WebSockets, for TCP, for the operator. */
const SERVES = / ws:\/\/127\.0\.0\.1:\d+, .*http:\/\/127\.0\.0\.1:\d+$/;
/** Of what it last said. */
const LINES = 5;

export class ServerProcess {
  readonly name: string;
  readonly #options: ServerProcessOptions;
  #child: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;
  readonly #ports: { readonly listen: number; readonly tcp: number; readonly admin: number };
  #lastLines: string[] = [];

  constructor(options: ServerProcessOptions) {
    this.name = options.name;
    this.#options = options;
    const [listen, admin] = [lastingPort(), lastingPort()];
    this.#ports = { listen, tcp: options.tcp === true ? lastingPort() : 0, admin };
  }

  /** Where devices connect. */
  get url(): string {
    return `ws://127.0.0.1:${this.#ports.listen}`;
  }

  /** By TCP, where it listens for that. */
  get tcpUrl(): string {
    return `tcp://127.0.0.1:${this.#ports.tcp}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isUp(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves when it says that it listens. */
  async start(): Promise<void> {
    const { name, tcp = false, env, command = [...ownCommand(), "serve"] } = this.#options;
    const child = Bun.spawn([...command], {
      env: {
        ...inherited(),
        BECKON_NAME: name,
        BECKON_LISTEN: `127.0.0.1:${this.#ports.listen}`,
        BECKON_ADMIN: `127.0.0.1:${this.#ports.admin}`,
        ...(tcp ? listenTcp(this.#ports.tcp) : {}),
        BECKON_AUTH_SECRET: DEV_SECRET,
        BECKON_AUTH_SEND: "anyone",
        BECKON_LOG: "warn",
        ...env,
      },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    this.#child = child;
    const serving = Promise.withResolvers<void>();
    void this.#read(child, serving.resolve);
    void child.exited.then((code) => {
      serving.reject(new Failure(`${name} did not start`, this.#lastLines.join("\n")));
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#options.onCrash(`${name} ended by itself (${code}): ${this.#lastLines.join(" · ")}`);
    });
    await serving.promise;
  }

  async #read(
    { stderr }: { stderr: ReadableStream<Uint8Array> },
    serves: () => void,
  ): Promise<void> {
    for await (const line of linesOf(stderr)) {
      this.#lastLines = [...this.#lastLines.slice(1 - LINES), line];
      if (SERVES.test(line)) serves();
    }
  }

  /** Whether it knows `servers` of them, and what they have to say. */
  async isReady(servers: number): Promise<boolean> {
    const metrics = await this.metrics().catch(() => undefined);
    return metrics?.("beckon_servers") === servers && metrics("beckon_table_trusted") === 1;
  }

  /** Until it knows `servers` of them, and what they have to say. */
  async ready(servers: number): Promise<void> {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      if (await this.isReady(servers)) return;
      if (performance.now() > deadline) {
        const seconds = READY_MS / 1_000;
        const hint = this.#lastLines.join("\n");
        throw new Failure(`${this.name} did not find the others within ${seconds} s`, hint);
      }
      await Bun.sleep(POLL_MS);
    }
  }

  /** What it has counted; the sum of all that have these labels. Rejects where it does not answer. */
  async metrics(): Promise<(name: string, label?: string) => number> {
    const response = await fetch(`http://127.0.0.1:${this.#ports.admin}/metrics`, {
      signal: AbortSignal.timeout(2_000),
    });
    const lines = (await response.text()).split("\n");
    return (name, label = "") =>
      lines
        .filter((line) => new RegExp(`^${name}(\\{| )`).test(line) && line.includes(label))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }

  /** Asks it to drain; resolves when it has ended. */
  async drain(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGTERM");
    await child?.exited;
  }

  /** As `kill -9`; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
    await child?.exited;
  }
}

/** What this process was told of Beckon is not for its children. */
function inherited(): Record<string, string | undefined> {
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith("BECKON_"));
  return Object.fromEntries(env);
}
