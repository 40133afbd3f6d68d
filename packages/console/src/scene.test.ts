/** What the page shows, decided without a page: every word of it comes from what the servers and the SDK said. */
import { describe, expect, test } from "bun:test";

import { caption, ms } from "./captions.ts";
import {
  type Change,
  crossed,
  firstScene,
  next,
  nextMove,
  type Scene,
  standsAt,
  stayed,
} from "./scene.ts";
import type { ServerView, Stage, StageEvent } from "./stage.ts";

function server(name: string, more: Partial<ServerView> = {}): ServerView {
  const none = { connections: 0, local: 0, remote: 0, held: 0, pushed: 0, acknowledged: 0 };
  return { name, url: `ws://${name}`, admin: `http://${name}`, state: "up", ...none, ...more };
}

const STAGE: Stage = {
  servers: [server("s1"), server("s2"), server("s3")],
  devices: [
    { user: "ann", device: "ann-phone", server: "s1", last: "s1" },
    { user: "bob", device: "bob-phone", server: undefined, last: "s2" },
  ],
  wakes: "sender",
  faults: [],
  day: undefined,
  applicationServerKey: "",
};

/** Before the first click. */
const READY: readonly Change[] = [
  { type: "linked", linked: true },
  { type: "event", event: { type: "stage", ...STAGE } },
  { type: "phone", person: "ann", phone: { state: "connected", server: "s1" } },
  { type: "busy", busy: false },
];

const event = (event: StageEvent): Change => ({ type: "event", event });

const HELD = event({ type: "held", server: "s1", id: "1", from: "ann", to: "bob", ms: 2.1 });

function after(...changes: readonly Change[]): Scene {
  return [...READY, ...changes].reduce(next, firstScene());
}

const said = (scene: Scene): string => caption(scene).join(" ");

test("a browser that is a phone stays one, with what was written to it, when the scene begins again", () => {
  const line = { id: "1", own: false, text: "eve: hello", ticks: 2 } as const;
  const scene = after(
    { type: "browser", browser: { state: "connected", server: "s1" } },
    { type: "browser-line", line },
    { type: "again" },
  );
  const browser = { state: "connected", server: "s1", lines: [line], problem: undefined } as const;
  expect(scene.browser).toEqual(browser);
});

describe("M7: the six steps", () => {
  test("before the first click: who is where, by the servers' table, and Send alone glows", () => {
    const scene = after();
    expect(said(scene)).toStartWith("Bob is asleep. He was last on s2. Ann is on s1.");
    expect(nextMove(scene)).toBe("send");
  });

  test("nothing glows while a script runs, while nobody answers, or when another page has the phones", () => {
    expect(nextMove(after({ type: "busy", busy: true }))).toBeUndefined();
    const alone = after({ type: "linked", linked: false });
    expect(nextMove(alone)).toBeUndefined();
    expect(said(alone)).toContain("npm start");
    const taken = after(event({ type: "phones-taken" }));
    expect(nextMove(taken)).toBeUndefined();
    expect(said(taken)).toContain("another page");
  });

  test("after Send: what was held where, for how long, and the server that the push names", () => {
    const push = { sealed: "x", names: "s1" };
    const sent = after({ type: "step", step: "send" }, HELD);
    expect(said(sent)).toContain("s1 stored it (held, 2.1 ms)");
    expect(nextMove(sent)).toBeUndefined();
    const pushed = next(sent, { type: "facts", facts: { push } });
    expect(said(pushed)).toContain("names s1");
    const shown = next(pushed, { type: "phone", person: "bob", phone: { notified: true } });
    expect(nextMove(shown)).toBe("tap");
  });

  test("after the tap: where he woke, how long it took, and whether his answer crossed", () => {
    const woke = { server: "s1", ms: 61.4 };
    const local = { ms: 0.42, route: "local", stored: false };
    const scene = after({ type: "step", step: "tap" }, { type: "facts", facts: { woke } });
    expect(said(scene)).toContain("Bob woke at s1, 61 ms after the tap");
    const answered = next(scene, { type: "facts", facts: { answer: local } });
    expect(said(answered)).toContain("never left the lane: 0.4 ms, no disk, no hop");
    expect(nextMove(answered)).toBe("next");
    const remote = next(scene, { type: "facts", facts: { answer: { ...local, route: "remote" } } });
    expect(said(remote)).toContain("crossed to the other server");
    const stored = next(scene, { type: "facts", facts: { answer: { ...local, stored: true } } });
    expect(said(stored)).toContain("over the disk");
  });

  test("the switch, then the day, then on", () => {
    const before = after({ type: "step", step: "switch" });
    expect(nextMove(before)).toBe("switch");
    const off = next(before, event({ type: "wakes", wakes: "balanced" }));
    expect(nextMove(off)).toBe("day");
    const run = { done: 1, of: 2, locality: 0.5, local: 0, remote: 0, lost: 0 };
    const day = { type: "day", balanced: run, sender: run } as const;
    const running = next(off, event({ ...day, state: "running" }));
    expect(nextMove(running)).toBeUndefined();
    expect(nextMove(next(running, event({ ...day, state: "done" })))).toBe("next");
  });

  test("L1: what a kill has cost is what was acknowledged and not handed over", () => {
    const each = { ann: 11, bob: 10, cat: 10, dan: 10 };
    const flown = { sent: each, received: each };
    const storm = {
      ...flown,
      server: "s1",
      acknowledged: 41,
      handedOver: 41,
      backMs: 980,
    } as const;
    const scene = after({ type: "step", step: "kill" });
    expect(nextMove(scene)).toBe("kill");
    const done = next(scene, { type: "storm", storm: { ...storm, state: "done" } });
    expect(said(done)).toContain("Acknowledged 41, lost 0.");
    const lost = next(scene, { type: "storm", storm: { ...storm, handedOver: 40, state: "done" } });
    expect(said(lost)).toContain("lost 1.");
  });
});

