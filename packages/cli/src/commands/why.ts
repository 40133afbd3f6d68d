import type { PlacedDevice, UserPlacement } from "@beckon/server";
import { Command } from "commander";

import { type ApiOptions, callApi, withApiOptions } from "../api.ts";
import { roughly, tableOf } from "../table.ts";
import type { Terminal } from "../terminal.ts";

interface Answer extends UserPlacement {
  /** The one that answers. */
  readonly server: string;
}

type Place = Answer["servers"][number];
type Associate = Answer["strongest"][number];
type Verdict = NonNullable<PlacedDevice["now"]>;
type Decision = NonNullable<PlacedDevice["last"]>;

const HELP = `
Of each device: where it is, what would become of it now, and the last redirect or move that a server remembers to have
decided about it. Of each server: devices, its fair share of them, with how many it attracts nobody any more (CAP), how
many associates draw the user there and what they weigh, what a seat costs there (PRESSURE), and WEIGHT less PRESSURE
(SCORE). A device belongs to the server with the best score that attracts; docs/placement.md has the rule.

Examples:
  BECKON_API_TOKEN=$(cat api-token) beckon why ann
  beckon why ann --json --admin http://10.0.0.5:9090`;

export function whyCommand(terminal: Terminal): Command {
  const command = new Command("why")
    .summary("show why a user is on its server")
    .description(
      "Shows why a user's devices are where they are: what draws them to each server, and what was decided about them. Any one server answers for the whole system (GET /v1/users/USER/placement).",
    )
    .argument("<user>", "whose devices");
  return withApiOptions(command, "the admin address of any server")
    .addHelpText("after", HELP)
    .action(async (user: string, options: ApiOptions) => {
      const path = `/v1/users/${encodeURIComponent(user)}/placement`;
      const answer = await callApi<Answer>({ method: "GET", path }, options, terminal);
      if (options.json) {
        terminal.out(`${JSON.stringify(answer)}\n`);
        return;
      }
      const isKnown = answer.devices.length > 0 || answer.associates > 0;
      if (isKnown) terminal.out(`${linesOf(user, answer).join("\n")}\n`);
      for (const note of notesOf(user, answer, isKnown)) terminal.note(`${note}\n`);
    });
}

function notesOf(user: string, { policy, silent, server }: Answer, isKnown: boolean): string[] {
  const notes: string[] = [];
  if (!isKnown) {
    const exchanged = policy === "wake" ? "" : ", and no message to or from it";
    notes.push(`${user} is not known: there is no device${exchanged}.`);
  }
  if (policy === "wake") {
    notes.push(
      `Placement is off at ${server} (placement.policy = "wake"): devices stay where they come, and pushes alone bring people together.`,
    );
  }
  if (silent.length > 0) {
    notes.push(`No answer from ${silent.join(", ")}: what was decided there is not known.`);
  }
  return notes;
}

function linesOf(user: string, answer: Answer): string[] {
  const { devices, servers } = answer;
  const lines = devices.length > 0 ? devicesOf(answer) : [`${user} has no device.`];
  if (servers.length === 0) return lines;
  return [...lines, "", ...placesOf(answer), "", ...associatesOf(user, answer)];
}

function devicesOf({ devices, gains }: Answer): string[] {
  return tableOf([
    ["DEVICE", "SERVER", "SINCE", "NOW", "LAST DECISION"],
    ...devices.map((device) => [
      device.device,
      device.server ?? "-",
      roughly(Date.now() - device.since),
      device.now === null ? "-" : wordsOf(device, device.now, gains),
      device.last === null ? "-" : decisionOf(device, device.last),
    ]),
  ]);
}

function wordsOf({ server }: PlacedDevice, now: Verdict, gains: Answer["gains"]): string {
  const { what, to, why } = now;
  const gain = now.gain === null ? "" : ` (better by ${weight(now.gain)})`;
  if (what === "stay") {
    if (why === "full") return "stays: all servers are full";
    return `stays: no other is better by ${weight(gains.redirect ?? 0)}`;
  }
  if (what === "any") return "asleep: nothing draws it anywhere";
  if (what === "move") return `moves to ${to} at the next message that crosses${gain}`;
  if (what === "leave") return `leaves for ${to}: ${server} is draining`;
  const reason = REASONS[why];
  return server === null
    ? `asleep: drawn to ${to}`
    : `goes to ${to} when it reconnects: ${reason}${gain}`;
}

const REASONS: Readonly<Record<Verdict["why"], string>> = {
  hint: "its push named it",
  attraction: "its associates are there",
  room: "there is more room",
  full: "there is more room",
  stay: "",
};

const KINDS: Readonly<Record<Decision["kind"], string>> = {
  redirect: "sent",
  move: "moved",
  drain: "sent away",
};

function decisionOf({ server }: PlacedDevice, decision: Decision): string {
  const { at, kind, from, to, why, attraction, gain } = decision;
  const ago = `${roughly(Date.now() - at)} ago`;
  const pull =
    why === "attraction"
      ? ` (${weight(attraction.there)} there, ${weight(attraction.here)} here, gain ${weight(gain)})`
      : "";
  const where = server === from ? "; it did not go, or is back" : "";
  return `${KINDS[kind]} ${ago} from ${from} to ${to}: ${REASONS[why]}${pull}${where}`;
}

function placesOf({ servers, devices, server: answers }: Answer): string[] {
  const own = new Set(devices.map(({ server }) => server));
  const lines = tableOf(
    [
      ["SERVER", "STATE", "DEVICES", "FAIR", "CAP", "DRAWN BY", "WEIGHT", "PRESSURE", "SCORE", ""],
      ...servers.map((one) => [
        one.server,
        stateOf(one),
        number(one.devices),
        weight(one.fair),
        number(one.cap),
        number(one.associates),
        weight(one.weight),
        weight(one.pressure),
        weight(one.score),
        own.has(one.server) ? "here" : "",
      ]),
    ],
    [2, 3, 4, 5, 6, 7, 8],
  );
  return [...lines, `As ${answers} sees it.`];
}

function stateOf({ state, attracts, devices, cap }: Place): string {
  if (state !== "up" || attracts) return state;
  return devices >= cap ? "up, at its cap" : "up, busy";
}

function associatesOf(user: string, { associates, strongest }: Answer): string[] {
  if (strongest.length === 0) return [`${user} has no associates: nothing draws it anywhere.`];
  const others = associates - strongest.length;
  const lines = tableOf(
    [
      ["ASSOCIATE", "WEIGHT", "SERVER"],
      ...strongest.map((one) => [one.user, weight(one.weight), whereOf(one)]),
    ],
    [1],
  );
  return others > 0 ? [...lines, `and ${others} more`] : lines;
}

function whereOf({ servers, named }: Associate): string {
  if (servers.length > 0) return servers.join(", ");
  return named === null ? "asleep" : `asleep, its push names ${named}`;
}

/** As short as it may be and still be told from another. */
function weight(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0 });
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
