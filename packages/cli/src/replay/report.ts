import { tableOf } from "../table.ts";
import type { Terminal } from "../terminal.ts";
import type { Result } from "./result.ts";

export const number = (value: number): string => value.toLocaleString("en-US");
export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Of CPU. */
export const milliseconds = (value: number): string => `${value.toFixed(2)} ms`;
export const bytes = (value: number): string => `${number(Math.round(value))} B`;

/** The result as a table for people. */
export function table(result: Result): string {
  const { acked, seconds, connects, pushes, kills } = result;
  const deliveries = result.local + result.remote;
  const rows: [name: string, value: string, remark: string][] = [
    ["messages", number(result.messages), `${number(Math.round(acked / seconds))} a second`],
    ["acknowledged", number(acked), `at most ${result.peakInFlight} unanswered at a time`],
    ["delivered", number(result.delivered), faultsOf(result)],
    [
      "local",
      percent(result.locality),
      `of ${number(deliveries)}: accepted and delivered by one server`,
    ],
    ["woken", number(result.woke), `deliveries after a push, ${number(pushes)} pushes`],
    ["connects", number(connects), spreadOf(result)],
    [
      "redirects",
      result.redirects.toFixed(1),
      "for 1,000 messages: connects that were sent elsewhere",
    ],
    [
      "moves",
      result.moves.toFixed(1),
      "for 1,000 messages: devices that changed their server while connected",
    ],
    [
      "fullest",
      result.imbalanceP95.toFixed(2),
      `devices by the mean, p95; at most ${result.imbalanceMax.toFixed(2)}`,
    ],
    ["CPU", milliseconds(result.cpuMs), `a message, of ${result.cpuOf}`],
    ["bus", bytes(result.busBytes), "a message, heard by all servers together"],
    ["repeats", number(result.wireDuplicates), "on the wire; none may reach the application"],
  ];
  const { ws, tcp } = result.connectsByProtocol;
  if (tcp > 0) rows.push(["by tcp", number(tcp), `of the connects; ${number(ws)} by ws`]);
  if (result.chaos > 0) {
    rows.push(["kills", number(kills), "servers killed without a last word"]);
  }
  const name = Math.max(...rows.map((row) => row[0].length));
  const value = Math.max(...rows.map((row) => row[1].length));
  return rows
    .map((row) => `  ${row[0].padEnd(name)}  ${row[1].padStart(value)}  ${row[2]}\n`)
    .join("");
}

export const PLACED: Readonly<Record<Result["policy"], string>> = {
  random: "wakes name a random server",
  wake: "wakes name the sender's server",
  place: "devices are placed when they connect",
  move: "devices are placed when they connect, and moved",
};

export function headline(result: Result): string {
  const { trace, policy, servers, processes, users, devicesPerUser } = result;
  const devices = devicesPerUser === 1 ? "" : ` with ${devicesPerUser} devices each`;
  const apart = processes ? " in processes of their own" : "";
  return `${trace}: ${number(users)} users${devices}, ${servers} servers${apart}, ${PLACED[policy]}\n`;
}

function faultsOf(result: Result): string {
  const { lost, duplicated, reordered, late, unpushed, gaps } = result;
  const faults = `${lost} lost, ${duplicated} repeated, ${reordered} out of order`;
  return `${faults}, ${gaps} with a gap, ${late} late, ${unpushed} without a push`;
}

function spreadOf({ connects, connectsByServer }: Result): string {
  const shares = Object.entries(connectsByServer).map(
    ([server, count]) => `${server} ${connects === 0 ? "0 %" : percent(count / connects)}`,
  );
  return shares.join(", ");
}

/** What several runs over the same trace show. */
export function comparison(results: readonly Result[]): string {
  const head = ["", "local", "redirects", "moves", "fullest", "CPU", "bus"];
  const rows = results.map((result) => [
    result.policy,
    percent(result.locality),
    result.redirects.toFixed(1),
    result.moves.toFixed(1),
    `${result.imbalanceP95.toFixed(2)}/${result.imbalanceMax.toFixed(2)}`,
    milliseconds(result.cpuMs),
    bytes(result.busBytes),
  ]);
  const right = head.map((_, i) => i).slice(1);
  return `${tableOf([head, ...rows], right).join("\n")}

local: deliveries that stayed on one server. redirects, moves: for 1,000 messages. fullest: devices of the fullest server by the mean, p95
and maximum. CPU, bus: of ${results[0]!.cpuOf}, and what all servers heard from each other, for a message with all that comes with it.
Every message was acknowledged, and handed over once and in order, by real servers and devices on this machine.

How it works:            docs/architecture.md
What is guaranteed:      docs/guarantees.md
With messages of yours:  npx beckon replay --help
A server of your own:    npx beckon serve --help
`;
}

/** What is told while it runs. */
export interface Progress {
  readonly done: number;
  readonly of: number;
  readonly seconds: number;
  readonly locality: number;
}

/** One line that is written over again; nothing where nobody watches. */
export interface ProgressLine {
  show(progress: Progress | string): void;
  clear(): void;
}

export function progressLine(terminal: Terminal): ProgressLine {
  let length = 0;
  function write(text: string): void {
    if (!terminal.interactive) return;
    const line = text.slice(0, terminal.columns - 1);
    terminal.note(`\r${line.padEnd(length)}`);
    length = line.length;
  }
  return {
    show: (progress) => write(typeof progress === "string" ? progress : describe(progress)),
    clear() {
      if (length === 0) return;
      write("");
      terminal.note("\r");
      length = 0;
    },
  };
}

function describe({ done, of, seconds, locality }: Progress): string {
  const rate = seconds === 0 ? 0 : Math.round(done / seconds);
  return `${number(done)} of ${number(of)} messages, ${number(rate)} a second, ${percent(locality)} local`;
}
