/** `status`, `where`, `why` and `drain` against real servers of one system, in this process. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { connect, type Beckon } from "@beckon/client";
import {
  type ConfiguredServer,
  createMemoryBus,
  createServer,
  loadConfig,
  systemClock,
} from "@beckon/server";

import { beckon } from "../test-support/terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "beckon-operate-"));
const TOKEN = "an admin token that nobody knows";
const env = { BECKON_API_TOKEN: TOKEN };
const servers = new Map<string, ConfiguredServer>();
const devices: Beckon[] = [];

const settings = (name: string): Record<string, string> => ({
  BECKON_NAME: name,
  BECKON_LISTEN: "127.0.0.1:0",
  BECKON_ADMIN: "127.0.0.1:0",
  BECKON_STORE: `sqlite:${join(folder, "beckon.db")}`,
  BECKON_AUTH_SECRET: "a secret of thirty-two bytes, or more",
  BECKON_AUTH_SEND: "anyone",
  BECKON_API_TOKEN: TOKEN,
  BECKON_LOG: "error",
  BECKON_DRAIN_DEADLINE: "5s",
});

const admin = (name: string): string => servers.get(name)!.adminUrl!.origin;

/** Waits until it holds; fails after 10 s. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function device(user: string, server: string): Promise<Beckon> {
  const { out } = await beckon(["token", "--user", user], { env: settings(server) });
  const { url } = servers.get(server)!;
  const made = connect({
    servers: [url!],
    token: () => out.trim(),
    device: "phone",
    durable: true,
  });
  devices.push(made);
  await until(`${user}'s connection`, () => made.state.name === "connected");
  return made;
}

beforeAll(async () => {
  const hub = createMemoryBus({ clock: systemClock });
  for (const name of ["eu-1", "eu-2", "us-1"]) {
    const config = await loadConfig(undefined, settings(name));
    const server = createServer({ ...config, sharedBus: hub.connect(), processMetrics: false });
    await server.start();
    servers.set(name, server);
  }
  const isTrusted = ({ node }: ConfiguredServer): boolean => node!.table.trusted;
  await until("the servers to know each other", () => [...servers.values()].every(isTrusted));
});

afterAll(async () => {
  await Promise.all(devices.map((one) => one.close()));
  await Promise.all([...servers.values()].map((server) => server.drain()));
  rmSync(folder, { recursive: true });
});

test("M1: status shows all servers, through any of them", async () => {
  await device("ann", "eu-1");
  const args = ["status", "--admin", admin("us-1")];
  await until("ann's connection to be counted", async () =>
    /^eu-1 +up +1 of 100,000/m.test((await beckon(args, { env })).out),
  );
  const { code, out, notes } = await beckon(args, { env });
  expect({ code, notes }).toEqual({ code: 0, notes: "" });
  const [servers = ""] = out.split("\n\n");
  const [head, ...lines] = servers.split("\n");
  expect(head).toMatch(
    /^SERVER +STATE +CONNECTIONS +CPU +LOCAL 5M +LOCAL 1H +BEHIND +CONFIRMED +UP +VERSION +ADDRESSES$/,
  );
  expect(lines).toHaveLength(3);
  for (const line of lines) {
    expect(line).toMatch(/ up .* of 100,000 +\d+% +- +- +0 +[\d.]+s ago +\d.* 0\.1\.0 +ws:\/\/127/);
  }
  const json = await beckon([...args, "--json"], { env });
  const { server, servers: all } = JSON.parse(json.out) as {
    server: string;
    servers: { server: string; replicas: object[] }[];
  };
  expect(server).toBe("us-1");
  expect(all.map((one) => [one.server, one.replicas.length])).toEqual([
    ["eu-1", 2],
    ["eu-2", 2],
    ["us-1", 2],
  ]);
});

test("M3: where shows a user's devices, through any server", async () => {
  await device("bob", "eu-2");
  const args = ["where", "bob", "--admin", admin("eu-2")];
  const { code, out } = await beckon(args, { env });
  expect(code).toBe(0);
  expect(out).toMatch(
    /^DEVICE +SERVER +STATE +SINCE +PUSH +MESSAGES\nphone +eu-2 +connected +\d\S+ +- +held while away\n$/,
  );
  const json = await beckon([...args, "--json"], { env });
  expect(JSON.parse(json.out)).toMatchObject({
    devices: [{ device: "phone", server: "eu-2", durable: true, background: false, push: null }],
  });
  const nobody = await beckon(["where", "zoe", "--admin", admin("eu-1")], { env });
  expect(nobody).toMatchObject({ code: 0, out: "" });
  expect(nobody.notes).toStartWith("zoe has no device");
});

test("B4: status says how local deliveries were, of each server and of the whole", async () => {
  const [ann, bob] = devices as [Beckon, Beckon];
  bob.on("message", () => undefined);
  for (let sent = 0; sent < 3; sent++) {
    expect(await ann.send("bob", "hello")).toMatchObject({ status: "delivered", route: "remote" });
  }
  const { out } = await beckon(["status", "--admin", admin("us-1")], { env });
  expect(out).toMatch(/^eu-1 +up +1 of 100,000 +\d+% +0% +0% /m);
  expect(out).toMatch(/^us-1 +up +0 of 100,000 +\d+% +- +- /m);
  expect(out).toMatch(/^last 5 min +3 +0% +0% +100% +0%$/m);
  const json = await beckon(["status", "--json", "--admin", admin("us-1")], { env });
  const remote = { local: 0, remote: 3, wakeLocal: 0, wakeRemote: 0, locality: 0 };
  expect(JSON.parse(json.out)).toMatchObject({ deliveries: { hour: remote } });
});

test("B4: why says what draws a user to each server, through any server", async () => {
  const args = ["why", "ann", "--admin", admin("us-1")];
  // Once a second the server that accepted the messages tells the store.
  await until("bob as an associate", async () => (await beckon(args, { env })).out.includes("bob"));
  const { code, out, notes } = await beckon(args, { env });
  expect({ code, notes }).toEqual({ code: 0, notes: "" });
  expect(out).toMatch(
    /^phone +eu-1 +\d\S+ +goes to eu-2 when it reconnects: its associates are there \(better by [\d.]+\) +-$/m,
  );
  expect(out).toMatch(/^eu-1 +up +1 +0\.\d +10 +0 +0 +[\d.]+ +-[\d.]+ +here$/m);
  expect(out).toMatch(/^eu-2 +up +1 +0\.\d +10 +1 +63 +[\d.]+ +\d+(\.\d)?$/m);
  expect(out).toMatch(/^bob +63 +eu-2$/m);
  const json = await beckon([...args, "--json"], { env });
  expect(JSON.parse(json.out)).toMatchObject({
    server: "us-1",
    policy: "move",
    devices: [{ device: "phone", server: "eu-1", now: { what: "redirect", to: "eu-2" } }],
    associates: 1,
    strongest: [{ user: "bob", servers: ["eu-2"], named: null }],
    silent: [],
  });
  const nobody = await beckon(["why", "zoe", "--admin", admin("eu-1")], { env });
  expect(nobody).toEqual({
    code: 0,
    out: "",
    notes: "zoe is not known: there is no device, and no message to or from it.\n",
  });
});

test("B2, B4: why says that a device was moved, by which server, when and for what", async () => {
  const [ann, bob] = devices as [Beckon, Beckon];
  // Bob is held where he is by cat, so ann is the one to go.
  const cat = await device("cat", "eu-2");
  cat.on("message", () => undefined);
  for (let sent = 0; sent < 3; sent++) await bob.send("cat", "hello");
  await until("ann's move", async () => {
    await ann.send("bob", "hello");
    return ann.state.name === "connected" && ann.state.server === "eu-2";
  });
  const args = ["why", "ann", "--admin", admin("us-1")];
  const moved =
    /^phone +eu-2 +\d\S+ +stays: .* moved [\d.]+s ago from eu-1 to eu-2: its associates are there \([\d,.]+ there, 0 here, gain [\d,.]+\)$/m;
  await until("the table of us-1", async () => moved.test((await beckon(args, { env })).out));
  await Promise.all([ann.close(), cat.close()]);
}, 15_000);

test("B4: why says so where nobody is placed", async () => {
  const name = "alone";
  const alone = { ...settings(name), BECKON_STORE: `sqlite:${join(folder, "alone.db")}` };
  const config = await loadConfig(undefined, { ...alone, BECKON_PLACEMENT_POLICY: "wake" });
  const server = createServer({ ...config, processMetrics: false });
  await server.start();
  servers.set(name, server);
  try {
    const args = ["why", "ann", "--admin", admin(name)];
    const { code, out, notes } = await beckon(args, { env });
    expect({ code, out }).toEqual({ code: 0, out: "" });
    expect(notes).toStartWith("ann is not known: there is no device.\nPlacement is off at alone ");
    const json = await beckon([...args, "--json"], { env });
    expect(JSON.parse(json.out)).toMatchObject({ policy: "wake", devices: [], servers: [] });
  } finally {
    servers.delete(name);
    await server.drain();
  }
});

test("what is wrong is one clear line, and what to do another", async () => {
  for (const args of [["status"], ["where", "ann"], ["why", "ann"], ["drain", "eu-1"]]) {
    const there = [...args, "--admin", admin("eu-1")];
    const wrong = await beckon(there, { env: { BECKON_API_TOKEN: "another token" } });
    expect(wrong).toMatchObject({ code: 1, out: "" });
    expect(wrong.notes).toStartWith("beckon: bad-token: ");
    const nobody = await beckon([...args, "--admin", "http://127.0.0.1:1"], { env });
    expect(nobody.notes).toStartWith("beckon: no server answers at http://127.0.0.1:1\nStart one");
  }
  const unknown = await beckon(["drain", "eu2", "--admin", admin("us-1")], { env });
  expect(unknown).toEqual({
    code: 1,
    out: "",
    notes:
      "beckon: bad-argument: no server is called eu2; did you mean eu-2?\nThe system has: eu-1, eu-2, us-1.\n",
  });
});

test("B3: drain empties a server through another one, and answers when it has gone", async () => {
  const target = servers.get("eu-2")!;
  const bob = devices[1]!;
  const drained = beckon(["drain", "eu-2", "--admin", admin("eu-1")], { env });
  await until("the drain", () => target.node!.members.get("eu-2")?.state === "draining");
  // Whoever looks after its process learns that it may end.
  await target.stopped;
  expect(await drained).toEqual({
    code: 0,
    out: "eu-2 has gone\n",
    notes: "eu-2 sends 1 device elsewhere, in 5.0s at most\n",
  });
  await until("bob's device elsewhere", () => bob.state.name === "connected");
  expect(bob.state.server).not.toBe("eu-2");
  const { out } = await beckon(["status", "--admin", admin("us-1")], { env });
  expect(out).not.toContain("eu-2");
});

test("B3: drain of the very server that is asked ends well, too; --no-wait does not wait for it", async () => {
  const begun = await beckon(["drain", "us-1", "--no-wait", "--json", "--admin", admin("us-1")], {
    env,
  });
  expect(begun.code).toBe(0);
  expect(JSON.parse(begun.out)).toMatchObject({ within: 5_000 });
  await servers.get("us-1")!.stopped;
  const last = await beckon(["drain", "eu-1", "--admin", admin("eu-1")], { env });
  expect(last).toMatchObject({ code: 0, out: "eu-1 has gone\n" });
}, 15_000);
