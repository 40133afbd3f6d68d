import { describe, expect, test } from "bun:test";

import { tellConformance } from "../lib/test-support/conformance.ts";
import { createMemoryDatabase } from "./memory.ts";
import type { MemoryHandle } from "./memory.ts";
import { StoreUnavailable } from "./store.ts";
import { storeSuite } from "./store.suite.ts";
import { openMemoryHarness } from "./test-support/harness.ts";
import { START, request } from "./test-support/requests.ts";

tellConformance("memory", storeSuite(test, openMemoryHarness));

/** A database whose calls wait until they are told to go on. */
function stepwise() {
  const steps: (() => void)[] = [];
  const stages: string[] = [];
  const database = createMemoryDatabase({ now: () => START });
  const handle = database.open({
    schedule: (operation, stage, run) => {
      stages.push(`${operation} ${stage}`);
      steps.push(run);
    },
  });
  return { database, handle, stages, next: () => steps.shift()?.() };
}

const outcomeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "done",
    (error: unknown) => (error instanceof StoreUnavailable ? "unavailable" : "failed"),
  );

describe("who drives it decides", () => {
  test("when the transaction runs, and when its answer arrives", async () => {
    const { database, handle, stages, next } = stepwise();
    let outcome = "open";
    void outcomeOf(handle.messages.hold([request()])).then((now) => (outcome = now));
    expect(database.heldRows).toBe(0);
    next();
    await Promise.resolve();
    expect([database.heldRows, outcome]).toEqual([1, "open"]);
    next();
    await Bun.sleep(0);
    expect([outcome, ...stages]).toEqual(["done", "hold commit", "hold answer"]);
  });

  const ends: [string, (handle: MemoryHandle, happens: boolean) => void][] = [
    ["away", (handle, happens) => handle.disconnect(() => happens)],
    ["dead", (handle, happens) => handle.die(() => happens)],
  ];

  test.each(ends)("whether a call in flight happens when its handle is %s", async (_, end) => {
    for (const happens of [true, false]) {
      const { database, handle, next } = stepwise();
      const holding = outcomeOf(handle.messages.hold([request()]));
      end(handle, happens);
      expect(await holding).toBe("unavailable");
      next();
      next();
      expect(database.heldRows).toBe(happens ? 1 : 0);
    }
  });

  test.each(ends)("what was committed stays, though the answer is lost: %s", async (_, end) => {
    const { database, handle, next } = stepwise();
    const holding = outcomeOf(handle.messages.hold([request()]));
    next();
    end(handle, false);
    next();
    expect(await holding).toBe("unavailable");
    expect(database.heldRows).toBe(1);
  });
});

test("a handle that is away comes back, one that is dead does not, others go on", async () => {
  const database = createMemoryDatabase({ now: () => START });
  const [a, b] = [database.open(), database.open()];
  a.disconnect();
  expect(await outcomeOf(a.wakes.nextDue())).toBe("unavailable");
  expect(await outcomeOf(b.wakes.nextDue())).toBe("done");
  a.reconnect();
  expect(await outcomeOf(a.wakes.nextDue())).toBe("done");
  a.die();
  a.reconnect();
  expect(await outcomeOf(a.wakes.nextDue())).toBe("unavailable");
  expect(await outcomeOf(b.wakes.nextDue())).toBe("done");
});
