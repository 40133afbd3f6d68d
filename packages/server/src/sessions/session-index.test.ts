import { expect, test } from "bun:test";
import type { SessionRecord } from "../cluster/session-messages.ts";
import { SessionIndex } from "./session-index.ts";

const HIDE_MS = 5000;
const HORIZON_MS = 10_000;

interface Made {
  readonly index: SessionIndex;
  /** What the listeners heard since it was asked last. */
  heard(): string[];
  readonly lifted: string[];
  now: number;
  forgotten: number;
}

/** The index of server "own". */
function make(): Made {
  let changes: string[] = [];
  const made: Omit<Made, "index"> = {
    now: 0,
    forgotten: 0,
    lifted: [],
    heard: () => {
      const heard = changes;
      changes = [];
      return heard;
    },
  };
  const index = new SessionIndex({
    own: "own",
    now: () => result.now,
    hideMs: HIDE_MS,
    horizonMs: HORIZON_MS,
    onLifted: ({ device }) => void made.lifted.push(device),
    onChange: (change) => {
      const { server, epoch } = change.session;
      const before = change.kind === "appeared" ? change.before : undefined;
      const after = before === undefined ? "" : ` for ${before.server} ${before.epoch}`;
      changes.push(`${change.kind} ${server} ${epoch}${after}`);
    },
    onForgotten: () => void result.forgotten++,
  });
  const result: Made = Object.assign(made, { index });
  return result;
}

function record(epoch: number, more: Partial<SessionRecord> = {}): SessionRecord {
  return {
    user: "ann",
    device: "phone",
    epoch,
    durable: true,
    background: false,
    setVersion: 1,
    setSize: 1,
    member: more.durable ?? true,
    ...more,
  };
}

const shown = (index: SessionIndex): string[] =>
  index.lookup("ann").map(({ server, device, epoch }) => `${device} ${server} ${epoch}`);

test("a lookup answers with all devices of a user, wherever they are (M3)", () => {
  const { index } = make();
  expect(index.lookup("ann")).toEqual([]);
  index.put(record(1), "own");
  index.put(record(2, { device: "tab" }), "b");
  index.put(record(3, { user: "bob" }), "b");
  expect(shown(index)).toEqual(["phone own 1", "tab b 2"]);
  expect(index.find("ann", "tab")?.server).toBe("b");
  expect(index.find("ann", "watch")).toBeUndefined();
  expect([index.sizeOf("own"), index.sizeOf("b"), index.sizeOf("c")]).toEqual([1, 2, 0]);
  expect([...index.usersOf("b")]).toEqual(["ann", "bob"]);
});

test("the answer of a lookup stays as it was, whatever happens next", () => {
  const { index } = make();
  index.put(record(1), "b");
  const before = index.lookup("ann");
  index.put(record(1, { background: true }), "b");
  index.put(record(1, { device: "tab" }), "b");
  expect(before).toEqual([{ ...record(1), server: "b" }]);
});

test("the higher epoch wins, whichever comes first; a tie goes to the greater name", () => {
  for (const [first, second, winner] of [
    [5, 6, "c 6"],
    [6, 5, "b 6"],
    [5, 5, "c 5"],
  ] as const) {
    const { index } = make();
    index.put(record(first), "b");
    index.put(record(second), "c");
    expect(shown(index)).toEqual([`phone ${winner}`]);
  }
});

test("an own session that loses is told with the one that displaced it", () => {
  const { index, heard } = make();
  index.put(record(5), "own");
  index.put(record(6), "b");
  expect(heard()).toEqual(["appeared own 5", "appeared b 6 for own 5"]);
});

test("an own session that has lost before it came is told in the same way", () => {
  const { index, heard } = make();
  index.put(record(6), "b");
  index.put(record(5), "own");
  expect(heard()).toEqual(["appeared b 6", "appeared b 6 for own 5"]);
  expect(shown(index)).toEqual(["phone b 6"]);
});

test("a session of another server that has lost before it came is not told", () => {
  const { index, heard } = make();
  index.put(record(6), "b");
  heard();
  index.put(record(5), "c");
  index.remove("c", "ann", "phone");
  expect(heard()).toEqual([]);
});

test("a loser is not shown when the winner goes, until its owner had time to withdraw it (L7)", () => {
  const made = make();
  const { index, heard } = made;
  index.put(record(5), "b");
  index.put(record(6), "c");
  index.remove("c", "ann", "phone");
  expect(index.lookup("ann")).toEqual([]);
  expect(heard().at(-1)).toBe("gone c 6");
  made.now = HIDE_MS - 1;
  index.expireHidden();
  expect(index.lookup("ann")).toEqual([]);
  index.remove("b", "ann", "phone");
  made.now = HIDE_MS;
  index.expireHidden();
  expect(heard()).toEqual([]);
});

test("a loser whose owner sticks to it is shown in the end: it alone knows", () => {
  const made = make();
  const { index, heard } = made;
  index.put(record(5), "b");
  index.put(record(6), "c");
  index.remove("c", "ann", "phone");
  heard();
  index.put(record(5, { background: true }), "b");
  expect(heard()).toEqual([]);
  made.now = HIDE_MS;
  index.expireHidden();
  expect(heard()).toEqual(["appeared b 5"]);
  expect(index.find("ann", "phone")?.background).toBe(true);
});

