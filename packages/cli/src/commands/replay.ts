import { Command, InvalidArgumentError, Option } from "commander";

import { parseDuration } from "@beckon/server";

import { integer } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { changed, type ServerChange } from "../replay/change.ts";
import { community, COMMUNITY_LIMITS } from "../replay/community.ts";
import { type Protocol, PROTOCOLS } from "../replay/cluster.ts";
import { type Fault, FAULTS } from "../replay/plant.ts";
import type { Engines } from "../replay/processes.ts";
import { replay } from "../replay/replay.ts";
import { drawReport } from "../replay/page.ts";
import { comparison, headline, progressLine, table } from "../replay/report.ts";
import { type Mode, MODES } from "../replay/people.ts";
import { type Gain, POLICIES, type Policy, type Result } from "../replay/result.ts";
import { type Trace, traceFile } from "../replay/trace.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly generate?: "community";
  readonly users: number;
  readonly messages: number;
  readonly servers: number;
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly compare?: true | readonly Policy[];
  readonly gain: Gain;
  readonly cap: number;
  readonly change: readonly ServerChange[];
  readonly report?: string;
  readonly mode: Mode;
  readonly inFlight: number;
  readonly devicesPerUser: number;
  readonly chaos: number;
  readonly limit?: number;
  readonly seed: number;
  readonly processes?: true;
  readonly bus?: string;
  readonly store?: string;
  readonly plant?: Fault;
  readonly json?: true;
  readonly progress?: "json";
}

const HELP = `
TRACE is a .tsv or .tsv.gz file with a message a line, in order of time:
  unix seconds <TAB> sender <TAB> recipient

It starts the servers in this process (a bus in memory, one SQLite file in a temporary folder, a push service for
development), or with --processes each in one of its own, on the NATS and the PostgreSQL that --bus and --store name,
in a schema that is made for the run and removed after it. It registers a device for every user, and sends every
message of the trace, in its order, through the SDK over loopback. With --protocols ws,tcp every other device connects
by TCP.

How devices are online (--mode):
  short, long   it sleeps when the trace's time is past its last send or receipt by 5 min, or by 6 h
  always-on     it is connected for 6 h in the mean by the trace's clock, then away for a minute or until it is pushed
One that sends wakes up; one that is pushed follows the address in the push.

What places devices (--policy), and where one that has no push to follow dials:
  random   nothing; any server, and so do pushes
  wake     pushes name the sender's server; any
  place    servers, too, when it connects; where it was last
  move     servers, also while it is connected; where it was last
--compare runs several over the same messages; --report draws what came of them. With --mode always-on and
--in-flight 1 each event is complete before the next, and a run agrees with npm run sim -- placement --staleness 0.

What is counted:
  local       handed over by the server that had acknowledged the message to its sender, as both SDKs saw it
  woken       handed over from the store to a device that a push had woken
  lost        acknowledged, and never handed over to a device that was online or had been pushed
  late        handed over more than 5 s after it was acknowledged and the device was online
  unpushed    held for a sleeping device without a push
  gaps        handed over with the remark that something before it is missing
  redirects   connects that a server sent elsewhere; moves: devices that changed their server while connected
  fullest     devices of the fullest server by the mean of all, each 10 min of the trace
  CPU, bus    of all that a message took and what came with it, connects too: CPU of the servers, with the devices
              where they are in the same process; bytes that servers heard from each other
  repeats     sent twice over the wire (wireDuplicates); the SDK keeps them from the application (duplicated)

With --progress json, once all devices are registered, the output has lines before the result such as
{"progress":{"done":120,"of":3000,"seconds":1.2,"locality":0.81}}: messages sent, and the share of local deliveries.

The exit code is 1 if anything was lost, repeated, out of order, late or not pushed, if the servers counted
otherwise, or if --chaos came to kill nobody.

Examples:
  beckon replay messages.tsv.gz --servers 4 --json
  beckon replay messages.tsv.gz --limit 20000 --devices-per-user 2 --chaos 5
  beckon replay --generate community --seed 7 --compare
  beckon replay messages.tsv.gz --limit 20000 --mode always-on --in-flight 1 --compare random,move --report report.html
  beckon replay messages.tsv.gz --mode always-on --policy move --change 3d:kill:s2 --change 4d:add:s2
  beckon replay --generate community --protocols ws,tcp --chaos 2
  beckon replay messages.tsv.gz --processes --bus nats://localhost --store postgres://beckon@localhost/chat`;

