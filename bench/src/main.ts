/** `npm run bench -- SCENARIO [OPTIONS]`. */
import { UsageError } from "./options.ts";

interface Scenario {
  run(args: readonly string[]): Promise<void>;
}

/** Each in a module of its own, which the others do not need. */
const SCENARIOS: Readonly<Record<string, () => Promise<Scenario>>> = {
  relay: () => import("./relay.ts"),
  cross: () => import("./cross.ts"),
  idle: () => import("./idle.ts"),
  codec: () => import("./codec.ts"),
  sessions: () => import("./sessions.ts"),
  join: () => import("./join.ts"),
  store: () => import("./store.ts"),
  wake: () => import("./wake.ts"),
};

const USAGE = `npm run bench -- SCENARIO [OPTIONS]

  relay    messages between connected devices, acknowledged end to end
             --pairs 100,1000  --window 1,16  --payload 80 (bytes)
             --runs 3  --warmup 2  --seconds 3
  cross    the same where each pair is on two servers: NATS between them, PostgreSQL under them
             --pairs 1,100,1000  --window 1,16  --payload 80 (bytes)
             --runs 3  --warmup 2  --seconds 3
  idle     memory of idle connections, and CPU of a connect
             --connections 15000  --runs 3
  codec    µs to encode and to decode a frame, beside protobufjs
             --payload 80 (bytes)  --runs 15  --rounds 1500  --frames 64 (in a message)
  sessions the session table: ns of a lookup, bytes of an entry, ns to learn and to drop one
             --entries 1000000,10000000  --runs 3
  join     seconds until a new server has learnt all sessions of the others, over NATS
             --sessions 100000,1000000  --owners 2  --runs 3
  store    durable holds, each settled: SQLite, and a PostgreSQL of its own
             --writers 1,64,1000  --users 20000  --payload 200 (bytes)
             --runs 3  --seconds 3
  wake     ms from a SEND to the wake of a device that is away, and from its HELLO to the message
             --rate 2000 (messages a second)  --coalesced 10 (into one wake)  --payload 80 (bytes)
             --connects 1000 (devices)  --connect-rate 200 (a second)
             --runs 3  --warmup 2  --seconds 5

  relay, cross, idle, join and wake need Linux; these but join:
             --cores 0,1       of the server, of the load
             --ours floor      measure the floor beside itself: how much is noise
  all:       --json            one object on standard output

How it measures, and how to read it: bench/README.md`;

const [name = "", ...args] = process.argv.slice(2);
const load = SCENARIOS[name];
if (load === undefined) {
  console.error(USAGE);
  process.exit(name === "" || name === "--help" ? 0 : 2);
}
try {
  const scenario = await load();
  await scenario.run(args);
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : String(error));
  process.exit(error instanceof UsageError ? 2 : 1);
}
