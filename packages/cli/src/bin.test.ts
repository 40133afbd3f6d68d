import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
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

test.each(["SIGTERM", "SIGINT"] as const)(
  "serve stops gracefully on %s, and frees its ports",
  async (signal) => {
    const child = start("node", LAUNCHER, "serve");
    const decoder = new TextDecoder();
    let notes = "";
    for await (const chunk of child.stderr) {
      notes += decoder.decode(chunk, { stream: true });
      if (notes.includes("serves devices at")) break;
    }
    const url = /serves devices at (ws:\S+?),? /.exec(notes)?.[1] ?? "";
    const address = url.replace("ws:", "http:");
    expect((await fetch(address)).status).toBe(426);
    child.kill(signal);
    expect(await child.exited).toBe(0);
    expect(await fetch(address).catch(() => "closed")).toBe("closed");
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
