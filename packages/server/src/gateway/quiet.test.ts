/** QUIET and FORGET over real sockets. */
import { afterEach, describe, expect, test } from "bun:test";

import { CLOSE, ERRORS } from "@beckon/protocol";
import type { PushRegistration } from "@beckon/protocol";

import { serve, until } from "./test-support/served.ts";
import type { Served } from "./test-support/served.ts";

const running: Served[] = [];
afterEach(() => running.splice(0).forEach((one) => one.close()));

function begin(): Served {
  const one = serve();
  running.push(one);
  return one;
}

const FOR_EVER = Number.MAX_SAFE_INTEGER;

const push = (token: string): PushRegistration => ({
  provider: "dev",
  token,
  key: { id: 1, key: new Uint8Array(32) },
});

describe("[P-4.10] QUIET", () => {
  test("a conversation wakes nobody, and is there at the next connect; its calls ring", async () => {
    const one = begin();
    const phone = await one.device("bob", { push: push("phone") });
    const laptop = await one.device("bob", { device: "laptop", push: push("laptop") });
    phone.write({ type: "quiet", conversation: "eve", until: FOR_EVER });
    expect(await phone.frame("quieted")).toEqual({ type: "quieted", count: 1 });
    await Promise.all([phone.leave(), laptop.leave()]);
    const eve = await one.device("eve");
    expect(await eve.send("bob")).toMatchObject({ status: "held" });
    expect(await one.store.wakes.nextDue()).toBeUndefined();
    await eve.send("bob", "call");
    await until(() => one.pushed.length === 2);
    expect(one.pushed.toSorted()).toEqual(["laptop", "phone"]);
    expect(await (await one.device("bob")).frame("welcome")).toMatchObject({ held: 2 });
  });

  test("a device is left alone while its user's other one is woken, until it is said to be over", async () => {
    const one = begin();
    const phone = await one.device("bob", { push: push("phone") });
    const laptop = await one.device("bob", { device: "laptop", push: push("laptop") });
    phone.write({ type: "quiet", conversation: "", until: FOR_EVER });
    await phone.frame("quieted");
    await Promise.all([phone.leave(), laptop.leave()]);
    const ann = await one.device("ann");
    await ann.send("bob", "call");
    await until(() => one.pushed.length > 0);
    expect(one.pushed).toEqual(["laptop"]);
    // Lifted from the other device's side by the application's backend; by the device itself it would be read.
    await one.store.wakes.quiet("bob", "phone", "", 0);
    await until(() => one.pushed.length === 2);
    expect(one.pushed).toEqual(["laptop", "phone"]);
  });

  test("[P-4.11] they are counted, one at a time", async () => {
    const one = begin();
    const phone = await one.device("bob");
    for (const count of [1, 2]) {
      phone.write({ type: "quiet", conversation: "eve", until: count * FOR_EVER - FOR_EVER });
      await until(() => phone.frames.filter(({ type }) => type === "quieted").length === count);
      expect(await phone.frame("quieted")).toEqual({ type: "quieted", count });
    }
    const quiet = { type: "quiet", conversation: "eve", until: 1 } as const;
    phone.write(quiet, quiet);
    expect(await phone.closed).toBe(CLOSE.badFrame);
  });

  test("[P-4.11] a conversation that is no user is a bad frame", async () => {
    const one = begin();
    const phone = await one.device("bob");
    phone.write({ type: "quiet", conversation: "a\nb", until: 1 });
    expect(await phone.closed).toBe(CLOSE.badFrame);
  });

  test("L8: what could not be stored is said so, and the connection stays", async () => {
    const one = begin();
    const phone = await one.device("bob");
    one.store.disconnect();
    phone.write({ type: "quiet", conversation: "eve", until: FOR_EVER });
    expect(await phone.frame("error")).toMatchObject({
      code: ERRORS["not-quieted"].number,
      send: 0,
    });
    one.store.reconnect();
    phone.write({ type: "quiet", conversation: "eve", until: FOR_EVER });
    expect(await phone.frame("quieted")).toMatchObject({ count: 2 });
    expect(await one.store.wakes.mutes("bob")).toHaveLength(1);
  });
});

describe("[P-4.12] FORGET", () => {
  test("the device is gone when its connection is, and is owed nothing", async () => {
    const one = begin();
    const phone = await one.device("bob", { push: push("phone") });
    await one.device("bob", { device: "laptop", push: push("laptop") });
    phone.write({ type: "forget" }, { type: "forget" });
    expect(await phone.closed).toBe(CLOSE.revoked);
    expect((await one.store.devices.devices("bob")).devices.map(({ device }) => device)).toEqual([
      "laptop",
    ]);
    expect(one.server.node.table.lookup("bob")).toMatchObject([{ device: "laptop", setSize: 1 }]);
    expect(await phone.frame("error")).toMatchObject({ code: ERRORS.revoked.number, send: 0 });
    expect(one.server.node.counters.failures.get("revoked")).toBeUndefined();
  });

  test("L8: where the store does not answer, it says so", async () => {
    const one = begin();
    const phone = await one.device("bob", { push: push("phone") });
    one.store.disconnect();
    phone.write({ type: "forget" });
    expect(await phone.closed).toBe(CLOSE.unavailable);
    one.store.reconnect();
    expect((await one.store.devices.devices("bob")).devices).toHaveLength(1);
  });

  test("a session device goes as well", async () => {
    const one = begin();
    const tab = await one.device("bob", { device: "tab", durable: false });
    tab.write({ type: "forget" });
    expect(await tab.closed).toBe(CLOSE.revoked);
  });
});
