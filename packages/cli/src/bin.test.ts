import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

// Processes of Node that start processes of Bun, on a machine that may be busy.
setDefaultTimeout(30_000);

const LAUNCHER = fileURLToPath(new URL("../bin/beckon.mjs", import.meta.url));
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "beckon-bin-"));
afterAll(() => rmSync(folder, { recursive: true }));

const env = {
  // Without the folder of Bun: as on a machine where none is installed.
  PATH: (process.env["PATH"] ?? "")
    .split(":")
    .filter((part) => !part.includes("bun"))
    .join(":"),
  HOME: folder,
  BECKON_NAME: "s1",
  BECKON_LISTEN: "127.0.0.1:0",
  BECKON_ADMIN: "127.0.0.1:0",
  BECKON_STORE: `sqlite:${join(folder, "beckon.db")}`,
  BECKON_AUTH_SECRET: "a secret of thirty-two bytes, or more",
  BECKON_AUTH_SEND: "anyone",
};

function start(command: string, ...args: string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  return Bun.spawn([command, ...args], {
    cwd: ROOT,
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function finish(
  child: ReturnType<typeof start>,
): Promise<{ code: number; out: string; notes: string }> {
  const [code, out, notes] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, out, notes };
}

test("plain Node starts it, and gets its exit code", async () => {
  expect(await finish(start("node", LAUNCHER, "decode", "022a00"))).toEqual({
    code: 0,
    out: "PING\n",
    notes: "",
  });
  expect(await finish(start("node", LAUNCHER, "replay"))).toMatchObject({ code: 2, out: "" });
  expect(await finish(start("node", LAUNCHER, "replay", "none.tsv"))).toMatchObject({ code: 1 });
});

test("npx finds it in the workspace", async () => {
  const { code, out } = await finish(start("npx", "--no-install", "beckon", "--version"));
  expect({ code, out }).toEqual({ code: 0, out: "0.1.0\n" });
});

/** A server under a launcher, once it serves. */
interface Serving {
  readonly child: Bun.Subprocess;
  /** Where it answers, to anything but a device with 426. */
  readonly address: string;
  /** Its notes, when the last process that could write to them has ended. */
  ended(): Promise<string>;
}

const SERVES = /serves devices at ws:(\S+?),? /;

async function serve(command: string, ...args: string[]): Promise<Serving> {
  const child = start(command, ...args, "serve");
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let notes = "";
  const more = async (): Promise<boolean> => {
    const { done, value = "" } = await reader.read();
    notes += value;
    return !done;
  };
  while (!SERVES.test(notes) && (await more()));
  const ended = async (): Promise<string> => {
    while (await more());
    return notes;
  };
  return { child, address: `http:${SERVES.exec(notes)?.[1] ?? ""}`, ended };
}

/** The same where somebody sits before it. `shown` is what the terminal got so far. */
async function serveInTerminal(
  ...command: string[]
): Promise<{ child: Bun.Subprocess; shown: () => string }> {
  const decoder = new TextDecoder();
  const { promise, resolve } = Promise.withResolvers<void>();
  let shown = "";
  const child = Bun.spawn([...command, "serve"], {
    cwd: ROOT,
    env,
    terminal: {
      data(_, data) {
        shown += decoder.decode(data, { stream: true });
        if (SERVES.test(shown)) resolve();
      },
    },
  });
  await promise;
  return { child, shown: () => shown };
}

describe("serve stops gracefully, and frees its ports", () => {
  test.each<["SIGTERM" | "SIGINT", string, string[]]>([
    ["SIGTERM", "node", [LAUNCHER]],
    ["SIGINT", "node", [LAUNCHER]],
    ["SIGTERM", "npx", ["--no-install", "beckon"]],
    // SIGINT to npx alone goes to its shell, which keeps it to itself until the command has ended.
  ])("on %s to %s", async (signal, command, args) => {
    const { child, address, ended } = await serve(command, ...args);
    expect((await fetch(address)).status).toBe(426);
    child.kill(signal);
    expect(await ended()).toContain("server.stopped");
    expect(await fetch(address).catch(() => "closed")).toBe("closed");
    // npm ends as the signal would have ended it, whatever its command's exit code is.
    if (command === "node") expect(await child.exited).toBe(0);
  });

  test("on Ctrl-C, which the terminal and the launcher both pass on", async () => {
    const { child, shown } = await serveInTerminal("node", LAUNCHER);
    child.terminal?.write("\u0003");
    expect(await child.exited).toBe(0);
    expect(shown()).toContain("server.stopped");
  });

  test("on SIGINT to the launcher, though somebody sits before it", async () => {
    const { child, shown } = await serveInTerminal("node", LAUNCHER);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    expect(shown()).toContain("server.stopped");
  });
});

test.each(["SIGTERM", "SIGINT"] as const)(
  "npm start ends with all that it started on %s",
  async (signal) => {
    const npm = start("npm", "start", "--silent", "--", "--port", "0");
    const reader = npm.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let shown = "";
    for (let isOver = false; !isOver && !shown.includes("Ctrl-C");) {
      const { done, value = "" } = await reader.read();
      shown += value;
      isOver = done;
    }
    expect(shown).toContain("Ctrl-C");
    npm.kill(signal);
    // The output ends when the last process that could write to it has ended.
    while (!(await reader.read()).done);
    expect(await npm.exited).toBe(0);
  },
);

test("a port that is taken is named, with what to do", async () => {
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  try {
    const child = Bun.spawn(["node", LAUNCHER, "serve"], {
      cwd: ROOT,
      env: { ...env, BECKON_LISTEN: `127.0.0.1:${taken.port}` },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const { code, notes } = await finish(child);
    expect(code).toBe(1);
    expect(notes).toContain("beckon: cannot listen: ");
    expect(notes).toContain("Another program has the port");
  } finally {
    taken.stop();
  }
});

test("npx, which starts it elsewhere, leaves files where one stands", async () => {
  await Bun.write(join(folder, "here.toml"), `name = "here"\n[auth]\nsend = "anyone"\n`);
  const child = Bun.spawn(["node", LAUNCHER, "serve", "--check", "here.toml"], {
    cwd: ROOT,
    env: {
      PATH: env.PATH,
      BECKON_AUTH_SECRET: env.BECKON_AUTH_SECRET,
      npm_command: "exec",
      INIT_CWD: folder,
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  expect(await new Response(child.stdout).text()).toContain('name = "here"');
  expect(await child.exited).toBe(0);
});
