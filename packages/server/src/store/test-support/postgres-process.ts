/** A real PostgreSQL on a Unix socket and on loopback, in a temporary folder, as its defaults are: fsync is on. */
import { chownSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { lastingPort } from "../../lib/listen-lasting.ts";

const FOLDERS = [15, 16, 17, 18].map((version) => `/usr/lib/postgresql/${version}/bin`);
const FOLDER = FOLDERS.find((folder) => existsSync(join(folder, "initdb")));
/** What brings it on Debian. */
export const INSTALL: string = "apt-get install -y postgresql";

export const isInstalled: boolean = FOLDER !== undefined;

export interface PostgresProcess {
  readonly port: number;
  readonly url: string;
  /** `immediate` is a crash: nothing is written that has not been. */
  stop(mode?: "fast" | "immediate"): Promise<void>;
  /** On the same port, with these settings beside the defaults. */
  start(settings?: Readonly<Record<string, string>>): Promise<void>;
  remove(): Promise<void>;
}

/** PostgreSQL refuses to run as root. */
const isRoot = process.getuid?.() === 0;
const AS = isRoot ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];

/** The folder of its programs. */
export const postgresPrograms: string = FOLDER ?? "";

/** One of its programs, as who may run it. */
export function postgresCommand(program: string, ...args: readonly string[]): string[] {
  if (FOLDER === undefined) throw new Error(`no PostgreSQL: ${INSTALL}`);
  return [...AS, join(FOLDER, program), ...args];
}

/** Files and folders that it has to read and write. */
export function giveToPostgres(...paths: readonly string[]): void {
  if (isRoot) for (const path of paths) chownSync(path, idOf("-u"), idOf("-g"));
}

async function run(command: string, ...args: string[]): Promise<void> {
  const child = Bun.spawn(postgresCommand(command, ...args), {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    cwd: tmpdir(),
  });
  const text = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${command} has failed:\n${text}`);
}

function idOf(flag: string): number {
  return Number(Bun.spawnSync(["id", flag, "postgres"]).stdout.toString());
}

export async function startPostgres(): Promise<PostgresProcess> {
  const folder = mkdtempSync(join(tmpdir(), "beckon-postgres-"));
  giveToPostgres(folder);
  const data = join(folder, "data");
  const port = lastingPort();
  await run("initdb", "-D", data, "-A", "trust", "-U", "beckon", "--no-locale", "-E", "UTF8");
  const start = async (settings: Readonly<Record<string, string>> = {}): Promise<void> => {
    const options = [
      `-h 127.0.0.1 -p ${port} -k ${folder}`,
      ...Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`),
    ].join(" ");
    await run("pg_ctl", "-D", data, "-o", options, "-l", join(folder, "log"), "-w", "start");
  };
  const stop = (mode: "fast" | "immediate" = "fast"): Promise<void> =>
    run("pg_ctl", "-D", data, "-m", mode, "-w", "stop");
  await start();
  return {
    port,
    url: `postgres://beckon@127.0.0.1:${port}/postgres`,
    start,
    stop,
    async remove() {
      await stop("immediate").catch(() => undefined);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
