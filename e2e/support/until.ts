/** Waits until `condition` holds; fails, saying for what it waited, after `ms`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms = 10_000,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      const wanted = typeof what === "string" ? what : what();
      throw new Error(`waited ${ms} ms in vain for ${wanted}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
