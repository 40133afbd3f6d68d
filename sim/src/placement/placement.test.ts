/** What the simulation says, held against the checker that knows only the log and the trace. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { community, generate } from "../../../packages/cli/src/replay/community.ts";
import { MODES } from "../../../packages/cli/src/replay/people.ts";
import { type Gain, ruleOf } from "../../../packages/server/src/placement/rule.ts";
import { checkLog } from "../check.ts";
import { openJournal } from "./journal.ts";
import { type PlacementResult, runPlacement } from "./result.ts";
import { type PlacementOptions, POLICIES } from "./simulation.ts";
import { drawSweep } from "./picture.ts";
import { sweepTable } from "./sweep.ts";
import { readMessages } from "./trace.ts";

const folder = mkdtempSync(join(tmpdir(), "beckon-placement-"));
afterAll(() => rmSync(folder, { recursive: true }));

const COMMUNITY = { seed: 5, users: 300, messages: 4_000 };
const messages = await readMessages(community(COMMUNITY));
const trace = join(folder, "trace.tsv");
writeFileSync(
  trace,
  generate(COMMUNITY)
    .map(({ at, from, to }) => `${at}\t${from}\t${to}\n`)
    .join(""),
);
const DAY = 86_400_000;

type Setting = Partial<PlacementOptions> & { readonly gain?: Gain };

function run({ gain = "locality", ...more }: Setting = {}): PlacementResult {
  const rule = ruleOf(gain);
  const options = {
    messages,
    servers: 8,
    mode: "always-on",
    policy: "move",
    seed: 1,
    staleness: 1000,
  } as const;
  return runPlacement({ ...options, rule, ...more }, gain).result;
}

/** As it says, and as the checker has it. */
async function checked(setting: Setting, file: string): Promise<unknown[]> {
  const log = join(folder, file);
  const journal = openJournal(log);
  const result = run({ ...setting, journal });
  journal.close();
  const { problems, ...found } = await checkLog(log, trace);
  expect(problems).toEqual([]);
  expect(result).toMatchObject(found);
  return [result, found];
}

describe("the checker, from the log and the trace alone, has the same figures", () => {
  for (const mode of MODES) {
    test.each([...POLICIES])(`${mode}, %s`, async (policy) => {
      await checked({ mode, policy }, `${mode}-${policy}.log`);
    });
  }

  test("with exact knowledge", () => checked({ staleness: 0 }, "exact.log"));

  test("with servers that are killed, drained and added", async () => {
    const changes = [
      { after: 4 * DAY, kind: "kill", server: 1 },
      { after: 5 * DAY, kind: "add", server: 1 },
      { after: 8 * DAY, kind: "drain", server: 2 },
      { after: 9 * DAY, kind: "add", server: 2 },
    ] as const;
    const [result] = await checked({ changes }, "changes.log");
    expect((result as PlacementResult).deliveries).toBe(messages.count);
  });
});

describe("the checker finds", () => {
  const log = join(folder, "log");
  const bad = join(folder, "bad");
  const journal = openJournal(log);
  run({ journal });
  journal.close();
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  const is = (what: string) => (line: string) => line.split("\t")[1] === what;
  const nth = (what: string): number => lines.findIndex((line, i) => i > 2000 && is(what)(line));

  test.each<[string, () => string[]]>([
    [
      "a message that was delivered twice",
      () => lines.toSpliced(nth("delivery"), 0, lines[nth("delivery")]!),
    ],
    [
      "a message that was accepted by another server",
      () => lines.with(nth("accept"), elsewhere(lines[nth("accept")]!)),
    ],
    [
      "a delivery where the recipient is not",
      () => lines.with(nth("delivery"), elsewhere(lines[nth("delivery")]!)),
    ],
    ["a message that is left out", () => lines.toSpliced(nth("accept"), 1)],
    ["a connect of one who is connected", () => lines.toSpliced(nth("disconnect"), 1)],
    ["a move of one who is not", () => lines.toSpliced(nth("move"), 0, lines[nth("move")]!)],
    [
      "a redirect to the same server",
      () =>
        lines.toSpliced(nth("connect"), 0, lines[nth("connect")]!.replace("connect", "redirect")),
    ],
    [
      "a server that goes with devices",
      () => [...lines, `${lines.at(-1)!.split("\t")[0]}\tdown\t-\ts1`],
    ],
  ])("%s", async (_what, broken) => {
    writeFileSync(bad, `${broken().join("\n")}\n`);
    expect((await checkLog(bad, trace)).problems).not.toEqual([]);
  });

  function elsewhere(line: string): string {
    return line.replace(/\ts(\d+)(?=\t|$)/, (_, n: string) => `\ts${(Number(n) % 8) + 1}`);
  }
});

