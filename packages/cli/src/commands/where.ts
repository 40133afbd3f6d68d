import type { UserDevice } from "@beckon/server";
import { Command } from "commander";

import { type ApiOptions, callApi, withApiOptions } from "../api.ts";
import { roughly, tableOf } from "../table.ts";
import type { Terminal } from "../terminal.ts";

interface Answer {
  readonly devices: readonly UserDevice[];
}

const HELP = `
A device is connected; in the background, where it is connected and woken by push all the same; or asleep. SINCE is for
how long it is connected; of one that is asleep how long ago it came last, to the hour.

Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon where ann
  beckon where ann --json --admin http://10.0.0.5:9090`;

export function whereCommand(terminal: Terminal): Command {
  const command = new Command("where")
    .summary("show where a user's devices are")
    .description(
      "Shows a user's devices, and at which server each is connected. Any one server answers for the whole system (GET /v1/users/USER/devices).",
    )
    .argument("<user>", "whose devices");
  return withApiOptions(command, "the admin address of any server")
    .addHelpText("after", HELP)
    .action(async (user: string, options: ApiOptions) => {
      const path = `/v1/users/${encodeURIComponent(user)}/devices`;
      const answer = await callApi<Answer>({ method: "GET", path }, options, terminal);
      if (options.json) terminal.out(`${JSON.stringify(answer)}\n`);
      else if (answer.devices.length > 0) terminal.out(`${linesOf(answer).join("\n")}\n`);
      else terminal.note(`${user} has no device: none is connected, and none is registered.\n`);
    });
}

const HEAD = [["DEVICE", "SERVER", "STATE", "SINCE", "PUSH", "MESSAGES"]];

function linesOf({ devices }: Answer): string[] {
  return tableOf([
    ...HEAD,
    ...devices.map(({ device, server, durable, background, since, push }) => [
      device,
      server ?? "-",
      server === null ? "asleep" : background ? "background" : "connected",
      roughly(Date.now() - since),
      push ?? "-",
      durable ? "held while away" : "not held",
    ]),
  ]);
}
