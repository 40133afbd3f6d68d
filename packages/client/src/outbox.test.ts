import { describe, expect, test } from "bun:test";

import { BeckonError } from "./errors.ts";
import type { SendOptions } from "./options.ts";
import { memory } from "./storage.ts";
import { accept } from "./test-support/accepting.ts";
import { outcome, setup } from "./test-support/setup.ts";

const DAY_MS = 86_400_000;

describe("while offline", () => {
  test("a message waits, and is listed", async () => {
    const { clock, a, start } = setup();
    a.state = "refuses";
    const beckon = start();
    const result = outcome(beckon.send("bob", "hé"));
    clock.run(5_000);
    expect(result).toEqual({});
    const [unsent] = await beckon.outbox();
    expect(unsent).toMatchObject({ key: "1", id: undefined, to: "bob" });
    expect(unsent!.text()).toBe("hé");
    a.state = "up";
    clock.run(60_000);
    expect(result.value).toBeDefined();
    expect(await beckon.outbox()).toEqual([]);
  });

  test.each([0, 10])("one more than the bound is refused, %p ms after the start", (ms) => {
    const { clock, a, start } = setup({ outboxLimit: 2 });
    a.state = "refuses";
    const beckon = start();
    if (ms > 0) clock.run(ms);
    const results = [1, 2, 3].map(() => outcome(beckon.send("bob", "x")));
    clock.run(10);
    expect(results.map(({ error }) => error?.code)).toEqual([undefined, undefined, "outbox-full"]);
  });

  test("after seven days it has expired", () => {
    const { clock, a, start } = setup();
    a.state = "refuses";
    const result = outcome(start().send("bob", "x"));
    clock.run(10);
    clock.sleep(7 * DAY_MS - 1_000);
    clock.run(0);
    expect(result.error).toBeUndefined();
    clock.run(2_000);
    clock.run(7 * DAY_MS);
    expect(result.error).toMatchObject({ code: "expired" });
  });
});

describe("a signal", () => {
  test("withdraws what was not transmitted; the next one is linked past it", () => {
    const { clock, a, start } = setup();
    a.state = "refuses";
    const beckon = start();
    clock.run(10);
    const controller = new AbortController();
    void beckon.send("bob", "1");
    const withdrawn = outcome(beckon.send("bob", "2", { signal: controller.signal }));
    void beckon.send("bob", "3");
    controller.abort();
    clock.run(10);
    expect(withdrawn.error).toMatchObject({ code: "aborted" });
    a.state = "up";
    clock.run(30_000);
    expect(a.last.sends.map(({ n, prev }) => [n, prev])).toEqual([
      [1, 0],
      [3, 1],
    ]);
  });

  test("does not take back what was transmitted, but says so", () => {
    const { clock, a, start } = setup();
    a.onSend = () => {};
    const beckon = start();
    const controller = new AbortController();
    const result = outcome(beckon.send("bob", "1", { signal: controller.signal }));
    clock.run(10);
    controller.abort();
    clock.run(10);
    expect(result.error).toMatchObject({ code: "aborted" });
    expect(result.error!.hint).toContain("may have been delivered");
    a.last.close(1006);
    clock.run(1_000);
    expect(a.last.sends).toHaveLength(1);
  });

  test("that was given before the call withdraws at once", () => {
    const { clock, start } = setup();
    const result = outcome(start().send("bob", "x", { signal: AbortSignal.abort() }));
    clock.run(0);
    expect(result.error).toMatchObject({ code: "aborted" });
  });
});

describe("what is no message", () => {
  test.each([
    ["bad-recipient", "", "x", {}],
    ["bad-recipient", "a\nb", "x", {}],
    ["payload-too-large", "bob", "x", { preview: "é".repeat(513) }],
    ["bad-recipient", undefined, "x", {}],
    ["bad-argument", "bob", 5, {}],
    ["bad-argument", "bob", "x", { wake: "ring" }],
    ["bad-argument", "bob", "x", { wake: null }],
    ["bad-argument", "bob", "x", { preview: 7 }],
    ["bad-argument", "bob", "x", { ends: 7 }],
  ] as const)("%s: %#", (code, to, payload, options) => {
    const { clock, start } = setup();
    // As callers without types do.
    const result = outcome(start().send(to as string, payload as string, options as SendOptions));
    clock.run(0);
    expect(result.error).toBeInstanceOf(BeckonError);
    expect(result.error).toMatchObject({ code });
  });
});

