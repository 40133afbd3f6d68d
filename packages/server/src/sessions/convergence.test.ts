import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { LEASE_MS, World } from "./test-support/world.ts";

const SERVERS = ["a", "b", "c", "d"];
const USERS = ["ann", "bob", "cyd"];
const DEVICES = ["phone", "laptop", "tab"];

interface Step {
  readonly name: string;
  readonly run: (world: World) => void;
}

const server = fc.constantFrom(...SERVERS);
const user = fc.constantFrom(...USERS);
const device = fc.constantFrom(...DEVICES);
const durable = fc.constantFrom("phone", "laptop");
const wait = fc.constantFrom(0, 1, 4, 20, 100, 600, 1500, 3000, LEASE_MS + 1500);

const step: fc.Arbitrary<Step> = fc.oneof(
  some(8, "connect", [server, user, device, fc.constantFrom(0, 30, 2000)], (w, s, u, d, ms) =>
    w.connect(s, u, d, ms),
  ),
  some(3, "disconnect", [server, user, device], (w, s, u, d) => w.disconnect(s, u, d)),
  some(1, "background", [server, user, device, fc.boolean()], (w, s, u, d, b) =>
    w.setBackground(s, u, d, b),
  ),
  some(3, "register", [server, user, durable], (w, s, u, d) => w.register(s, u, d)),
  some(3, "forget", [server, user, durable], (w, s, u, d) => w.forget(s, u, d)),
  some(1, "retire", [server, user, durable], (w, s, u, d) => w.retire(s, u, d)),
  some(1, "crash", [server], (w, s) => w.crash(s)),
  some(1, "stop", [server], (w, s) => w.stop(s)),
  some(2, "start", [server], (w, s) => w.start(s)),
  some(2, "cut", [server], (w, s) => w.cut(s)),
  some(2, "heal", [server], (w, s) => w.heal(s)),
  some(1, "split", [server, server], (w, a, b) => w.split(a, b)),
  some(1, "unsplit", [], (w) => w.unsplit()),
  some(1, "pause", [server], (w, s) => w.pause(s)),
  some(1, "resume", [server], (w, s) => w.resume(s)),
  some(1, "loss", [fc.constantFrom(0, 0.3)], (w, loss) => void (w.loss = loss)),
  some(1, "store away", [fc.boolean()], (w, isAway) => void (w.isStoreAway = isAway)),
);

test("after quiet time every table shows the connections of all live servers (M2, M3, L7, L8)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, wait), { minLength: 5, maxLength: 60 }),
      fc.integer(),
      fc.constantFrom(0, 10, 200),
      async (steps, seed, maxDelayMs) => {
        const world = new World(seed, maxDelayMs);
        for (const name of SERVERS) world.start(name);
        for (const [{ run }, ms] of steps) {
          run(world);
          world.check();
          await world.clock.advance(ms);
          world.check();
        }
        world.calm();
        for (let i = 0; i < 60; i++) {
          await world.clock.advance(500);
          world.check();
        }
        const expected = world.expected();
        const names = world.live.map(({ name }) => name).toSorted();
        for (const { name, replicator } of world.live) {
          expect(world.shown(name, USERS)).toEqual(expected);
          expect(replicator.table.trusted).toBe(true);
          expect(replicator.members.list().map((member) => member.name)).toEqual(names);
        }
      },
    ),
    // More: BECKON_RUNS=10000 bun test convergence
    { numRuns: Number(process.env["BECKON_RUNS"] ?? 200) },
  );
}, 600_000);

function some<T extends unknown[]>(
  weight: number,
  name: string,
  values: { [I in keyof T]: fc.Arbitrary<T[I]> },
  run: (world: World, ...values: T) => void,
): { weight: number; arbitrary: fc.Arbitrary<Step> } {
  const arbitrary = fc.tuple<T>(...values).map((chosen) => ({
    name: [name, ...chosen].join(" "),
    run: (world: World) => run(world, ...chosen),
  }));
  return { weight, arbitrary };
}
