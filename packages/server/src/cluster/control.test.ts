import { describe, expect, test } from "bun:test";

import { BusTimeout, NobodyListens } from "./bus.ts";
import { type Control, createControl } from "./control.ts";
import {
  controlSubject,
  decodeStatus,
  type DeviceDecision,
  encodeStatus,
  type ServerStatus,
} from "./control-messages.ts";
import type { Member } from "./membership.ts";
import { createMemoryBus } from "./memory-bus.ts";
import { overviewOf } from "./overview.ts";
import { VirtualClock } from "./test-support/virtual-clock.ts";

const deliveries = (local: number, remote: number, wakeLocal: number, wakeRemote: number) => ({
  local,
  remote,
  wakeLocal,
  wakeRemote,
});
const NONE = deliveries(0, 0, 0, 0);

const STATUS: ServerStatus = {
  state: "up",
  incarnation: 1_700_000_000_000,
  connections: 12,
  cpu: 250,
  published: 40,
  store: true,
  replicas: [],
  lately: { fiveMinutes: deliveries(1, 2, 3, 4), hour: deliveries(50, 60, 70, 80) },
};

const NOTHING: ReadonlyMap<string, DeviceDecision> = new Map();

class Bed {
  readonly clock = new VirtualClock();
  readonly hub = createMemoryBus({ clock: this.clock });
  /** Names of the servers that were told to go. */
  readonly leaving: string[] = [];
  /** Servers and users. */
  readonly forgotten: string[] = [];

  server(server: string, status = STATUS, decisions = NOTHING): Control {
    return createControl({
      bus: this.hub.connect(),
      server,
      status: () => status,
      drain: () => {
        this.leaving.push(server);
        return { connections: status.connections, within: 10_000 };
      },
      forget: async (user) => {
        if (user === "nobody") throw new Error("cannot");
        this.forgotten.push(`${server} ${user}`);
      },
      decided: (user, device) => decisions.get(`${user}/${device}`),
    });
  }

  /** What a promise comes to, once time has passed. */
  async after<T>(ms: number, promise: Promise<T>): Promise<T | Error> {
    const settled = promise.catch((error: Error) => error);
    await this.clock.advance(ms);
    return settled;
  }
}

describe("B3: any server can be asked, through any other", () => {
  test("how it is", async () => {
    const bed = new Bed();
    const replicas = [
      { server: "a", incarnation: 5, version: 0, confirmed: 900 },
      { server: "c", incarnation: 6, version: undefined, confirmed: 4_000 },
    ];
    const [a] = [bed.server("a"), bed.server("b", { ...STATUS, state: "draining", replicas })];
    expect(await bed.after(10, a.status("b"))).toEqual({ ...STATUS, state: "draining", replicas });
    expect(await bed.after(10, a.status("a"))).toEqual(STATUS);
  });

  test("B4: what it has decided about a user's devices", async () => {
    const bed = new Bed();
    const moved: DeviceDecision = {
      at: 1_700_000_000_000,
      kind: "move",
      why: "attraction",
      from: "b",
      to: "a",
      attraction: { here: 0, there: 412.25 },
      gain: 410.5,
    };
    const worse: DeviceDecision = { ...moved, kind: "redirect", why: "full", gain: -0.75 };
    const decisions = new Map([
      ["ann/phone", moved],
      ["ann/ü", worse],
      ["bob/phone", moved],
    ]);
    const [a, b] = [bed.server("a"), bed.server("b", STATUS, decisions)];
    const devices = ["phone", "tablet", "ü"];
    const known = [moved, undefined, worse];
    expect(await bed.after(10, a.decisions("b", "ann", devices))).toEqual(known);
    expect(await bed.after(10, b.decisions("b", "ann", devices))).toEqual(known);
    expect(await bed.after(10, a.decisions("c", "ann", devices))).toBeInstanceOf(NobodyListens);
  });

  test("to go", async () => {
    const bed = new Bed();
    const [a] = [bed.server("a"), bed.server("b"), bed.server("c")];
    expect(await bed.after(10, a.drain("b"))).toEqual({ connections: 12, within: 10_000 });
    expect(await bed.after(10, a.drain("a"))).toEqual({ connections: 12, within: 10_000 });
    expect(bed.leaving).toEqual(["b", "a"]);
  });

  test("to forget a user; who cannot does not answer", async () => {
    const bed = new Bed();
    const [a] = [bed.server("a"), bed.server("b")];
    await bed.after(10, a.forget("b", "ann"));
    await bed.after(10, a.forget("a", "ann"));
    expect(bed.forgotten).toEqual(["b ann", "a ann"]);
    expect(await bed.after(2_100, a.forget("b", "nobody"))).toBeInstanceOf(BusTimeout);
    expect(await bed.after(10, a.forget("c", "ann"))).toBeInstanceOf(NobodyListens);
  });

  test("one that is not there is known at once, one that is silent or not understood after 2 s (L10)", async () => {
    const bed = new Bed();
    const a = bed.server("a");
    expect(await bed.after(10, a.status("b"))).toBeInstanceOf(NobodyListens);
    bed.hub.connect().subscribe(controlSubject("c"), () => undefined);
    expect(await bed.after(2_100, a.status("c"))).toBeInstanceOf(BusTimeout);
    bed.hub.connect().subscribe(controlSubject("d"), (_, reply) => reply?.(Uint8Array.of(9)));
    expect(await bed.after(10, a.drain("d"))).toBeInstanceOf(BusTimeout);
  });

  test("what cannot be read is not obeyed, and one that has stopped does not answer", async () => {
    const bed = new Bed();
    const [a, b] = [bed.server("a"), bed.server("b")];
    const stranger = bed.hub.connect();
    for (const bytes of [[], [1], [1, 9], [2, 1]]) {
      stranger.publish(controlSubject("b"), Uint8Array.from(bytes));
    }
    await bed.clock.advance(10);
    expect(bed.leaving).toEqual([]);
    b.stop();
    expect(await bed.after(10, a.drain("b"))).toBeInstanceOf(NobodyListens);
  });
});

