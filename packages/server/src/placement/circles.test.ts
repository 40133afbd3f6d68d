import { expect, test } from "bun:test";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createMemoryDatabase } from "../store/memory.ts";
import type { AssociateStore } from "../store/store.ts";
import { StoreUnavailable } from "../store/store.ts";
import { arrival, request } from "../store/test-support/requests.ts";
import { Associates } from "./associates.ts";
import { Circles } from "./circles.ts";
import { MESSAGE_WEIGHT } from "../store/weight.ts";

const DAY = 86_400_000;

/** A server, its store, and how that fails. */
class Bed {
  readonly clock = new VirtualClock();
  readonly database = createMemoryDatabase(this.clock).open();
  readonly stored: AssociateStore = this.database.associates;
  readonly associates: Associates;
  readonly circles: Circles;
  /** What the store was asked, by name and size. */
  readonly asked: string[] = [];
  /** How the store answers. */
  answer: "at once" | "never" | "away" | "refuses" = "at once";
  /** What it has not answered it never will. */
  isLost = false;
  readonly #waiting: (() => void)[] = [];

  constructor(changes = 65_536) {
    const now = (): number => this.clock.now();
    this.associates = new Associates({ now, changes });
    const store: AssociateStore = {
      strengthen: (given) =>
        this.#ask(`strengthen ${given.length}`, () => this.stored.strengthen(given)),
      circle: (user, k, at) => this.#ask(`circle ${user}`, () => this.stored.circle(user, k, at)),
      fade: (after, at) => this.#ask(`fade ${after}`, () => this.stored.fade(after, at)),
      erase: (user) => this.#ask(`erase ${user}`, () => this.stored.erase(user)),
    };
    this.circles = new Circles({ clock: this.clock, now, store, associates: this.associates });
  }

  async #ask<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
    this.asked.push(name);
    if (this.answer === "away") throw new StoreUnavailable("away");
    if (this.answer === "refuses") throw new TypeError("a text that cannot be kept");
    if (this.answer === "never") {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (this.isLost) throw new StoreUnavailable("away");
    }
    return run();
  }

  /** What the store was asked and has not answered it answers now. */
  async goOn(): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve();
    for (let turns = 0; turns < 16; turns++) await this.clock.advance(0);
  }

  async strengthen(a: string, b: string, messages = 1): Promise<void> {
    const at = this.clock.now();
    await this.stored.strengthen([{ a, b, long: messages, short: messages, at }]);
  }

  peersOf(user: string): string[] {
    return this.associates.top(user, 64).map(({ peer }) => peer);
  }

  async storedPeersOf(user: string): Promise<string[]> {
    const circle = await this.stored.circle(user, 64, this.clock.now());
    return circle.map(({ peer }) => peer);
  }

  /** What a load comes to once so long has passed; undefined: nothing yet. */
  async loaded(user: string, ms: number): Promise<object | undefined> {
    let named: ReadonlyMap<string, string> | undefined;
    void this.circles.load(user).then((answer) => (named = answer));
    await this.clock.advance(ms);
    return named && Object.fromEntries(named);
  }
}

test("M13: a circle is read with what the pushes of its members name", async () => {
  const bed = new Bed();
  await bed.strengthen("ann", "bob", 3);
  await bed.strengthen("ann", "cat");
  const { devices, messages, wakes } = bed.database;
  await devices.arrive(arrival("bob", "phone"));
  await messages.hold([request()]);
  const [{ user, device, call } = expect.unreachable()] = await wakes.claim("s1", DAY, 9);
  const outcome = { kind: "sent", named: "s3" } as const;
  await wakes.done("s1", [{ user, device, call, outcome }]);
  expect(await bed.loaded("ann", 0)).toEqual({ bob: "s3" });
  expect(bed.peersOf("ann")).toEqual(["bob", "cat"]);
  expect(bed.circles.unread).toBe(0);
});

test("what is waiting to be written comes on top of what is read", async () => {
  const bed = new Bed();
  await bed.strengthen("ann", "bob");
  bed.associates.exchanged("ann", "bob");
  await bed.loaded("ann", 0);
  expect(bed.associates.top("ann", 1)).toEqual([{ peer: "bob", weight: 2 * MESSAGE_WEIGHT }]);
});

