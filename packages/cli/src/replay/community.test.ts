import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { community, generate } from "./community.ts";
import type { Row } from "./trace.ts";

const SIZES = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  users: fc.integer({ min: 150, max: 600 }),
  messages: fc.integer({ min: 4_000, max: 8_000 }),
});

test("the same seed gives the same messages, another seed gives others", async () => {
  const options = { seed: 7, users: 50, messages: 500 };
  expect(generate(options)).toEqual(generate(options));
  expect(generate({ ...options, seed: 8 })).not.toEqual(generate(options));
  expect(await Array.fromAsync(community(options).rows())).toEqual(generate(options));
});

test("there are as many messages as asked for, in order of time, to somebody else", () => {
  const any = fc.record({
    seed: fc.nat(),
    users: fc.integer({ min: 2, max: 40 }),
    messages: fc.integer({ min: 1, max: 300 }),
  });
  fc.assert(
    fc.property(any, (options) => {
      const rows = generate(options);
      expect(rows).toHaveLength(options.messages);
      for (const [i, { at, from, to }] of rows.entries()) {
        expect(from).not.toBe(to);
        if (i > 0) expect(at).toBeGreaterThanOrEqual(rows[i - 1]!.at);
      }
      expect(new Set(rows.flatMap((row) => [row.from, row.to])).size).toBeLessThanOrEqual(
        options.users,
      );
    }),
    { numRuns: 30 },
  );
});

// Two real traces for comparison: a student community and the e-mail of an institution.
test.each<[what: string, measure: (rows: readonly Row[]) => number, low: number, high: number]>([
  ["the strongest tie's share of all traffic (.19, .25)", strongestTie, 0.15, 0.5],
  ["the share of messages that are the first of their pair (.23, .05)", firstMessages, 0.05, 0.35],
  ["the share of answers within an hour (.28, .11)", answers, 0.2, 0.4],
  ["the share of a sender's next message within 10 min (.13, .11)", bursts, 0.1, 0.3],
  ["the busiest tenth's share of what is sent (.56, .56)", busiestTenth, 0.3, 0.6],
  ["the share of the six quietest hours of the day (.04, .01)", nights, 0.02, 0.15],
])("%s", (_what, measure, low, high) => {
  fc.assert(
    fc.property(SIZES, (options) => {
      const share = measure(generate(options));
      expect(share).toBeGreaterThan(low);
      expect(share).toBeLessThan(high);
    }),
    { numRuns: 10 },
  );
});

const pairOf = ({ from, to }: Row): string => (from < to ? `${from} ${to}` : `${to} ${from}`);

function count<K>(keys: Iterable<K>): Map<K, number> {
  const counts = new Map<K, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Per user, then over all users in proportion to their traffic. */
function strongestTie(rows: readonly Row[]): number {
  const pairs = count(rows.map(pairOf));
  const strongest = new Map<string, number>();
  for (const [pair, messages] of pairs) {
    for (const user of pair.split(" ")) {
      strongest.set(user, Math.max(messages, strongest.get(user) ?? 0));
    }
  }
  return sum([...strongest.values()]) / (2 * rows.length);
}

function firstMessages(rows: readonly Row[]): number {
  return count(rows.map(pairOf)).size / rows.length;
}

/** Messages whose predecessor in the pair is `within` seconds older, and by the other one or the same. */
function followUps(rows: readonly Row[], within: number, isAnswer: boolean): number {
  const last = new Map<string, Row>();
  let found = 0;
  for (const row of rows) {
    const before = last.get(pairOf(row));
    last.set(pairOf(row), row);
    if (before === undefined || row.at - before.at >= within) continue;
    if ((before.from !== row.from) === isAnswer) found++;
  }
  return found / rows.length;
}

function answers(rows: readonly Row[]): number {
  return followUps(rows, 3600, true);
}

function bursts(rows: readonly Row[]): number {
  return followUps(rows, 600, false);
}

function busiestTenth(rows: readonly Row[]): number {
  const sent = [...count(rows.map((row) => row.from)).values()].sort((a, b) => b - a);
  return sum(sent.slice(0, Math.ceil(sent.length / 10))) / rows.length;
}

function nights(rows: readonly Row[]): number {
  const hours = count(rows.map((row) => Math.floor(row.at / 3600) % 24));
  const shares = Array.from({ length: 24 }, (_, hour) => hours.get(hour) ?? 0);
  return sum(shares.sort((a, b) => a - b).slice(0, 6)) / rows.length;
}
