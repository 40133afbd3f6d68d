import { generateVapidKey, vapidJwk } from "@beckon/server";
import { Command } from "commander";

import type { Terminal } from "../terminal.ts";

const HELP = `
Servers say which file it is in with push.webpush.key_file; all servers of a system have the same. Who has it can push
to every browser that subscribed with its public half, the applicationServerKey, which \`beckon serve --check\` shows,
too. A system that pushed with the web-push package keeps its key: the JSON of \`web-push generate-vapid-keys --json\`
is taken as it is.

Examples:
  (umask 077; beckon vapid > vapid.jwk)`;

export function vapidCommand(terminal: Terminal): Command {
  return new Command("vapid")
    .summary("make a key for Web Push")
    .description("Makes the key that push services know a system by (VAPID), and prints it as JWK.")
    .addHelpText("after", HELP)
    .action(() => {
      const key = generateVapidKey();
      terminal.out(`${JSON.stringify(vapidJwk(key))}\n`);
      terminal.note(`applicationServerKey: ${key.publicKey}\n`);
    });
}
