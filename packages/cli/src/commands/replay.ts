import { Command, InvalidArgumentError, Option } from "commander";

import { integer } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { community, COMMUNITY_LIMITS } from "../replay/community.ts";
import { type Protocol, PROTOCOLS } from "../replay/cluster.ts";
import { type Fault, FAULTS } from "../replay/plant.ts";
import type { Engines } from "../replay/processes.ts";
import { replay } from "../replay/replay.ts";
import { comparison, headline, progressLine, table } from "../replay/report.ts";
import type { Mode, Policy, Result } from "../replay/result.ts";
import { type Trace, traceFile } from "../replay/trace.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly generate?: "community";
  readonly users: number;
  readonly messages: number;
  readonly servers: number;
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly compare?: true;
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
message of the trace, in its order, through the SDK over loopback. A device sleeps when the trace's time is past its
last send or receipt by the idle time (--mode). One that sends wakes up, and dials a server at random; one that is
pushed follows the address in the push. With --protocols ws,tcp every other device connects by TCP.

What is counted:
  local       handed over by the server that had acknowledged the message to its sender, as both SDKs saw it
  woken       handed over from the store to a device that a push had woken
  lost        acknowledged, and never handed over to a device that was online or had been pushed
  late        handed over more than 5 s after it was acknowledged and the device was online
  unpushed    held for a sleeping device without a push
  gaps        handed over with the remark that something before it is missing
  repeats     sent twice over the wire (wireDuplicates); the SDK keeps them from the application (duplicated)

With --progress json, once all devices are registered, the output has lines before the result such as
{"progress":{"done":120,"of":3000,"seconds":1.2,"locality":0.81}}: messages sent, and the share of local deliveries.

The exit code is 1 if anything was lost, repeated, out of order, late or not pushed, if the servers counted
otherwise, or if --chaos came to kill nobody.

Examples:
  beckon replay messages.tsv.gz --servers 4 --json
  beckon replay messages.tsv.gz --limit 20000 --devices-per-user 2 --chaos 5
  beckon replay --generate community --seed 7 --compare
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
      new Option("--policy <policy>", "which server a wake names: the sender's, or any")
        .choices(["wake", "random"])
        .default("wake"),
    )
    .option("--compare", "run both policies, random first")
    .addOption(
      new Option("--mode <mode>", "idle time of a device: 300 s, or 6 h")
        .choices(["short", "long"])
        .default("short"),
    )
    .option("--in-flight <n>", "messages under way at most", integer(1, 1_024), 64)
    .option("--devices-per-user <d>", "one sends, the others mostly sleep", integer(1, 16), 1)
    .option("--chaos <seconds>", "how often to kill a server; 0: never", integer(0, 3_600), 0)
    .option("--processes", "each server in a process of its own; needs --bus and --store")
    .option("--bus <url>", "nats://HOST:PORT, several with commas between (or $BECKON_BUS)")
    .option(
      "--store <url>",
      "postgres://USER@HOST:PORT/DATABASE (or $BECKON_STORE, which ps does not show)",
    )
    .option("--seed <n>", "repeats what is chosen at random", integer(0, 2 ** 32), 1)
    .addOption(new Option("--plant <fault>").choices(FAULTS).hideHelp())
    .option("--json", "print the result as one JSON object")
    .addOption(
      new Option("--progress <form>", "say how far it is, in a line each 200 ms").choices(["json"]),
    )
    .addHelpText("after", HELP)
    .action(async (file: string | undefined, options: Options) => {
      const trace = traceOf(file, options);
      const engines = enginesOf(options, terminal.env);
      const policies: readonly Policy[] = options.compare ? ["random", "wake"] : [options.policy];
      const results: Result[] = [];
      for (const policy of policies) {
        results.push(await runOnce(trace, policy, engines, options, terminal));
      }
      if (options.json) {
        const byPolicy = results.map((result) => [result.policy, result]);
        const output = options.compare ? Object.fromEntries(byPolicy) : results[0];
        terminal.out(`${JSON.stringify(output)}\n`);
      }
      const problems = results.flatMap((result) => result.problems);
      if (results.some((result) => !result.ok)) {
        throw new Failure(["the replay found faults", ...problems].join("\n  "));
      }
      if (options.compare && !options.json) terminal.out(comparison(results[0]!, results[1]!));
    });
}

async function runOnce(
  trace: Trace,
  policy: Policy,
  engines: Engines | undefined,
  options: Options,
  terminal: Terminal,
): Promise<Result> {
  const { servers, protocols, mode, inFlight, devicesPerUser, chaos, seed, plant } = options;
  const line = progressLine(terminal);
  try {
    const result = await replay({
      trace,
      policy,
      servers,
      protocols,
      mode,
      inFlight,
      devicesPerUser,
      chaos,
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

/** Undefined: all of it in this process. */
function enginesOf(options: Options, env: Terminal["env"]): Engines | undefined {
  const { processes, policy, compare } = options;
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
  if (compare !== undefined || policy !== "wake") {
    throw new UsageError(
      "a server in a process of its own names its own addresses in a wake",
      "Leave out --processes to compare that with wakes that name any server.",
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
