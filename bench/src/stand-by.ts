/** The line that a measured server writes when it listens. */
export interface Listening {
  readonly port: number;
}

/**
 * What a measured server does besides its work: it says where it listens, collects garbage on
 * SIGUSR2, so that what it holds can be told from what it has left behind, and ends with the
 * process that started it.
 */
export function standBy(port: number): void {
  process.on("SIGUSR2", () => Bun.gc(true));
  process.stdin.on("end", () => process.exit());
  process.stdin.resume();
  const listening: Listening = { port };
  console.log(JSON.stringify(listening));
}
