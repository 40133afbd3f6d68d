import { describe, expect, test } from "bun:test";

import type { WakeClass } from "@beckon/protocol";

import { check } from "./checker.ts";
import type { Happening, History, HistoryEvent } from "./history.ts";
import { excerpt, type Fault, type Law } from "./violation.ts";

/** A history is written as a list of [time, event]; times need not be in order. */
type Line = readonly [at: number, event: Happening];

const ANN = "ann/phone";
const BOB = "bob/phone";
const TAB = "bob/tablet";

const started = (device: string, storage: "kept" | "lost" | "none" = "kept"): Happening => ({
  kind: "started",
  device,
  storage,
});
const stopped = (device: string, how: "crash" | "exit" = "crash"): Happening => ({
  kind: "stopped",
  device,
  how,
});
const registered = (device: string): Happening => ({ kind: "registered", device, push: true });
const welcomed = (
  device: string,
  connection: string,
  more: { server?: string; epoch?: number; recovered?: boolean; durable?: boolean } = {},
): Happening => ({
  kind: "welcomed",
  device,
  connection,
  server: "s1",
  epoch: 1,
  durable: true,
  recovered: true,
  ...more,
});
const online = (device: string, connection: string): Happening => ({
  kind: "online",
  device,
  connection,
  background: false,
});
const closed = (device: string, connection: string, side: "device" | "server"): Happening => ({
  kind: "closed",
  device,
  connection,
  side,
});
const sent = (message: string, wake: WakeClass = "message", ends?: string): Happening => ({
  kind: "sent",
  message,
  device: ANN,
  to: "bob",
  wake,
  ends,
});
const acked = (message: string, status: "delivered" | "held" = "delivered"): Happening => ({
  kind: "acked",
  message,
  device: ANN,
  server: "s1",
  status,
  route: "local",
});
const delivered = (message: string, connection = "b1", isHeld = false): Happening => ({
  kind: "delivered",
  message,
  device: BOB,
  connection,
  held: isHeld,
});
const arrived = (message: string, device = BOB): Happening => ({
  kind: "arrived",
  message,
  device,
});
const received = (message: string, device = BOB): Happening => ({
  kind: "received",
  message,
  device,
});
const handed = (
  message: string,
  marks: { gap?: boolean; late?: boolean; redelivered?: boolean; device?: string } = {},
): Happening => ({
  kind: "handed",
  device: BOB,
  message,
  gap: false,
  late: false,
  redelivered: false,
  ...marks,
});
const handled = (
  message: string,
  outcome: "finished" | "failed" = "finished",
  device = BOB,
): Happening => ({ kind: "handled", device, message, outcome });
const held = (message: string, devices: string[] = [BOB], user?: string): Happening => ({
  kind: "held",
  message,
  devices,
  user,
  wake: "message",
});
const settled = (message: string, device = BOB): Happening => ({
  kind: "settled",
  message,
  device,
});
const pushed = (outcome: "sent" | "retry" | "gone" = "sent"): Happening => ({
  kind: "pushed",
  device: BOB,
  outcome,
});
const server = (name: string, state: "started" | "crashed" | "stalled" | "resumed"): Happening => ({
  kind: "server",
  server: name,
  state,
});

/** Two servers; ann's phone is online from 100, bob's phone from 101, or asleep and registered if `bobSleeps`. */
function world({ bobSleeps = false } = {}): Line[] {
  return [
    [0, server("s1", "started")],
    [0, server("s2", "started")],
    [50, started(ANN)],
    [99, registered(ANN)],
    [99, welcomed(ANN, "a1")],
    [100, online(ANN, "a1")],
    [50, started(BOB)],
    [99, registered(BOB)],
    ...(bobSleeps
      ? [[102, stopped(BOB, "exit")] as const]
      : [[100, welcomed(BOB, "b1")] as const, [101, online(BOB, "b1")] as const]),
  ];
}

/** A message that goes its way live in 10 ms. */
const live = (message: string, at: number): Line[] => [
  [at, sent(message)],
  [at + 2, delivered(message)],
  [at + 3, arrived(message)],
  [at + 3, handed(message)],
  [at + 4, handled(message)],
  [at + 4, received(message)],
  [at + 6, acked(message)],
];

