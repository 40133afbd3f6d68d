/**
 * One Ctrl-C arrives several times: the terminal sends it to every process in its foreground, and npm and
 * `bin/beckon.mjs` each pass it on. What comes within this time of the first is the same wish.
 */
const ONE_WISH_MS = 1_000;

interface Surroundings {
  readonly now: () => number;
  readonly exit: (code: number) => void;
}

/** Resolves when a signal has come and what it asks for is done. A second wish ends the process at once. */
export async function untilStopped(
  stop: () => Promise<void>,
  { now, exit }: Surroundings = {
    now: () => performance.now(),
    exit: (code) => process.exit(code),
  },
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let first: number | undefined;
  const heard = (): void => {
    first ??= now();
    if (now() - first > ONE_WISH_MS) exit(1);
    resolve();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, heard);
  await promise;
  await stop();
}
