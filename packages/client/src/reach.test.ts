/** L9, M8, M12: whatever is dead, and whatever a device was told, it gets in where anything lives, and where the wake leads if it can. */
import { expect, test } from "bun:test";

import { type Address, CLOSE, type Hint, type ServerAddresses } from "@beckon/protocol";
import * as fc from "fast-check";

import type { Beckon } from "./beckon.ts";
import { connect } from "./client.ts";
import type { ConnectOptions } from "./options.ts";
import { memory, type Storage, type Stored } from "./storage.ts";
import { addressOf, type FakeConnection, FakeNetwork } from "./test-support/fake-server.ts";
import { hintOf, plainCrypto, push } from "./test-support/sealing.ts";
import { seededRandom } from "./test-support/setup.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

const DEVICE = "phone";
const NETWORK = "home";
const KEY = { id: 7, key: new Uint8Array(32).fill(7) };
const REGISTERED = { provider: "dev", token: "phone-1" };
const EVIL: ServerAddresses = { name: "evil", addresses: [addressOf("ws://evil")] };
const DAY_MS = 86_400_000;

/** `silent` opens and says nothing more; `garbage` answers HELLO with what is no frame; `drops` ends instead. */
const FAULTS = ["none", "refuses", "hangs", "silent", "garbage", "drops"] as const;
/** How a server answers HELLO by any of its addresses. `redirects`: to `elsewhere`, unless the device forbids it. */
const MOODS = ["up", "up", "up", "up", "full", "draining", "redirects"] as const;

const addressArb = fc.record({
  protocol: fc.constantFrom("ws", "ws", "ws", "tcp", "tcp", "quic"),
  secure: fc.boolean(),
  network: fc.constantFrom("", "", "", NETWORK, "far"),
  priority: fc.nat(2),
  fault: fc.constantFrom("none", "none", ...FAULTS),
  latency: fc.integer({ min: 1, max: 240 }),
});

const serverArb = fc.record({
  addresses: fc.array(addressArb, { minLength: 1, maxLength: 4 }),
  mood: fc.constantFrom(...MOODS),
  elsewhere: fc.nat(4),
  /** The way there takes longer. */
  far: fc.constantFrom(false, false, true),
});

const wakeArb = fc.record({
  kind: fc.constantFrom(
    "fresh",
    "fresh",
    "fresh",
    "fresh",
    "nameless",
    "expired",
    "forged",
    "foreign",
  ),
  server: fc.nat(4),
  activity: fc.nat(5),
  at: fc.constantFrom(0, 0, 0, 0, 0, 300, 2_000),
});

const worldArb = fc.record({
  servers: fc.array(serverArb, { minLength: 1, maxLength: 5 }),
  protocols: fc.constantFrom<string[]>(["ws"], ["tcp"], ["ws", "tcp"], ["tcp", "ws"]),
  prefer: fc.record(
    {
      protocols: fc.constantFrom(["ws"], ["tcp", "ws"], []),
      secure: fc.boolean(),
      address: fc.constantFrom("first" as const, "last" as const, "random" as const),
      wake: fc.constantFrom("first" as const, "last" as const, "most-active" as const),
    },
    { requiredKeys: [] },
  ),
  /** By server, and by its address. */
  seeds: fc.array(fc.tuple(fc.nat(4), fc.nat(3)), { minLength: 1, maxLength: 4 }),
  known: fc.array(fc.nat(4), { maxLength: 3 }),
  wakes: fc.array(wakeArb, { minLength: 1, maxLength: 3 }),
  seed: fc.nat(),
  /** Where nothing lives: when the first seed does. */
  healed: fc.integer({ min: 0, max: 300_000 }),
});

/** Runs in which a wake had to be followed. */
let checked = 0;

type World = typeof worldArb extends fc.Arbitrary<infer W> ? W : never;
type Place = World["servers"][number];
type Way = Place["addresses"][number];

const urlOf = (server: number, at: number, { protocol, secure }: Way): string =>
  `${protocol}${secure ? "s" : ""}://s${server}-${at}`;

