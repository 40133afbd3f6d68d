import { ConfigError, loadConfig } from "@beckon/server";
import type { Config } from "@beckon/server";

import { Failure } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

/** The configuration that a command names; by default BECKON_CONFIG's, and without that what the environment says alone. */
export async function readConfiguration(
  path: string | undefined,
  terminal: Terminal,
): Promise<Config> {
  const file = path ?? terminal.env["BECKON_CONFIG"];
  try {
    return await loadConfig(file, terminal.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new Failure(
      error.message,
      file === undefined
        ? "Name a configuration file: beckon serve beckon.toml; or set the keys as BECKON_… variables."
        : undefined,
    );
  }
}
