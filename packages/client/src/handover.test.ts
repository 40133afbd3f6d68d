import { describe, expect, test } from "bun:test";

import { ERRORS } from "@beckon/protocol";

import { deliverFrame } from "./test-support/fake-server.ts";
import { collect, marks, outcome, setup } from "./test-support/setup.ts";

const END = { done: true as const, value: undefined };

describe("messages()", () => {
  test("asking for the next acknowledges the one before", () => {
    const { clock, a, start } = setup();
    const iterator = start().messages();
    const first = outcome(iterator.next());
    clock.run(10);
    a.last.deliver({ n: 1 });
    a.last.deliver({ n: 2 });
    clock.run(10);
    expect(first.value!.value.n).toBe(1);
    expect(a.last.received).toEqual([]);
    const second = outcome(iterator.next());
    clock.run(10);
    expect(second.value!.value.n).toBe(2);
    expect(a.last.received).toEqual([1]);
  });

  test("what a loop leaves without asking on is handed over again", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    const seen: string[] = [];
    void (async () => {
      for await (const message of beckon.messages()) {
        seen.push(marks(message));
        if (message.n === 2) break;
      }
    })();
    clock.run(10);
    for (const n of [1, 2, 3]) a.last.deliver({ n });
    clock.run(10);
    expect(seen).toEqual(["1", "2"]);
    const messages = collect(beckon);
    clock.run(10);
    expect(messages.map(marks)).toEqual(["2 redelivered", "3"]);
    expect(a.last.received).toEqual([1, 2, 3]);
  });

  test("several questions at once are answered in order", () => {
    const { clock, a, start } = setup();
    const iterator = start().messages();
    const results = [1, 2, 3].map(() => outcome(iterator.next()));
    clock.run(10);
    for (const n of [1, 2]) a.last.deliver({ n });
    clock.run(10);
    expect(results.map(({ value }) => value?.value.n)).toEqual([1, 2, undefined]);
    expect(a.last.received).toEqual([1, 2]);
  });

  test("ends when the client is closed", () => {
    const { clock, start } = setup();
    const beckon = start();
    const result = outcome(beckon.messages().next());
    clock.run(10);
    void beckon.close();
    clock.run(10);
    expect(result.value).toEqual({ done: true, value: undefined });
  });

  test("a question that return() overtakes takes nothing away", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    const iterator = beckon.messages();
    const asked = outcome(iterator.next());
    clock.run(10);
    void iterator.return!();
    a.last.deliver({ n: 1 });
    clock.run(10);
    expect(asked.value!.done).toBe(true);
    const messages = collect(beckon);
    clock.run(10);
    expect(messages.map(marks)).toEqual(["1"]);
  });
});

describe("one taker at a time", () => {
  test("a second one is an error", () => {
    const { clock, start } = setup();
    const beckon = start();
    const off = beckon.on("message", () => {});
    expect(() => beckon.on("message", () => {})).toThrow("taker");
    const result = outcome(beckon.messages().next());
    clock.run(10);
    expect(result.error).toMatchObject({ code: "bad-argument" });
    off();
    expect(() => beckon.on("message", () => {})).not.toThrow();
  });

  test("a loop that was refused may ask again", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    const off = beckon.on("message", () => {});
    const iterator = beckon.messages();
    outcome(iterator.next());
    clock.run(10);
    off();
    const result = outcome(iterator.next());
    clock.run(10);
    a.last.deliver({ n: 1 });
    clock.run(10);
    expect(result.value!.value.n).toBe(1);
  });

  test("the next one begins when the one before has finished its message", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    let finish = (): void => {};
    const off = beckon.on("message", () => new Promise((resolve) => (finish = resolve)));
    clock.run(10);
    for (const n of [1, 2]) a.last.deliver({ n });
    clock.run(10);
    off();
    const messages = collect(beckon);
    clock.run(10);
    expect(messages).toEqual([]);
    finish();
    clock.run(10);
    expect(messages.map(marks)).toEqual(["2"]);
    expect(a.last.received).toEqual([1, 2]);
  });

  test("also when that one asks", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    let finish = (): void => {};
    const off = beckon.on("message", () => new Promise((resolve) => (finish = resolve)));
    clock.run(10);
    for (const n of [1, 2]) a.last.deliver({ n });
    clock.run(10);
    off();
    const result = outcome(beckon.messages().next());
    clock.run(10);
    expect(result.value).toBeUndefined();
    finish();
    clock.run(10);
    expect(result.value!.value.n).toBe(2);
  });

  test.each(["handler", "loop"])(
    "a %s that ends in the turn in which a message comes leaves it to the next",
    (taker) => {
      const { clock, a, start } = setup();
      const beckon = start();
      const taken: number[] = [];
      const iterator = beckon.messages();
      const asked = taker === "loop" ? outcome(iterator.next()) : {};
      const off =
        taker === "handler" ? beckon.on("message", ({ n }) => void taken.push(n)) : () => {};
      clock.run(10);
      beckon.on("error", () => {
        off();
        void iterator.return!();
      });
      const [code, message] = [ERRORS.unsupported.number, ""];
      a.last.write(deliverFrame({ n: 1 }), {
        type: "error",
        code,
        message,
        send: 0,
        retryAfter: 0,
      });
      clock.run(10);
      expect([taken, asked]).toEqual([[], taker === "loop" ? { value: END } : {}]);
      const messages = collect(beckon);
      clock.run(10);
      expect(messages.map(marks)).toEqual(["1"]);
    },
  );

  test("what comes while nobody takes it waits", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    clock.run(10);
    for (const n of [1, 2]) a.last.deliver({ n });
    clock.run(10);
    expect(a.last.received).toEqual([]);
    expect(collect(beckon)).toEqual([]);
    clock.run(10);
    expect(a.last.received).toEqual([1, 2]);
  });
});
