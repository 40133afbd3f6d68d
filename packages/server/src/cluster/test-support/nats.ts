import type { test } from "bun:test";

import { testWith } from "../../lib/test-support/engine.ts";

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

/** A real NATS server on loopback, on any port that is free, with these arguments beside that. */
export async function startNats(args: readonly string[] = []): Promise<NatsProcess> {
  let running = await run(-1, args);
  const { port } = running;
  return {
    port,
    get pid() {
      return running.child.pid;
    },
    stop: () => end(running.child),
    async start() {
      running = await run(port, args);
    },
  };
}

interface Running {
  readonly child: Bun.Subprocess;
  readonly port: number;
}

async function run(at: number, args: readonly string[]): Promise<Running> {
  if (EXECUTABLE === null) throw new Error(`no nats-server: ${INSTALL}`);
  const child = Bun.spawn([EXECUTABLE, "--addr", "127.0.0.1", "--port", String(at), ...args], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  let text = "";
  const decoder = new TextDecoder();
  const ready = Promise.withResolvers<number>();
  const read = async (): Promise<void> => {
    for await (const chunk of child.stderr) {
      text += decoder.decode(chunk, { stream: true });
      const port = /client connections on 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      if (port !== undefined && text.includes("Server is ready")) ready.resolve(Number(port));
    }
    ready.reject(new Error(`nats-server has ended:\n${text}`));
  };
  void read();
  return { child, port: await ready.promise };
}

async function end(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGKILL");
  await child.exited;
}