test("a new connection is shown though a loser is still hidden", () => {
  const made = make();
  const { index, heard } = made;
  index.put(record(5), "b");
  index.put(record(6), "c");
  index.remove("c", "ann", "phone");
  index.put(record(7), "d");
  made.now = HIDE_MS;
  index.expireHidden();
  expect(shown(index)).toEqual(["phone d 7"]);
  expect(heard()).toEqual(["appeared b 5", "appeared c 6 for b 5", "gone c 6", "appeared d 7"]);
});

test("the highest epoch of a device counts hidden entries, too", () => {
  const { index } = make();
  index.put(record(5), "b");
  index.put(record(6), "c");
  index.remove("c", "ann", "phone");
  expect(index.highestEpoch("ann", "phone")).toBe(5);
  expect(index.highestEpoch("ann", "tab")).toBe(0);
});

test("another connection to the same server takes the place of the one before", () => {
  const { index, heard } = make();
  index.put(record(5), "b");
  index.put(record(6), "b");
  index.put(record(4), "b");
  expect(heard()).toEqual(["appeared b 5", "appeared b 6 for b 5", "gone b 6", "appeared b 4"]);
  expect(index.sizeOf("b")).toBe(1);
});

test("a partition is dropped whole, hidden entries with it (M2)", () => {
  const { index, heard } = make();
  index.put(record(5), "b");
  index.put(record(1, { device: "tab" }), "b");
  index.put(record(6), "c");
  heard();
  index.drop("b");
  expect(heard()).toEqual(["gone b 1"]);
  expect(shown(index)).toEqual(["phone c 6"]);
  index.drop("c");
  expect([index.lookup("ann"), index.sizeOf("b"), index.sizeOf("c")]).toEqual([[], 0, 0]);
});

test("all entries of a user take on the newest set, and own ones are told on", () => {
  const made = make();
  const { index, lifted } = made;
  index.put(record(1), "own");
  index.put(record(2), "b");
  index.put(record(1, { device: "tab" }), "own");
  expect(index.takeSet("ann", { setVersion: 3, setSize: 2 })).toBe(true);
  expect(index.takeSet("ann", { setVersion: 3, setSize: 2 })).toBe(false);
  expect(index.takeSet("ann", { setVersion: 2, setSize: 9 })).toBe(false);
  expect(index.lookup("ann").map(({ setVersion, setSize }) => [setVersion, setSize])).toEqual([
    [3, 2],
    [3, 2],
  ]);
  expect(lifted.toSorted()).toEqual(["phone", "tab"]);
  // What its owner does not know of yet is not forgotten when it speaks of something else.
  index.put(record(2, { background: true }), "b");
  expect(index.find("ann", "phone")).toMatchObject({ background: true, setVersion: 3 });
});

test("L1: an entry stays a known member while only additions are heard of, whichever way", () => {
  const { index } = make();
  const isMember = (device: string): boolean => index.find("ann", device)!.member;
  index.put(record(1, { setVersion: 3, setSize: 2 }), "own");
  index.put(record(1, { device: "laptop", setVersion: 3, setSize: 2 }), "b");
  index.takeSet("ann", { setVersion: 4, setSize: 3 });
  index.put(record(1, { device: "watch", setVersion: 6, setSize: 5 }), "c");
  expect(["phone", "laptop", "watch"].map(isMember)).toEqual([true, true, true]);
  // One was added and one has left. Which one?
  index.put(record(1, { device: "tab", setVersion: 8, setSize: 5 }), "c");
  expect(["phone", "laptop", "watch", "tab"].map(isMember)).toEqual([false, false, false, true]);
  index.takeSet("ann", { setVersion: 9, setSize: 6 });
  expect(["phone", "laptop", "watch", "tab"].map(isMember)).toEqual([false, false, false, true]);
});

test("L1: what comes with an older set is a member only if it could not have left since", () => {
  const { index } = make();
  index.takeSet("ann", { setVersion: 5, setSize: 3 });
  index.put(record(1, { setVersion: 4, setSize: 2 }), "own");
  index.put(record(1, { device: "laptop", setVersion: 4, setSize: 4 }), "b");
  index.put(record(1, { device: "tab", durable: false, setVersion: 5, setSize: 3 }), "b");
  expect(index.lookup("ann").map(({ member }) => member)).toEqual([true, false, false]);
  expect(index.lookup("ann").map(({ setVersion }) => setVersion)).toEqual([5, 5, 5]);
});

test("the word of an entry's owner on whether it is a member counts, and is told", () => {
  const { index, heard } = make();
  index.put(record(1, { member: false }), "b");
  index.put(record(1), "b");
  expect(index.find("ann", "phone")?.member).toBe(true);
  expect(heard()).toEqual(["appeared b 1", "changed b 1"]);
});

