import { expect, test } from "bun:test";

import { Bed } from "./test-support/bed.ts";

/** Devices of so many users, which were here and have gone; each has a push service of this name. */
async function sleepers(bed: Bed, count: number, provider: string): Promise<string[]> {
  const users = Array.from({ length: count }, (_, at) => `${provider}-${at}`);
  for (const user of users) {
    const phone = await bed.servers.get("s1")!.connect(user, "phone", { provider });
    phone.disconnect();
  }
  return users;
}

test("L5: a push service that hangs holds up its own wakes alone, and gets no more than it may have at once", async () => {
  const bed = new Bed();
  bed.services.set("slow", 4_900);
  const s1 = bed.server("s1");
  const slow = await sleepers(bed, 3_000, "slow");
  const [quick] = await sleepers(bed, 1, "dev");
  const ann = await s1.connect("ann", "phone");
  for (const user of slow) ann.send(user, "hello");
  await bed.clock.advance(50);
  const atOnce = bed.pushes.length;
  expect(atOnce).toBe(8 * 256);
  ann.send(quick!, "hello");
  await bed.clock.advance(10);
  expect(bed.pushes.slice(atOnce).map(({ user }) => user)).toEqual([quick!]);
  // Nobody is forgotten, and nobody is pushed to twice.
  await bed.clock.advance(15_000);
  const pushed = bed.pushes.map(({ user }) => user);
  expect(pushed.toSorted()).toEqual([...slow, quick!].toSorted());
});

test("L5: a device that nothing can be said to holds up no other of its batch", async () => {
  const bed = new Bed();
  const s1 = bed.server("s1");
  bed.uncomposable.add("dev-0");
  await sleepers(bed, 3, "dev");
  const ann = await s1.connect("ann", "phone");
  for (const user of ["dev-0", "dev-1", "dev-2"]) ann.send(user, "hello");
  await bed.clock.advance(10);
  expect(bed.pushes.map(({ user }) => user)).toEqual(["dev-1", "dev-2"]);
  // The others are not pushed to once more with it.
  await bed.clock.advance(50_000);
  expect(bed.pushes).toHaveLength(2);
});
