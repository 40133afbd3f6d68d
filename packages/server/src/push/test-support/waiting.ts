import type { VirtualClock } from "../../cluster/test-support/virtual-clock.ts";

const PATIENCE = 10_000;

export async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Time goes on, in small steps, until it answers; how long that took. */
export async function pass(clock: VirtualClock, promise: Promise<unknown>): Promise<number> {
  const start = clock.monotonic();
  const progress = { isDone: false };
  void promise.then(() => (progress.isDone = true));
  const deadline = Date.now() + PATIENCE;
  while (!progress.isDone && Date.now() < deadline) {
    await clock.advance(20);
    // Sockets have to be heard in between.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return clock.monotonic() - start;
}