test("an entry with a newer set lifts the others", () => {
  const { index, lifted } = make();
  index.put(record(1), "own");
  index.put(record(1, { device: "tab", setVersion: 2, setSize: 2 }), "b");
  expect(index.find("ann", "phone")).toMatchObject({ setVersion: 2, setSize: 2 });
  expect(lifted).toEqual(["phone"]);
});

test("a set that was announced while a session was being opened is not missed", () => {
  const { index } = make();
  index.takeSet("ann", { setVersion: 4, setSize: 2 });
  index.put(record(1, { setVersion: 3 }), "own");
  expect(index.find("ann", "phone")).toMatchObject({ setVersion: 4, setSize: 2 });
});

test("what a session said of the set is remembered when it goes", () => {
  const made = make();
  const { index } = made;
  index.put(record(1, { setVersion: 4, setSize: 2 }), "b");
  index.remove("b", "ann", "phone");
  made.now = HORIZON_MS;
  index.put(record(1, { device: "tab", setVersion: 3 }), "own");
  expect(index.find("ann", "tab")?.setVersion).toBe(4);
});

test("at the bound of remembered sets the loss is told, if it was too early (L10)", () => {
  const made = make();
  for (let i = 0; i <= 65_536; i++) made.index.takeSet(`u${i}`, { setVersion: 1, setSize: 1 });
  expect(made.forgotten).toBe(1);
  made.now = HORIZON_MS + 1;
  made.index.takeSet("later", { setVersion: 1, setSize: 1 });
  expect(made.forgotten).toBe(1);
});

test("a listener may call back", () => {
  const heard: string[] = [];
  const index: SessionIndex = new SessionIndex({
    own: "own",
    now: () => 0,
    hideMs: HIDE_MS,
    horizonMs: HORIZON_MS,
    onLifted: () => {},
    onChange: (change) => {
      heard.push(`${change.kind} ${change.session.server}`);
      if (change.kind !== "appeared" || change.before?.server !== "own") return;
      index.remove("own", "ann", "phone");
      index.put(record(1, { device: "tab" }), "own");
    },
    onForgotten: () => {},
  });
  index.put(record(5), "own");
  index.put(record(6), "b");
  expect(heard).toEqual(["appeared own", "appeared b", "appeared own"]);
  expect(index.sizeOf("own")).toBe(1);
});

test("a large partition is dropped in steps, and its server may be back before the last (L7)", () => {
  const made = make();
  const { index, heard } = made;
  for (let i = 0; i < 2000; i++) index.put(record(5, { user: `u${i}` }), "b");
  index.put(record(5), "b");
  heard();
  index.drop("b");
  const first = heard().length;
  expect(first).toBeLessThan(1000);
  expect([index.hasWork, index.sizeOf("b"), [...index.usersOf("b")]]).toEqual([true, 0, []]);
  // Till its turn comes an entry is stale, but nobody takes it for one of the server's new ones.
  expect(shown(index)).toEqual(["phone b 5"]);
  expect([index.get("b", "ann", "phone"), index.entriesOf("b", "ann")]).toEqual([undefined, []]);
  index.put(record(4), "b");
  expect(heard()).toEqual(["gone b 5", "appeared b 4"]);
  index.remove("b", "u1999", "phone");
  expect(heard()).toEqual(["gone b 5"]);
  while (index.hasWork) index.work();
  expect(heard().length).toBe(2001 - first - 2);
  expect([shown(index), index.sizeOf("b")]).toEqual([["phone b 4"], 1]);
  expect(index.lookup("u1000")).toEqual([]);
});

test("a partition that is swept in steps keeps what is put meanwhile", () => {
  const { index, heard } = make();
  for (let i = 0; i < 2000; i++) index.put(record(5, { user: `u${i}` }), "b");
  index.doubt("b");
  index.put(record(5, { user: "u0" }), "b");
  index.sweep("b");
  expect(index.hasWork).toBe(true);
  index.put(record(5, { user: "u1998" }), "b");
  index.put(record(6, { user: "u1999" }), "b");
  heard();
  // A new snapshot begins before the last is swept: all are in doubt again.
  index.doubt("b");
  index.work();
  expect(heard()).toEqual([]);
  index.put(record(5, { user: "u1998" }), "b");
  index.sweep("b");
  while (index.hasWork) index.work();
  expect([...index.usersOf("b")]).toEqual(["u1998"]);
});

test("the memory of a server that has left is given back, and taken again by the next (L10)", () => {
  const { index } = make();
  const before = index.bytes.records;
  let one = 0;
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20_000; i++) index.put(record(5, { user: `user ${i}` }), "b");
    one ||= index.bytes.records;
    expect(index.bytes.records).toBe(one);
    index.drop("b");
    while (index.hasWork) index.work();
    expect(index.bytes.records).toBe(before);
  }
  // Those that come and go at a server that stays use the same memory again and again.
  for (let i = 0; i < 50_000; i++) {
    index.put(record(5, { user: `user ${i}` }), "b");
    if (i >= 1000) index.remove("b", `user ${i - 1000}`, "phone");
  }
  expect(index.bytes.records).toBeLessThan(one / 4);
}, 60_000);