export function replayCommand(terminal: Terminal): Command {
  return new Command("replay")
    .summary("replay real or made-up messages through real servers and devices")
    .description(
      "Replays who wrote to whom, and when, through real servers and real devices, and judges what came of it.",
    )
    .argument("[trace]", "a .tsv or .tsv.gz file")
    .addOption(
      new Option("--generate <model>", "a made-up trace instead of a file").choices(["community"]),
    )
    .option("--users <n>", "of the community", integer(2, COMMUNITY_LIMITS.users), 400)
    .option("--messages <n>", "of the community", integer(1, COMMUNITY_LIMITS.messages), 3_000)
    .option("--limit <m>", "the first m messages of the trace alone", integer(1, 1e9))
    .option("--servers <n>", "how many servers", integer(1, 64), 4)
    .option("--protocols <list>", "what the devices take turns with: ws,tcp", protocolsOf, ["ws"])
    .addOption(
      new Option("--policy <policy>", "what places devices").choices(POLICIES).default("wake"),
    )
    .option("--compare [list]", "run several policies; default: all of them", policiesOf)
    .option(
      "--gain <gain>",
      "what a redirect or a move has to bring: cost, locality, or a number",
      gainOf,
      "cost" as Gain,
    )
    .option("--cap <times>", "at so many times the mean a server attracts nobody", capOf, 1.1)
    .addOption(
      new Option("--mode <mode>", "how devices are online").choices(MODES).default("short"),
    )
    .option("--in-flight <n>", "messages under way at most", integer(1, 1_024), 64)
    .option("--devices-per-user <d>", "one sends, the others mostly sleep", integer(1, 16), 1)
    .option("--chaos <seconds>", "how often to kill a server; 0: never", integer(0, 3_600), 0)
    .option(
      "--change <when:what:server>",
      "such as 3d:kill:s2, 3d:drain:s2, 4d:add:s2; may be said again",
      (text: string, before: readonly ServerChange[]) => changed(text, before, parseDuration),
      [],
    )
    .option("--processes", "each server in a process of its own; needs --bus and --store")
    .option("--bus <url>", "nats://HOST:PORT, several with commas between (or $BECKON_BUS)")
    .option(
      "--store <url>",
      "postgres://USER@HOST:PORT/DATABASE (or $BECKON_STORE, which ps does not show)",
    )
    .option("--seed <n>", "repeats what is chosen at random", integer(0, 2 ** 32), 1)
    .addOption(new Option("--plant <fault>").choices(FAULTS).hideHelp())
    .option("--report <file>", "write a page with plots")
    .option("--json", "print the result as one JSON object")
    .addOption(
      new Option("--progress <form>", "say how far it is, in a line each 200 ms").choices(["json"]),
    )
    .addHelpText("after", HELP)
    .action(async (file: string | undefined, options: Options) => {
      const trace = traceOf(file, options);
      const policies = chosen(options);
      const engines = enginesOf(options, policies, terminal.env);
      for (const { server } of options.change) {
        if (server >= options.servers)
          throw new UsageError(`there is no server s${server + 1}`, "See --servers.");
      }
      const results: Result[] = [];
      for (const policy of policies) {
        results.push(await runOnce(trace, policy, engines, options, terminal));
      }
      const { report } = options;
      if (report !== undefined) await Bun.write(report, drawReport(results));
      if (options.json) {
        const byPolicy = results.map((result) => [result.policy, result]);
        const output = options.compare ? Object.fromEntries(byPolicy) : results[0];
        terminal.out(`${JSON.stringify(output)}\n`);
      }
      const problems = results.flatMap((result) => result.problems);
      if (results.some((result) => !result.ok)) {
        throw new Failure(["the replay found faults", ...problems].join("\n  "));
      }
      if (options.json) return;
      if (options.compare !== undefined) terminal.out(comparison(results));
      if (report !== undefined) terminal.out(`${report}\n`);
    });
}