/** One that is held, and fetched at `later` over connection b2. */
const throughStore = (message: string, at: number, later: number): Line[] => [
  [at, sent(message)],
  [at + 5, held(message)],
  [at + 6, acked(message, "held")],
  [at + 500, pushed()],
  ...fetched(message, later),
];

const rang = (call: string, ended = false): Happening =>
  ({ ...pushed(), call, ended }) as Happening;

/** A call that nobody takes, with its pushes, until it is fetched at `later` over connection b2. */
const calling = (call: string, at: number, pushes: readonly number[], later: number): Line[] => [
  [at, sent(call, "call")],
  [at + 5, held(call)],
  [at + 6, acked(call, "held")],
  ...pushes.map((after): Line => [at + after, rang(call)]),
  ...fetched(call, later),
];

/** Ann gives up, and nobody is to be woken for that. */
const givenUp = (message: string, call: string, at: number, later: number): Line[] => [
  [at, sent(message, "none", call)],
  [at + 5, held(message)],
  [at + 6, acked(message, "held")],
  ...fetched(message, later),
];

const fetched = (message: string, at: number): Line[] => [
  [at, delivered(message, "b2", true)],
  [at, arrived(message)],
  [at, handed(message)],
  [at, handled(message)],
  [at + 1, received(message)],
  [at + 3, settled(message)],
];

const bobWakes = (at: number): Line[] => [
  [at, started(BOB)],
  [at + 10, welcomed(BOB, "b2", { epoch: 2 })],
  [at + 11, online(BOB, "b2")],
];

const greeted = (
  connection: string,
  more: { noRedirect?: boolean; background?: boolean } = {},
): Happening => ({
  kind: "greeted",
  device: BOB,
  connection,
  server: "s2",
  noRedirect: true,
  background: false,
  ...more,
});
const told = (connection: string, by: "redirect" | "move" | "drain"): Happening => ({
  kind: "told",
  device: BOB,
  connection,
  server: "s1",
  by,
  to: ["s2"],
});
const heard = (connection: string, by: "redirect" | "move" | "drain"): Happening => ({
  kind: "heard",
  device: BOB,
  connection,
  by,
});
const state = (name: string): Happening => ({ kind: "state", device: BOB, name });

/** Bob's phone goes to s2 over connection b2, as b1 has told it to. */
const moved = (at: number, hello: Happening = greeted("b2"), meanwhile: Line[] = []): Line[] => [
  [98, greeted("b1")],
  [at, told("b1", "move")],
  [at + 5, heard("b1", "move")],
  [at + 20, hello],
  ...meanwhile,
  [at + 30, welcomed(BOB, "b2", { server: "s2", epoch: 2 })],
  [at + 35, online(BOB, "b2")],
  [at + 35, closed(BOB, "b1", "device")],
  [at + 35, state("connected")],
  [at + 40, closed(BOB, "b1", "server")],
];

const END = 200_000;

function history(...lines: readonly (readonly Line[])[]): History {
  const all = lines.flat().map(([at, event]): HistoryEvent => ({ at, ...event }));
  return [...all.toSorted((a, b) => a.at - b.at), { at: END, kind: "woken" }];
}

const without = (lines: readonly Line[], kind: Happening["kind"]): Line[] =>
  lines.filter(([, event]) => event.kind !== kind);

const replaced = (lines: readonly Line[], kind: Happening["kind"], by: Happening): Line[] =>
  lines.map(([at, event]) => (event.kind === kind ? ([at, by] as const) : ([at, event] as const)));

function found(of: History): string[] {
  return check(of).violations.map(({ law, fault }) => `${law} ${fault}`);
}

