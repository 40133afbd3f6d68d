import { expect, test } from "bun:test";

import { Whereabouts } from "./whereabouts.ts";

function watched() {
  const changes: (string | undefined)[] = [];
  const devices = new Whereabouts(({ server }) => changes.push(server));
  return { changes, devices };
}

test("a device that has moved is where it is, though its old server says so late", () => {
  const { changes, devices } = watched();
  devices.connected("s1", "ann", "phone");
  devices.connected("s2", "ann", "phone");
  devices.disconnected("s1", "ann", "phone");
  expect(changes).toEqual(["s1", "s2"]);
  expect(devices.all).toEqual([{ user: "ann", device: "phone", server: "s2", last: "s2" }]);
});

test("one that has gone is remembered where it was last", () => {
  const { devices } = watched();
  devices.connected("s1", "ann", "phone");
  devices.disconnected("s1", "ann", "phone");
  expect(devices.all).toEqual([{ user: "ann", device: "phone", server: undefined, last: "s1" }]);
  expect(devices.isConnected("ann")).toBe(false);
});

test("a server that is gone has nobody", () => {
  const { devices } = watched();
  devices.connected("s1", "ann", "phone");
  devices.connected("s2", "bob", "phone");
  devices.gone("s1");
  expect(devices.all.map(({ server }) => server)).toEqual(["s2", undefined]);
});

test("of more than a thousand, one that is away is forgotten", () => {
  const { devices } = watched();
  for (let i = 0; i < 1_000; i++) devices.connected("s1", `user-${i}`, "phone");
  devices.disconnected("s1", "user-3", "phone");
  devices.connected("s1", "new", "phone");
  expect(devices.all).toHaveLength(1_000);
  expect(devices.all.map(({ user }) => user)).not.toContain("user-3");
});
