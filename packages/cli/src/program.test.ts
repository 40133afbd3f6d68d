import { expect, test } from "bun:test";

import packageFile from "../package.json" with { type: "json" };
import { beckon } from "./test-support/terminal.ts";

const COMMANDS = [
  "dev",
  "device",
  "serve",
  "status",
  "where",
  "drain",
  "token",
  "vapid",
  "send",
  "push",
  "decode",
  "replay",
];

test("help goes to the output, and names every command", async () => {
  const { code, out, notes } = await beckon(["--help"]);
  expect({ code, notes }).toEqual({ code: 0, notes: "" });
  for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, "m"));
  expect(out).toContain("Exit codes: 0");
});

test.each(COMMANDS)("%s has help with examples, and lines that fit", async (command) => {
  const { code, out } = await beckon([command, "--help"]);
  expect(code).toBe(0);
  expect(out).toMatch(/^Examples:\n {2}.*beckon /m);
  for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
});

test("the version is the package's", async () => {
  expect(await beckon(["--version"])).toEqual({
    code: 0,
    out: `${packageFile.version}\n`,
    notes: "",
  });
});

test.each([
  [[], "Usage: beckon"],
  [["replya"], "(Did you mean replay?)"],
  [["replay", "--sevrers", "3"], "(Did you mean --servers?)"],
  [["replay"], "there is nothing to replay\nName a trace, or try: beckon replay --generate"],
  [["replay", "x.tsv", "--generate", "community"], "cannot both be replayed"],
  [["replay", "x.tsv", "--servers", "0"], "Write a whole number from 1 to 64."],
  [["replay", "x.tsv", "--seed", "one"], "Write a whole number"],
  [["replay", "x.tsv", "--policy", "best"], "Allowed choices are random, wake, place, move."],
  [["token"], "required option '--user <user>' not specified"],
  [["token", "--user", "ann", "--expires", "soon"], "Write a number and a unit: 30s"],
  [["token", "--user", ""], "--user: a user id has 1 to 128 bytes"],
  [["token", "--user", "ann", "--to", "bob,,cem"], "Write names with commas between them"],
  [["send", "--from", "shop", "hello"], "required option '--to <user>' not specified"],
  [["send", "--from", "a", "--to", "b", "--admin", "here", "hello"], "is not an address"],
  [["send", "--from", "a", "--to", "b", "hello"], "Set BECKON_API_TOKEN"],
  [["status"], "Set BECKON_API_TOKEN"],
  [["status", "--watch", "--token", "x"], "--watch needs a terminal"],
  [["where"], "missing required argument 'user'"],
  [["drain"], "missing required argument 'server'"],
  [["drain", "eu-1", "--admin", "here"], "is not an address"],
  [["push", "--listen", "4690"], "Write it as 127.0.0.1:4690."],
  [
    ["device", "ann", "--server", "ws://x", "--token", "t", "--push", "push:4690"],
    "is not an address",
  ],
])("a wrong command line says what to do, and exits with 2: %j", async (args, says) => {
  const { code, out, notes } = await beckon(args);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(notes).toContain(says);
});

test("a failure says what to do, and exits with 1", async () => {
  expect(await beckon(["replay", "none.tsv"])).toEqual({
    code: 1,
    out: "",
    notes:
      "beckon: none.tsv: there is no such file\nname a .tsv or .tsv.gz file, or --generate community\n",
  });
});

test("nothing is coloured", async () => {
  for (const args of [["--help"], ["replay", "--help"], ["replya"]]) {
    const { out, notes } = await beckon(args, { interactive: true, env: { FORCE_COLOR: "1" } });
    expect(out + notes).not.toContain("\u001B");
  }
});