describe("with a storage", () => {
  test("what the last run left is sent by the next: same id if it was transmitted, same n", async () => {
    const { clock, a, start } = setup({ storage: memory() });
    a.onSend = () => {};
    const first = start();
    const lost = outcome(first.send("bob", "1"));
    clock.run(10);
    const { id, n } = a.last.sends[0]!;
    const closing = first.close();
    void first.send("bob", "2").catch(() => {});
    clock.run(10);
    await closing;
    expect(lost.error).toMatchObject({ code: "closed" });

    const second = start();
    clock.run(0);
    const [left] = await second.outbox();
    const result = outcome(left!.ack);
    clock.run(10);
    expect(a.last.sends).toMatchObject([{ id, n, prev: 0 }]);
    expect(a.last.hello!.outbox).toBe(a.connections[0]!.hello!.outbox);
    a.ack(a.last, 1);
    clock.run(10);
    expect(result.value).toBeDefined();
    expect(await second.outbox()).toEqual([]);
  });

  test("the order of sends is that of the calls, also around the moment in which it has been read", () => {
    const { clock, a, start } = setup({ storage: memory() });
    const beckon = start();
    void (async () => {
      for (let i = 0; i < 50; i++) {
        void beckon.send("bob", String(i));
        await Promise.resolve();
      }
    })();
    clock.run(50);
    const sent = a.last.sends.map(({ payload }) => Number(new TextDecoder().decode(payload)));
    expect(sent).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test("no n is given out twice, though the outbox is empty", async () => {
    const { clock, a, start } = setup({ storage: memory() });
    const first = start();
    void first.send("bob", "1");
    void first.send("bob", "2");
    clock.run(10);
    const closing = first.close();
    clock.run(10);
    await closing;
    void start().send("bob", "3");
    clock.run(10);
    expect(a.last.sends).toMatchObject([{ n: 3, prev: 2 }]);
  });

  test("nothing is transmitted that is not on disk", () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage });
    const beckon = start();
    clock.run(10);
    let onDisk = (): void => {};
    storage.write = () => new Promise((resolve) => (onDisk = resolve));
    void beckon.send("bob", "1");
    clock.run(10);
    expect(a.last.sends).toHaveLength(0);
    onDisk();
    clock.run(10);
    expect(a.last.sends).toHaveLength(1);
  });

  test("the id is on disk before the message is transmitted", () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage });
    a.state = "refuses";
    const beckon = start();
    void beckon.send("bob", "1");
    clock.run(10);
    const { write } = storage;
    const written: string[] = [];
    storage.write = (changes) => {
      for (const { key, value } of changes) {
        const id = (value as { id?: Uint8Array } | undefined)?.id;
        if (key.startsWith("o/"))
          written.push(`${id?.length} before ${a.connections[0]?.sends.length}`);
      }
      return write(changes);
    };
    a.state = "up";
    clock.run(5_000);
    expect(a.last.sends).toHaveLength(1);
    expect(written[0]).toBe("16 before 0");
  });

  test("a storage that does not write refuses the message, and the next one goes on", () => {
    const storage = memory();
    const { clock, a, errors, start } = setup({ storage });
    const beckon = start();
    clock.run(10);
    const { write } = storage;
    storage.write = () => Promise.reject(new Error("quota"));
    const failed = outcome(beckon.send("bob", "1"));
    clock.run(10);
    expect(failed.error).toMatchObject({ code: "storage-failed" });
    expect(errors[0]).toMatchObject({ code: "storage-failed" });
    storage.write = write;
    clock.run(1_000);
    const result = outcome(beckon.send("bob", "2"));
    clock.run(10);
    expect(result.value).toBeDefined();
    expect(a.last.sends).toMatchObject([{ n: 2, prev: 0 }]);
  });

  test("what was refused for good is gone from the disk before the next one goes past it", () => {
    const storage = memory();
    const { clock, a, start } = setup({ storage });
    const beckon = start();
    clock.run(10);
    accept([a], ({ n }) => (n === 1 ? "forbidden" : undefined));
    const refused = outcome(beckon.send("bob", "1"));
    void beckon.send("bob", "2");
    clock.settle();
    const { write } = storage;
    let onDisk = (): void => {};
    storage.write = (changes) =>
      new Promise((resolve) => {
        onDisk = () => resolve(write(changes));
      });
    clock.run(20);
    expect(a.last.sends.map(({ n, prev }) => [n, prev])).toEqual([
      [1, 0],
      [2, 1],
    ]);
    expect(refused.error).toBeUndefined();
    onDisk();
    clock.run(20);
    expect(refused.error).toMatchObject({ code: "forbidden" });
    expect(a.last.sends.at(-1)).toMatchObject({ n: 2, prev: 0 });
  });
});

test("L10: recipients beyond 10,000 start anew above all numbers given out, so that no n comes twice", () => {
  const { clock, a, start } = setup({ outboxLimit: 20_000 });
  const beckon = start();
  clock.run(10);
  for (let i = 0; i < 3; i++) void beckon.send("first", "x");
  for (let i = 0; i < 10_000; i++) void beckon.send(`u${i}`, "x");
  clock.run(1_000);
  void beckon.send("one more", "x");
  void beckon.send("first", "x");
  clock.run(10);
  expect(a.last.sends.slice(-2).map(({ n, prev }) => [n, prev])).toEqual([
    [1, 0],
    [4, 0],
  ]);
});
