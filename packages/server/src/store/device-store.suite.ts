import { expect } from "bun:test";

import type { Store } from "./store.ts";
import type { Law } from "./store.suite.ts";
import {
  DAY,
  HOUR,
  MINUTE,
  arrival,
  held,
  registration,
  request,
} from "./test-support/requests.ts";

const ALL = 1_000;

const hold = async (store: Store, ...requests: Parameters<typeof request>) =>
  held((await store.messages.hold([request(...requests)]))[0]);

async function setOf(store: Store, user: string): Promise<[version: number, size: number]> {
  const [set] = await store.devices.sets([user]);
  return [set!.setVersion, set!.setSize];
}

const durableOf = async (store: Store, user: string): Promise<string[]> =>
  (await store.devices.devices(user)).devices
    .filter(({ dormant }) => !dormant)
    .map(({ device }) => device);

export function deviceStoreLaws(law: Law): void {
  law("a device is kept as it registered", async ({ a, b, now }) => {
    await a.devices.arrive(arrival("bob", "phone", { protocols: ["ws", "tcp"] }));
    const { push: _, ...silent } = arrival("bob", "laptop", { protocols: [] });
    await a.devices.arrive(silent);
    const seen = now();
    expect(await b.devices.devices("bob")).toEqual({
      setVersion: 2,
      devices: [
        { device: "laptop", protocols: [], seen, dormant: false },
        {
          device: "phone",
          protocols: ["ws", "tcp"],
          push: registration("token of bob's phone"),
          seen,
          dormant: false,
        },
      ],
    });
    expect(await b.devices.devices("nobody")).toEqual({ setVersion: 0, devices: [] });
  });

  law("what a device does not say again stays as it was", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    const { push: _, ...again } = arrival("bob", "phone", { protocols: ["tcp"] });
    await a.devices.arrive(again);
    const kept = await b.devices.devices("bob");
    expect(kept.devices).toMatchObject([
      { protocols: ["tcp"], push: registration("token of bob's phone") },
    ]);
    await a.devices.arrive(arrival("bob", "phone", { push: registration("new token", 2) }));
    const changed = await b.devices.devices("bob");
    expect(changed.devices).toMatchObject([{ push: registration("new token", 2) }]);
  });

  law(
    "the set's version rises by one with each change of the set, with a dormant device that is forgotten, and only then",
    async (harness) => {
      const { a, b, advance, now } = harness;
      const retire = (): Promise<unknown> => {
        advance(30 * DAY);
        return b.devices.retire(now());
      };
      const steps: [() => Promise<unknown>, version: number, size: number][] = [
        [() => a.devices.arrive(arrival("bob", "tab", { durable: false })), 0, 0],
        [() => a.devices.arrive(arrival("bob", "phone")), 1, 1],
        [() => b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 })), 1, 1],
        [() => b.devices.arrive(arrival("bob", "phone", { push: registration("other") })), 1, 1],
        [() => b.devices.register("bob", "laptop", ["ws"], registration("l")), 2, 2],
        [() => a.devices.register("bob", "laptop", ["ws"], registration("m")), 2, 2],
        [() => a.devices.arrive(arrival("bob", "tab", { durable: false })), 2, 2],
        [() => a.devices.forget("bob", "tab"), 2, 2],
        [() => a.messages.hold([request()]), 2, 2],
        [() => a.devices.forget("bob", "phone"), 3, 1],
        [() => a.devices.forget("bob", "phone"), 3, 1],
        [() => b.devices.forget("bob", "laptop"), 4, 0],
        [() => a.devices.arrive(arrival("bob", "phone")), 5, 1],
        [retire, 6, 0],
        [retire, 6, 0],
        [() => a.devices.forget("bob", "phone"), 7, 0],
        [() => a.devices.forget("bob", "phone"), 7, 0],
      ];
      for (const [step, version, size] of steps) {
        await step();
        expect(await setOf(a, "bob")).toEqual([version, size]);
      }
    },
  );

  law("every answer tells the set as it is after the call", async ({ a, b }) => {
    const phone = await a.devices.arrive(arrival("bob", "phone"));
    expect(phone).toMatchObject({ setVersion: 1, setSize: 1 });
    expect(await b.devices.register("bob", "laptop", [], registration("l"))).toEqual({
      setVersion: 2,
      setSize: 2,
    });
    expect(await a.devices.forget("bob", "phone")).toEqual({ setVersion: 3, setSize: 1 });
    const tab = await b.devices.arrive(arrival("bob", "tab", { durable: false }));
    expect(tab).toMatchObject({ setVersion: 3, setSize: 1 });
    expect(await a.devices.sets(["nobody", "bob"])).toEqual([
      { user: "nobody", setVersion: 0, setSize: 0 },
      { user: "bob", setVersion: 3, setSize: 1 },
    ]);
  });

  law("a session device only reads", async ({ a, b }) => {
    await hold(a);
    const tab = await a.devices.arrive(arrival("bob", "tab", { durable: false }));
    expect(tab).toEqual({ setVersion: 0, setSize: 0, held: 1, recovered: true, generation: 0 });
    expect((await b.devices.devices("bob")).devices).toEqual([]);
    expect(await b.messages.pending("bob", "tab", ALL)).toMatchObject([{ device: "" }]);
  });

  law("the first durable device takes over what belonged to the user alone", async (harness) => {
    const { a, b } = harness;
    const { rows: own } = await hold(a, { n: 1 });
    await hold(a, { n: 2 });
    const phone = await b.devices.arrive(arrival("bob", "phone"));
    expect(phone.held).toBe(2);
    const rows = await a.messages.pending("bob", "phone", ALL);
    expect(rows.map(({ device }) => device)).toEqual(["phone", "phone"]);
    await a.devices.arrive(arrival("bob", "laptop"));
    expect(await a.messages.pending("bob", "laptop", ALL)).toEqual([]);
    // A row that was under way to a session device keeps its name.
    await a.messages.settle(own.map(({ row }) => row));
    expect(await b.messages.pending("bob", "phone", ALL)).toHaveLength(1);
  });

  law("one device too many makes the one unseen longest dormant", async ({ a, b, advance }) => {
    for (const device of ["d1", "d2", "d3"]) {
      await a.devices.arrive(arrival("bob", device));
      advance(2 * HOUR);
    }
    await a.devices.arrive(arrival("bob", "d1"));
    await hold(a);
    const fourth = await b.devices.arrive(arrival("bob", "d4"));
    expect(fourth).toMatchObject({ setVersion: 4, setSize: 3, held: 0 });
    expect(await durableOf(a, "bob")).toEqual(["d1", "d3", "d4"]);
    expect(await a.messages.pending("bob", "d2", ALL)).toEqual([]);
    const next = await hold(a);
    expect(next.rows.map(({ device }) => device).toSorted()).toEqual(["d1", "d3", "d4"]);
  });

  law(
    "a dormant device that returns is durable again, and learns what it missed",
    async (harness) => {
      const { a, b, advance, now } = harness;
      await a.devices.arrive(arrival("bob", "phone"));
      await hold(a);
      advance(30 * DAY);
      await a.devices.retire(now());
      const kept = await hold(a);
      expect(kept.rows.map(({ device }) => device)).toEqual([""]);
      const back = await b.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
      expect(back).toMatchObject({ setVersion: 3, setSize: 1, held: 1, recovered: false });
      expect(await durableOf(a, "bob")).toEqual(["phone"]);
    },
  );

  law("retire: devices unseen for 30 days", async ({ a, b, advance, now }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    await a.devices.arrive(arrival("carol", "phone"));
    advance(29 * DAY);
    await a.devices.arrive(arrival("bob", "laptop"));
    await a.devices.register("carol", "phone", ["ws"], registration("c"));
    expect(await a.devices.retire(now())).toEqual([]);
    advance(DAY);
    await hold(a);
    expect(await b.devices.retire(now())).toEqual([{ user: "bob", setVersion: 3, setSize: 1 }]);
    expect(await b.devices.retire(now())).toEqual([]);
    expect(await durableOf(a, "bob")).toEqual(["laptop"]);
    expect(await durableOf(a, "carol")).toEqual(["phone"]);
    expect(await a.messages.pending("bob", "phone", ALL)).toEqual([]);
    expect(await a.messages.pending("bob", "laptop", ALL)).toHaveLength(1);
    const phone = await a.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    expect(phone).toMatchObject({ recovered: false, generation: 0 });
  });

  law("retire: devices away for 7 days whose push is gone", async ({ a, b, advance, now }) => {
    const lose = async (user: string): Promise<void> => {
      await a.devices.arrive(arrival(user, "phone"));
      await hold(a, { user });
      advance(10_000);
      const [intent] = await a.wakes.claim("a", MINUTE, ALL);
      const outcome = { kind: "gone", token: intent!.push.token } as const;
      await a.wakes.done("a", [{ user, device: "phone", call: "", outcome }]);
    };
    for (const user of ["bob", "carol", "dan"]) await lose(user);
    await a.devices.register("carol", "phone", ["ws"], registration("new"));
    advance(6 * DAY);
    const { push: _, ...silent } = arrival("dan", "phone", { lastEpoch: 1, epoch: 2 });
    await a.devices.arrive(silent);
    expect(await b.devices.retire(now())).toEqual([]);
    advance(DAY);
    expect(await b.devices.retire(now())).toEqual([{ user: "bob", setVersion: 2, setSize: 0 }]);
    advance(6 * DAY);
    expect(await b.devices.retire(now())).toEqual([{ user: "dan", setVersion: 2, setSize: 0 }]);
  });

  law("forget: the device, its rows and its intent are gone", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.devices.arrive(arrival("bob", "laptop"));
    await hold(a);
    await b.devices.forget("bob", "phone");
    expect(await durableOf(a, "bob")).toEqual(["laptop"]);
    expect(await a.messages.pending("bob", "phone", ALL)).toEqual([]);
    expect(await a.messages.pending("bob", "laptop", ALL)).toHaveLength(1);
    expect((await a.wakes.claim("a", MINUTE, ALL)).map(({ device }) => device)).toEqual(["laptop"]);
    const again = await a.devices.arrive(arrival("bob", "phone", { lastEpoch: 1, epoch: 2 }));
    expect(again).toMatchObject({ held: 0, recovered: true, generation: 0 });
  });

  law("forget: its quiet is gone, too", async ({ a, b }) => {
    await a.devices.arrive(arrival("bob", "phone"));
    await a.wakes.quiet("bob", "phone", "", Number.MAX_SAFE_INTEGER);
    await b.devices.forget("bob", "phone");
    await a.devices.arrive(arrival("bob", "phone"));
    expect((await b.devices.devices("bob")).devices[0]).not.toHaveProperty("quietUntil");
    expect((await hold(a)).due).toEqual(["phone"]);
  });

  law("unregister: nobody wakes the device, what is held for it stays", async (harness) => {
    const { a, b, advance, now } = harness;
    await a.devices.arrive(arrival("bob", "phone"));
    await hold(a);
    await b.devices.unregister("bob", "phone");
    await b.devices.unregister("bob", "tablet");
    await b.devices.unregister("eve", "phone");
    expect(await a.wakes.claim("a", MINUTE, ALL)).toEqual([]);
    expect(await setOf(a, "bob")).toEqual([1, 1]);
    expect((await a.devices.devices("bob")).devices.map((one) => "push" in one)).toEqual([false]);
    expect(await a.messages.pending("bob", "phone", ALL)).toHaveLength(1);
    await a.devices.register("bob", "phone", ["ws"], registration("token of bob's phone"));
    expect(await b.wakes.claim("b", MINUTE, ALL)).toHaveLength(1);
    await b.devices.unregister("bob", "phone");
    advance(7 * DAY);
    expect(await b.devices.retire(now())).toEqual([{ user: "bob", setVersion: 2, setSize: 0 }]);
  });

  law(
    "a token belongs to the device that registered it last, of whichever user",
    async (harness) => {
      const { a, b } = harness;
      const registered = async (): Promise<string[]> => {
        const all = await Promise.all(["ann", "bob"].map((user) => b.devices.devices(user)));
        return all.flatMap(({ devices }) =>
          devices.flatMap(({ device, push }) =>
            push === undefined ? [] : `${device} ${push.token}`,
          ),
        );
      };
      const bobs = arrival("bob", "bob's", { push: registration("phone") });
      const [anns] = await Promise.all([
        a.devices.arrive(arrival("ann", "ann's", { push: registration("phone") })),
        a.devices.arrive(arrival("ann", "tablet", { push: registration("tablet") })),
        hold(a, { user: "ann", to: "ann", from: "eve" }),
      ]);
      expect(anns).toMatchObject({ setSize: 1 });
      await b.devices.arrive(bobs);
      expect(await registered()).toEqual(["tablet tablet", "bob's phone"]);
      expect((await a.wakes.claim("a", MINUTE, ALL)).map(({ device }) => device)).not.toContain(
        "ann's",
      );
      // The other way, and between devices of one user; with another provider it is another token.
      await a.devices.register("ann", "ann's", ["ws"], registration("phone"));
      await b.devices.register("ann", "tablet", ["ws"], registration("phone", 7));
      expect(await registered()).toEqual(["tablet phone"]);
      await b.devices.arrive({ ...bobs, push: { ...registration("phone"), provider: "other" } });
      expect(await registered()).toEqual(["tablet phone", "bob's phone"]);
      // All at once, by all handles.
      const users = ["u1", "u2", "u3", "u4", "u5", "u6"];
      const registerAll = (tokenOf: (user: string) => string): Promise<unknown> =>
        Promise.all(
          users.map((user, at) =>
            (at % 2 === 0 ? a : b).devices.register(
              user,
              "phone",
              ["ws"],
              registration(tokenOf(user)),
            ),
          ),
        );
      for (let round = 0; round < 5; round++) {
        await registerAll((user) => `${user}'s`);
        await registerAll(() => "shared");
        const holders = await Promise.all(users.map((user) => a.devices.devices(user)));
        expect(holders.filter(({ devices }) => devices[0]!.push !== undefined)).toHaveLength(1);
      }
    },
  );

  law("recovered is false until a WELCOME that said so was seen", async ({ a, b }) => {
    const arrive = async (store: Store, lastEpoch: number, epoch: number) =>
      (await store.devices.arrive(arrival("bob", "phone", { lastEpoch, epoch }))).recovered;
    const overflow = async (): Promise<void> => {
      for (let n = 0; n < 6; n++) await a.messages.hold([request()]);
    };
    expect(await arrive(a, 0, 10)).toBe(true);
    await overflow();
    expect(await arrive(a, 10, 20)).toBe(false);
    // The WELCOME with 20 was lost: it says 10 again.
    expect(await arrive(b, 10, 30)).toBe(false);
    // A session device of that name may look, and changes nothing.
    const { recovered } = await b.devices.arrive(
      arrival("bob", "phone", { durable: false, lastEpoch: 30, epoch: 31 }),
    );
    expect(recovered).toBe(true);
    expect(await arrive(a, 10, 40)).toBe(false);
    expect(await arrive(a, 40, 50)).toBe(true);
    expect(await arrive(b, 40, 60)).toBe(true);
    // Something else was dropped since: told once more.
    await overflow();
    expect(await arrive(a, 60, 70)).toBe(false);
    await overflow();
    expect(await arrive(b, 70, 80)).toBe(false);
    expect(await arrive(b, 80, 90)).toBe(true);
  });
}
