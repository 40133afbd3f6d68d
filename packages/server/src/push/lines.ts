import type { Gate } from "../lib/gate.ts";
import type { PushItem, PushOutcome } from "./provider.ts";

/** Pushes through the gate to as many tokens as it has room for; to one token one after the other, so that they come in order. */
export async function inLines(
  items: readonly PushItem[],
  gate: Gate,
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
    for (const at of line) outcomes[at] = await gate.through(() => push(items[at]!));
  };
  await Promise.all([...lines.values()].map(work));
  return outcomes;
}
