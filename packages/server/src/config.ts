/** Where a server is told what to do: a TOML file and `BECKON_*` variables in, a checked `Config` out. */
import { hkdfSync, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";

import type { Config } from "./config/config.ts";
import { exposedSecrets } from "./config/development.ts";
import { Files } from "./config/files.ts";
import { ConfigError } from "./config/problem.ts";
import { resolveBus, resolveStore } from "./config/resolve-engines.ts";
import { resolvePush } from "./config/resolve-push.ts";
import { resolveTls } from "./config/resolve-tls.ts";
import { type Given, type GivenAuth, isForeign, schema } from "./config/schema.ts";
import { readSettings } from "./config/settings.ts";
import { readPublicKey, type TokenKeys } from "./gateway/token-keys.ts";
import { whyUnread } from "./lib/why-unread.ts";

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

export interface LoadOptions {
  /** What a server would start with and warn about is a problem, too: a certificate that has expired. */
  readonly isStrict?: boolean;
}

/**
 * Reads the file, if there is one, and the variables. Relative paths in the file are relative to the file, those in variables
 * to the working directory.
 * @throws {ConfigError} with every problem that could be found.
 */
export async function loadConfig(
  path?: string,
  env: Environment = process.env,
  { isStrict = false }: LoadOptions = {},
): Promise<Config> {
  const settings = readSettings(schema, {
    ...(path === undefined ? {} : { file: { path, text: await readConfigFile(path) } }),
    env,
    prefix: "BECKON_",
    isForeign,
  });
  const files = new Files(settings, path === undefined ? "." : dirname(path));
  const config = await resolveConfig(settings.value, files, isStrict);
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
async function resolveConfig(
  given: Given,
  files: Files,
  isStrict: boolean,
): Promise<Config | undefined> {
  const { postgres: _, nats: __, ...rest } = given;
  const { send } = given.auth;
  const keys = await resolveKeys(given.auth, files);
  const clusterKey = await files.secret("cluster_key", given.clusterKey, 32);
  const apiToken = await files.secret("api.token", given.apiToken, 16);
  const sendToken = await files.secret("auth.send_token", given.auth.sendToken, 1);
  const store = await resolveStore(given.store, given.postgres, files);
  const bus = await resolveBus(given.bus, given.nats, files);
  const push = await resolvePush(given.push, files);
  const tls = await resolveTls(given.tls, isStrict, files);
  if (keys === undefined || bus === undefined) return undefined;
  if (bus.kind === "nats" && clusterKey === undefined && keys.kind !== "secret") {
    const message = "must have a cluster_key_file, the same on all servers, where bus is NATS";
    files.problem("cluster_key", message);
  }
  return {
    ...rest,
    tls,
    push,
    store,
    bus,
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
 * servers share; else it is random, so that tickets end with the process, and with it all that could read them on the memory bus.
 */
function clusterKeyOf(configured: string | undefined, keys: TokenKeys): Uint8Array {
  const from = configured ?? (keys.kind === "secret" ? keys.secret : undefined);
  if (from === undefined) return new Uint8Array(randomBytes(32));
  return new Uint8Array(hkdfSync("sha256", from, "", "beckon tickets v1", 32));
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
