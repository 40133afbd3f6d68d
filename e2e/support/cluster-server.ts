import { fileURLToPath } from "node:url";

import { DEV_API_TOKEN, lastingPort } from "@beckon/server";

import type { Wire } from "../../packages/server/src/cluster/test-support/wire.ts";
import { until } from "./until.ts";

const MAIN = fileURLToPath(new URL("../../packages/cli/src/main.ts", import.meta.url));
const SKEWED = fileURLToPath(new URL("../programs/skewed-server.ts", import.meta.url));

/** For an answer of the admin API: a process that is stopped gives none. */
const ANSWER_MS = 2_000;

export interface ClusterServerOptions {
  readonly name: string;
  /** The file. */
  readonly config: string;
  /** Writes it, with the two ports. */
  readonly write: (listen: number, admin: number) => Promise<void>;
  /** What is between it and NATS. */
  readonly wire: Wire;
  /** By how much its clock is ahead, ms. */
  readonly skewMs: number;
}

export interface Health {
  readonly status: number;
  readonly checks: Readonly<Record<string, boolean>>;
}

/** One server, as a process that can be killed, paused, and started again on the same ports. */
export class ClusterServer {
  readonly name: string;
  readonly wire: Wire;
  /** What it has said, by all processes that were this server. */
  log = "";
  readonly #options: ClusterServerOptions;
  readonly #port = lastingPort();
  readonly #adminPort = lastingPort();
  #child: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;

  constructor(options: ClusterServerOptions) {
    this.name = options.name;
    this.wire = options.wire;
    this.#options = options;
  }

  /** Where devices connect. */
  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  /** Rejects, with what it said, where it ends instead. */
  async start(): Promise<void> {
    const child = await this.launch();
    const before = this.log.length;
    const isUp = (): boolean => this.log.slice(before).includes(" serves devices at ");
    await until(
      () => isUp() || child.exitCode !== null,
      () => `${this.name} to start:\n${this.log.slice(before)}`,
      60_000,
    );
    if (!isUp()) throw new Error(`${this.name} did not start:\n${this.log.slice(before)}`);
  }

  /** Starts the process, and waits for nothing. */
  async launch(): Promise<Bun.Subprocess> {
    const { config, write, skewMs } = this.#options;
    await write(this.#port, this.#adminPort);
    const program = skewMs === 0 ? MAIN : SKEWED;
    const child = Bun.spawn([process.execPath, program, "serve", config], {
      env: { PATH: process.env["PATH"], SKEW_MS: String(skewMs) },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    this.#child = child;
    void this.#listen(child.stderr);
    return child;
  }

  async #listen(stderr: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stderr) this.log += decoder.decode(chunk, { stream: true });
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#child = undefined;
  }

  /** The answer is the exit code. */
  async terminate(): Promise<number> {
    this.#child?.kill("SIGTERM");
    return (await this.#child?.exited) ?? 0;
  }

  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Lines that it has said with this event. */
  said(event: string): readonly string[] {
    return this.log.split("\n").filter((line) => line.includes(event));
  }

  async ready(): Promise<Health> {
    const response = await this.#get("/readyz");
    const { checks } = (await response.json()) as Health;
    return { status: response.status, checks };
  }

  /** By name, with the labels as they stand there; empty while it does not answer. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    try {
      const text = await (await this.#get("/metrics")).text();
      const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      return new Map(
        lines.map((line) => {
          const end = line.lastIndexOf(" ");
          return [line.slice(0, end), Number(line.slice(end + 1))];
        }),
      );
    } catch {
      return new Map();
    }
  }

  async metric(name: string): Promise<number | undefined> {
    return (await this.metrics()).get(name);
  }

  /** The server at which this one finds a device of the user of the same name; null: at none; undefined: it knows no such device, or cannot say. */
  async whereIs(user: string): Promise<string | null | undefined> {
    try {
      const response = await this.#get(`/v1/users/${user}/devices`);
      const { devices } = (await response.json()) as {
        devices: { device: string; server: string | null }[];
      };
      return devices.find(({ device }) => device === user)?.server;
    } catch {
      return undefined;
    }
  }

  /** A phone of the user of the same name, to be pushed to; it never connects. */
  async register(user: string): Promise<void> {
    const push = { provider: "dev", token: user, key: { id: 1, key: Buffer.alloc(32).toBase64() } };
    await this.#post("/v1/devices", { user, device: user, protocols: ["ws"], push });
  }

  /** The device of the user of the same name is logged out by the application's backend. */
  async forget(user: string): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${this.#adminPort}/v1/devices/${user}/${user}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${DEV_API_TOKEN}` },
    });
    if (!response.ok) throw new Error(`forget: ${response.status} ${await response.text()}`);
  }

  /** A message of the application's backend. */
  async send(to: string, text: string): Promise<void> {
    await this.#post("/v1/messages", { from: "shop", to, text });
  }

  async #post(path: string, body: object): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${this.#adminPort}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${DEV_API_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }

  #get(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.#adminPort}${path}`, {
      headers: { authorization: `Bearer ${DEV_API_TOKEN}` },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  }
}
