/** What an image does beside its command, here: which program it has, and how it prepares. */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import {
  giveToPostgres,
  postgresCommand,
} from "../../../packages/server/src/store/test-support/postgres-process.ts";
import { ROOT } from "../package.ts";
import type { Service } from "./file.ts";
import type { Places } from "./places.ts";

export interface Run {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** STOPSIGNAL of the image. */
  readonly stopSignal: "SIGTERM" | "SIGINT";
}

const MAIN = join(ROOT, "packages/cli/src/main.ts");

/** Prepares what the image's entrypoint would prepare, and says what it would run. */
export async function runOf(name: string, service: Service, places: Places): Promise<Run> {
  const [image, tag] = service.image.split(":");
  const command = places.command(name, service.command);
  const environment = Object.fromEntries(
    Object.entries(service.environment).map(([key, value]) => [key, places.inside(name, value)]),
  );
  if (service.image.endsWith("latest") || tag === undefined) {
    throw new Error(`${name}: ${service.image} is not pinned`);
  }
  switch (image) {
    case "beckon":
      return {
        command: [...(await entrypoint(service)), ...command],
        environment,
        stopSignal: "SIGTERM",
      };
    case "nats":
      if (command[0] !== "nats-server") throw new Error("nats: not its program");
      return { command, environment, stopSignal: "SIGTERM" };
    case "postgres":
      return {
        command: await postgres(name, service, command, environment, places),
        environment: {},
        stopSignal: "SIGINT",
      };
    default:
      throw new Error(`${name}: nothing here stands for ${service.image}`);
  }
}

/** What the Dockerfile puts there is run from the sources. */
async function entrypoint({ build }: Service): Promise<string[]> {
  if (build === undefined) throw new Error("beckon: the image is on no registry: build it");
  const context = join(ROOT, "examples/cluster", build.context);
  const dockerfile = await readFile(join(context, build.dockerfile), "utf8");
  if (!dockerfile.includes('\nENTRYPOINT ["/usr/local/bin/beckon"]\n')) {
    throw new Error("Dockerfile: another entrypoint than the tests stand for");
  }
  return [process.execPath, MAIN];
}

/** The official image's entrypoint: a cluster, a password and a database at the first start; it listens everywhere. */
async function postgres(
  name: string,
  service: Service,
  command: readonly string[],
  {
    POSTGRES_USER,
    POSTGRES_DB,
    POSTGRES_PASSWORD_FILE,
    POSTGRES_INITDB_ARGS,
    ...rest
  }: Record<string, string>,
  places: Places,
): Promise<string[]> {
  const unknown = Object.keys(rest);
  if (unknown.length > 0) throw new Error(`postgres: what does ${unknown.join()} do?`);
  const [program, ...args] = command;
  const [volume] = service.volumes;
  if (program !== "postgres" || volume?.split(":")[1] !== PGDATA)
    throw new Error("postgres: no volume at its data");
  const data = places.path(name, PGDATA);
  if (!existsSync(join(data, "PG_VERSION"))) {
    await mkdir(data, { recursive: true });
    const pwfile = join(dirname(data), "password");
    await writeFile(pwfile, await readFile(POSTGRES_PASSWORD_FILE!));
    giveToPostgres(data, pwfile);
    const initdb = ["-D", data, "-U", POSTGRES_USER!, `--pwfile=${pwfile}`];
    await finish(postgresCommand("initdb", ...initdb, ...POSTGRES_INITDB_ARGS!.split(" ")));
    const single = postgresCommand("postgres", "--single", "-D", data, "postgres");
    await finish(single, `CREATE DATABASE ${POSTGRES_DB}\n`);
  }
  const listen = ["-h", "127.0.0.1", "-p", String(places.port(name, 5432)), "-k", data];
  return postgresCommand("postgres", "-D", data, ...listen, ...args);
}

const PGDATA = "/var/lib/postgresql/data";

async function finish(command: readonly string[], input = ""): Promise<void> {
  const child = Bun.spawn([...command], {
    stdin: new TextEncoder().encode(input),
    stdout: "ignore",
    stderr: "pipe",
    cwd: "/",
  });
  const text = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")} has failed:\n${text}`);
}
