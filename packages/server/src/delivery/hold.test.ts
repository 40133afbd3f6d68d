import { expect, test } from "bun:test";

import { deliverBody, encodeOrigin, uuidv7 } from "@beckon/protocol";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createMemoryDatabase } from "../store/memory.ts";
import { StoreUnavailable } from "../store/store.ts";
import type { HoldRequest, HoldResult } from "../store/store.ts";
import { request } from "../store/test-support/requests.ts";
import { Holder } from "./hold.ts";
import { idKey, Message } from "./message.ts";
import type { Origin } from "./message.ts";

const ANN: Origin = {
  key: "ann\nphone",
  user: "ann",
  device: "phone",
  outbox: 1,
  encoded: encodeOrigin("ann", "phone", 1, "s1"),
  copies: false,
};

function message(n: number, from = ANN): Message {
  const id = uuidv7(1_700_000_000_000, (bytes) => void crypto.getRandomValues(bytes));
  const payload = new Uint8Array([n]);
  const send = { type: "send", id, to: "bob", n, prev: n - 1, payload } as const;
  const rest = { wake: "message", preview: "", ends: new Uint8Array() } as const;
  const body = deliverBody({ ...send, ...rest }, from.encoded, 0);
  return new Message(from, idKey(id), "bob", n, body, undefined, 0);
}

test("L3: what has to be held again goes before what was accepted after it, and nothing is over before it", async () => {
  const clock = new VirtualClock();
  const commits: { readonly held: readonly number[]; readonly committed: number }[] = [];
  const again = new Set([1, 2]);
  const store = createMemoryDatabase(clock).open().messages;
  const holder: Holder = new Holder({
    clock,
    store: {
      ...store,
      hold: (requests: readonly HoldRequest[]) => {
        commits.push({ held: requests.map(({ n }) => n), committed: holder.committed });
        const { promise, resolve } = Promise.withResolvers<readonly HoldResult[]>();
        clock.after(10, () => resolve(requests.map(() => ({ outcome: "full" }) as const)));
        return promise;
      },
    },
    request: ({ user, n }) => request({ user, n }),
    held: (one) => {
      if (!again.delete(one.n)) return;
      const number = holder.enqueue(one);
      expect(number).toBeGreaterThan(holder.committed);
      expect(number).toBeLessThan(holder.lastOf("bob") + 1);
    },
    failed: () => undefined,
  });
  for (const n of [1, 2]) holder.enqueue(message(n));
  await clock.advance(1);
  for (const n of [3, 4]) holder.enqueue(message(n));
  await clock.advance(100);
  expect(commits).toEqual([
    { held: [1, 2], committed: 0 },
    { held: [1, 2, 3, 4], committed: 2 },
  ]);
  expect(holder.committed).toBe(4);
  expect(holder.lastOf("bob")).toBe(0);
});

test("L10: of what is not held because what came before it failed, nothing is remembered", async () => {
  const clock = new VirtualClock();
  const store = createMemoryDatabase(clock).open();
  const failed: number[] = [];
  const holder: Holder = new Holder({
    clock,
    store: {
      ...store.messages,
      hold: () => {
        const { promise, reject } = Promise.withResolvers<readonly HoldResult[]>();
        clock.after(10, () => reject(new StoreUnavailable("away")));
        return promise;
      },
    },
    request: ({ user, n }) => request({ user, n }),
    held: () => undefined,
    failed: ({ n }) => void failed.push(n),
  });
  holder.enqueue(message(1));
  await clock.advance(1);
  // Of another lane to the same user, and of this one.
  const other = holder.enqueue(message(2, { ...ANN, device: "laptop" }));
  holder.enqueue(message(3));
  await clock.advance(10);
  expect(failed).toEqual([1, 3]);
  expect(holder.lastOf("bob")).toBe(other);
  await clock.advance(10);
  expect(failed).toEqual([1, 3, 2]);
  expect(holder.lastOf("bob")).toBe(0);
});
