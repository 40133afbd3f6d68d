import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { beckon } from "../test-support/terminal.ts";
import type { Result } from "./result.ts";

// Real servers and devices; a device that left without its messages is pushed again after 10 s.
setDefaultTimeout(120_000);

async function replay(...args: string[]): Promise<{ code: number; result: Result; notes: string }> {
  const { code, out, notes } = await beckon([
    "replay",
    "--generate",
    "community",
    "--json",
    ...args,
  ]);
  return { code, result: JSON.parse(out) as Result, notes };
}

const FAULTLESS = {
  ok: true,
  refused: 0,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  gaps: 0,
  late: 0,
  unpushed: 0,
  misdelivered: 0,
  problems: [],
};

test("L1, L2, L3, L4, L5: real devices on four servers get every message once, in order, in time", async () => {
  const { code, result } = await replay("--messages", "1500", "--users", "300");
  expect(result).toMatchObject({ ...FAULTLESS, messages: 1500, acked: 1500, delivered: 1500 });
  expect(code).toBe(0);
  expect(result.local + result.remote).toBe(1500);
  expect(result.peakInFlight).toBe(64);
  expect(Object.keys(result.connectsByServer)).toEqual(["s1", "s2", "s3", "s4"]);
  expect(result.woke).toBeGreaterThan(100);
});

test("the same with two devices a user, and servers that are killed", async () => {
  const args = ["--messages", "1000", "--users", "200", "--devices-per-user", "2", "--chaos", "1"];
  const { code, result } = await replay(...args);
  expect(result).toMatchObject({ ...FAULTLESS, acked: 1000, delivered: 1000 });
  expect(code).toBe(0);
  expect(result.kills).toBeGreaterThan(0);
  expect(result.local + result.remote).toBe(2000);
  expect(result.copies).toBeGreaterThan(0);
});

test("the same with devices by WebSocket and by TCP that write to each other, while servers are killed", async () => {
  const args = ["--messages", "1000", "--users", "200", "--devices-per-user", "2", "--chaos", "1"];
  const { code, result } = await replay(...args, "--protocols", "ws,tcp");
  expect(result).toMatchObject({ ...FAULTLESS, acked: 1000, delivered: 1000 });
  expect(code).toBe(0);
  expect(result.kills).toBeGreaterThan(0);
  const { ws, tcp } = result.connectsByProtocol;
  expect(ws + tcp).toBe(result.connects);
  expect(Math.min(ws, tcp)).toBeGreaterThan(100);
});

test("a protocol that there is none of is refused", async () => {
  const { code, notes } = await beckon(["replay", "--generate", "community", "--protocols", "udp"]);
  expect(code).not.toBe(0);
  expect(notes).toContain('"udp" is none of ws, tcp.');
});

test("M8: a wake that names the sender's server keeps the pair on it; one that names any server does not", async () => {
  const args = ["--messages", "400", "--users", "100", "--in-flight", "1"];
  const [wake, random] = [await replay(...args), await replay(...args, "--policy", "random")];
  expect(wake.result).toMatchObject(FAULTLESS);
  expect(random.result).toMatchObject(FAULTLESS);
  expect(wake.result.locality).toBeGreaterThan(0.7);
  expect(random.result.locality).toBeLessThan(0.4);
});

const ALWAYS_ON = ["--mode", "always-on", "--users", "40", "--messages", "200"];

test("L1, L2, L3, L4, L5: devices that are always on, and that servers place, get every message once", async () => {
  const { code, result } = await replay(...ALWAYS_ON, "--policy", "move", "--gain", "locality");
  expect(result).toMatchObject({ ...FAULTLESS, acked: 200, delivered: 200, gain: "locality" });
  expect(code).toBe(0);
  expect(result.connects).toBeGreaterThan(400);
  expect(result.cpuOf).toBe("servers and devices");
  expect(Math.min(result.cpuMs, result.busBytes)).toBeGreaterThan(0);
});

