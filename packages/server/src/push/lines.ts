import type { PushItem, PushOutcome } from "./provider.ts";

/** Pushes to `atOnce` tokens at a time; those to one token one after the other, so that they come in order. */
export async function inLines(
  items: readonly PushItem[],
  atOnce: number,
  push: (item: PushItem) => Promise<PushOutcome>,
): Promise<readonly PushOutcome[]> {
  const outcomes: PushOutcome[] = [];
  /** Places in the batch, by token. */
  const lines = new Map<string, number[]>();
  for (const [at, { token }] of items.entries()) {
    const line = lines.get(token);
    if (line === undefined) lines.set(token, [at]);
    else line.push(at);
  }
  const waiting = lines.values();
  // All take from the one iterator.
  const work = async (): Promise<void> => {
    for (const line of waiting) for (const at of line) outcomes[at] = await push(items[at]!);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, lines.size) }, work));
  return outcomes;
}
