import { Command } from "commander";

import { Failure, UsageError } from "../failure.ts";
import type { Terminal } from "../terminal.ts";
import { mintToken } from "../token.ts";
import { readConfiguration } from "./configuration.ts";

interface TokenOptions {
  readonly config?: string;
  readonly user: string;
  readonly device?: string;
  readonly to?: readonly string[];
  readonly expires: string;
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

export function tokenCommand(terminal: Terminal): Command {
  return new Command("token")
    .summary("mint a token for a user's devices")
    .description(
      "Mints a token (JWT, HS256) with the secret of a server's configuration. For trying out: your application's backend mints its own.",
    )
    .requiredOption("--user <user>", "whose token it is")
    .option("--device <device>", "good for this device alone")
    .option("--to <users...>", 'users that may be written to, where auth.send is "claim"')
    .option("--expires <time>", "how long it is good: 90s, 15m, 1h, 7d", "1h")
    .option("--config <file>", "configuration of the server; default: $BECKON_CONFIG")
    .addHelpText(
      "after",
      `
Examples:
  beckon token --config beckon.toml --user ann
  beckon token --config beckon.toml --user ann --device phone --expires 7d`,
    )
    .action(async (options: TokenOptions) => {
      const seconds = secondsOf(options.expires);
      const { auth } = await readConfiguration(options.config, terminal);
      if (auth.keys.kind !== "secret") {
        throw new Failure(
          "this server checks tokens with public keys: only who has the private key can mint them",
          "Ask your application's backend for a token.",
        );
      }
      const { user, device, to } = options;
      const token = await mintToken(
        {
          user,
          expires: Math.floor(Date.now() / 1000) + seconds,
          ...(device === undefined ? {} : { device }),
          ...(to === undefined ? {} : { to }),
        },
        auth.keys.secret,
        {
          device: auth.deviceClaim,
          to: auth.toClaim,
          ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
          ...(auth.audience === undefined ? {} : { audience: auth.audience }),
        },
      );
      terminal.out(`${token}\n`);
    });
}

function secondsOf(text: string): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined || Number(count) === 0) {
    throw new UsageError(`--expires: ${text} is no time`, "Say it like 90s, 15m, 1h or 7d.");
  }
  return Number(count) * UNITS[unit]!;
}
