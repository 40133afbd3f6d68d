import { expect, test } from "bun:test";
import * as fc from "fast-check";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { MemoryDatabase } from "../store/memory-database.ts";
import { DEFAULT_STORE_LIMITS } from "../store/store.ts";
import { isOnlyAdded, type SetFact } from "./recent-sets.ts";

const LIMIT = 3;
const DORMANT_MS = 1000;

const device = fc.constantFrom("d1", "d2", "d3", "d4", "d5");
type Call = (database: MemoryDatabase, clock: VirtualClock) => unknown;

const call: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(device, fc.boolean()).map(
    ([name, durable]): Call =>
      (database) =>
        database.arrive({
          user: "ann",
          device: name,
          durable,
          protocols: [],
          lastEpoch: 0,
          epoch: 1,
        }),
  ),
  device.map(
    (name): Call =>
      (database) =>
        database.register("ann", name, [], {
          provider: "dev",
          token: name,
          key: { id: 1, key: new Uint8Array(32) },
        }),
  ),
  device.map(
    (name): Call =>
      (database) =>
        database.forget("ann", name),
  ),
  fc.constantFrom(0, DORMANT_MS / 2, DORMANT_MS).map(
    (ms): Call =>
      (database, clock) =>
        clock.advance(ms).then(() => database.retire(clock.now())),
  ),
);

test("L1: where a set grew as fast as its version nobody has left it, and nobody who was dormant was forgotten", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 40, size: "max" }), async (calls) => {
      const clock = new VirtualClock();
      const limits = { ...DEFAULT_STORE_LIMITS, durableDevicesPerUser: LIMIT };
      const database = new MemoryDatabase(clock, { ...limits, dormantAfterMs: DORMANT_MS });
      /** Each set, who was in it, and who was dormant. */
      const sets: { readonly fact: SetFact; readonly devices: readonly string[] }[] = [];
      for (const run of [() => undefined, ...calls]) {
        await run(database, clock);
        const { devices } = database.devices("ann");
        const names = devices.map((one) => (one.dormant ? `dormant ${one.device}` : one.device));
        sets.push({ fact: database.sets(["ann"])[0]!, devices: names });
      }
      for (let from = 0; from < sets.length; from++) {
        let hasLeft = false;
        for (let to = from; to < sets.length; to++) {
          hasLeft ||= to > from && isAnyGone(sets[to - 1]!.devices, sets[to]!.devices);
          expect(isOnlyAdded(sets[from]!.fact, sets[to]!.fact)).toBe(!hasLeft);
        }
      }
    }),
  );
});

/** A dormant one that is back is not. */
function isAnyGone(before: readonly string[], after: readonly string[]): boolean {
  return before.some((one) => !after.includes(one) && !after.includes(one.replace("dormant ", "")));
}
