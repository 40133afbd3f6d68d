import { expect, test } from "bun:test";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { MemberReading, standingOf, type UserDevices } from "./member-reading.ts";
import type { Session } from "./table.ts";

const NOBODY: UserDevices = { setVersion: 1, devices: [] };

function session(setVersion: number, setSize: number): Session {
  const who = { user: "ann", device: "phone", server: "a", epoch: 1 };
  return { ...who, durable: true, background: false, setVersion, setSize, member: false };
}

const read = (setVersion: number, ...devices: string[]): UserDevices => ({
  setVersion,
  devices: devices.map((name) => ({
    device: name.replace("-", ""),
    dormant: name.startsWith("-"),
  })),
});

test("L1: a device that the store has is a member, if none can have left since it was read", () => {
  expect(standingOf(session(5, 2), read(5, "laptop", "phone"))).toBe("member");
  expect(standingOf(session(6, 3), read(5, "laptop", "phone"))).toBe("member");
  expect(standingOf(session(6, 1), read(5, "laptop", "phone"))).toBe("unknown");
  expect(standingOf(session(7, 2), read(5, "laptop", "phone"))).toBe("unknown");
});

test("a device is forgotten only where it cannot have registered since it was read", () => {
  expect(standingOf(session(5, 1), read(5, "laptop"))).toBe("forgotten");
  expect(standingOf(session(6, 2), read(5, "laptop"))).toBe("unknown");
  expect(standingOf(session(5, 1), read(5, "laptop", "-phone"))).toBe("dormant");
  expect(standingOf(session(6, 2), read(5, "laptop", "-phone"))).toBe("unknown");
});

/** A store that answers when it is told to. */
function make(): {
  clock: VirtualClock;
  reading: MemberReading;
  asked: string[];
  taken: string[];
  answer: (result: UserDevices | Error) => Promise<void>;
  stale: Set<string>;
} {
  const clock = new VirtualClock();
  const [asked, taken]: [string[], string[]] = [[], []];
  const stale = new Set<string>();
  let waiting: { resolve: (read: UserDevices) => void; reject: (error: Error) => void }[] = [];
  const reading = new MemberReading({
    clock,
    read: (user) => {
      asked.push(user);
      return new Promise((resolve, reject) => void waiting.push({ resolve, reject }));
    },
    take: (user) => {
      taken.push(user);
      return !stale.has(user);
    },
  });
  const answer = async (result: UserDevices | Error): Promise<void> => {
    const all = waiting;
    waiting = [];
    for (const { resolve, reject } of all) {
      if (result instanceof Error) reject(result);
      else resolve(result);
    }
    await clock.advance(0);
  };
  return { clock, reading, asked, taken, answer, stale };
}

test("a user waits at most once, and few are read at a time (L10)", async () => {
  const { reading, asked, taken, answer } = make();
  for (let i = 0; i < 40; i++) reading.add(`u${i}`);
  for (let i = 0; i < 40; i++) reading.add(`u${i}`);
  expect(asked).toEqual(["u0"]);
  await answer(NOBODY);
  expect(asked).toHaveLength(17);
  for (let i = 0; i < 3; i++) await answer(NOBODY);
  expect(asked).toHaveLength(40);
  expect(taken).toEqual(asked);
});

test("what cannot be read is read again, less and less often (L8)", async () => {
  const { clock, reading, asked, taken, answer } = make();
  const times: number[] = [];
  reading.add("ann");
  for (let i = 0; i < 20_000; i += 50) {
    const { length } = asked;
    await answer(new Error("the store is away"));
    await clock.advance(50);
    if (asked.length > length) times.push(clock.monotonic());
  }
  expect(taken).toEqual([]);
  expect(times.length).toBeGreaterThan(10);
  expect(times.length).toBeLessThan(16);
  await clock.advance(2000);
  await answer(NOBODY);
  expect(taken).toEqual(["ann"]);
  const { length } = asked;
  await clock.advance(5000);
  expect(asked).toHaveLength(length);
});

test("what was read too early is read again", async () => {
  const { clock, reading, asked, answer, stale } = make();
  stale.add("ann");
  reading.add("ann");
  await answer(NOBODY);
  expect(asked).toHaveLength(1);
  await clock.advance(100);
  expect(asked).toHaveLength(2);
  stale.clear();
  await answer(NOBODY);
  await clock.advance(5000);
  expect(asked).toHaveLength(2);
});

test("after its stop nothing is read or taken", async () => {
  const { clock, reading, asked, taken, answer } = make();
  reading.add("ann");
  reading.stop();
  await answer(NOBODY);
  reading.add("bob");
  await clock.advance(5000);
  expect([asked, taken]).toEqual([["ann"], []]);
});
