import { expect, test } from "bun:test";

import { holdInParts } from "./hold-parts.ts";
import type { HoldRequest, HoldResult } from "./store.ts";
import { request } from "./test-support/requests.ts";

const FULL: HoldResult = { outcome: "full" };

/** Parts that are under way, to be answered in any order. */
function parts(): {
  readonly asked: { readonly part: readonly HoldRequest[]; answer(error?: Error): void }[];
  hold(part: readonly HoldRequest[]): Promise<readonly HoldResult[]>;
} {
  const asked: ReturnType<typeof parts>["asked"] = [];
  return {
    asked,
    hold: (part) =>
      new Promise((resolve, reject) => {
        const answer = (error?: Error): void =>
          error === undefined ? resolve(part.map(() => FULL)) : reject(error);
        asked.push({ part, answer });
      }),
  };
}

const bobs = (count: number): HoldRequest[] =>
  Array.from({ length: count }, (_, at) => request({ user: "bob", n: at + 1 }));

const placesOf = (part: readonly HoldRequest[] | undefined): string[] =>
  (part ?? []).map(({ user, n }) => `${user} ${n}`);

test("L3: of what is held for one user no part is begun before the one before it is over", async () => {
  const { asked, hold } = parts();
  const held = holdInParts([...bobs(5), request({ user: "cleo", n: 1 })], 2, hold);
  expect(asked.map(({ part }) => placesOf(part))).toEqual([["bob 1", "bob 2"], ["cleo 1"]]);
  asked[0]!.answer();
  await Bun.sleep(0);
  expect(placesOf(asked[2]?.part)).toEqual(["bob 3", "bob 4"]);
  asked[2]!.answer();
  await Bun.sleep(0);
  expect(placesOf(asked[3]?.part)).toEqual(["bob 5"]);
  asked[3]!.answer();
  asked[1]!.answer();
  expect(await held).toEqual(Array.from({ length: 6 }, () => FULL));
});

test("L3: after a part that failed there is none for that user, and the hold has failed when all is over", async () => {
  const { asked, hold } = parts();
  const held = holdInParts([...bobs(4), request({ user: "cleo", n: 1 })], 2, hold);
  let isOver = false;
  const over = held.catch((error: unknown) => error).finally(() => (isOver = true));
  asked[0]!.answer(new Error("the database is away"));
  await Bun.sleep(0);
  expect(isOver).toBe(false);
  asked[1]!.answer();
  expect(await over).toEqual(new Error("the database is away"));
  expect(asked).toHaveLength(2);
});

test("results are those of the requests, in their order", async () => {
  const users = ["bob", "cleo", "bob", "dan", "cleo", "bob"];
  const hold = (part: readonly HoldRequest[]): Promise<readonly HoldResult[]> =>
    Promise.resolve(
      part.map(({ user, n }) => {
        const rows = [{ device: `${user} ${n}`, row: "1", isNew: true }];
        return { outcome: "held", rows, setVersion: 1, setSize: 1, due: [], coalesced: 0 };
      }),
    );
  const requests = users.map((user, n) => request({ user, n }));
  const results = await holdInParts(requests, 2, hold);
  const devices = results.map((result) => "rows" in result && result.rows[0]?.device);
  expect(devices).toEqual(users.map((user, n) => `${user} ${n}`));
});
