/** `beckon replay --processes`: real servers as processes of their own, on a real NATS and a real PostgreSQL. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { SQL } from "bun";

import { type NatsProcess, startNats } from "../packages/server/src/cluster/test-support/nats.ts";
import {
  type PostgresProcess,
  startPostgres,
} from "../packages/server/src/store/test-support/postgres.ts";
import { hasEngines, sequentialTest } from "./support/cluster.ts";
import { Installation } from "./support/process.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(180_000);

let nats: NatsProcess;
let postgres: PostgresProcess;
let here: Installation;
if (hasEngines) {
  beforeAll(async () => {
    [nats, postgres, here] = await Promise.all([
      startNats(),
      startPostgres(),
      Installation.create(),
    ]);
  });
  afterAll(() => Promise.all([nats.stop(), postgres.remove(), here.remove()]));
}

const COMMUNITY = ["--generate", "community", "--users", "120", "--seed", "5"];

function start(...args: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const bus = `nats://127.0.0.1:${nats.port}`;
  const engines = ["--processes", "--bus", bus, "--store", postgres.url];
  return here.beckon("replay", ...COMMUNITY, ...engines, "--json", ...args);
}

async function schemas(): Promise<string[]> {
  const sql = new SQL(postgres.url, { max: 1 });
  try {
    const rows: { name: string }[] = await sql`
      SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'replay_%'`;
    return rows.map(({ name }) => name);
  } finally {
    await sql.close();
  }
}

interface Placed {
  readonly locality: number;
  readonly redirects: number;
  readonly cpuOf: string;
  readonly cpuMs: number;
  readonly busBytes: number;
}

const FAULTLESS = {
  ok: true,
  processes: true,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  late: 0,
  unpushed: 0,
  crashes: 0,
  problems: [],
};

describe("servers in processes of their own", () => {
  sequentialTest("L1 to L5 hold, and a wake brings two together (M8)", async () => {
    const child = start("--messages", "600", "--in-flight", "8");
    const result: unknown = await new Response(child.stdout).json();
    expect(result).toMatchObject({ ...FAULTLESS, acked: 600, delivered: 600 });
    expect((result as { locality: number }).locality).toBeGreaterThan(0.5);
    expect(await child.exited).toBe(0);
    expect(await schemas()).toEqual([]);
  });

  sequentialTest("the same while one after the other is killed, as by kill -9", async () => {
    const args = ["--messages", "600", "--devices-per-user", "2", "--chaos", "2"];
    const child = start(...args, "--in-flight", "4");
    const result: unknown = await new Response(child.stdout).json();
    expect(result).toMatchObject({ ...FAULTLESS, acked: 600, delivered: 600 });
    expect((result as { kills: number }).kills).toBeGreaterThan(0);
  });

  sequentialTest("the same with devices by WebSocket and by TCP", async () => {
    const args = ["--messages", "600", "--devices-per-user", "2", "--chaos", "2"];
    const child = start(...args, "--in-flight", "4", "--protocols", "ws,tcp");
    const result: unknown = await new Response(child.stdout).json();
    expect(result).toMatchObject({ ...FAULTLESS, acked: 600, delivered: 600 });
    const { connectsByProtocol, kills } = result as {
      connectsByProtocol: { ws: number; tcp: number };
      kills: number;
    };
    expect(kills).toBeGreaterThan(0);
    expect(Math.min(connectsByProtocol.ws, connectsByProtocol.tcp)).toBeGreaterThan(50);
  });

  sequentialTest(
    "B1, B3: devices that are always on are placed, what that costs is told, and a server that is drained comes back",
    async () => {
      const args = ["--messages", "200", "--mode", "always-on", "--gain", "locality"];
      const changes = ["--change", "1d:drain:s2", "--change", "2d:add:s2"];
      const child = start(...args, ...changes, "--compare", "random,move", "--in-flight", "4");
      const results = (await new Response(child.stdout).json()) as Record<string, Placed>;
      const { random, move } = results;
      for (const result of [random!, move!]) {
        expect(result).toMatchObject({ ...FAULTLESS, delivered: 200, drains: 1 });
        expect(result.cpuOf).toBe("servers");
        expect(Math.min(result.cpuMs, result.busBytes)).toBeGreaterThan(0);
      }
      expect(random!.redirects).toBe(0);
      expect(move!.redirects).toBeGreaterThan(0);
      expect(move!.locality).toBeGreaterThan(random!.locality);
    },
  );

  sequentialTest("one that is interrupted leaves nothing behind", async () => {
    const child = start("--messages", "100000", "--progress", "json");
    const reader = child.stdout.getReader();
    await reader.read();
    const servers = serversOf(child.pid);
    expect(servers).toHaveLength(4);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    await until(() => servers.every((pid) => !isAlive(pid)), "the servers to end");
    expect(await schemas()).toEqual([]);
  });
});

test("engines that cannot be had are named, with what the server said of them", async () => {
  const folder = await Installation.create();
  try {
    const engines = ["--bus", "nats://127.0.0.1:9", "--store", "postgres://u@127.0.0.1:9/d"];
    const child = folder.beckon(
      "replay",
      ...COMMUNITY,
      "--servers",
      "1",
      "--processes",
      ...engines,
    );
    const notes = await new Response(child.stderr).text();
    expect(await child.exited).toBe(1);
    expect(notes).toStartWith("beckon: s1 did not start\n");
    expect(notes).toContain("the database cannot be used: nobody answers at its address");
  } finally {
    await folder.remove();
  }
});

/** All that descend from a process and run `serve`. */
function serversOf(pid: number): number[] {
  const { stdout } = Bun.spawnSync(["ps", "-eo", "pid=,ppid=,args="]);
  const all = stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => /^ *(\d+) +(\d+) +(.*)$/.exec(line)!)
    .map(([, child, parent, args]) => ({ child: Number(child), parent: Number(parent), args }));
  const below = (parent: number): typeof all =>
    all.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.child)]);
  return below(pid)
    .filter(({ args }) => args!.endsWith(" serve"))
    .map(({ child }) => child);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
