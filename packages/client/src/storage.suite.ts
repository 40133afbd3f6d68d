/** What a {@link Storage} must do. It runs in every runtime: nothing of it knows a test runner. */
import type { Change, Storage, Stored } from "./storage.ts";

/** A place where something is stored, and its users. */
export interface StorageHarness {
  /** One more user of the same place, or of the `other` one. */
  open(other?: "other"): Promise<Storage>;
  /** The user is gone without a last word, also in mid-write, and the place is as it was left. */
  kill(user: Storage): Promise<void>;
  close(): Promise<void>;
}

export type TestFunction = (name: string, run: () => Promise<void>) => void;

/** What needs a place that outlives its user, which a storage in memory has not. */
export type Needs = "kill" | "users";

/** `cannot`: what the place has not; the laws that need it are left out. */
export function storageSuite(
  test: TestFunction,
  open: () => Promise<StorageHarness>,
  cannot: readonly Needs[] = [],
): void {
  const law = (
    name: string,
    run: (harness: StorageHarness) => Promise<void>,
    needs?: Needs,
  ): void => {
    if (needs !== undefined && cannot.includes(needs)) return;
    test(name, async () => {
      const harness = await open();
      try {
        await run(harness);
      } finally {
        await harness.close();
      }
    });
  };

  law("a new place is empty", async ({ open }) => {
    const user = await open();
    equal(await contents(user), []);
  });

  law("what was written is there for the next user", async ({ open }) => {
    const [, again] = await written(open, [{ key: "a", value: 1 }], [{ key: "b", value: "two" }]);
    equal(again, [
      ["a", 1],
      ["b", "two"],
    ]);
  });

  law("values come back as they were: text, numbers, lists, objects, bytes", async ({ open }) => {
    const buffer = Uint8Array.of(0, 1, 2, 255, 4, 5);
    const values: Stored[] = [
      "",
      'line\nbreak, quote " and \\, é, 😀, a half of one: \ud83d',
      [0, -1.5, 1e21, Number.MAX_SAFE_INTEGER, true, false, null],
      new Uint8Array(0),
      buffer.subarray(2, 4),
      { nested: [{ bytes: buffer, list: [] }, {}] },
      JSON.parse('{ "$": 1, "$$": "x", "": 2, "__proto__": 3, "constructor": 4 }') as Stored,
      { $: "AQI=" },
    ];
    const changes = values.map((value, at) => ({ key: `k${at}`, value }));
    const [, again] = await written(open, changes);
    equal(
      again,
      values.map((value, at) => [`k${at}`, value]),
    );
  });

  law("bytes are a Uint8Array whose slice is a copy", async ({ open }) => {
    const [, [[, value] = []]] = await written(open, [{ key: "a", value: Uint8Array.of(1, 2) }]);
    const bytes = value as Uint8Array;
    const copy = bytes.slice();
    bytes[0] = 9;
    equal([...copy], [1, 2]);
  });

  law("the order is that of the keys, by code unit", async ({ open }) => {
    // By code point the last two would change places.
    const keys = ["", "A", "a", "a/0", "a/10", "a/9", "b", "é", "😀", "\uff5e"];
    const changes = [...keys].reverse().map((key) => ({ key, value: 1 }));
    const [, again] = await written(open, changes);
    equal(
      again.map(([key]) => key),
      keys,
    );
  });

  law("of one key the last change counts, and undefined removes it", async ({ open }) => {
    const [, again] = await written(
      open,
      [
        { key: "kept", value: 1 },
        { key: "gone", value: 1 },
        { key: "changed", value: 1 },
      ],
      [
        { key: "gone", value: undefined },
        { key: "never", value: undefined },
        { key: "changed", value: 2 },
        { key: "changed", value: 3 },
      ],
    );
    equal(again, [
      ["changed", 3],
      ["kept", 1],
    ]);
  });

  law("much and often is there, too", async ({ open }) => {
    const payload = new Uint8Array(64 * 1024).fill(7);
    const user = await open();
    await user.read();
    for (let n = 0; n < 40; n++) {
      await user.write([
        { key: `m/${n}`, value: payload },
        { key: `m/${n - 2}`, value: undefined },
        { key: "n", value: n },
      ]);
    }
    await user.close();
    const again = await contents(await open());
    equal(
      again.map(([key]) => key),
      ["m/38", "m/39", "n"],
    );
    equal(again[0]![1], payload);
  });

  law("clear removes everything, and writing goes on", async ({ open }) => {
    const user = await open();
    await user.read();
    await user.write([{ key: "a", value: 1 }]);
    await user.clear();
    await user.write([{ key: "b", value: 2 }]);
    await user.close();
    equal(await contents(await open()), [["b", 2]]);
  });

  law(
    "a write is all or nothing",
    async ({ open }) => {
      const user = await open();
      await user.read();
      await user.write([{ key: "a", value: 1 }]);
      const impossible = (() => {}) as unknown as Stored;
      await rejects(
        user.write([
          { key: "a", value: undefined },
          { key: "b", value: 2 },
          { key: "c", value: impossible },
        ]),
      );
      await user.write([{ key: "d", value: 4 }]);
      await user.close();
      equal(await contents(await open()), [
        ["a", 1],
        ["d", 4],
      ]);
    },
    "users",
  );

  law(
    "two places are two",
    async ({ open }) => {
      await written(open, [{ key: "a", value: 1 }]);
      equal(await contents(await open("other")), []);
    },
    "users",
  );

  law(
    "read waits until the user before has closed",
    async ({ open }) => {
      const [first, second] = [await open(), await open()];
      await first.read();
      const order: string[] = [];
      const waiting = second.read().then((values) => {
        order.push("read");
        return [...values];
      });
      await turns(20);
      await first.write([{ key: "a", value: 1 }]);
      order.push("written");
      await first.close();
      equal(await waiting, [["a", 1]]);
      equal(order, ["written", "read"]);
    },
    "users",
  );

  law(
    "who waits and closes is told so, and does not keep the next one waiting",
    async ({ open }) => {
      const [first, second, third] = [await open(), await open(), await open()];
      await first.read();
      const given = rejects(second.read());
      await turns(20);
      await second.close();
      await given;
      const waiting = third.read();
      await first.close();
      equal([...(await waiting)], []);
    },
    "users",
  );

  law(
    "read waits until the user before is gone, and what it was told is on disk is there",
    async ({ open, kill }) => {
      const [first, second] = [await open(), await open()];
      await first.read();
      let isGone = false;
      const waiting = second.read().then((values) => ({ isGone, values: [...values] }));
      await turns(20);
      await first.write([{ key: "a", value: 1 }]);
      isGone = true;
      await kill(first);
      equal(await waiting, { isGone: true, values: [["a", 1]] });
    },
    "kill",
  );

  law(
    "a user that is killed in mid-write leaves whole writes, and all that it was told of",
    async ({ open, kill }) => {
      let told = 0;
      for (let round = 0; round < 4; round++) {
        const user = await open();
        const found = new Map(await user.read());
        const [n, twin] = [(found.get("n") ?? 0) as number, (found.get("twin") ?? 0) as number];
        equal(twin, n);
        if (n < told) throw new Error(`told that ${told} is on disk, found ${n}`);
        const until = n + 10 + round * 7;
        let isFar!: () => void;
        const far = new Promise<void>((resolve) => (isFar = resolve));
        void (async () => {
          for (let next = n + 1; ; next++) {
            await user.write([
              { key: "n", value: next },
              { key: "bulk", value: new Uint8Array(5_000).fill(next) },
              { key: "twin", value: next },
            ]);
            told = next;
            if (next === until) isFar();
          }
        })().catch(() => {});
        await far;
        await turns(round);
        await kill(user);
      }
    },
    "kill",
  );
}

async function contents(user: Storage): Promise<(readonly [string, Stored])[]> {
  return [...(await user.read())];
}

/** Writes, closes, and says what the next user finds. */
async function written(
  open: StorageHarness["open"],
  ...writes: readonly (readonly Change[])[]
): Promise<[Storage, (readonly [string, Stored])[]]> {
  const user = await open();
  await user.read();
  for (const changes of writes) await user.write(changes);
  await user.close();
  const again = await open();
  return [again, await contents(again)];
}

async function rejects(promise: Promise<unknown>): Promise<void> {
  const outcome = await promise.then(
    () => "resolved",
    () => "rejected",
  );
  equal(outcome, "rejected");
}

/** For what could happen too early; a right storage passes however many there are. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

function equal(actual: unknown, expected: unknown): void {
  const [a, b] = [show(actual), show(expected)];
  if (a !== b) throw new Error(`expected ${b.slice(0, 500)}, found ${a.slice(0, 500)}`);
}

/** The same text for the same value, also where it comes from another page or process. */
function show(value: unknown): string {
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return `bytes ${new Uint8Array(buffer, byteOffset, byteLength).join(" ")}`;
  }
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, one]) => `${JSON.stringify(name)}: ${show(one)}`).join(", ")}}`;
}
