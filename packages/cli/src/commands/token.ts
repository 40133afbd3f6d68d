import { validDeviceId, validUserId } from "@beckon/protocol";
import { type Config, DEV_SECRET, loadConfig } from "@beckon/server";
import { Command } from "commander";

import { duration, list } from "../arguments.ts";
import { CONFIG_HELP, readConfig } from "../config.ts";
import { Failure, UsageError } from "../failure.ts";
import type { Terminal } from "../terminal.ts";
import { mintToken } from "../token.ts";

interface Options {
  readonly user: string;
  readonly device?: string;
  readonly to?: readonly string[];
  readonly expires: number;
  readonly config?: string;
  readonly dev?: true;
}

const HELP = `
In production the application's backend makes the tokens; this is for trying things out. It needs the secret that
the server checks tokens with (auth.secret or auth.secret_file).

${CONFIG_HELP}

Examples:
  beckon token --user ann
  beckon token --dev --user eve
  beckon token --config beckon.toml --user ann --device phone --expires 30d --to bob,cem`;

export function tokenCommand(terminal: Terminal): Command {
  return new Command("token")
    .summary("make a token for a user")
    .description(
      "Makes a token (JWT, HS256) with which a user's devices can connect, and prints it.",
    )
    .requiredOption("--user <user>", "whose token")
    .option("--device <device>", "good for this device alone (default: for any of the user's)")
    .option("--to <users>", 'whom it allows to write to, where auth.send = "claim"', list)
    .option("--expires <duration>", "for how long it is good", duration, 3_600_000)
    .option("--config <file>", "the server's configuration")
    .option("--dev", "for `beckon dev`, whose secret everybody knows")
    .addHelpText("after", HELP)
    .configureHelp({ optionDescription: (option) => describe(option.long, option.description) })
    .action(async ({ user, device, to, expires, config: file, dev }: Options) => {
      if (!validUserId(user))
        throw new UsageError("--user: a user id has 1 to 128 bytes without control characters");
      if (device !== undefined && !validDeviceId(device)) {
        throw new UsageError("--device: a device id has 1 to 64 bytes without control characters");
      }
      const { auth } = dev === true ? await devConfig() : await readConfig(file, terminal);
      if (auth.keys.kind !== "secret") {
        const hint = "Ask the application's backend for one.";
        throw new Failure(
          "this server checks tokens with a public key, so it cannot sign them",
          hint,
        );
      }
      const claims = {
        user,
        expires: Math.floor((Date.now() + expires) / 1_000),
        ...(device === undefined ? {} : { device }),
        ...(to === undefined ? {} : { to }),
      };
      const names = {
        device: auth.deviceClaim,
        to: auth.toClaim,
        ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
        ...(auth.audience === undefined ? {} : { audience: auth.audience }),
      };
      terminal.out(`${mintToken(claims, auth.keys.secret, names)}\n`);
    });
}

/** That of a server that `beckon dev` starts, as far as tokens go. */
function devConfig(): Promise<Config> {
  const env = {
    BECKON_LISTEN: "127.0.0.1:0",
    BECKON_AUTH_SECRET: DEV_SECRET,
    BECKON_AUTH_SEND: "anyone",
  };
  return loadConfig(undefined, env);
}

/** The default is kept in milliseconds; people write durations. */
const describe = (name: string | undefined, description: string): string =>
  name === "--expires" ? `${description} (default: 1h)` : description;
