import type { test } from "bun:test";

import { testWith } from "../../lib/test-support/engine.ts";
import { lastingPort } from "../../lib/listen-lasting.ts";

const EXECUTABLE = Bun.which("nats-server");
const INSTALL = "apt-get install -y nats-server";

export const natsTest: typeof test = testWith("nats-server", EXECUTABLE !== null, INSTALL);

export interface NatsProcess {
  /** The same after each start. */
  readonly port: number;
  readonly pid: number;
  /** At once: what was under way is lost. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** A real NATS server on loopback, with these arguments beside its port. */
export async function startNats(args: readonly string[] = []): Promise<NatsProcess> {
  const port = lastingPort();
  let child = await run(port, args);
  return {
    port,
    get pid() {
      return child.pid;
    },
    stop: () => end(child),
    async start() {
      child = await run(port, args);
    },
  };
}

async function run(port: number, args: readonly string[]): Promise<Bun.Subprocess> {
  if (EXECUTABLE === null) throw new Error(`no nats-server: ${INSTALL}`);
  const child = Bun.spawn([EXECUTABLE, "--addr", "127.0.0.1", "--port", String(port), ...args], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  let text = "";
  const decoder = new TextDecoder();
  const ready = Promise.withResolvers<void>();
  const read = async (): Promise<void> => {
    for await (const chunk of child.stderr) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes("Server is ready")) ready.resolve();
    }
    ready.reject(new Error(`nats-server has ended:\n${text}`));
  };
  void read();
  await ready.promise;
  return child;
}

async function end(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
}
