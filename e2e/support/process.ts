import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Tokens are signed with it. */
export const SECRET = "a secret of 32 bytes, for tests.";
export const API_TOKEN = "a token for the backend";

/** A folder with a configuration, in which `beckon serve` is started and killed as often as a test wants. */
export class Installation {
  readonly folder: string;
  readonly #tokens = new Map<string, Promise<string>>();

  constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Installation> {
    const folder = await mkdtemp(join(tmpdir(), "beckon-e2e-"));
    await writeFile(join(folder, "secret"), SECRET);
    await writeFile(join(folder, "api-token"), API_TOKEN);
    await writeFile(
      join(folder, "beckon.toml"),
      `name = "eu-1"
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
store = "sqlite:beckon.db"

[auth]
secret_file = "secret"
send = "anyone"

[api]
token_file = "api-token"
`,
    );
    return new Installation(folder);
  }

  /** The command, as `npx beckon` runs it. */
  beckon(...args: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
    return Bun.spawn(["node", join(ROOT, "packages/cli/bin/beckon.mjs"), ...args], {
      cwd: this.folder,
      env: { PATH: process.env["PATH"] },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
  }

  async output(...args: readonly string[]): Promise<string> {
    const child = this.beckon(...args);
    const [out, note, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if (code !== 0) throw new Error(`beckon ${args.join(" ")}: exit ${code}\n${note}`);
    return out.trim();
  }

  /** A token for a user, as the application's backend mints it; made once. */
  token(user: string): Promise<string> {
    const made = this.#tokens.get(user);
    if (made !== undefined) return made;
    const token = this.output("token", "--config", "beckon.toml", "--user", user);
    this.#tokens.set(user, token);
    return token;
  }

  /** Runs the server in Bun itself, so that a signal reaches the server and no launcher. */
  async serve(env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    const child = Bun.spawn(
      [process.execPath, join(ROOT, "packages/cli/src/main.ts"), "serve", "beckon.toml"],
      {
        cwd: this.folder,
        env: { PATH: process.env["PATH"], ...env },
        stdin: "ignore",
        stderr: "pipe",
      },
    );
    let text = "";
    const started = Promise.withResolvers<ServerProcess>();
    const read = async (): Promise<void> => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) {
        text += decoder.decode(chunk, { stream: true });
        const url = /(wss?:\/\/[^\s,]+)[\s,]/.exec(text)?.[1];
        const admin = /(http:\/\/[^\s,]+)\s/.exec(text)?.[1];
        if (url !== undefined && admin !== undefined) {
          started.resolve({ child, url, admin, log: () => text });
        }
      }
      started.reject(new Error(`the server did not start:\n${text}`));
    };
    void read();
    return started.promise;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

export interface ServerProcess {
  readonly child: Bun.Subprocess;
  readonly url: string;
  readonly admin: string;
  /** What it has said so far. */
  log(): string;
}
