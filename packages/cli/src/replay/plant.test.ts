import { expect, test } from "bun:test";

import type { HandOver } from "./ledger.ts";
import { type Fault, plant } from "./plant.ts";

/** What the ledger hears of messages 0 to 4, of which 1, 2 and 4 are of the chosen lane. */
function heard(fault: Fault): number[] {
  const messages: number[] = [];
  const hand = plant(
    fault,
    ({ message }) => [1, 2, 4].includes(message),
    ({ message }) => messages.push(message),
  );
  const rest = { device: 0, at: 0, server: "s1", held: false, gap: false };
  for (let message = 0; message < 5; message++) hand({ message, ...rest } satisfies HandOver);
  return messages;
}

test("one message is lost, repeated or swapped with the next of its lane", () => {
  expect(heard("loss")).toEqual([0, 2, 3, 4]);
  expect(heard("repeat")).toEqual([0, 1, 1, 2, 3, 4]);
  expect(heard("swap")).toEqual([0, 2, 1, 3, 4]);
});
