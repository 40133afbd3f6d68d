import type { Entry, IdleResult, IdleTask } from "./task.ts";

import { cpuMicros, residentBytes } from "../proc.ts";
import { BeckonDevice, byToken } from "./beckon.ts";
import { connectToFloor } from "./floor.ts";
import { inParallel } from "./parallel.ts";

/** Connects before anything is measured: the code is compiled by then, and what is made once is there. */
const WARMUP = 500;
/** The server is quiet when it uses less than this share of a core over a look of so many ms. */
const QUIET_SHARE = 0.03;
const LOOK = 500;
/** How long it may take to get quiet, ms. */
const PATIENCE = 60_000;

interface Connection {
  terminate(): void;
}

/** Connects number `index`; the same number is the same user. */
type Connect = (index: number, entry: Entry) => Promise<Connection>;

export async function idleLoad(task: IdleTask): Promise<IdleResult> {
  const { connections, pid } = task;
  const connect = task.target === "floor" ? floor(task.port) : beckon(task.port);

  // Other users than those that are measured.
  for (const entry of ["first", "token", "ticket"] as const) {
    const warm = await inParallel(WARMUP, (index) => connect(connections + index, entry));
    await leave(pid, warm);
  }
  const before = await settledMemory(pid);

  const phase = async (entry: Entry): Promise<[micros: number, all: Connection[]]> => {
    const start = cpuMicros(pid);
    const all = await inParallel(connections, (index) => connect(index, entry));
    await quiet(pid);
    return [(cpuMicros(pid) - start) / connections, all];
  };

  const [first, atFirst] = await phase("first");
  const bytes = ((await settledMemory(pid)) - before) / connections;
  await leave(pid, atFirst);
  const [token, byToken] = await phase("token");
  await leave(pid, byToken);
  const [ticket] = await phase("ticket");
  return { bytes, connectMicros: { first, token, ticket } };
}

function floor(port: number): Connect {
  return (index) => connectToFloor(port, index);
}

function beckon(port: number): Connect {
  const tickets: Uint8Array[] = [];
  return async (index, entry) => {
    const user = `user-${index}`;
    const ticket = tickets[index];
    const credentials =
      entry === "ticket" && ticket !== undefined ? { token: "", ticket } : byToken(user);
    const { device, welcome } = await BeckonDevice.connect(port, user, credentials);
    tickets[index] = welcome.ticket;
    return device;
  };
}

/** Ends connections, and waits until the server is done with them. */
async function leave(pid: number, connections: readonly Connection[]): Promise<void> {
  for (const connection of connections) connection.terminate();
  await quiet(pid);
}

async function settledMemory(pid: number): Promise<number> {
  process.kill(pid, "SIGUSR2");
  await quiet(pid);
  return residentBytes(pid);
}

async function quiet(pid: number): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  let used = cpuMicros(pid);
  while (performance.now() < deadline) {
    await Bun.sleep(LOOK);
    const now = cpuMicros(pid);
    if (now - used <= QUIET_SHARE * LOOK * 1000) return;
    used = now;
  }
  throw new Error(`the server was not quiet within ${PATIENCE} ms`);
}
