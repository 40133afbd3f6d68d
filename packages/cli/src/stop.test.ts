import { afterEach, expect, test } from "bun:test";

import { untilStopped } from "./stop.ts";

const signals = ["SIGTERM", "SIGINT"] as const;
afterEach(() => signals.forEach((signal) => void process.removeAllListeners(signal)));

/** What one process does with signals, on a clock that the test moves. */
function start(): { at: number; stops: number; exits: number[]; finish: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const process = { at: 0, stops: 0, exits: [] as number[], finish: resolve };
  const stop = (): Promise<void> => {
    process.stops++;
    return promise;
  };
  void untilStopped(stop, { now: () => process.at, exit: (code) => process.exits.push(code) });
  return process;
}

test("the signals of one Ctrl-C, however many come, stop it once and gracefully", async () => {
  const running = start();
  for (const at of [0, 1, 40, 1_000]) {
    running.at = at;
    process.emit("SIGINT");
    await Promise.resolve();
  }
  expect(running).toMatchObject({ stops: 1, exits: [] });
});

test("another one later ends it at once", async () => {
  const running = start();
  process.emit("SIGTERM");
  running.at = 1_001;
  process.emit("SIGINT");
  await Promise.resolve();
  expect(running).toMatchObject({ stops: 1, exits: [1] });
});