describe("what the policies come to", () => {
  test("the same seed gives the same figures, another seed gives others", () => {
    const { seconds: _, ...first } = run();
    const { seconds: __, ...again } = run();
    expect(again).toEqual(first);
    expect(run({ seed: 2 }).local).not.toBe(first.local);
  });

  test("at random one in eight is local, and each step brings more", () => {
    const [random, wake, place, move] = POLICIES.map((policy) => run({ policy }));
    expect(random!.local).toBeGreaterThan(0.1);
    expect(random!.local).toBeLessThan(0.15);
    expect(wake!.local).toBeGreaterThan(random!.local);
    expect(place!.local).toBeGreaterThan(wake!.local + 0.2);
    expect(move!.local).toBeGreaterThan(place!.local + 0.05);
    expect([random, wake, place].map((one) => one!.moves)).toEqual([0, 0, 0]);
  });

  test("gravity is bounded: no server has more than its cap, and what a few lose meanwhile", () => {
    for (const staleness of [0, 1000]) {
      const { imbalanceP95, imbalanceMax } = run({ staleness });
      expect(imbalanceP95).toBeLessThanOrEqual(1.1);
      expect(imbalanceMax).toBeLessThanOrEqual(1.2);
    }
  });

  test("at the gain for cost there are few moves, and hops, redirects and moves cost less than hops at random", () => {
    const cost = run({ gain: "cost" });
    expect(cost.moves).toBeLessThanOrEqual(10);
    expect(cost.cost).toBeLessThan(run({ policy: "random" }).cost);
    expect(cost.cost).toBeLessThan(run().cost);
  });
});

describe("a server that has come back empty", () => {
  test.each([4, 8])(
    "is neither where everybody goes nor where nobody does, of %i",
    async (servers) => {
      const crowd = await readMessages(community({ seed: 5, users: 600, messages: 3_000 }));
      const { counts } = runPlacement(
        {
          messages: crowd,
          servers,
          mode: "always-on",
          policy: "move",
          rule: ruleOf("locality"),
          seed: 1,
          staleness: 1000,
          changes: [
            { after: 3 * DAY, kind: "drain", server: 1 },
            { after: 3.5 * DAY, kind: "add", server: 1 },
          ],
        },
        "locality",
      );
      expect(counts.drained).toBeGreaterThan(300 / servers);
      const back = counts.windows.slice(counts.windows.findLastIndex(({ from }) => from === 0));
      const all = back.flatMap(({ connects }) => connects).reduce((a, b) => a + b, 0);
      const there = back.reduce((sum, { connects }) => sum + connects[1]!, 0);
      expect(there / all).toBeGreaterThan(0.5 / servers);
      expect(there / all).toBeLessThan(0.8);
      expect(back.reduce((sum, { refused }) => sum + refused, 0)).toBe(0);
    },
  );
});

test("the commands say the same", async () => {
  const main = new URL("../main.ts", import.meta.url).pathname;
  const say = async (
    ...args: string[]
  ): Promise<{ code: number; said: Record<string, unknown> }> => {
    const child = Bun.spawn([process.execPath, main, ...args], {
      stdout: "pipe",
      stderr: "inherit",
    });
    const said = JSON.parse(await new Response(child.stdout).text()) as Record<string, unknown>;
    return { code: await child.exited, said };
  };
  const log = join(folder, "command.log");
  const changes = ["--change", "3d:kill:s2", "--change", "4d:add:s2"];
  const options = ["--servers", "4", "--gain", "locality", "--log", log, ...changes, "--json"];
  const { said } = await say("placement", "--trace", trace, ...options);
  const { code, said: found } = await say("check", log, "--trace", trace);
  expect(code).toBe(0);
  const { problems, ...figures } = found;
  expect(problems).toEqual([]);
  expect(said).toMatchObject(figures);
});

test("a sweep is a table and a picture of the same", () => {
  const results = [
    { trace: "a<b", ...run() },
    { trace: "a<b", ...run({ policy: "random" }) },
  ];
  expect(sweepTable(results)).toHaveLength(3);
  const picture = drawSweep(results);
  expect(picture).toContain("a&lt;b, 8 servers, always-on");
  expect(picture).toContain(results[0]!.local.toFixed(2));
  expect(picture.match(/<rect/g)).toHaveLength(3);
});
