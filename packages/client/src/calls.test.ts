import { describe, expect, test } from "bun:test";

import { formatUuid } from "@beckon/protocol";

import { memory } from "./storage.ts";
import { idOf } from "./test-support/fake-server.ts";
import { collect, outcome, setup } from "./test-support/setup.ts";

const CALL = { wake: "call" } as const;

const texts = (sends: readonly { readonly payload: Uint8Array }[]): string[] =>
  sends.map(({ payload }) => new TextDecoder().decode(payload));

describe("[P-5.13] a call that is sent", () => {
  test("has no lane, and the messages around it know nothing of it", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    void beckon.send("bob", "1");
    void beckon.send("bob", "ring", CALL);
    void beckon.send("bob", "2");
    clock.run(10);
    const sent = a.last.sends.map(({ n, prev, wake }) => `${wake} ${n}<${prev}`);
    expect(sent.toSorted()).toEqual(["call 0<0", "message 1<0", "message 2<1"]);
  });

  test("goes before all that waits", () => {
    const { clock, a, start } = setup();
    a.limits = { window: 2 };
    a.onSend = () => {};
    const beckon = start();
    clock.run(10);
    for (let count = 0; count < 5; count++) void beckon.send("bob", `m${count}`);
    void beckon.send("eve", "ring", CALL);
    clock.run(10);
    expect(texts(a.last.sends)).toEqual(["m0", "m1"]);
    a.ack(a.last, 1);
    clock.run(10);
    expect(texts(a.last.sends)).toEqual(["m0", "m1", "ring"]);
  });

  test("is not held up by a refusal of what was sent before it", () => {
    const { clock, a, start } = setup();
    a.onSend = () => {};
    const beckon = start();
    clock.run(10);
    void beckon.send("bob", "1");
    clock.run(10);
    a.last.refuse("store-unavailable", 1, 30_000);
    clock.run(10);
    void beckon.send("bob", "2");
    void beckon.send("bob", "ring", CALL);
    clock.run(10);
    expect(texts(a.last.sends)).toEqual(["1", "ring"]);
  });

  test("is sent by the next run, with its id, and the lane goes on where it was", async () => {
    const { clock, a, start } = setup({ storage: memory() });
    a.onSend = () => {};
    const before = start();
    void before.send("bob", "1").catch(() => {});
    void before.send("bob", "ring", CALL).catch(() => {});
    clock.run(10);
    const call = a.last.sends.find(({ n }) => n === 0)!;
    const closing = before.close();
    clock.run(10);
    await closing;
    void start().send("bob", "2");
    clock.run(10);
    const sent = a.last.sends.map(({ n, prev }) => `${n}<${prev}`);
    expect(sent.toSorted()).toEqual(["0<0", "1<0", "2<1"]);
    expect(a.last.sends.find(({ n }) => n === 0)).toMatchObject({ id: call.id, wake: "call" });
  });
});

describe("[P-5.14] what ends a call", () => {
  test("names it, at the sender and at the recipient", () => {
    const { clock, a, start } = setup();
    const beckon = start();
    const messages = collect(beckon);
    clock.run(10);
    a.last.deliver({ n: 0, wake: "call", id: idOf(7) });
    a.last.deliver({ n: 1, ends: idOf(7) });
    clock.run(10);
    const [call, end] = messages;
    expect(call).toMatchObject({ wake: "call", ends: undefined });
    expect(end).toMatchObject({ wake: "message", ends: call!.id });
    void beckon.send("ann", "yes", { ends: call!.id });
    clock.run(10);
    expect(a.last.sends[0]).toMatchObject({ n: 1, ends: idOf(7) });
    expect(formatUuid(a.last.sends[0]!.ends)).toBe(call!.id);
  });

  test("is still that in the next run", async () => {
    const { clock, a, start } = setup({ storage: memory() });
    a.onSend = () => {};
    const before = start();
    void before.send("ann", "yes", { ends: formatUuid(idOf(7)) }).catch(() => {});
    clock.run(10);
    const closing = before.close();
    clock.run(10);
    await closing;
    start();
    clock.run(10);
    expect(a.last.sends).toMatchObject([{ ends: idOf(7) }]);
  });

  test("must name one", () => {
    const { clock, start } = setup();
    const result = outcome(start().send("ann", "yes", { ends: "bob" }));
    clock.run(10);
    expect(result.error).toMatchObject({ code: "bad-argument" });
  });
});

describe("a call that comes", () => {
  for (const storage of [undefined, memory()]) {
    test(`does not wait behind messages that wait for the handler, ${storage ? "stored" : "in memory"}`, () => {
      const { clock, a, start } = setup(storage && { storage });
      const handed: string[] = [];
      let finish = (): void => {};
      start().on("message", (message) => {
        handed.push(message.text());
        return new Promise((resolve) => (finish = resolve));
      });
      clock.run(10);
      for (let n = 1; n <= 200; n++) a.last.deliver({ n });
      for (const n of [7, 8]) a.last.deliver({ n: 0, wake: "call", id: idOf(n), from: `eve${n}` });
      clock.run(10);
      for (let count = 0; count < 3; count++) {
        finish();
        clock.run(10);
      }
      expect(handed).toEqual(["ann 1", "eve7 0", "eve8 0", "ann 2"]);
    });
  }

  test("is handed over once", () => {
    const { clock, a, start } = setup();
    const messages = collect(start());
    clock.run(10);
    for (let count = 0; count < 2; count++) {
      a.last.deliver({ n: 0, wake: "call", id: idOf(7) });
      clock.run(10);
    }
    expect(messages).toHaveLength(1);
    expect(a.last.received).toEqual([1, 2]);
  });
});
