import { test } from "bun:test";

const EXECUTABLE = Bun.which("nats-server");
const INSTALL = "apt-get install -y nats-server";

/** A test that needs NATS: where there is none it is skipped and says so, but it fails under `CI=true`. */
export const natsTest: typeof test =
  EXECUTABLE === null && process.env["CI"] !== "true" ? test.skip : test;

if (natsTest !== test) console.log(`no nats-server, its tests are skipped: ${INSTALL}`);

export interface NatsProcess {
  readonly port: number;
  stop(): Promise<void>;
}

/** A real NATS server on loopback, on any port that is free. */
export async function startNats(): Promise<NatsProcess> {
  if (EXECUTABLE === null) throw new Error(`no nats-server: ${INSTALL}`);
  const child = Bun.spawn([EXECUTABLE, "--addr", "127.0.0.1", "--port", "-1"], {
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
  const port = await ready.promise;
  return {
    port,
    async stop() {
      child.kill();
      await child.exited;
    },
  };
}
