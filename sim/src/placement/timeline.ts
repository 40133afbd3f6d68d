/** Shares of connects, and of hints that were refused, in the hours after a change of the servers. */
export interface Window {
  /** Minutes since the change. */
  readonly from: number;
  readonly connects: readonly number[];
  readonly hints: number;
  readonly refused: number;
}

const WINDOW_MS = 600_000;
/** Four hours. */
const WINDOWS = 24;

export class Timeline {
  readonly windows: { from: number; connects: number[]; hints: number; refused: number }[] = [];
  readonly #servers: number;
  #began = -Infinity;

  constructor(servers: number) {
    this.#servers = servers;
  }

  /** A change begins windows of its own. */
  begin(now: number): void {
    this.#began = now;
  }

  connected(now: number, server: number): void {
    const window = this.#window(now);
    if (window !== undefined) window.connects[server]!++;
  }

  hinted(now: number, isRefused: boolean): void {
    const window = this.#window(now);
    if (window === undefined) return;
    window.hints++;
    if (isRefused) window.refused++;
  }

  #window(now: number): Timeline["windows"][number] | undefined {
    const nth = Math.floor((now - this.#began) / WINDOW_MS);
    if (nth >= WINDOWS) return undefined;
    const from = (nth * WINDOW_MS) / 60_000;
    const last = this.windows.at(-1);
    if (last?.from === from) return last;
    const connects = Array.from({ length: this.#servers }, () => 0);
    const window = { from, connects, hints: 0, refused: 0 };
    this.windows.push(window);
    return window;
  }
}
