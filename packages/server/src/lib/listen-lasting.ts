/** Ports for servers that are killed, and have to find their port free when they start again where they were. */
import { readFileSync } from "node:fs";

/** Of what a system gives to those who ask for no port in particular: outgoing connections above all. */
const LINUX_SAYS = "/proc/sys/net/ipv4/ip_local_port_range";
const FIRST_EPHEMERAL = process.platform === "linux" ? 32_768 : 49_152;
const LAST_EPHEMERAL = process.platform === "linux" ? 60_999 : 65_535;

/** Below it are the ports that people choose for what they run. */
const LOWEST = 10_000;
const HIGHEST = 65_535;
/** A range with fewer ports is passed over. */
const ENOUGH = 1_000;
const ATTEMPTS = 1_000;

/** One for each port that was given. */
const marks: Bun.TCPSocketListener[] = [];

/**
 * A port of loopback that nobody listens at, and that nobody gets by chance while the server that has it is down. The port after it is
 * kept by this process for as long as it lives: whoever else is looking for such ports passes both over. `pick` chooses one of so many.
 */
export function lastingPort(pick: (below: number) => number = anyOf): number {
  const [first, last] = outside(rangeOfLinux());
  const pairs = Math.floor((last - first + 1) / 2);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = first + 2 * pick(pairs);
    const mark = listen(port + 1);
    if (mark === undefined) continue;
    const probe = listen(port);
    probe?.stop(true);
    if (probe === undefined) {
      mark.stop(true);
      continue;
    }
    mark.unref();
    marks.push(mark);
    return port;
  }
  throw new Error("no port is free");
}

/** The first and the last port that are given on request alone; `range`: what Linux says of the others. */
export function outside(range: string | undefined): readonly [first: number, last: number] {
  const [from = FIRST_EPHEMERAL, to = LAST_EPHEMERAL] =
    range?.trim().split(/\s+/).map(Number) ?? [];
  if (from - LOWEST >= ENOUGH) return [LOWEST, from - 1];
  if (HIGHEST - to >= ENOUGH) return [to + 1, HIGHEST];
  // There are none: any will do, mostly.
  return [LOWEST, HIGHEST];
}

function anyOf(below: number): number {
  return Math.floor(Math.random() * below);
}

function rangeOfLinux(): string | undefined {
  try {
    return readFileSync(LINUX_SAYS, "utf8");
  } catch {
    return undefined;
  }
}

/** Undefined: somebody has the port. */
function listen(port: number): Bun.TCPSocketListener | undefined {
  try {
    return Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
  } catch {
    return undefined;
  }
}