/** A device of `world` between its servers, on a clock of their own. */
function run(world: World): void {
  const clock = new VirtualClock();
  const network = new FakeNetwork(clock);
  const faults = new Map<string, Way["fault"]>();
  /** Connections whose HELLO was taken and that are not over. */
  const hellos = new Set<FakeConnection>();

  const servers = world.servers.map((place, number) => {
    const addresses = place.addresses.map((way, at): Address => {
      const { protocol, secure, network: lies, priority } = way;
      const url = urlOf(number, at, way);
      const fault = reaches(way) ? way.fault : "hangs";
      const state = fault === "refuses" || fault === "hangs" ? fault : "up";
      faults.set(url, fault);
      network.paths.set(url, { state, latency: way.latency + (place.far ? 1_150 : 0) });
      return addressOf(url, { protocol, secure, network: lies, priority });
    });
    return network.add(`s${number}`, addresses);
  });
  const moods = world.servers.map(({ mood }) => mood);
  for (const [number, server] of servers.entries()) {
    server.onHello = (connection, { noRedirect, protocols }) => {
      for (const one of hellos) if (!one.open) hellos.delete(one);
      hellos.add(connection);
      expect(protocols).toEqual(world.protocols);
      // No two of its connections are a session at once.
      expect(hellos.size).toBe(1);
      const fault = faults.get(connection.address.url);
      const mood = moods[number]!;
      if (fault === "silent") return;
      if (fault === "garbage") return connection.writeRaw(Uint8Array.of(3, 255, 255, 255, 1));
      if (fault === "drops") return connection.close(1006);
      if (mood === "full") return connection.refuse("full");
      if (mood === "draining") return connection.close(CLOSE.draining);
      if (mood === "up" || noRedirect) return connection.welcome();
      const { addresses } = servers[world.servers[number]!.elsewhere % servers.length]!;
      connection.write({ type: "redirect", server: addresses, reason: "" });
    };
  }

  const of = (number: number): number => number % servers.length;
  const dialable = ({ protocol }: Address): boolean => world.protocols.includes(protocol);
  const seeds = world.seeds.map(([number, at]) => {
    const { addresses } = servers[of(number)]!.addresses;
    return addresses[at % addresses.length]!;
  });
  fc.pre(seeds.some(dialable));
  const known = world.known.map((number) => servers[of(number)]!.addresses);

  const lives = ({ url }: Address): boolean => {
    const mood =
      moods[
        servers.findIndex(({ addresses }) => addresses.addresses.some((one) => one.url === url))
      ];
    return faults.get(url) === "none" && (mood === "up" || mood === "redirects");
  };
  const fresh = world.wakes.filter(({ kind }) => kind === "fresh");
  const told = [
    ...seeds,
    ...known.flatMap(({ addresses }) => addresses),
    ...fresh.flatMap(({ server }) => servers[of(server)]!.addresses.addresses),
  ].filter(dialable);

  const beckon = connectByThese({
    servers: seeds,
    token: () => "token",
    device: DEVICE,
    clock,
    random: seededRandom(world.seed + 1),
    crypto: plainCrypto,
    storage: storageOf(clock, known),
    push: REGISTERED,
    prefer: world.prefer,
    transports: Object.fromEntries(world.protocols.map((name) => [name, network.dial])),
  });
  const isConnected = (): boolean => beckon.state.name === "connected";
  const began = clock.now();

  /** Wakes that the device could not follow any more. */
  let missed = 0;
  for (const wake of world.wakes.toSorted((a, b) => a.at - b.at)) {
    clock.run(began + wake.at - clock.now());
    if (wake.kind === "fresh" && isConnected()) missed++;
    const { kind, server, activity } = wake;
    const expires = clock.now() + (kind === "expired" ? -1 : DAY_MS);
    const named: Record<string, ServerAddresses> = {
      fresh: servers[of(server)]!.addresses,
      nameless: { name: "", addresses: [] },
    };
    const hint: Hint = hintOf(named[kind] ?? EVIL, expires, { activity });
    const key = kind === "forged" ? { ...KEY, key: new Uint8Array(32) } : KEY;
    void beckon.onWake(push(key, hint, kind === "foreign" ? "tablet" : DEVICE));
  }

  const bound = boundOf(told.length === 0 ? [] : [...faults.values()]);
  if (told.some(lives)) {
    clock.until(isConnected, bound);
    const all = fresh.map(({ server }) => of(server));
    const calm = all.every((number) => moods[number] !== "redirects");
    const usable = (number: number): boolean =>
      servers[number]!.addresses.addresses.some((one) => dialable(one) && lives(one));
    // Where several lead is decided by the rule alone where they came together, and where ways are shorter than the stagger.
    const decided =
      all.length <= 1 ||
      fresh.every(({ at, server }) => at === 0 && !world.servers[of(server)]!.far);
    const wanted = inOrder(fresh, world.prefer.wake)
      .map(({ server }) => of(server))
      .find(usable);
    if (wanted !== undefined && calm && decided && missed === 0) {
      checked++;
      expect(beckon.state.server).toBe(`s${wanted}`);
      expect(servers[wanted]!.last.hello!.hinted).toBe(`s${wanted}`);
    }
  } else {
    clock.run(world.healed);
    // By a redirect it may have learned of one that lives.
    if (!isConnected()) {
      const healed = seeds.find(dialable)!;
      faults.set(healed.url, "none");
      network.paths.set(healed.url, { state: "up", latency: 1 });
      moods[servers.findIndex(({ addresses }) => addresses.addresses.includes(healed))] = "up";
      // The attempt that passed it by, a pause, and the next one.
      clock.until(isConnected, 2 * bound + 30_000);
    }
  }
  clock.run(10);
  const open = servers.flatMap(({ connections }) => connections).filter((one) => one.open);
  expect(open.map(({ server }) => server.name)).toEqual([beckon.state.server!]);
  expect(network.dialled.map(({ url }) => url)).not.toContain("ws://evil");
}