describe("what servers and phones say", () => {
  test("B4: local and crossed are the sums of the servers' counters", () => {
    const servers = [server("s1", { local: 3, remote: 1 }), server("s2", { local: 2, remote: 4 })];
    const scene = after(event({ type: "servers", servers }));
    expect(stayed(scene)).toBe(5);
    expect(crossed(scene)).toBe(5);
  });

  test("M3: a phone stands at its server, and asleep at the one before", () => {
    const scene = after();
    expect(standsAt(scene, "bob")).toBe("s2");
    const state = { state: "connected", server: "s3" } as const;
    expect(standsAt(next(scene, { type: "phone", person: "bob", phone: state }), "bob")).toBe("s3");
  });

  test("L1: one tick when it is safe, two when the recipient's device has it", () => {
    const line = { id: undefined, own: true, text: "Hi", ticks: 0 } as const;
    const ack = { type: "acknowledged", person: "ann", text: "Hi", id: "7", ticks: 1 } as const;
    const safe = after({ type: "line", person: "ann", line }, ack);
    expect(safe.phones.ann.lines).toEqual([{ ...line, id: "7", ticks: 1 }]);
    const delivered = event({
      type: "delivered",
      server: "s1",
      accepted: "s1",
      id: "7",
      from: "ann",
      to: "bob",
      device: "bob-phone",
      stored: true,
    });
    expect(next(safe, delivered).phones.ann.lines[0]?.ticks).toBe(2);
  });

  test("L8: trouble is said for as long as its cause is there", () => {
    const trouble = event({ type: "trouble", server: "s2", what: "store", text: "disk full" });
    const scene = after(event({ type: "faults", faults: ["disk-full"] }), trouble);
    expect(scene.trouble).toEqual({ server: "s2", text: "disk full" });
    expect(next(scene, event({ type: "faults", faults: [] })).trouble).toBeUndefined();
  });

  test("times are said as people say them", () => {
    expect([0.04, 0.42, 9.96, 61.4, 1234].map(ms)).toEqual([
      "0.1 ms",
      "0.4 ms",
      "10.0 ms",
      "61 ms",
      "1.2 s",
    ]);
  });

  test("L10: a phone keeps its last lines, and no more", () => {
    const lines = Array.from({ length: 50 }, (_, i) => ({
      type: "line" as const,
      person: "ann" as const,
      line: { id: String(i), own: false, text: String(i), ticks: 2 as const },
    }));
    const kept = after(...lines).phones.ann.lines;
    expect(kept).toHaveLength(20);
    expect(kept.at(-1)?.text).toBe("49");
  });
});
