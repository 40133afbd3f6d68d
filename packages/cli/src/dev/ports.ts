/** Ports on loopback; one that another program has is passed over. */

/** Tried one after the other; then nothing can be had. */
const TRIES = 200;

export interface Taken {
  readonly wanted: number;
  readonly got: number;
}

export class Ports {
  /** What was passed over. */
  readonly taken: Taken[] = [];
  readonly #given = new Set<number>();

  /** The first free one from `wanted` on that was not given before; 0: any, as the system chooses. */
  next(wanted: number): number {
    if (wanted === 0) return 0;
    for (let port = wanted; port < Math.min(wanted + TRIES, 65_536); port++) {
      if (this.#given.has(port) || !isFree(port)) continue;
      this.#given.add(port);
      if (port !== wanted) this.taken.push({ wanted, got: port });
      return port;
    }
    throw new Error(`no free port from ${wanted} to ${wanted + TRIES - 1}`);
  }
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
