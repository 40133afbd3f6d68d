/** The sender's rules against a server that refuses, loses and cuts as it likes. */
import { expect, test } from "bun:test";

import type { ErrorCode, SendFrame } from "@beckon/protocol";
import * as fc from "fast-check";

import { createLanes, type Numbered } from "./lanes.ts";
import { memory } from "./storage.ts";
import { accept } from "./test-support/accepting.ts";
import { outcome, setup } from "./test-support/setup.ts";

const FINAL: readonly ErrorCode[] = ["forbidden", "id-conflict"];
const PASSING: readonly ErrorCode[] = ["store-unavailable", "recipient-full", "internal"];
const WINDOW = 4;

interface Plan {
  /** Recipient of each message, and how it is refused before it is taken. */
  readonly messages: readonly { readonly to: string; readonly refusals: readonly ErrorCode[] }[];
  /** After how many SENDs each connection is cut, without an answer to the last ones. */
  readonly cuts: readonly number[];
  readonly durable: boolean;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  messages: fc.array(
    fc.record({
      to: fc.constantFrom("bob", "eve"),
      refusals: fc.oneof(
        { weight: 3, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(fc.constantFrom(...PASSING), { maxLength: 2 }) },
        { weight: 1, arbitrary: fc.constantFrom(...FINAL).map((code) => [code]) },
      ),
    }),
    { minLength: 1, maxLength: 14 },
  ),
  cuts: fc.array(fc.integer({ min: 1, max: 10 }), { maxLength: 3 }),
  durable: fc.boolean(),
});

test("whatever is refused, each lane is taken in order, linked without a hole, and every send is answered once", () => {
  fc.assert(fc.property(plan, check), { numRuns: 150 });
});

function check({ messages, cuts, durable }: Plan): void {
  const { clock, a, b, start } = setup(durable ? { storage: memory() } : {});
  for (const server of [a, b]) server.limits = { window: WINDOW };
  const left = messages.map(({ refusals }) => [...refusals]);
  const ids = new Map<string, string>();
  const indexOf = ({ payload }: SendFrame): number => Number(new TextDecoder().decode(payload));
  const taken = accept([a, b], (send) => {
    const refusals = left[indexOf(send)]!;
    // A final one stands, whether the answer arrives or not.
    return FINAL.includes(refusals[0]!) ? refusals[0] : refusals.shift();
  });
  const cutAfter = [...cuts];
  for (const server of [a, b]) {
    const { onSend } = server;
    let unanswered = 0;
    server.onHello = (connection) => {
      unanswered = 0;
      connection.welcome();
    };
    server.onSend = (connection, send, number) => {
      // Never another id for the same message, nor the other way around.
      const id = Buffer.from(send.id).toString("hex");
      const message = `${send.to} ${send.n}`;
      expect(ids.get(message) ?? id).toBe(id);
      ids.set(message, id);
      expect(++unanswered).toBeLessThanOrEqual(WINDOW);
      clock.after(2, () => unanswered--);
      if (cutAfter[0] === number) {
        cutAfter.shift();
        connection.close(1006);
      }
      if (connection.open) onSend(connection, send, number);
    };
  }
  const beckon = start();
  clock.run(10);
  const results = messages.map(({ to }, i) => outcome(beckon.send(to, String(i))));
  clock.run(120_000);

  const rejected = messages.map(({ refusals }) => refusals.some((code) => FINAL.includes(code)));
  expect(results.map(({ error }) => error !== undefined)).toEqual(rejected);
  expect(results.map(({ value }) => value === undefined)).toEqual(rejected);
  for (const to of ["bob", "eve"]) {
    const lane = taken.filter((send) => send.to === to);
    expect(lane.map(indexOf)).toEqual(
      messages.flatMap((message, i) => (message.to === to && !rejected[i] ? [i] : [])),
    );
    // What one receiver makes of it: nothing waits, nothing is missing.
    const lanes = createLanes<Numbered>(() => {});
    for (const { n, prev } of lane) {
      expect(lanes.arrive({ lane: to, n, prev }, 0)).toBeArrayOfSize(1);
    }
  }
}
