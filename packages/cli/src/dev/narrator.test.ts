import { expect, test } from "bun:test";

import type { Happening } from "./happening.ts";
import { Narrator } from "./narrator.ts";
import { createPaint } from "./paint.ts";

/** Time passes when the test says so. */
function told({ connected = [] as string[], coloured = false } = {}) {
  const lines: string[] = [];
  let tasks: { readonly at: number; readonly run: () => void }[] = [];
  let now = 0;
  const narrator = new Narrator({
    line: (text) => lines.push(text),
    paint: createPaint(coloured, ["s1", "s2", "s3"]),
    after(ms, run) {
      const task = { at: now + ms, run };
      tasks.push(task);
      return () => void (tasks = tasks.filter((other) => other !== task));
    },
    isConnected: (user) => connected.includes(user),
  });
  return {
    lines,
    narrator,
    tell: (...events: readonly Happening[]) => events.forEach((event) => narrator.tell(event)),
    pass(ms: number) {
      now += ms;
      const due = tasks.filter(({ at }) => at <= now);
      tasks = tasks.filter(({ at }) => at > now);
      for (const { run } of due) run();
    },
  };
}

const held = { type: "held", server: "s1", id: "1", from: "ann", to: "bob", ms: 2 } as const;
const pushed = {
  type: "pushed",
  server: "s2",
  names: "s1",
  user: "bob",
  device: "phone",
  sealed: "",
} as const;
const delivered = {
  type: "delivered",
  server: "s1",
  accepted: "s1",
  id: "1",
  from: "ann",
  to: "bob",
  device: "phone",
  stored: false,
} as const;
const place = (user: string, server: string | undefined): Happening => ({
  type: "device",
  user,
  device: "phone",
  server,
  last: server,
});

test("M7: a hold and its push are one line", () => {
  const { lines, tell, pass } = told();
  tell(held, pushed);
  pass(1_000);
  expect(lines).toEqual(["ann → bob  asleep: held 2 ms, pushed; the push names s1"]);
});

test("a hold without a push is told all the same, and of one who is connected that he is not asleep", () => {
  const { lines, tell, pass } = told({ connected: ["bob"] });
  tell(held);
  expect(lines).toEqual([]);
  pass(1_000);
  tell(pushed);
  expect(lines).toEqual(["ann → bob  held 2 ms", "bob  pushed; the push names s1"]);
});

test("each of several holds for one user is told", () => {
  const { lines, tell, pass } = told();
  tell(held, { ...held, from: "cat" }, pushed);
  pass(1_000);
  expect(lines).toEqual([
    "ann → bob  asleep: held 2 ms",
    "cat → bob  asleep: held 2 ms, pushed; the push names s1",
  ]);
});

test.each([
  ["s1", ["s1"], "1 delivered, local"],
  ["s3", ["s1"], "1 delivered, crossed from s1"],
  ["s2", ["s2", "s1", "s1"], "3 delivered, 2 of them crossed from s1"],
  ["s1", [], undefined],
] as const)("waking at %s with what %j accepted is one line", (server, accepted, brought) => {
  const { lines, tell, pass } = told();
  tell(place("bob", server));
  tell(...accepted.map((name) => ({ ...delivered, server, accepted: name, stored: true })));
  tell({ type: "report", report: { kind: "woke", user: "bob", server, ms: 61.2 } });
  pass(1_000);
  const end = brought === undefined ? "" : `; ${brought}`;
  expect(lines).toEqual([`bob  woke at ${server}, 61 ms after the tap${end}`]);
});

test("that he woke comes before what he says then", () => {
  const { lines, tell, pass } = told();
  tell({ ...delivered, stored: true });
  tell({ type: "report", report: { kind: "woke", user: "bob", server: "s1", ms: 61 } });
  tell({ ...delivered, from: "bob", to: "ann" });
  pass(1_000);
  expect(lines).toEqual([
    "bob  woke at s1, 61 ms after the tap; 1 delivered, local",
    "bob → ann  delivered, local at s1",
  ]);
});

test("what came from the store without a tap is told with its route", () => {
  const { lines, tell, pass } = told();
  tell({ ...delivered, server: "s2", stored: true });
  pass(1_000);
  expect(lines).toEqual(["ann → bob  1 delivered from the store at s2, crossed from s1"]);
});

test("M6: a live message says which way it went", () => {
  const { lines, tell } = told();
  tell(delivered, { ...delivered, server: "s2" });
  expect(lines).toEqual([
    "ann → bob  delivered, local at s1",
    "ann → bob  delivered, crossed from s1 to s2",
  ]);
});

test("devices come, go, fall asleep and move, and a killed server's go without saying", () => {
  const { lines, tell, pass } = told();
  tell(place("eve", "s1"));
  pass(1_000);
  tell(place("eve", undefined));
  pass(1_000);
  tell(place("bob", "s2"));
  pass(1_000);
  tell(place("bob", undefined), {
    type: "report",
    report: { kind: "asleep", user: "bob", last: "s2" },
  });
  tell(place("cat", "s3"));
  pass(1_000);
  tell({ type: "killed", server: "s3" }, place("cat", undefined));
  pass(1_000);
  tell(place("cat", "s1"), { type: "started", server: "s3" });
  pass(1_000);
  expect(lines).toEqual([
    "eve  at s1",
    "eve  left s1",
    "bob  at s2",
    "bob  asleep; was last on s2",
    "cat  at s3",
    "s3  killed, as by kill -9: sockets are reset, and nobody hears a last word",
    "s3  started again",
    "cat  moved from s3 to s1",
  ]);
});

test("while the phones change hands, their coming and going is not told", () => {
  const { lines, tell, pass } = told();
  tell({ type: "phones", where: "page" }, place("ann", undefined), place("ann", "s1"));
  pass(1_000);
  tell(place("bob", undefined));
  pass(5_000);
  tell(place("bob", "s1"));
  pass(1_000);
  expect(lines).toEqual(["the page brings the phones from now on", "bob  at s1"]);
});

test("at the end, nothing is kept back", () => {
  const { lines, narrator, tell } = told();
  tell(held, { ...delivered, from: "cat", stored: true });
  narrator.flush();
  expect(lines).toHaveLength(2);
});

test("a server's name has its colour where colours are shown", () => {
  const { lines, tell } = told({ coloured: true });
  tell(delivered, { type: "trouble", server: "s1", what: "store", text: "s1 cannot store" });
  expect(lines[0]).toEndWith("at \u001B[38;5;75ms1\u001B[0m");
  expect(lines[1]).toBe("\u001B[31ms1 cannot store\u001B[0m");
});
