/** The line that a measured server writes when it listens. */
export interface Listening {
  readonly port: number;
  /** Where another floor connects, if it was asked to wait for one. */
  readonly link?: number;
}

/**
 * What a measured server does besides its work: it says where it listens, collects garbage on
 * SIGUSR2, so that what it holds can be told from what it has left behind, and ends with the
 * process that started it.
 */
export function standBy(listening: Listening): void {
  process.on("SIGUSR2", () => Bun.gc(true));
  process.stdin.on("end", () => process.exit());
  process.stdin.resume();
  console.log(JSON.stringify(listening));
}
