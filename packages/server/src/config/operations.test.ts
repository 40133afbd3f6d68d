/** docs/operations.md and the code say the same. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parse } from "smol-toml";

import { endpoints } from "../admin/endpoints.ts";
import { exposeNode } from "../admin/node-metrics.ts";
import { describeConfig, loadConfig } from "../config.ts";
import { Counters } from "../delivery/counters.ts";
import { parseDuration } from "../lib/duration.ts";
import { createMetrics } from "../lib/metrics.ts";
import { serviceAccountFile } from "../push/test-support/service-account.ts";
import { leavesOf } from "./environment.ts";
import { schema } from "./schema.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "beckon-operations-"));
  await writeFile(join(folder, "account.json"), serviceAccountFile());
});
afterAll(() => rm(folder, { recursive: true }));

const text = await Bun.file(new URL("../../../../docs/operations.md", import.meta.url)).text();

/** Cells of the rows of the table under a heading. */
function table(heading: string): string[][] {
  const [, rest = ""] = text.split(`\n## ${heading}\n`);
  const [section = ""] = rest.split("\n## ");
  return [...section.matchAll(/^\| (`.*) \|$/gm)].map(([, row]) =>
    row!.split("|").map((cell) => cell.trim()),
  );
}

const codes = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);

test("every key of the configuration", () => {
  const stated = table("Configuration").flatMap(([keys]) => codes(keys!));
  const known = leavesOf(schema).map(({ path }) => path.join("."));
  expect(stated.toSorted()).toEqual(known.toSorted());
});

test("every default", async () => {
  const env = {
    BECKON_AUTH_SECRET: "x".repeat(32),
    BECKON_AUTH_SEND: "anyone",
    BECKON_PUSH_FCM_SERVICE_ACCOUNT_FILE: join(folder, "account.json"),
  };
  const shown = async (more: object): Promise<object> =>
    parse(describeConfig(await loadConfig(undefined, { ...env, ...more })));
  const defaults = { ...(await shown({ BECKON_STORE: "postgres://u@h/d" })), ...(await shown({})) };
  const inMs = (value: unknown): unknown => parseDuration(String(value)) ?? String(value);
  for (const [key, stated] of table("Configuration")) {
    const [value] = stated!.startsWith("`") ? codes(stated!) : [];
    const path = codes(key!)[0]!;
    if (value === undefined || /^(address|listener)\./.test(path)) continue;
    const found = path.split(".").reduce((at, step) => (at as never)[step], defaults as unknown);
    expect([path, inMs(value)]).toEqual([path, inMs(found)]);
  }
});

test("every endpoint of the admin API", () => {
  expect(
    table("The admin API").map(([call, secured, summary]) => [codes(call!)[0], secured, summary]),
  ).toEqual(
    Object.values(endpoints).map(({ method, path, secured, summary }) => [
      `${method.toUpperCase()} ${path}`,
      secured ? "secured" : "",
      summary,
    ]),
  );
});

test("every metric", async () => {
  const metrics = createMetrics();
  exposeNode(metrics, {
    name: "s1",
    counters: new Counters("s1", ["dev"], () => 0),
    circles: { associates: { users: 0, waiting: 0 }, lost: 0, unread: 0 },
    placement: { redirects: { room: 1 }, unreached: 0, moves: 0, declined: 0, moved: 0 },
    connections: () => 0,
    servers: () => 1,
    draining: () => false,
    replicationLag: () => 0,
    open: () => 0,
    unsaved: () => 0,
    trusted: () => true,
    snapshots: () => 2,
    bus: () => true,
    store: () => true,
    certificateExpires: () => undefined,
  });
  const rendered = [...(await metrics.render()).matchAll(/^# HELP (\S+) (.*)$/gm)];
  const stated = table("Metrics").map(([name, help]) => [codes(name!)[0]!, help!]);
  const byName = (a: string[], b: string[]): number => a[0]!.localeCompare(b[0]!);
  expect(stated.toSorted(byName)).toEqual(
    rendered.map(([, name, help]) => [name!, help!]).toSorted(byName),
  );
});
