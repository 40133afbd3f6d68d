import { expect, test } from "bun:test";
import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { OwnedTable } from "./session-table.ts";
import type { OpenedSession, SessionChange } from "./table.ts";

const NOW = 1_700_000_000_000;
const YEAR_MS = 366 * 24 * 3600 * 1000;

function make(): {
  clock: VirtualClock;
  table: OwnedTable;
  changes: SessionChange[];
  doubted: string[];
} {
  const doubted: string[] = [];
  const clock = new VirtualClock(NOW);
  const table = new OwnedTable({
    server: "b",
    incarnation: 1,
    clock,
    hideMs: 5000,
    horizonMs: 10_000,
    isTrusted: () => true,
    onOwnChange: () => {},
    onOpened: () => {},
    onDoubted: (user) => void doubted.push(user),
    onForgotten: () => {},
  });
  const changes: SessionChange[] = [];
  table.onChange((change) => void changes.push(change));
  return { clock, table, changes, doubted };
}

function session(epoch: number, more: Partial<OpenedSession> = {}): OpenedSession {
  return {
    user: "ann",
    device: "phone",
    epoch,
    durable: true,
    background: false,
    setVersion: 1,
    setSize: 1,
    ...more,
  };
}

test("an epoch is past the clock, the device's last and the table's", () => {
  const { table } = make();
  expect(table.nextEpoch("ann", "phone", 0)).toBe(NOW);
  expect(table.nextEpoch("bob", "phone", NOW + 5000)).toBe(NOW + 5001);
  table.index.put({ ...session(NOW + 9000, { user: "cyd" }), member: true }, "other");
  expect(table.nextEpoch("cyd", "phone", NOW + 5000)).toBe(NOW + 9001);
});

test("no device gets an epoch twice, though nothing was opened in between", () => {
  const { table } = make();
  const epochs = [1, 2, 3].map(() => table.nextEpoch("ann", "phone", 0));
  expect(epochs).toEqual([NOW, NOW + 1, NOW + 2]);
  table.open(session(NOW + 2));
  expect(table.nextEpoch("ann", "phone", 0)).toBe(NOW + 3);
});

test("a device cannot push its epoch out of range", () => {
  const { table } = make();
  const epoch = table.nextEpoch("ann", "phone", Number.MAX_SAFE_INTEGER);
  expect(epoch).toBe(NOW + YEAR_MS + 1);
});

test("setBackground and close are for the connection that they name (M2)", () => {
  const { table, changes } = make();
  table.open(session(5));
  table.setBackground("ann", "phone", 4, true);
  table.close("ann", "phone", 4);
  expect(table.find("ann", "phone")?.background).toBe(false);
  table.setBackground("ann", "phone", 5, true);
  expect(table.find("ann", "phone")?.background).toBe(true);
  expect([table.ownSize, [...table.ownUsers()]]).toEqual([1, ["ann"]]);
  table.close("ann", "phone", 5);
  expect(changes.map(({ kind }) => kind)).toEqual(["appeared", "changed", "gone"]);
  expect([table.ownSize, [...table.ownUsers()]]).toEqual([0, []]);
});

test("a connection that has lost already is told as replaced, within open", () => {
  const { table, changes } = make();
  table.open(session(5));
  table.open(session(4));
  table.open(session(5));
  const [, lower, equal] = changes;
  expect(lower).toMatchObject({ kind: "appeared", session: { epoch: 5 }, before: { epoch: 4 } });
  expect(equal).toMatchObject({ kind: "appeared", session: { epoch: 5 }, before: { epoch: 5 } });
  expect(table.ownSize).toBe(1);
});

test("the close of a replaced connection leaves the one that replaced it", () => {
  const { table } = make();
  table.open(session(5));
  table.open(session(6));
  table.close("ann", "phone", 5);
  expect(table.find("ann", "phone")?.epoch).toBe(6);
});

test("older announcements are ignored", () => {
  const { table } = make();
  table.open(session(5, { setVersion: 3, setSize: 2 }));
  table.announceSet("ann", 2, 9);
  expect(table.find("ann", "phone")).toMatchObject({ setVersion: 3, setSize: 2 });
  table.announceSet("ann", 4, 1);
  expect(table.find("ann", "phone")).toMatchObject({ setVersion: 4, setSize: 1 });
});

test("L1: an own durable device that may have left its set is doubted, and the store's word settles it", () => {
  const { table, changes, doubted } = make();
  table.open(session(NOW));
  table.open(session(NOW, { device: "laptop", setVersion: 2, setSize: 2 }));
  table.open(session(NOW, { device: "watch", setVersion: 3, setSize: 3 }));
  table.open(session(NOW, { device: "tab", durable: false, setVersion: 3, setSize: 3 }));
  expect(doubted).toEqual([]);
  table.announceSet("ann", 5, 1);
  expect(new Set(doubted)).toEqual(new Set(["ann"]));
  changes.length = 0;
  const devices = [
    { device: "laptop", dormant: true },
    { device: "phone", dormant: false },
  ];
  // Read before the set that is known: who is not in it may have been added since.
  expect(table.takeDevices("ann", { setVersion: 4, devices: devices.slice(0, 1) })).toBe(false);
  expect(changes).toEqual([]);
  expect(table.takeDevices("ann", { setVersion: 5, devices })).toBe(true);
  expect(changes.map(({ kind, session: { device } }) => `${kind} ${device}`)).toEqual([
    "changed phone",
    "revoked watch",
  ]);
  const members = table.lookup("ann").filter(({ member }) => member);
  expect(members.map(({ device }) => device)).toEqual(["phone"]);
});

test("who was connected a moment ago is remembered for as long as is asked (L5)", async () => {
  const { clock, table } = make();
  expect(table.wasConnectedWithin("ann", "phone", 5000)).toBe(false);
  table.open(session(5));
  expect(table.wasConnectedWithin("ann", "phone", 0)).toBe(true);
  table.close("ann", "phone", 5);
  await clock.advance(5000);
  expect(table.wasConnectedWithin("ann", "phone", 5000)).toBe(true);
  expect(table.wasConnectedWithin("ann", "tab", 5000)).toBe(false);
  await clock.advance(1);
  expect(table.wasConnectedWithin("ann", "phone", 5000)).toBe(false);
});

test("one that said goodbye is not about to come back (L5)", () => {
  const { table } = make();
  table.open(session(5));
  table.close("ann", "phone", 5);
  table.open(session(6));
  table.close("ann", "phone", 6, true);
  expect(table.wasConnectedWithin("ann", "phone", 5000)).toBe(false);
});

test("at its bound the oldest departure is forgotten (L10)", () => {
  const { table } = make();
  for (let i = 0; i <= 65_536; i++) {
    table.open(session(5, { user: `u${i}` }));
    table.close(`u${i}`, "phone", 5);
  }
  expect(table.wasConnectedWithin("u0", "phone", 5000)).toBe(false);
  expect(table.wasConnectedWithin("u1", "phone", 5000)).toBe(true);
});

test("a listener that has ended hears nothing", () => {
  const { table } = make();
  let heard = 0;
  const end = table.onChange(() => void heard++);
  table.open(session(5));
  end();
  table.close("ann", "phone", 5);
  expect(heard).toBe(1);
});
