/** Each law of the suite is broken on purpose, and the suite has to notice by that law's name. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";

import { type Change, memory, type Storage, type Stored } from "./storage.ts";
import { type StorageHarness, storageSuite } from "./storage.suite.ts";

// What differs is printed when it is found, and that may be much.
setDefaultTimeout(60_000);

describe("in memory", () => {
  storageSuite(test, async () => {
    const [place, other] = [memory(), memory()];
    return {
      open: async (which) => (which === undefined ? place : other),
      kill: async () => {},
      close: async () => {},
    };
  }, ["kill", "users"]);
});

/** What is on the disk, and who has it. */
interface Place {
  readonly disk: Map<string, Stored>;
  owner: Storage | undefined;
}

/** Says how a user differs from a right one. */
type Fault = (user: Storage, place: Place) => Partial<Storage>;

const onWrite =
  (change: (changes: readonly Change[], place: Place) => readonly Change[]): Fault =>
  (user, place) => ({ write: (changes) => user.write(change(changes, place)) });

const onRead =
  (change: (values: (readonly [string, Stored])[]) => Iterable<readonly [string, Stored]>): Fault =>
  (user) => ({ read: async () => change([...(await user.read())]) });

/** Written when it is closed only. */
const lazy: Fault = (user) => {
  const later: Change[] = [];
  return {
    write: async (changes) => void later.push(...changes),
    close: async () => {
      await user.write(later);
      await user.close();
    },
  };
};

const FAULTS: Record<string, Fault> = {
  "a new place is empty": onRead((values) => [...values, ["m/version", 1]]),
  "what was written is there for the next user": onWrite(() => []),
  "values come back as they were: text, numbers, lists, objects, bytes": onRead((values) =>
    values.map(([key, value]) => [key, JSON.parse(JSON.stringify(value)) as Stored]),
  ),
  "bytes are a Uint8Array whose slice is a copy": onRead((values) =>
    values.map(([key, value]) => [key, Buffer.from(value as Uint8Array)]),
  ),
  "the order is that of the keys, by code unit": onRead((values) =>
    values.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  ),
  "of one key the last change counts, and undefined removes it": onWrite((changes) =>
    changes.filter(({ value }) => value !== undefined),
  ),
  "much and often is there, too": onWrite((changes, { disk }) => (disk.size > 2 ? [] : changes)),
  "clear removes everything, and writing goes on": () => ({ clear: async () => {} }),
  "a write is all or nothing": (user) => ({
    write: async (changes) => {
      for (const change of changes) await user.write([change]);
    },
  }),
  "two places are two": onRead((values) => (values.length === 0 ? [["a", 1]] : values)),
  "read waits until the user before has closed": (_user, { disk }) => ({
    read: async () => [...disk],
  }),
  "who waits and closes is told so, and does not keep the next one waiting": () => ({
    close: async () => {},
  }),
  "read waits until the user before is gone, and what it was told is on disk is there": lazy,
  "a user that is killed in mid-write leaves whole writes, and all that it was told of": (
    user,
  ) => ({
    write: async (changes) => {
      for (const change of changes) {
        await user.write([change]);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
  }),
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function harness(fault: Fault): () => Promise<StorageHarness> {
  return async () => {
    const places: Place[] = [
      { disk: new Map(), owner: undefined },
      { disk: new Map(), owner: undefined },
    ];
    const dead = new Set<Storage>();
    return {
      async open(other) {
        const place = places[other === undefined ? 0 : 1]!;
        const right = storageOn(place, dead);
        const user = { ...right, ...fault(right, place) };
        rights.set(user, right);
        return user;
      },
      async kill(user) {
        const right = rights.get(user)!;
        dead.add(right);
        for (const place of places) if (place.owner === right) place.owner = undefined;
      },
      close: async () => {},
    };
  };
}

const rights = new WeakMap<Storage, Storage>();

/** A right storage, whose disk outlives its users. */
function storageOn(place: Place, dead: ReadonlySet<Storage>): Storage {
  let closed = false;
  const user: Storage = {
    async read() {
      // A wait that nobody ends fails, so that the suite can go on.
      const deadline = Date.now() + 500;
      const waits = (): boolean => place.owner !== undefined && !closed;
      while (waits() && Date.now() < deadline) await turn();
      if (place.owner !== undefined || closed) throw new Error("waited in vain");
      place.owner = user;
      return [...place.disk].sort(([a], [b]) => (a < b ? -1 : 1));
    },
    async write(changes) {
      await turn();
      if (dead.has(user)) return new Promise<void>(() => {});
      if (place.owner !== user) throw new Error("not open");
      if (changes.some(({ value }) => typeof value === "function")) throw new Error("no value");
      for (const { key, value } of changes) {
        if (value === undefined) place.disk.delete(key);
        else place.disk.set(key, value);
      }
    },
    clear: async () => place.disk.clear(),
    async close() {
      closed = true;
      if (place.owner === user) place.owner = undefined;
    },
  };
  return user;
}

function laws(fault: Fault): Map<string, () => Promise<void>> {
  const all = new Map<string, () => Promise<void>>();
  storageSuite((name, run) => void all.set(name, run), harness(fault));
  return all;
}

test("every law has a fault that breaks it", () => {
  expect(Object.keys(FAULTS)).toEqual([...laws(() => ({})).keys()]);
});

for (const [name, fault] of Object.entries(FAULTS)) {
  test(`the suite notices where this does not hold: ${name}`, async () => {
    await expect(laws(fault).get(name)!()).rejects.toThrow();
    await laws(() => ({})).get(name)!();
  });
}