test("L8: a circle that does not come in time is empty, counted, and learned when it comes", async () => {
  const bed = new Bed();
  await bed.strengthen("ann", "bob");
  bed.answer = "never";
  expect(await bed.loaded("ann", 249)).toBeUndefined();
  expect(await bed.loaded("ann", 1)).toEqual({});
  expect([bed.circles.unread, bed.peersOf("ann")]).toEqual([1, []]);
  await bed.goOn();
  expect(bed.peersOf("ann")).toEqual(["bob"]);
  bed.answer = "away";
  expect(await bed.loaded("ann", 0)).toEqual({});
  expect(bed.circles.unread).toBe(2);
});

test("loads of one user at a time are one", async () => {
  const bed = new Bed();
  bed.answer = "never";
  const loads = [bed.circles.load("ann"), bed.circles.load("bob"), bed.circles.load("ann")];
  expect(bed.asked).toEqual(["circle ann", "circle bob"]);
  await bed.goOn();
  await Promise.all(loads);
  void bed.circles.load("ann");
  expect(bed.asked).toHaveLength(3);
});

test("L10: of more loads than are read at a time the rest are empty at once", async () => {
  const bed = new Bed();
  bed.answer = "never";
  for (let at = 0; at < 4_096; at++) void bed.circles.load(`u${at}`);
  expect(await bed.loaded("ann", 0)).toEqual({});
  expect([bed.asked.length, bed.circles.unread]).toEqual([4_096, 1]);
});

test("changes are written each second, 1,000 pairs at a time", async () => {
  const bed = new Bed();
  for (let at = 0; at < 1_500; at++) bed.associates.exchanged("hub", `u${at}`);
  bed.circles.start();
  await bed.clock.advance(999);
  expect(bed.asked).toEqual([]);
  await bed.clock.advance(1);
  expect(bed.asked).toEqual(["strengthen 1000", "strengthen 500"]);
  expect(await bed.storedPeersOf("u1499")).toEqual(["hub"]);
  await bed.clock.advance(1_000);
  // Nothing is new.
  expect([bed.asked.length, bed.circles.flushed]).toEqual([2, 1_500]);
});

test("L10: a batch waits for the one before it, and no second takes more than 16", async () => {
  const bed = new Bed();
  for (let at = 0; at < 20_000; at++) bed.associates.exchanged("hub", `u${at}`);
  bed.circles.start();
  bed.answer = "never";
  await bed.clock.advance(5_000);
  expect(bed.asked).toEqual(["strengthen 1000"]);
  bed.answer = "at once";
  await bed.goOn();
  expect(bed.circles.flushed).toBe(16_000);
  await bed.clock.advance(1_000);
  expect(bed.circles.flushed).toBe(20_000);
});

test("L8: what could not be written is written with the next second", async () => {
  const bed = new Bed();
  bed.circles.start();
  bed.associates.exchanged("ann", "bob");
  bed.answer = "away";
  await bed.clock.advance(3_000);
  expect([bed.circles.failedFlushes, bed.circles.flushed]).toEqual([3, 0]);
  bed.associates.exchanged("ann", "bob");
  bed.answer = "at once";
  await bed.clock.advance(1_000);
  expect(await bed.stored.circle("ann", 9, bed.clock.now())).toMatchObject([{ peer: "bob" }]);
  const [tie] = await bed.stored.circle("ann", 9, bed.clock.now());
  expect(tie!.long).toBeCloseTo(2, 4);
  expect([bed.circles.flushed, bed.circles.lost]).toEqual([1, 0]);
});

test("L10: what has no room while the store is away, and what the store refuses, is lost and counted", async () => {
  const bed = new Bed(2);
  bed.circles.start();
  bed.answer = "away";
  for (const peer of ["bob", "cat", "dan"]) bed.associates.exchanged("ann", peer);
  await bed.clock.advance(1_000);
  expect(bed.circles.lost).toBe(1);
  bed.answer = "refuses";
  await bed.clock.advance(1_000);
  expect(bed.circles.lost).toBe(3);
  bed.answer = "at once";
  bed.associates.exchanged("ann", "eve");
  await bed.clock.advance(1_000);
  expect(await bed.storedPeersOf("ann")).toEqual(["eve"]);
});

