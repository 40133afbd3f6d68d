/** How many connects are under way at once: fewer than a listener's backlog holds. */
const AT_ONCE = 128;

/** `make` for each index below `count`, some at a time, and what they answer in that order. */
export async function inParallel<T>(
  count: number,
  make: (index: number) => Promise<T>,
): Promise<T[]> {
  const made: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      made[index] = await make(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
  return made;
}
