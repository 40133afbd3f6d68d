import { expect, test } from "bun:test";

import { createMemoryBus } from "./memory-bus.ts";
import { metered } from "./metered-bus.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

test("what is said counts once, what is heard where it is heard, answers too", async () => {
  const clock = new VirtualClock();
  const hub = createMemoryBus({ clock });
  const traffic = [0, 1, 2].map(() => ({ out: 0, in: 0 }));
  const [a, b, c] = traffic.map((own) => metered(hub.connect(), own));
  for (const bus of [b!, c!]) bus.subscribe("news", () => {});
  c!.subscribe("question", (_, reply) => reply?.(new Uint8Array(3)));
  a!.publish("news", new Uint8Array(10));
  const answer = a!.request("question", new Uint8Array(5), 1_000);
  await clock.advance(1);
  expect(await answer).toHaveLength(3);
  expect(traffic).toEqual([
    { out: 15, in: 3 },
    { out: 0, in: 10 },
    { out: 3, in: 15 },
  ]);
});