test("a server that stops writes what waits, and waits no longer than 1.5 s for it", async () => {
  const bed = new Bed();
  bed.circles.start();
  bed.associates.exchanged("ann", "bob");
  await bed.circles.stop();
  expect(await bed.storedPeersOf("ann")).toEqual(["bob"]);
  bed.associates.exchanged("ann", "cat");
  bed.answer = "never";
  let isStopped = false;
  void bed.circles.stop().then(() => (isStopped = true));
  await bed.clock.advance(1_499);
  expect(isStopped).toBe(false);
  await bed.clock.advance(1);
  expect(isStopped).toBe(true);
  await bed.clock.advance(DAY);
  expect(bed.asked).toEqual(["strengthen 1", "strengthen 1"]);
});

test("an erased user is nowhere, also not in what was on its way", async () => {
  const bed = new Bed();
  bed.circles.start();
  bed.associates.exchanged("ann", "bob");
  await bed.clock.advance(1_000);
  bed.associates.exchanged("ann", "bob");
  bed.associates.exchanged("ann", "cat");
  bed.answer = "never";
  await bed.clock.advance(1_000);
  // The write is on its way; it fails, and its changes wait again.
  let isForgotten = false;
  void bed.circles.forget("bob").then(() => (isForgotten = true));
  await bed.clock.advance(0);
  expect([bed.peersOf("ann"), isForgotten]).toEqual([["cat"], false]);
  bed.answer = "at once";
  bed.isLost = true;
  await bed.goOn();
  expect([isForgotten, bed.circles.failedFlushes]).toEqual([true, 1]);
  await bed.clock.advance(1_000);
  const [tie] = await bed.stored.circle("bob", 9, bed.clock.now());
  expect(tie!.long).toBe(1);
  await bed.circles.erase("bob");
  expect(await bed.storedPeersOf("bob")).toEqual([]);
  expect(await bed.storedPeersOf("ann")).toEqual(["cat"]);
});

test("what is on its way to the store is there before a user is erased there", async () => {
  const bed = new Bed();
  bed.circles.start();
  bed.associates.exchanged("ann", "bob");
  bed.answer = "never";
  await bed.clock.advance(1_000);
  bed.answer = "at once";
  const erased = bed.circles.erase("bob");
  await bed.clock.advance(10);
  expect(bed.asked).toEqual(["strengthen 1"]);
  await bed.goOn();
  await erased;
  expect(bed.asked).toEqual(["strengthen 1", "erase bob"]);
  expect(await bed.storedPeersOf("ann")).toEqual([]);
});

test("L10: who forgets a user waits 1.5 s for what is on its way, and says that it may yet arrive", async () => {
  const bed = new Bed();
  bed.circles.start();
  bed.associates.exchanged("ann", "bob");
  bed.answer = "never";
  await bed.clock.advance(1_000);
  const outcome = bed.circles.erase("bob").catch((error: Error) => error);
  await bed.clock.advance(1_500);
  expect(await outcome).toBeInstanceOf(StoreUnavailable);
  expect(bed.asked).toEqual(["strengthen 1"]);
});

test("a circle that was asked for before a user was erased is not learned", async () => {
  const bed = new Bed();
  await bed.strengthen("ann", "bob");
  bed.answer = "never";
  const load = bed.circles.load("ann");
  await bed.clock.advance(0);
  bed.answer = "at once";
  await bed.circles.forget("bob");
  await bed.goOn();
  expect([Object.fromEntries(await load), bed.peersOf("ann")]).toEqual([{}, []]);
  expect(bed.circles.unread).toBe(1);
});

test("L10: each minute a slice is looked at for what has decayed to nothing", async () => {
  const bed = new Bed();
  await bed.strengthen("ann", "bob");
  await bed.clock.advance(300 * DAY);
  bed.circles.start();
  await bed.clock.advance(60_000);
  expect([bed.asked, await bed.storedPeersOf("ann")]).toEqual([["fade "], []]);
  bed.answer = "away";
  await bed.clock.advance(120_000);
  expect(bed.asked).toEqual(["fade ", "fade ", "fade "]);
});