describe("a clean history passes:", () => {
  test.each<[string, History]>([
    ["nothing at all", history(world())],
    ["live messages", history(world(), live("m1", 10_000), live("m2", 10_003))],
    [
      "a message through the store and a push",
      history(world({ bobSleeps: true }), throughStore("m1", 10_000, 12_030), bobWakes(12_000)),
    ],
    [
      "a call that rings, and whose end is told",
      history(
        world({ bobSleeps: true }),
        calling("c1", 30_000, [100, 8_100], 60_030),
        givenUp("m1", "c1", 40_000, 60_030),
        [[40_200, rang("c1", true)]],
        bobWakes(60_000),
      ),
    ],
    [
      "calls that were missed, and whose ends reached a server only then",
      history(
        world({ bobSleeps: true }),
        throughStore("m3", 20_000, 100_030),
        ["c1", "c2"].flatMap((call, at): Line[] => [
          ...calling(call, 30_000 + at * 1_000, [100, 8_100, 16_100, 24_100], 100_030),
          [60_100 + at * 1_000, pushed()],
          [40_000, sent(`end of ${call}`, "none", call)],
          [90_005, held(`end of ${call}`)],
          [90_006, acked(`end of ${call}`, "held")],
          ...fetched(`end of ${call}`, 100_030),
        ]),
        bobWakes(100_000),
      ),
    ],
    [
      "a call that rings late, as the store made others wait",
      history(
        world({ bobSleeps: true }),
        calling("c1", 30_000, [20_000], 80_030),
        [
          [29_000, { kind: "store", server: undefined, state: "hung" }],
          [49_000, { kind: "store", server: undefined, state: "freed" }],
        ],
        bobWakes(80_000),
      ),
    ],
    [
      "a call that rings after its end, which 16 others have made forgotten",
      history(
        world({ bobSleeps: true }),
        calling("c1", 10_000, [100, 8_100], 60_030),
        givenUp("m1", "c1", 13_000, 60_030),
        ...Array.from({ length: 16 }, (_, at) =>
          givenUp(`end ${at}`, `another ${at}`, 13_100 + at * 10, 60_030),
        ),
        bobWakes(60_000),
      ),
    ],
    [
      "a repeat after a crash in the handler, marked",
      history(
        world(),
        [
          [10_000, sent("m1")],
          [10_002, delivered("m1")],
          [10_003, arrived("m1")],
          [10_003, handed("m1")],
          [10_005, stopped(BOB)],
          [10_006, closed(BOB, "b1", "server")],
          [10_007, held("m1")],
          [10_008, acked("m1", "held")],
          [10_500, pushed()],
        ] as Line[],
        bobWakes(12_000),
        replaced(fetched("m1", 12_030), "handed", handed("m1", { redelivered: true })),
      ),
    ],
    [
      "a hole that is marked, and what comes late is marked",
      history(
        world(),
        without(live("m1", 10_000), "handed"),
        replaced(live("m2", 10_010), "handed", handed("m2", { gap: true })),
        [[15_100, handed("m1", { late: true })]],
      ),
    ],
    [
      "a message for a user without a device, which the first device that registers gets",
      history(world(), [
        [10_000, { kind: "sent", message: "m1", device: ANN, to: "cid", wake: "message" }],
        [10_005, { ...held("m1", [], "cid") }],
        [10_006, acked("m1", "held")],
        [20_000, started("cid/phone")],
        [20_010, registered("cid/phone")],
        [20_010, welcomed("cid/phone", "c1")],
        [20_011, online("cid/phone", "c1")],
        [20_012, handed("m1", { device: "cid/phone" })],
        [20_012, handled("m1", "finished", "cid/phone")],
        [20_013, received("m1", "cid/phone")],
      ] as Line[]),
    ],
    [
      "messages from before a device was registered, and during its first lease",
      history(world(), live("m1", 10_000), [
        [9_000, started(TAB)],
        [9_010, registered(TAB)],
        [9_010, welcomed(TAB, "t1")],
        [9_011, online(TAB, "t1")],
      ]),
    ],
    [
      "what the store has dropped, when it says so",
      history(world({ bobSleeps: true }), [
        [10_000, sent("m1")],
        [10_005, held("m1")],
        [10_006, acked("m1", "held")],
        [10_100, pushed()],
        [60_000, { kind: "dropped", message: "m1", device: BOB }],
        [70_000, started(BOB)],
        [70_010, welcomed(BOB, "b2", { recovered: false })],
        [70_011, online(BOB, "b2")],
      ] as Line[]),
    ],
    [
      "a device that sleeps while its server is stalled, and gets it in time after that",
      history(
        world(),
        [
          [9_000, server("s1", "stalled")],
          [10_000, sent("m1")],
          [10_005, held("m1")],
          [10_006, acked("m1", "held")],
          [21_000, server("s1", "resumed")],
        ] as Line[],
        fetched("m1", 25_000),
      ),
    ],
    [
      "a device that is moved while messages come",
      history(world(), live("m1", 9_999), moved(10_000), live("m2", 10_100)),
    ],
    [
      "a connection that is lost in the middle of a move",
      history(
        world(),
        moved(10_000, greeted("b2"), [
          [10_021, { ...closed(BOB, "b1", "device"), code: 1006 } as Happening],
          [10_021, state("connecting")],
        ]),
      ),
    ],
    [
      "a device that is redirected, and served where it is sent",
      history(world(), [
        [9_000, closed(BOB, "b1", "device")],
        [9_005, closed(BOB, "b1", "server")],
        [10_000, greeted("b2", { noRedirect: false })],
        [10_005, told("b2", "redirect")],
        [10_010, heard("b2", "redirect")],
        [10_010, closed(BOB, "b2", "device")],
        [10_030, greeted("b3")],
        [10_040, welcomed(BOB, "b3", { server: "s2", epoch: 2 })],
        [10_045, online(BOB, "b3")],
      ]),
    ],
    [
      "a connection that is replaced",
      history(world(), [
        [20_000, { kind: "broken", device: BOB, connection: "b1" }],
        [20_100, closed(BOB, "b1", "device")],
        [20_200, welcomed(BOB, "b2", { server: "s2", epoch: 2 })],
        [20_201, online(BOB, "b2")],
        [20_300, closed(BOB, "b1", "server")],
      ]),
    ],
    [
      "a refusal that the application has asked for, and the message after it",
      history(
        world(),
        [
          [10_000, sent("m1")],
          [
            10_010,
            { kind: "refused", message: "m1", device: ANN, code: "forbidden", expected: true },
          ],
        ] as Line[],
        live("m2", 10_020),
      ),
    ],
    [
      "what the memory of a device's storage took with it",
      history(world(), without(without(live("m1", 10_000), "handed"), "handled"), [
        [10_100, stopped(BOB)],
        [10_101, closed(BOB, "b1", "server")],
        [10_200, started(BOB, "lost")],
        [10_210, welcomed(BOB, "b2", { epoch: 2 })],
        [10_211, online(BOB, "b2")],
      ] as Line[]),
    ],
  ])("%s", (_, clean) => {
    expect(check(clean).violations).toEqual([]);
  });
});

