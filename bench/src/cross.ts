/** A message whose two devices are on two servers: what the hop costs, with all that takes part in it. */
import { startNats } from "../../packages/server/src/cluster/test-support/nats.ts";
import { startPostgres } from "../../packages/server/src/store/test-support/postgres-process.ts";
import { ServerProcess } from "../../packages/cli/src/local/server-process.ts";
import type { RelayResult, RelayTask } from "./load/task.ts";
import type { Cores, Target } from "./processes.ts";

import { command, env, runLoad, startServer } from "./processes.ts";
import { compare, type RelayWork } from "./relay.ts";
import { SECRET } from "./token.ts";

const DEFAULTS = {
  pairs: [1, 100, 1000],
  window: [1, 16],
  payload: 80,
  runs: 3,
  warmup: 2,
  seconds: 3,
};

/** More than anybody sends. */
const UNLIMITED = "1000000";

export function run(args: readonly string[]): Promise<void> {
  return compare("cross", args, DEFAULTS, measureCross);
}

/** One run, on two servers that have just been started. CPU is that of both, and of what is between them. */
export async function measureCross(
  target: Target,
  work: RelayWork,
  cores?: Cores,
): Promise<RelayResult> {
  await using pair = await (target === "floor" ? startFloors(cores) : startServers(cores));
  const { ports, pids } = pair;
  return await runLoad<RelayTask>({ scenario: "relay", target, ports, pids, ...work }, cores);
}

interface Two extends AsyncDisposable {
  readonly ports: readonly number[];
  readonly pids: readonly number[];
}

/** Two bare relays with one TCP connection between them. */
async function startFloors(cores?: Cores): Promise<Two> {
  const second = await startServer("floor", cores, "link");
  const first = await startServer("floor", cores, String(second.link));
  return {
    ports: [first.port, second.port],
    pids: [first.pid, second.pid],
    async [Symbol.asyncDispose]() {
      await first[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
    },
  };
}

/** Two times `beckon serve`, as it ships; PostgreSQL, which takes no part in live messages, is not counted. */
async function startServers(cores?: Cores): Promise<Two> {
  const [nats, postgres] = await Promise.all([startNats(), startPostgres()]);
  const servers = ["s1", "s2"].map(
    (name) =>
      new ServerProcess({
        name,
        command: command(cores?.server, "../../packages/cli/src/main.ts", "serve"),
        env: {
          BECKON_BUS: `nats://127.0.0.1:${nats.port}`,
          BECKON_STORE: postgres.url,
          BECKON_AUTH_SECRET: env[SECRET]!,
          BECKON_LIMITS_RATE: UNLIMITED,
          BECKON_LIMITS_BURST: UNLIMITED,
        },
        onCrash: (what) => {
          throw new Error(what);
        },
      }),
  );
  await Promise.all(servers.map((server) => server.start()));
  await Promise.all(servers.map((server) => server.ready(servers.length)));
  const pids = [...servers.map(({ pid }) => pid!), nats.pid];
  pin(nats.pid, cores?.server);
  return {
    ports: servers.map(({ url }) => Number(new URL(url).port)),
    pids,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server.kill()));
      await Promise.all([nats.stop(), postgres.remove()]);
    },
  };
}

/** All threads of a process. */
function pin(pid: number, core: number | undefined): void {
  if (core === undefined) return;
  Bun.spawnSync(["taskset", "--all-tasks", "--cpu-list", "--pid", String(core), String(pid)]);
}
