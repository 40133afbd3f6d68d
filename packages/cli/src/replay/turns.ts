/** Turns of the event loop in which something is looked for, before the processor is left to others. */
const TURNS = 64;

/** Looks each turn at first, then each millisecond. False: it did not hold within `ms`. */
export async function until(holds: () => boolean, ms: number): Promise<boolean> {
  for (let turn = 0; turn < TURNS; turn++) {
    if (holds()) return true;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  const deadline = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > deadline) return false;
    await Bun.sleep(1);
  }
  return true;
}
