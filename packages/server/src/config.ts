/** Where a server is told what to do: a TOML file and `BECKON_*` variables in, a checked `Config` out. */
import { hkdfSync, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import type { Config } from "./config/config.ts";
import { exposedSecrets } from "./config/development.ts";
import { ConfigError, type Problem } from "./config/problem.ts";
import {
  type Given,
  type GivenAuth,
  type GivenSecret,
  isForeign,
  NOT_YET,
  schema,
} from "./config/schema.ts";
import { readSettings, type Settings } from "./config/settings.ts";
import { readPublicKey, type TokenKeys } from "./gateway/token-keys.ts";

export type { Config } from "./config/config.ts";
export { DEV_API_TOKEN, DEV_SECRET } from "./config/development.ts";
export { describeConfig } from "./config/describe.ts";
export { ConfigError };

/**
 * For a configuration that `loadConfig` has not seen.
 * @throws {ConfigError}
 */
export function checkSecrets(config: Config): void {
  const problems = exposedSecrets(config);
  if (problems.length === 0) return;
  throw new ConfigError(problems.map((problem) => ({ ...problem, where: undefined })));
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the file, if there is one, and the variables. Relative paths in the file are relative to the file, those in variables
 * to the working directory.
 * @throws {ConfigError} with every problem that could be found.
 */
export async function loadConfig(path?: string, env: Environment = process.env): Promise<Config> {
  const settings = readSettings(schema, {
    ...(path === undefined ? {} : { file: { path, text: await readConfigFile(path) } }),
    env,
    prefix: "BECKON_",
    isForeign,
    notYet: NOT_YET,
  });
  const files = new Files(settings, path === undefined ? "." : dirname(path));
  const config = await resolveConfig(settings.value, files);
  for (const { key, message } of config === undefined ? [] : exposedSecrets(config)) {
    files.problem(key, message);
  }
  if (files.problems.length > 0 || config === undefined) throw new ConfigError(files.problems);
  return config;
}

async function readConfigFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new ConfigError([{ key: "", where: path, message: whyUnread(error) }]);
  }
}

/** Undefined where something is missing without which there is no configuration; the problem has been told. */
async function resolveConfig(given: Given, files: Files): Promise<Config | undefined> {
  const { send } = given.auth;
  const keys = await resolveKeys(given.auth, files);
  const clusterKey = await files.secret("cluster_key", given.clusterKey, 32);
  const apiToken = await files.secret("api.token", given.apiToken, 16);
  const sendToken = await files.secret("auth.send_token", given.auth.sendToken, 1);
  if (keys === undefined) return undefined;
  return {
    ...given,
    store: { ...given.store, path: files.path("store", given.store.path) },
    clusterKey: clusterKeyOf(clusterKey, keys),
    auth: { ...given.auth.tokens, keys },
    send: send instanceof URL ? { kind: "ask", url: send, token: sendToken } : { kind: send },
    apiToken,
  };
}

async function resolveKeys(auth: GivenAuth, files: Files): Promise<TokenKeys | undefined> {
  const { secret, jwks, publicKeyFile } = auth;
  const said = {
    secret_file: secret.file,
    secret: secret.text,
    jwks,
    public_key_file: publicKeyFile,
  };
  const all = Object.entries(said).filter(([, value]) => value !== undefined);
  const fromVariables = all.filter(([key]) => !files.isFromFile(`auth.${key}`));
  // A variable wins over the file, whichever of them it names.
  const named = fromVariables.length > 0 ? fromVariables : all;
  if (named.length !== 1) {
    const message =
      named.length === 0
        ? `must have one of ${Object.keys(said).join(", ")}: what the tokens are signed with`
        : `must have only one of ${named.map(([key]) => key).join(", ")}`;
    files.problem("auth", message);
    return undefined;
  }
  const [[key]] = named as [[string, unknown]];
  if (key === "jwks") return { kind: "jwks", url: jwks! };
  if (key === "public_key_file") return resolvePublicKey(publicKeyFile!, files);
  const text = await files.secret("auth.secret", secret, 32);
  return text === undefined ? undefined : { kind: "secret", secret: utf8(text) };
}

async function resolvePublicKey(path: string, files: Files): Promise<TokenKeys | undefined> {
  const text = await files.read("auth.public_key_file", path);
  if (text === undefined) return undefined;
  try {
    return { kind: "public-key", key: readPublicKey(text) };
  } catch (error) {
    files.problem("auth.public_key_file", (error as Error).message);
    return undefined;
  }
}

/**
 * Tickets are signed with a key of their own. It is made from the configured one, else from the secret of the tokens, which all
 * servers share; else it is random, so that tickets end with the process: one process is all there can be on the memory bus.
 */
function clusterKeyOf(configured: string | undefined, keys: TokenKeys): Uint8Array {
  const from = configured ?? (keys.kind === "secret" ? keys.secret : undefined);
  if (from === undefined) return new Uint8Array(randomBytes(32));
  return new Uint8Array(hkdfSync("sha256", from, "", "beckon tickets v1", 32));
}

/** Files that the configuration names. Collects problems, so that all are told at once. */
class Files {
  readonly problems: Problem[] = [];
  readonly #settings: Settings<unknown>;
  readonly #folder: string;

  constructor(settings: Settings<unknown>, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
  }

  problem(key: string, message: string): void {
    this.problems.push(this.#settings.problem(key, message));
  }

  isFromFile(key: string): boolean {
    return this.#settings.isFromFile(key);
  }

  path(key: string, path: string): string {
    return this.#settings.isFromFile(key) ? resolve(this.#folder, path) : path;
  }

  async read(key: string, path: string): Promise<string | undefined> {
    try {
      return await readFile(this.path(key, path), "utf8");
    } catch (error) {
      this.problem(key, `${path}: ${whyUnread(error)}`);
      return undefined;
    }
  }

  /** Undefined: there is none, or none that is good. The end of a file's last line is no part of it. */
  async secret(key: string, given: GivenSecret, least: number): Promise<string | undefined> {
    const fileKey = `${key}_file`;
    let { text, file } = given;
    if (text !== undefined && file !== undefined) {
      const isTextFromFile = this.isFromFile(key);
      if (isTextFromFile === this.isFromFile(fileKey)) {
        this.problem(fileKey, `must not be there beside ${key}`);
        return undefined;
      }
      // A variable wins over the file, whichever of the two keys it is.
      if (isTextFromFile) text = undefined;
      else file = undefined;
    }
    const secret =
      file === undefined ? text : (await this.read(fileKey, file))?.replace(/\r?\n$/, "");
    if (secret === undefined) return undefined;
    if (utf8(secret).length >= least) return secret;
    this.problem(file === undefined ? key : fileKey, `must have ${least} bytes or more`);
    return undefined;
  }
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function whyUnread(error: unknown): string {
  const { code } = error as { code?: string };
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "there is no such file",
    EACCES: "may not be read",
    EISDIR: "is a folder",
  };
  return reasons[code ?? ""] ?? `cannot be read (${code ?? "unknown"})`;
}