/** By `transports` alone: for what the platform has no clock is virtual, and no network. */
function connectByThese(options: ConnectOptions): Beckon {
  const { WebSocket } = globalThis;
  try {
    Object.assign(globalThis, { WebSocket: undefined });
    return connect(options);
  } finally {
    Object.assign(globalThis, { WebSocket });
  }
}

/** An address of another network leads nowhere from here. */
const reaches = ({ network }: Way): boolean => network === "" || network === NETWORK;

/**
 * The bound of one attempt: 10 s for each address that opens and says nothing, and as much again for those that were on their way
 * meanwhile; 11 s for four that do not answer, as four are tried at once; 10 s for all that answers.
 */
function boundOf(faults: readonly Way["fault"][]): number {
  const count = (...kinds: readonly Way["fault"][]): number =>
    faults.filter((fault) => kinds.includes(fault)).length;
  return 20_000 * count("silent") + 11_000 * Math.ceil(count("hangs") / 4) + 10_000;
}

/** The rule of M11, said again. */
function inOrder(wakes: World["wakes"], rule: World["prefer"]["wake"] = "last"): World["wakes"] {
  if (rule === "first") return wakes;
  const latest = wakes.toReversed();
  return rule === "last" ? latest : latest.toSorted((a, b) => b.activity - a.activity);
}

/** As an earlier run has left it, registered and last at the first of the known servers. */
function storageOf(clock: VirtualClock, known: readonly ServerAddresses[]): Storage {
  const storage = memory();
  const keys = [{ ...KEY, ...REGISTERED, made: clock.now(), registered: true }];
  const place = { epoch: 1, server: known[0]?.name ?? "", servers: [...known], offset: 0 };
  void storage.write([
    { key: "m/identity", value: { device: DEVICE, outbox: 3 } },
    { key: "m/place", value: place as unknown as Stored },
    { key: "w/keys", value: keys },
  ]);
  return storage;
}

/** Addresses by these protocols, with nothing wrong. */
const flawless = (...protocols: Way["protocol"][]): Place => {
  const rest = { secure: false, network: "", priority: 0, fault: "none", latency: 1 } as const;
  const addresses = protocols.map((protocol) => ({ protocol, ...rest }));
  return { addresses, mood: "up", elsewhere: 0, far: false };
};

test("L9: who speaks only `tcp` gets in by it, though the wake and the last server are by `ws` alone", () => {
  run({
    servers: [flawless("ws", "ws"), flawless("tcp"), flawless("ws", "ws")],
    protocols: ["tcp"],
    prefer: {},
    seeds: [
      [1, 0],
      [0, 0],
    ],
    known: [2],
    wakes: [{ kind: "fresh", server: 0, activity: 0, at: 0 }],
    seed: 0,
    healed: 0,
  });
});

test.each([20261127, 1079246255])(
  "L9, M8, M12: connected in bounded time if anything that it can reach lives, and at the wake's server if that can be reached (seed %p)",
  (seed) => {
    checked = 0;
    fc.assert(fc.property(worldArb, run), { seed, numRuns: 1_000 });
    expect(checked).toBeGreaterThan(50);
  },
  60_000,
);