describe("a planted fault is found by its law's name:", () => {
  test.each<[Law, Fault, string, History]>([
    [
      "L1",
      "lost",
      "held, and never handed over",
      history(world(), [
        [10_000, sent("m1")],
        [10_005, held("m1")],
        [10_006, acked("m1", "held")],
        [10_007, settled("m1")],
      ]),
    ],
    [
      "L1",
      "lost",
      "delivered, and never handed over",
      history(world(), without(without(live("m1", 10_000), "handed"), "handled")),
    ],
    [
      "L1",
      "lost",
      "held for a user without a device, and the device that came did not get it",
      history(world(), [
        [10_000, { kind: "sent", message: "m1", device: ANN, to: "cid", wake: "message" }],
        [10_005, held("m1", [], "cid")],
        [10_006, acked("m1", "held")],
        [20_000, started("cid/phone")],
        [20_010, registered("cid/phone")],
        [20_010, welcomed("cid/phone", "c1")],
        [20_011, online("cid/phone", "c1")],
      ]),
    ],
    [
      "L1",
      "lost",
      "the copy for another device of the sender",
      history(world(), live("m1", 20_000), [
        [5_000, started("ann/laptop")],
        [5_010, registered("ann/laptop")],
        [5_010, welcomed("ann/laptop", "l1")],
        [5_011, online("ann/laptop", "l1")],
      ]),
    ],
    [
      "L1",
      "early ack",
      "held before the commit",
      history(
        world({ bobSleeps: true }),
        throughStore("m1", 10_000, 12_030).map(([at, event]) =>
          event.kind === "acked" ? ([10_004, event] as const) : ([at, event] as const),
        ),
        bobWakes(12_000),
      ),
    ],
    [
      "L1",
      "early ack",
      "delivered, though a durable device sleeps",
      history(
        world(),
        [
          [50, started(TAB)],
          [60, registered(TAB)],
          [60, welcomed(TAB, "t1")],
          [70, stopped(TAB, "exit")],
          [70, closed(TAB, "t1", "server")],
        ] as Line[],
        live("m1", 10_000),
        [[10_050, held("m1", [TAB])]] as Line[],
        [[10_060, { ...pushed(), device: TAB } as Happening]] as Line[],
      ),
    ],
    [
      "L1",
      "early ack",
      "delivered, with nobody there at all",
      history(world(), [
        [10_000, { kind: "sent", message: "m1", device: ANN, to: "cid", wake: "message" }],
        [10_006, acked("m1", "delivered")],
      ]),
    ],
    [
      "L2",
      "duplicated",
      "twice in one life",
      history(world(), live("m1", 10_000), [
        [11_000, handed("m1", { redelivered: true })],
        [11_001, handled("m1")],
      ]),
    ],
    [
      "L2",
      "duplicated",
      "again after a crash, without the mark",
      history(
        world({ bobSleeps: true }),
        without(without(throughStore("m1", 10_000, 12_030), "handled"), "settled"),
        bobWakes(12_000),
        [
          [12_040, stopped(BOB)],
          [12_040, closed(BOB, "b2", "server")],
          [12_100, started(BOB)],
          [12_110, welcomed(BOB, "b3", { epoch: 3 })],
          [12_111, online(BOB, "b3")],
          [12_112, handed("m1")],
          [12_113, handled("m1")],
          [12_114, settled("m1")],
        ] as Line[],
      ),
    ],
    [
      "L2",
      "duplicated",
      "again in a later life, though it was handled long ago",
      history(world(), live("m1", 10_000), [
        [20_000, stopped(BOB)],
        [20_000, closed(BOB, "b1", "server")],
        ...bobWakes(21_000),
        [21_020, handed("m1", { redelivered: true })],
        [21_021, handled("m1")],
      ]),
    ],
    [
      "L2",
      "unsettled",
      "what was acknowledged stays in the store",
      history(
        world({ bobSleeps: true }),
        without(throughStore("m1", 10_000, 12_030), "settled"),
        bobWakes(12_000),
      ),
    ],
    [
      "L2",
      "misdelivered",
      "to somebody else's device",
      history(world(), live("m1", 10_000), [
        [50, started("eve/phone")],
        [60, welcomed("eve/phone", "e1", { durable: false })],
        [61, online("eve/phone", "e1")],
        [10_005, handed("m1", { device: "eve/phone" })],
        [10_006, handled("m1", "finished", "eve/phone")],
      ] as Line[]),
    ],
    [
      "L3",
      "reordered",
      "a later one first, no marks",
      history(
        world(),
        live("m1", 10_000).map(([at, event]) =>
          event.kind === "handed" ? ([10_030, event] as const) : ([at, event] as const),
        ),
        replaced(live("m2", 10_010), "handed", handed("m2", { gap: true })),
        live("m0", 9_000),
      ),
    ],
    [
      "L3",
      "silent hole",
      "one is passed over without a mark",
      history(
        world(),
        live("m0", 9_000),
        without(live("m1", 10_000), "handed"),
        live("m2", 10_010),
        [[16_000, handed("m1", { late: true })]],
      ),
    ],
    [
      "L3",
      "live while behind",
      "something live before what was held",
      history(
        world({ bobSleeps: true }),
        throughStore("m1", 10_000, 12_040),
        bobWakes(12_000),
        replaced(live("m2", 12_020), "delivered", delivered("m2", "b2")).map(([at, event]) =>
          event.kind === "handed" || event.kind === "handled"
            ? ([at + 30, event] as const)
            : ([at, event] as const),
        ),
      ),
    ],
    [
      "L4",
      "late",
      "held and online for 6 s",
      history(
        world(),
        [
          [10_000, sent("m1")],
          [10_005, held("m1")],
          [10_006, acked("m1", "held")],
        ] as Line[],
        fetched("m1", 16_100),
      ),
    ],
    [
      "L4",
      "late",
      "6 s after the device came online",
      history(world({ bobSleeps: true }), throughStore("m1", 10_000, 18_100), bobWakes(12_000)),
    ],
    [
      "L5",
      "unpushed",
      "held for a sleeper, no push",
      history(
        world({ bobSleeps: true }),
        without(throughStore("m1", 10_000, 80_030), "pushed"),
        bobWakes(80_000),
      ),
    ],
    [
      "L5",
      "unpushed",
      "the push was for what the device has fetched since",
      history(
        world({ bobSleeps: true }),
        throughStore("m1", 10_000, 12_030),
        bobWakes(12_000),
        [
          [20_000, stopped(BOB, "exit")],
          [20_000, closed(BOB, "b2", "server")],
        ] as Line[],
        without(throughStore("m2", 30_000, 90_050), "pushed"),
        [
          [90_000, started(BOB)],
          [90_010, welcomed(BOB, "b3", { epoch: 3 })],
          [90_011, online(BOB, "b3")],
        ] as Line[],
      ),
    ],
    [
      "L5",
      "pushed twice",
      "two pushes in a second",
      history(
        world({ bobSleeps: true }),
        throughStore("m1", 30_000, 42_030),
        [[31_500, pushed()]],
        bobWakes(42_000),
      ),
    ],
    [
      "L5",
      "unrung",
      "a call that is pushed for as late as a message may be",
      history(
        world({ bobSleeps: true }),
        calling("c1", 10_000, [20_000], 60_030),
        bobWakes(60_000),
      ),
    ],
    [
      "L5",
      "rang too often",
      "two pushes for a call in 3 s",
      history(
        world({ bobSleeps: true }),
        calling("c1", 30_000, [100, 3_100], 60_030),
        bobWakes(60_000),
      ),
    ],
    [
      "L5",
      "rang after its end",
      "a push for a call that was given up",
      history(
        world({ bobSleeps: true }),
        calling("c1", 10_000, [100, 8_100], 60_030),
        givenUp("m1", "c1", 13_000, 60_030),
        bobWakes(60_000),
      ),
    ],
    [
      "L5",
      "untold end",
      "who rang is not told",
      history(
        world({ bobSleeps: true }),
        calling("c1", 10_000, [100], 60_030),
        givenUp("m1", "c1", 13_000, 60_030),
        bobWakes(60_000),
      ),
    ],
    [
      "L6",
      "two connections",
      "both stay open",
      history(world(), [
        [20_000, { kind: "broken", device: BOB, connection: "b1" }],
        [20_200, welcomed(BOB, "b2", { server: "s2", epoch: 2 })],
        [20_201, online(BOB, "b2")],
        [30_000, closed(BOB, "b1", "server")],
      ]),
    ],
    [
      "L6",
      "expelled",
      "a device is replaced by itself",
      history(world(), [
        [20_000, { kind: "expelled", device: BOB, code: "replaced" }],
        [20_001, closed(BOB, "b1", "device")],
        [20_001, closed(BOB, "b1", "server")],
        ...bobWakes(23_000),
      ]),
    ],
    [
      "L6",
      "half-open",
      "a connection that acknowledges nothing stays open",
      history(
        world(),
        [
          [9_999, { kind: "broken", device: BOB, connection: "b1" }],
          [10_000, sent("m1")],
          [10_002, delivered("m1")],
          [10_300, held("m1")],
          [10_301, acked("m1", "held")],
          [20_301, pushed()],
          [40_000, closed(BOB, "b1", "server")],
          [40_000, closed(BOB, "b1", "device")],
        ] as Line[],
        fetched("m1", 41_030),
        bobWakes(41_000),
      ),
    ],
    [
      "L8",
      "refused",
      "for good, because the store was away",
      history(world(), [
        [9_000, { kind: "store", server: undefined, state: "away" }],
        [10_000, sent("m1")],
        [
          10_010,
          {
            kind: "refused",
            message: "m1",
            device: ANN,
            code: "store-unavailable",
            expected: false,
          },
        ],
        [11_000, { kind: "store", server: undefined, state: "back" }],
      ]),
    ],
    ["L9", "stuck", "a message that is never answered", history(world(), [[10_000, sent("m1")]])],
    [
      "L9",
      "stuck",
      "a device that never gets in again",
      history(world(), [
        [10_000, closed(BOB, "b1", "server")],
        [10_001, closed(BOB, "b1", "device")],
      ]),
    ],
    [
      "L9",
      "redirected twice",
      "a device is redirected that said no_redirect",
      history(world(), [
        [10_000, closed(BOB, "b1", "device")],
        [10_005, closed(BOB, "b1", "server")],
        [10_010, greeted("b2")],
        [10_015, told("b2", "redirect")],
        [10_020, closed(BOB, "b2", "device")],
        [10_030, greeted("b3")],
        [10_040, welcomed(BOB, "b3", { server: "s2", epoch: 2 })],
        [10_045, online(BOB, "b3")],
      ]),
    ],
    [
      "L9",
      "redirected twice",
      "a device that was redirected could be again",
      history(world(), [
        [10_000, closed(BOB, "b1", "device")],
        [10_005, closed(BOB, "b1", "server")],
        [10_010, greeted("b2", { noRedirect: false })],
        [10_015, told("b2", "redirect")],
        [10_020, heard("b2", "redirect")],
        [10_020, closed(BOB, "b2", "device")],
        [10_030, greeted("b3", { noRedirect: false })],
        [10_040, welcomed(BOB, "b3", { server: "s2", epoch: 2 })],
        [10_045, online(BOB, "b3")],
      ]),
    ],
    [
      "L9",
      "redirected twice",
      "a device that is moved could be redirected",
      history(world(), moved(10_000, greeted("b2", { noRedirect: false }))),
    ],
    [
      "L6",
      "beside",
      "a device says HELLO beside its connection, and nobody has asked it to",
      history(world(), without(without(moved(10_000), "heard"), "told")),
    ],
    [
      "L6",
      "beside",
      "a third HELLO during a move",
      history(
        world(),
        moved(10_000, greeted("b2"), [
          [10_021, greeted("b3")],
          [10_022, closed(BOB, "b3", "device")],
        ]),
      ),
    ],
    [
      "B2",
      "moved in the way",
      "a device is moved in the background",
      history(world(), moved(10_000, greeted("b2", { background: true }))),
    ],
    [
      "B2",
      "moved in the way",
      "a device is moved during a call",
      history(world(), replaced(live("c1", 9_000), "sent", sent("c1", "call")), moved(100_000)),
    ],
    [
      "B2",
      "seen",
      "the application sees that its device is moved",
      history(world(), moved(10_000, greeted("b2"), [[10_025, state("connecting")]])),
    ],
    [
      "L5",
      "pushed for a move",
      "a device is pushed to that was connected all the time",
      history(world(), moved(10_000), [[11_000, pushed()]]),
    ],
    [
      "recovered",
      "dishonest",
      "a loss is not told",
      history(
        world({ bobSleeps: true }),
        [
          [10_000, sent("m1")],
          [10_005, held("m1")],
          [10_006, acked("m1", "held")],
          [10_100, pushed()],
          [60_000, { kind: "dropped", message: "m1", device: BOB }],
        ] as Line[],
        bobWakes(70_000),
      ),
    ],
    [
      "recovered",
      "dishonest",
      "a loss is told that was none",
      history(world({ bobSleeps: true }), [
        [70_000, started(BOB)],
        [70_010, welcomed(BOB, "b2", { recovered: false })],
        [70_011, online(BOB, "b2")],
      ]),
    ],
  ])("%s %s: %s", (law, fault, _, faulty) => {
    expect(found(faulty)).toEqual([`${law} ${fault}`]);
  });
});

