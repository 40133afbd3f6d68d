import type { PushItem, PushOutcome } from "./provider.ts";

/** Pushes to all tokens at once, as far as the caller's gate has room; to one token one after the other, so that they come in order. */
export async function inLines(
  items: readonly PushItem[],
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
  const work = async (line: readonly number[]): Promise<void> => {
    for (const at of line) outcomes[at] = await push(items[at]!);
  };
  await Promise.all([...lines.values()].map(work));
  return outcomes;
}
