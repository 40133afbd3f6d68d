import type { Millis } from "@beckon/protocol";

import { associateStoreLaws } from "./associate-store.suite.ts";
import { deviceStoreLaws } from "./device-store.suite.ts";
import { messageStoreLaws } from "./message-store.suite.ts";
import { DEFAULT_STORE_LIMITS } from "./store.ts";
import type { Store, StoreLimits } from "./store.ts";
import { wakeStoreLaws } from "./wake-store.suite.ts";

/** Two handles on one database, and its clock. */
export interface StoreHarness {
  readonly a: Store;
  readonly b: Store;
  now(): Millis;
  advance(ms: Millis): void;
  close(): Promise<void>;
}

export type OpenHarness = (limits: StoreLimits) => Promise<StoreHarness>;

export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** Bounds small enough to reach. */
export const SUITE_LIMITS: StoreLimits = {
  ...DEFAULT_STORE_LIMITS,
  heldPerDevice: 5,
  durableDevicesPerUser: 3,
};

export type Law = (name: string, run: (harness: StoreHarness) => Promise<void>) => void;

/** What a backend of the store's ports must do. Time is the harness's: nothing here sleeps. Answers how many laws each port has. */
export function storeSuite(
  test: TestFunction,
  open: OpenHarness,
): Readonly<Record<string, number>> {
  let laws = 0;
  const law: Law = (name, run) => {
    laws++;
    test(name, async () => {
      const harness = await open(SUITE_LIMITS);
      try {
        await run(harness);
      } finally {
        await harness.close();
      }
    });
  };
  const countOf = (port: (law: Law) => void): number => {
    const before = laws;
    port(law);
    return laws - before;
  };
  return {
    MessageStore: countOf(messageStoreLaws),
    DeviceStore: countOf(deviceStoreLaws),
    WakeStore: countOf(wakeStoreLaws),
    AssociateStore: countOf(associateStoreLaws),
  };
}