test("gaps are counted, and those where nothing is missing for good are told apart", () => {
  const real = history(
    world(),
    live("m0", 9_000),
    [[9_999, sent("m1")]],
    replaced(live("m2", 10_010), "handed", handed("m2", { gap: true })),
    [[10_500, acked("m1", "held")]],
  );
  expect(check(real)).toMatchObject({ gaps: 1, falseGaps: 0 });
  const wrong = history(
    world(),
    live("m0", 9_000),
    replaced(live("m1", 10_010), "handed", handed("m1", { gap: true })),
  );
  expect(check(wrong)).toMatchObject({ gaps: 1, falseGaps: 1, violations: [] });
});

test("worstSeconds is the longest that a held message waited for a device that was online", () => {
  const slow = history(
    world({ bobSleeps: true }),
    throughStore("m1", 10_000, 13_011),
    bobWakes(12_000),
  );
  expect(check(slow).worstSeconds).toBe(1);
});

test("the excerpt has the message, its devices and the faults of its time, and nothing else", () => {
  const faulty = history(
    world(),
    [[1_000, server("s2", "stalled")]],
    [[1_100, server("s2", "resumed")]],
    live("other", 5_000),
    [[50, started("eve/phone")]],
    without(without(live("m1", 10_000), "handed"), "handled"),
    [[10_003.5, server("s2", "crashed")]],
  );
  const [violation] = check(faulty).violations.filter(({ fault }) => fault === "lost");
  const kinds = excerpt(faulty, violation!).map(({ kind, at }) => `${at} ${kind}`);
  expect(kinds).toContain("10000 sent");
  expect(kinds).toContain("10003.5 server");
  expect(kinds).toContain("101 online");
  expect(kinds.filter((line) => line.startsWith("500"))).toEqual([]);
});