test("B3, L1: a server that is drained, killed and added in the middle loses nothing, and has devices again", async () => {
  const changes = ["--change", "1d:drain:s2", "--change", "2d:add:s2", "--change", "3d:kill:s3"];
  const { code, result } = await replay(...ALWAYS_ON, "--in-flight", "1", ...changes);
  expect(result).toMatchObject({ ...FAULTLESS, delivered: 200, kills: 1, drains: 1 });
  expect(code).toBe(0);
  const at = (day: number): readonly number[] =>
    result.history.findLast(({ hours }) => hours <= 24 * day)!.devices;
  expect(at(1.9)[1]).toBe(0);
  expect(at(2.9)[1]).toBeGreaterThan(0);
  expect(result.history.at(-1)!.devices[2]).toBe(0);
});

test("the report has the figures of every policy, and needs nothing but itself", async () => {
  const report = join(mkdtempSync(join(tmpdir(), "beckon-report-")), "report.html");
  const args = [
    "--users",
    "12",
    "--messages",
    "60",
    "--mode",
    "always-on",
    "--compare",
    "random,wake",
  ];
  const { out } = await beckon([
    "replay",
    "--generate",
    "community",
    ...args,
    "--report",
    report,
    "--json",
  ]);
  const results = Object.values(JSON.parse(out) as Record<string, Result>);
  expect(results.map(({ policy }) => policy)).toEqual(["random", "wake"]);
  const page = readFileSync(report, "utf8");
  for (const { policy, locality, busBytes } of results) {
    expect(page).toContain(`${policy}: ${(100 * locality).toFixed(1)} %`);
    expect(page).toContain(`${policy}: ${Math.round(busBytes).toLocaleString("en-US")} B`);
    expect(page).toContain(`Devices per server over time: ${policy}`);
  }
  expect(page.match(/<svg/g)).toHaveLength(5);
  expect(page).not.toMatch(/<script|src=|href=|url\(|https?:/);
  rmSync(dirname(report), { recursive: true });
});

test.each([
  ["--compare random,best", '"best" is none of random, wake, place, move'],
  ["--change 3d:break:s2", "Write it as 30d:kill:s2"],
  ["--change 3d:kill:s9", "there is no server s9"],
  ["--gain much", "Give a number"],
  ["--cap 0.9", "Give a number"],
])("replay %s is refused", async (args, why) => {
  const { code, notes } = await beckon(["replay", "--generate", "community", ...args.split(" ")]);
  expect(code).not.toBe(0);
  expect(notes).toContain(why);
});

test.each([
  ["loss", "lost"],
  ["repeat", "duplicated"],
  ["swap", "reordered"],
] as const)("a planted %s is found, and the exit code says so", async (fault, count) => {
  const args = ["--messages", "120", "--users", "12", "--in-flight", "4", "--plant", fault];
  const { code, result, notes } = await replay(...args);
  expect(code).toBe(1);
  expect(result.ok).toBe(false);
  expect(result[count]).toBe(1);
  expect(notes).toContain(`${count}: 1`);
});

test("chaos that came to kill nobody has proved nothing, and the exit code says so", async () => {
  const args = ["--messages", "20", "--users", "6", "--chaos", "3600"];
  const { code, result, notes } = await replay(...args);
  expect(code).toBe(1);
  expect(result).toMatchObject({ ok: false, kills: 0, lost: 0 });
  expect(notes).toContain("no server was killed, as the trace was over after ");
});

test("a trace without a message is an error, and no table of zeros", async () => {
  const trace = join(mkdtempSync(join(tmpdir(), "beckon-trace-")), "empty.tsv");
  writeFileSync(trace, "# nobody wrote anything\n\n");
  expect(await beckon(["replay", trace])).toEqual({
    code: 1,
    out: "",
    notes:
      "beckon: empty.tsv: there is no message in it\nA message is a line: unix seconds <TAB> sender <TAB> recipient\n",
  });
  rmSync(dirname(trace), { recursive: true });
});

test("without --json there is a table and no progress where nobody watches", async () => {
  const args = ["replay", "--generate", "community", "--users", "12", "--messages", "60"];
  const { code, out, notes } = await beckon([...args, "--in-flight", "4"]);
  expect({ code, notes }).toEqual({ code: 0, notes: "" });
  expect(out).toMatch(/^community of 12, seed 1: \d+ users, 4 servers, wakes name/);
  expect(out).toMatch(/^ {2}messages +60 /m);
  expect(out).toMatch(/^ {2}local +\d+\.\d % /m);
});
