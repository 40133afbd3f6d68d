import { expect, test } from "bun:test";

import type { Session } from "../sessions/table.ts";
import { isOnly, plan } from "./route.ts";

function session(device: string, overrides: Partial<Session> = {}): Session {
  return {
    user: "bob",
    device,
    server: "s1",
    epoch: 1,
    durable: true,
    background: false,
    setVersion: 1,
    setSize: 1,
    member: overrides.durable ?? true,
    ...overrides,
  };
}

test("M7: a user who is connected nowhere is tried by nobody, and asked of the store", () => {
  expect(plan([], undefined, true)).toEqual({ live: [], setSize: 0, complete: false });
});

test("M3: when all durable devices are connected nobody else is owed it", () => {
  const phone = session("phone");
  expect(plan([phone], undefined, true)).toEqual({ live: [phone], setSize: 1, complete: true });
});

test("L1: a durable device that is away makes the store be asked", () => {
  expect(plan([session("phone", { setSize: 2 })], undefined, true).complete).toBe(false);
});

test("L1: one that may have been forgotten does not stand in for a durable device that is away", () => {
  const phone = session("phone", { setSize: 2 });
  const forgotten = session("forgotten", { setSize: 2, member: false });
  expect(plan([phone, forgotten], undefined, true)).toEqual({
    live: [phone, forgotten],
    setSize: 2,
    complete: false,
  });
  const laptop = session("laptop", { setSize: 2 });
  expect(plan([phone, forgotten, laptop], undefined, true).complete).toBe(true);
});

test("L1: the newest set that any session shows counts", () => {
  const old = session("phone");
  const laptop = session("laptop", { setVersion: 2, setSize: 3 });
  expect(plan([old, laptop], undefined, true)).toMatchObject({ setSize: 3, complete: false });
});

test("L1: a session device stands for nobody but itself", () => {
  const web = session("web", { durable: false, setVersion: 1, setSize: 1 });
  expect(plan([web], undefined, true).complete).toBe(false);
  expect(plan([{ ...web, setSize: 0 }], undefined, true).complete).toBe(true);
});

test("L8: a table that cannot be trusted makes the store be asked", () => {
  expect(plan([session("phone")], undefined, false).complete).toBe(false);
});

test("copies go to all but the sending device", () => {
  const phone = session("phone", { setSize: 2 });
  const laptop = session("laptop", { setSize: 2 });
  expect(plan([phone, laptop], "phone", true)).toEqual({
    live: [laptop],
    setSize: 1,
    complete: true,
  });
  expect(plan([phone], "phone", true)).toEqual({ live: [], setSize: 1, complete: false });
});

test("L1: a sender that may have been forgotten is not one of those that get copies", () => {
  const phone = session("phone", { setSize: 2 });
  const forgotten = session("forgotten", { setSize: 2, member: false });
  expect(plan([forgotten, phone], "forgotten", true)).toEqual({
    live: [phone],
    setSize: 2,
    complete: false,
  });
});

test("a device is its user's only one when no other is connected, and no other durable one exists", () => {
  expect(isOnly([session("phone")], "phone")).toBe(true);
  expect(isOnly([session("tab", { durable: false, setSize: 0 })], "tab")).toBe(true);
  expect(isOnly([session("phone", { setSize: 2 })], "phone")).toBe(false);
  expect(isOnly([session("tab", { durable: false })], "tab")).toBe(false);
  expect(isOnly([session("phone"), session("tab", { durable: false })], "phone")).toBe(false);
  expect(isOnly([session("phone")], "laptop")).toBe(false);
  // That of which there is one may be another.
  expect(isOnly([session("phone", { member: false })], "phone")).toBe(false);
  expect(isOnly([session("phone", { member: false, setSize: 0 })], "phone")).toBe(true);
  expect(isOnly([], "phone")).toBe(false);
});
