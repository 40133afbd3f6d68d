import { expect, test } from "bun:test";
import { Members, type MemberChange, type MembersOptions } from "./membership.ts";
import type { Heartbeat } from "./session-messages.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

function members(clock: VirtualClock, options: Partial<MembersOptions> = {}): Members {
  return new Members({
    server: "b",
    incarnation: 1,
    clock,
    addresses: [],
    load: () => 7,
    ...options,
  });
}

function heartbeat(server: string, more: Partial<Heartbeat> = {}): Heartbeat {
  return {
    kind: "heartbeat",
    server,
    incarnation: 1,
    version: 0,
    settled: true,
    state: "up",
    load: 3,
    since: 5,
    time: 6,
    addresses: [],
    capacity: 10,
    cpu: 250,
    software: "1.2.3",
    ...more,
  };
}

test("the list has every server that was heard, and this one (M1)", () => {
  const clock = new VirtualClock(1000);
  const list = members(clock);
  expect(list.heard(heartbeat("c", { state: "draining" }))).toBe("joined");
  expect(list.heard(heartbeat("a"))).toBe("joined");
  expect(list.heard(heartbeat("a", { load: 4 }))).toBe("known");
  const common = { incarnation: 1, addresses: [], full: false };
  const said = { ...common, capacity: 10, cpu: 250, software: "1.2.3" };
  const own = { ...common, capacity: 0, cpu: 0, software: "" };
  expect(list.list()).toEqual([
    { name: "a", state: "up", load: 4, since: 5, ...said },
    { name: "b", state: "up", load: 7, since: 1000, ...own },
    { name: "c", state: "draining", load: 3, since: 5, ...said },
  ]);
  expect(list.get("c")?.state).toBe("draining");
  expect(list.get("d")).toBeUndefined();
});

test("changes are told: who joins, changes and leaves, but not each new load", () => {
  const list = members(new VirtualClock());
  const heard: string[] = [];
  const end = list.onChange(({ kind, member }: MemberChange) => {
    heard.push(`${kind} ${member.name} ${member.state}`);
  });
  list.heard(heartbeat("a"));
  list.heard(heartbeat("a", { load: 9 }));
  list.heard(heartbeat("a", { state: "draining" }));
  list.heard(heartbeat("a", { state: "left" }));
  list.setState("draining");
  list.setState("draining");
  end();
  list.setState("up");
  expect(heard).toEqual([
    "joined a up",
    "changed a draining",
    "left a draining",
    "changed b draining",
  ]);
});

test("a server is full that has as many connections as it takes (M12)", () => {
  const about = { capacity: 7, cpu: () => 0, software: "" };
  const list = members(new VirtualClock(), { about });
  list.heard(heartbeat("a", { load: 9 }));
  list.heard(heartbeat("c", { load: 10 }));
  list.heard(heartbeat("d", { load: 10, capacity: 0 }));
  expect(list.list().map(({ name, full }) => [name, full])).toEqual([
    ["a", false],
    ["b", true],
    ["c", true],
    ["d", false],
  ]);
});

test("how long ago each server was heard", async () => {
  const clock = new VirtualClock();
  const list = members(clock);
  list.heard(heartbeat("a"));
  await clock.advance(300);
  expect(["a", "b", "c"].map((name) => list.silence(name))).toEqual([300, 0, undefined]);
});

test("a server that comes up again counts from then on", async () => {
  const clock = new VirtualClock(1000);
  const list = members(clock);
  list.setState("draining");
  await clock.advance(500);
  list.setState("up");
  expect(list.get("b")?.since).toBe(1500);
});

test("since when a server is up it says by the time that it was given", () => {
  let now = 10;
  const list = members(new VirtualClock(1000), { sinceWhen: () => now });
  expect(list.get("b")?.since).toBe(10);
  now = 20;
  list.setState("draining");
  list.setState("up");
  expect(list.get("b")?.since).toBe(20);
});

test("silence is seen, and does not count while nobody could be heard (L6)", async () => {
  const clock = new VirtualClock();
  const list = members(clock);
  list.heard(heartbeat("a"));
  await clock.advance(3000);
  list.heard(heartbeat("c"));
  await clock.advance(2001);
  expect(list.silentFor(5000)).toEqual(["a"]);
  list.pardon(1000);
  expect(list.silentFor(5000)).toEqual([]);
  await clock.advance(5000);
  list.pardon(Infinity);
  expect(list.silentFor(1)).toEqual([]);
});

test("a new incarnation is a restart; one that is over is not heard", () => {
  const list = members(new VirtualClock());
  list.heard(heartbeat("a", { incarnation: 2 }));
  expect(list.heard(heartbeat("a", { incarnation: 3 }))).toBe("restarted");
  expect(list.heard(heartbeat("a", { incarnation: 2 }))).toBe("ignored");
  expect(list.heard(heartbeat("a", { incarnation: 2, state: "left" }))).toBe("ignored");
  expect(list.get("a")?.incarnation).toBe(3);
});

test("another process with this server's name is counted", () => {
  const list = members(new VirtualClock());
  expect(list.heard(heartbeat("b", { incarnation: 9 }))).toBe("ignored");
  expect(list.strangers).toBe(1);
});

test("at the bound of servers one more is not heard (L10)", () => {
  const list = members(new VirtualClock(), { limit: 1 });
  list.heard(heartbeat("a"));
  expect(list.heard(heartbeat("c"))).toBe("ignored");
  list.forget("a");
  expect(list.heard(heartbeat("c"))).toBe("joined");
});

test("the last heartbeat says that the server has left", () => {
  const list = members(new VirtualClock(1000));
  const common = { kind: "heartbeat", server: "b", incarnation: 1, load: 7, addresses: [] };
  expect(list.heartbeat(4, true, true)).toMatchObject({ ...common, version: 4, state: "left" });
  expect(list.heartbeat(4, false, false)).toMatchObject({ ...common, settled: false, state: "up" });
});