function chosen({ compare, policy }: Options): readonly Policy[] {
  if (compare === undefined) return [policy];
  return compare === true ? POLICIES : compare;
}

async function runOnce(
  trace: Trace,
  policy: Policy,
  engines: Engines | undefined,
  options: Options,
  terminal: Terminal,
): Promise<Result> {
  const { servers, protocols, gain, cap, mode, inFlight, devicesPerUser } = options;
  const { chaos, change: changes, seed, plant } = options;
  const line = progressLine(terminal);
  try {
    const result = await replay({
      trace,
      policy,
      servers,
      protocols,
      gain,
      cap,
      mode,
      inFlight,
      devicesPerUser,
      chaos,
      changes,
      seed,
      ...(engines === undefined ? {} : { engines }),
      // What was lost on purpose need not be waited for.
      ...(plant === undefined ? {} : { plant, quietMs: 1_000 }),
      onProgress: (progress) => {
        if (options.progress === undefined) line.show(progress);
        else if (typeof progress !== "string") terminal.out(`${JSON.stringify({ progress })}\n`);
      },
    });
    line.clear();
    if (!options.json) terminal.out(`${headline(result)}${table(result)}\n`);
    return result;
  } finally {
    line.clear();
  }
}

function protocolsOf(text: string): Protocol[] {
  return text.split(",").map((one) => {
    const known = PROTOCOLS.find((protocol) => protocol === one.trim());
    if (known !== undefined) return known;
    throw new InvalidArgumentError(`"${one}" is none of ${PROTOCOLS.join(", ")}.`);
  });
}

function policiesOf(text: string): Policy[] {
  return text.split(",").map((one) => {
    const known = POLICIES.find((policy) => policy === one.trim());
    if (known !== undefined) return known;
    const policies = POLICIES.join(", ");
    throw new InvalidArgumentError(`"${one}" is none of ${policies}; a trace stands before it.`);
  });
}

function gainOf(text: string): Gain {
  return text === "cost" || text === "locality" ? text : numberOf(text, 0, 1e6);
}

function capOf(text: string): number {
  return numberOf(text, 1, 100);
}

function numberOf(text: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= low && value <= high) return value;
  throw new InvalidArgumentError(`Give a number from ${low} to ${high}.`);
}

/** Undefined: all of it in this process. */
function enginesOf(
  options: Options,
  policies: readonly Policy[],
  env: Terminal["env"],
): Engines | undefined {
  const { processes, mode } = options;
  let { bus, store } = options;
  if (processes === undefined) {
    if (bus === undefined && store === undefined) return undefined;
    throw new UsageError(
      "--bus and --store are what servers of several processes stand on",
      "Say --processes, too.",
    );
  }
  bus ??= env["BECKON_BUS"];
  store ??= env["BECKON_STORE"];
  if (bus === undefined || store === undefined) {
    throw new UsageError(
      "--processes needs --bus nats://… and --store postgres://…",
      "On Debian: apt-get install nats-server postgresql",
    );
  }
  if (policies.includes("random") && mode !== "always-on") {
    throw new UsageError(
      "a server in a process of its own names its own addresses in a wake",
      "Leave out --processes for wakes that name any server, or say --mode always-on.",
    );
  }
  return { bus, store };
}

function traceOf(file: string | undefined, options: Options): Trace {
  const { generate, users, messages, seed, limit = Infinity } = options;
  if (file !== undefined && generate !== undefined) {
    throw new UsageError("a trace and --generate cannot both be replayed", "Name one of them.");
  }
  if (file !== undefined) return traceFile(file, limit);
  if (generate === undefined) {
    throw new UsageError(
      "there is nothing to replay",
      "Name a trace, or try: beckon replay --generate community",
    );
  }
  return community({ users, messages: Math.min(messages, limit), seed });
}