describe("the overview", () => {
  const member = (name: string): Member => ({
    name,
    incarnation: 7,
    state: "up",
    load: 3,
    capacity: 100,
    full: false,
    cpu: 100,
    software: "1.0.0",
    addresses: [],
    since: 5,
  });
  const members = [member("a"), member("b"), member("c")];
  const overview = (answers: Record<string, Partial<ServerStatus>>) =>
    overviewOf(
      members,
      new Map(
        Object.entries(answers).map(([name, answer]) => [
          name,
          { ...STATUS, incarnation: 7, ...answer },
        ]),
      ),
      (name) => ({ a: 0, b: 300.4, c: 4_000 })[name],
    );

  test("B4: has the locality of each server, and of the whole as if one server had counted all", () => {
    const { servers, deliveries: whole } = overview({
      a: { lately: { fiveMinutes: NONE, hour: deliveries(90, 5, 0, 5) } },
      b: { lately: { fiveMinutes: NONE, hour: deliveries(2, 3, 1, 4) } },
    });
    expect(servers.map((one) => one.deliveries?.hour.locality)).toEqual([0.9, 0.3, undefined]);
    expect(servers[2]!.deliveries).toBeNull();
    expect(whole).toEqual({
      fiveMinutes: { ...NONE, locality: null },
      hour: { ...deliveries(92, 8, 1, 9), locality: 93 / 110 },
    });
  });

  test("B4: reads what a server of a version before says, which did not count by time", () => {
    const said = encodeStatus({ ...STATUS, lately: undefined });
    expect(decodeStatus(said)).toEqual({ ...STATUS, lately: undefined });
    const { servers, deliveries: whole } = overview({ a: decodeStatus(said), b: {} });
    expect(servers.map(({ answers }) => answers)).toEqual([true, true, false]);
    expect([servers[0]!.deliveries, whole.hour]).toMatchObject([null, STATUS.lately!.hour]);
  });

  test("M1: has what each server says, and of one that does not answer what it said last", () => {
    const [a, , c] = overview({ a: { connections: 9, cpu: 1_500 }, b: {} }).servers;
    expect(a).toMatchObject({ connections: 9, cpu: 1.5, heard: 0, answers: true });
    expect(c).toMatchObject({ connections: 3, cpu: 0.1, heard: 4_000, answers: false });
    expect(c!.replicas).toEqual([]);
  });

  test("M2: has for each pair how far the one is behind the other", () => {
    const replica = { incarnation: 7, confirmed: 800 };
    const { servers } = overview({
      a: {
        published: 50,
        replicas: [
          { ...replica, server: "b", version: 35 },
          { ...replica, server: "c", version: 4 },
        ],
      },
      b: { published: 40, replicas: [{ ...replica, server: "a", version: undefined }] },
    });
    const [a, b] = servers;
    expect(a!.replicas).toEqual([
      { server: "b", behind: 5, confirmed: 800 },
      // Its owner did not say how far it is.
      { server: "c", behind: null, confirmed: 800 },
    ]);
    expect(b!.replicas).toEqual([
      { server: "a", behind: null, confirmed: 800 },
      // It has never heard of it.
      { server: "c", behind: null, confirmed: null },
    ]);
  });

  test("a replica of an incarnation that is over is compared with nothing", () => {
    const replica = { server: "b", incarnation: 6, confirmed: 800, version: 39 };
    const [a] = overview({ a: { replicas: [replica] }, b: {} }).servers;
    expect(a!.replicas[0]).toEqual({ server: "b", behind: null, confirmed: 800 });
  });
});
