import { existsSync } from "node:fs";

import { type Config, ConfigError, loadConfig, type LoadOptions } from "@beckon/server";

import { Failure } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

const USUAL = "beckon.toml";

/** What a command says of where its configuration comes from. */
export const CONFIG_HELP: string = `The configuration is FILE, or $BECKON_CONFIG, or ./${USUAL} if it is there; each key is also
an environment variable (auth.send is BECKON_AUTH_SEND), which wins over the file: BECKON_API_TOKEN over
api.token_file, too.`;

/** Fails with every key that is wrong. */
export async function readConfig(
  file: string | undefined,
  terminal: Terminal,
  options: LoadOptions = {},
): Promise<Config> {
  const path = file ?? terminal.env["BECKON_CONFIG"] ?? (existsSync(USUAL) ? USUAL : undefined);
  try {
    return await loadConfig(path, terminal.env, options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const from = path === undefined ? "the environment" : `${path} and the environment`;
    const hint =
      path === undefined
        ? `There is no ${USUAL} here: write one, or name another. See: beckon serve --help`
        : "Correct these; then: beckon serve --check";
    throw new Failure(`the configuration from ${from} is wrong\n${error.message}`, hint);
  }
}
