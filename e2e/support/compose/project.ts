/** What `docker compose` does with the example, done with processes. */
import { chmod, cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { postgresPrograms } from "../../../packages/server/src/store/test-support/postgres-process.ts";
import { ROOT } from "../package.ts";
import { until } from "../until.ts";
import { type ComposeFile, parseCompose } from "./file.ts";
import { type Run, runOf } from "./images.ts";
import { Places } from "./places.ts";

export const EXAMPLE: string = join(ROOT, "examples/cluster");
/** For a loaded machine; the file's own limits are for one that has nothing else to do. */
const SLOW_S = 60;

interface Running extends Run {
  readonly child: Bun.Subprocess<"ignore", "inherit" | "ignore", "pipe">;
  readonly said: () => string;
}

/** The variables of a file `.env`. */
function parseEnv(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("=") as [string, string]),
  );
}

export class ComposeProject {
  readonly places: Places;
  readonly #folder: string;
  readonly #file: ComposeFile;
  readonly #running = new Map<string, Running>();

  private constructor(folder: string, file: ComposeFile) {
    this.#folder = folder;
    this.#file = file;
    this.places = new Places(folder, file.services);
  }

  /** With secrets of its own, in a copy of the example. */
  static async create(): Promise<ComposeProject> {
    const folder = await mkdtemp(join(tmpdir(), "beckon-compose-"));
    // PostgreSQL, which is not root, has its data below.
    await chmod(folder, 0o755);
    for (const name of ["compose.yaml", "make-secrets.sh", "nats.conf"]) {
      await cp(join(EXAMPLE, name), join(folder, "example", name));
    }
    const made = Bun.spawnSync([join(folder, "example/make-secrets.sh")], { stderr: "inherit" });
    if (!made.success) throw new Error("make-secrets.sh has failed");
    const text = await readFile(join(folder, "example/compose.yaml"), "utf8");
    const env = await readFile(join(folder, "example/.env"), "utf8");
    const file = parseCompose(text, parseEnv(env));
    const project = new ComposeProject(folder, file);
    for (const name of Object.keys(file.services)) await project.#mount(name);
    return project;
  }

  get services(): ComposeFile["services"] {
    return this.#file.services;
  }

  /** The secrets and configurations of a service are where its container would have them, and nobody else's. */
  async #mount(name: string): Promise<void> {
    const { secrets, configs, volumes } = this.#file.services[name]!;
    const mounts = [
      ...secrets.map((secret) => [this.#file.secrets[secret]?.file, `/run/secrets/${secret}`]),
      ...configs.map(({ source, target }) => [this.#file.configs[source]?.file, target]),
    ];
    for (const [from, target] of mounts) {
      if (from === undefined) throw new Error(`${name}: ${target} is not declared`);
      const path = this.places.path(name, target!);
      await mkdir(dirname(path), { recursive: true });
      await cp(join(this.#folder, "example", from), path);
    }
    for (const volume of volumes) {
      const [declared] = volume.split(":");
      if (!Object.hasOwn(this.#file.volumes, declared!)) throw new Error(`${volume}: undeclared`);
    }
  }

  /** `up --detach --wait`, or `start` of some. */
  async up(names: readonly string[] = Object.keys(this.services)): Promise<void> {
    await Promise.all(names.map((name) => this.#start(name)));
  }

  readonly #starting = new Map<string, Promise<void>>();

  /** When what it depends on is healthy; resolves when it is itself. */
  #start(name: string): Promise<void> {
    if (this.#running.has(name)) return Promise.resolve();
    const known = this.#starting.get(name);
    if (known !== undefined) return known;
    const starting = this.#launch(name).finally(() => this.#starting.delete(name));
    this.#starting.set(name, starting);
    return starting;
  }

  async #launch(name: string): Promise<void> {
    const service = this.services[name]!;
    await this.up(Object.keys(service.depends_on));
    const run = await runOf(name, service, this.places);
    const child = Bun.spawn([...run.command], {
      cwd: "/",
      env: { PATH: PATH, ...run.environment },
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    let said = "";
    const read = async (): Promise<void> => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) said += decoder.decode(chunk, { stream: true });
    };
    void read();
    this.#running.set(name, { ...run, child, said: () => said });
    await this.#healthy(name);
  }

  async #healthy(name: string): Promise<void> {
    const { child, said } = this.#running.get(name)!;
    const { test, interval, timeout, retries } = this.services[name]!.healthcheck;
    const [, ...command] = test;
    const check = this.places.command(name, command);
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`${name} has ended:\n${said()}`);
        const asked = Bun.spawn(check, {
          env: { PATH },
          stdin: "ignore",
          stdout: "ignore",
          stderr: "ignore",
          timeout: Math.max(timeout, SLOW_S) * 1_000,
        });
        return (await asked.exited) === 0;
      },
      () => `${name} to be healthy:\n${said()}`,
      Math.max(interval * retries, SLOW_S) * 1_000,
    );
  }

  /** `kill`: without a last word. */
  async kill(name: string): Promise<void> {
    const { child } = this.#running.get(name)!;
    child.kill("SIGKILL");
    await child.exited;
    this.#running.delete(name);
  }

  /** `stop`: who depends on another before that one. Answers the exit codes. */
  async stop(): Promise<Record<string, number>> {
    const codes: Record<string, number> = {};
    while (this.#running.size > 0) {
      const needed = new Set(
        [...this.#running.keys()].flatMap((name) => Object.keys(this.services[name]!.depends_on)),
      );
      const free = [...this.#running.keys()].filter((name) => !needed.has(name));
      await Promise.all(free.map(async (name) => void (codes[name] = await this.#end(name))));
    }
    return codes;
  }

  async #end(name: string): Promise<number> {
    const { child, stopSignal, said } = this.#running.get(name)!;
    child.kill(stopSignal);
    const grace = this.services[name]!.stop_grace_period;
    await until(
      () => child.exitCode !== null,
      () => `${name} to end:\n${said()}`,
      grace * 1_000,
    );
    this.#running.delete(name);
    return child.exitCode!;
  }

  /** `exec -T SERVICE beckon …`: with the service's environment. Answers the output. */
  async exec(name: string, ...args: readonly string[]): Promise<string> {
    const { command, environment } = this.#running.get(name)!;
    const child = Bun.spawn([...command.slice(0, 2), ...args], {
      cwd: "/",
      env: { PATH, ...environment },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    const text = await new Response(child.stdout).text();
    if ((await child.exited) !== 0) throw new Error(`${args.join(" ")} has failed`);
    return text;
  }

  /** As the service reads it. */
  async secret(service: string, name: string): Promise<string> {
    return (await readFile(this.places.path(service, `/run/secrets/${name}`), "utf8")).trim();
  }

  async remove(): Promise<void> {
    for (const name of this.#running.keys()) await this.kill(name);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

const PATH = `${postgresPrograms}:${process.env["PATH"]}`;
