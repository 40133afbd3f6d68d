import { expect, test } from "bun:test";

import { LATE_MS, Ledger, type Verdict } from "./ledger.ts";

const FAULTS = [
  "lost",
  "duplicated",
  "reordered",
  "gaps",
  "late",
  "unpushed",
  "misdelivered",
] as const;

/** The faults that a verdict names, without those that are zero. */
function faults(verdict: Verdict): Partial<Record<(typeof FAULTS)[number], number>> {
  return Object.fromEntries(
    FAULTS.filter((fault) => verdict[fault] > 0).map((fault) => [fault, verdict[fault]]),
  );
}

const [ANN, BOB, CEM] = [0, 1, 2];

/** A ledger for three users with one device each, and what tests say to it in few words. */
class Story {
  readonly ledger = new Ledger(3);
  now = 1_000;

  /** Ann, Bob and Cem are connected. */
  static online(): Story {
    const story = new Story();
    for (const device of [ANN, BOB, CEM]) story.wakes(device, false);
    return story;
  }

  wakes(device: number, byPush: boolean): this {
    this.ledger.awake(device, this.now, byPush);
    this.ledger.online(device, this.now);
    return this;
  }

  sleeps(device: number): this {
    this.ledger.asleep(device, this.now);
    return this;
  }

  passes(ms: number): this {
    this.now += ms;
    return this;
  }

  /** Ann sends so many messages to Bob, and each is acknowledged. */
  sends(count = 1, server = "s1"): this {
    for (let i = 0; i < count; i++)
      this.ledger.acked(this.ledger.taken(ANN, BOB), this.now, server);
    return this;
  }

  gets(message: number, { device = BOB, server = "s1", held = false, gap = false } = {}): this {
    this.ledger.handedOver({ message, device, at: this.now, server, held, gap });
    return this;
  }

  ends(): Verdict {
    this.ledger.lastCall(this.now);
    return this.ledger.verdict();
  }
}

test("a run in which all goes well", () => {
  const verdict = Story.online().sends(3).gets(0).gets(1, { server: "s2" }).gets(2).ends();
  expect(verdict).toMatchObject({ messages: 3, acked: 3, delivered: 3, local: 2, remote: 1 });
  expect(verdict.locality).toBeCloseTo(2 / 3);
  expect(faults(verdict)).toEqual({});
  expect(verdict.problems).toEqual([]);
});

test("what is handed over before its ACK is judged by the ACK's server", () => {
  const story = Story.online();
  const message = story.ledger.taken(ANN, BOB);
  story.gets(message, { server: "s2" });
  expect(story.ledger.locality).toBe(0);
  story.ledger.acked(message, story.now, "s2");
  story.ledger.acked(message, story.now, "s3");
  expect(story.ends()).toMatchObject({ acked: 1, local: 1, remote: 0 });
});

test("a loss: acknowledged, and never handed over to a device that was online", () => {
  const verdict = Story.online().sends(2).gets(0).ends();
  expect(faults(verdict)).toEqual({ lost: 1 });
  expect(verdict).toMatchObject({ acked: 2, delivered: 1 });
  expect(verdict.problems).toEqual([
    "message 1 from user 0 to user 1, at device 1, was never handed over",
  ]);
});

test("a loss is not made good by the last call", () => {
  const story = Story.online().sends(1);
  story.ledger.lastCall(story.now);
  story.gets(0);
  expect(faults(story.ledger.verdict())).toEqual({ lost: 1 });
  expect(story.ledger.verdict().delivered).toBe(0);
});

test("a loss at a device that was pushed and never came", () => {
  const story = Story.online().sleeps(BOB).sends(1);
  story.ledger.pushed(BOB);
  expect(faults(story.ends())).toEqual({ lost: 1 });
});

test("what was not acknowledged is not lost, but not delivered either", () => {
  const story = Story.online();
  story.ledger.taken(ANN, BOB);
  expect(story.ends()).toMatchObject({ messages: 1, acked: 0, delivered: 0, lost: 0 });
});

test("a repeat", () => {
  expect(faults(Story.online().sends(1).gets(0).gets(0).ends())).toEqual({ duplicated: 1 });
});

test("a swap, within one lane alone", () => {
  const swapped = Story.online().sends(2).gets(1).gets(0).ends();
  expect(faults(swapped)).toEqual({ reordered: 1 });
  expect(swapped.delivered).toBe(2);

  const story = Story.online();
  const first = story.ledger.taken(CEM, BOB);
  const second = story.ledger.taken(ANN, BOB);
  for (const message of [first, second]) story.ledger.acked(message, story.now, "s1");
  expect(faults(story.gets(second).gets(first).ends())).toEqual({});
});

test("a gap that the SDK has marked", () => {
  expect(faults(Story.online().sends(1).gets(0, { gap: true }).ends())).toEqual({ gaps: 1 });
});

test("a message to somebody else", () => {
  const verdict = Story.online().sends(1).gets(0).gets(0, { device: CEM }).ends();
  expect(faults(verdict)).toEqual({ misdelivered: 1 });
});

test("L4: late is what takes 5 s from both being true", () => {
  const since = (ms: number): Story => Story.online().sends(1).passes(ms);
  expect(faults(since(LATE_MS).gets(0).ends())).toEqual({});
  expect(
    faults(
      since(LATE_MS + 1)
        .gets(0)
        .ends(),
    ),
  ).toEqual({ late: 1 });

  const asleep = Story.online()
    .sleeps(BOB)
    .sends(1)
    .passes(10 * LATE_MS)
    .wakes(BOB, true);
  expect(faults(asleep.passes(LATE_MS).gets(0, { held: true }).ends())).toEqual({});

  const gone = Story.online()
    .sends(1)
    .passes(LATE_MS + 1)
    .sleeps(BOB)
    .wakes(BOB, false)
    .gets(0);
  expect(faults(gone.ends())).toEqual({ late: 1 });

  const unanswered = Story.online();
  const message = unanswered.ledger.taken(ANN, BOB);
  expect(
    faults(
      unanswered
        .passes(2 * LATE_MS)
        .gets(message)
        .ends(),
    ),
  ).toEqual({});
});

test("L5: a sleeping device beside a held message needs a push", () => {
  const story = Story.online().sleeps(BOB).sends(1);
  story.ledger.lastCall(story.now);
  story.wakes(BOB, false).gets(0, { held: true });
  expect(faults(story.ledger.verdict())).toEqual({ unpushed: 1 });

  const before = Story.online();
  before.ledger.pushed(BOB);
  before.sleeps(BOB).sends(1).passes(71_000).wakes(BOB, false).gets(0, { held: true });
  expect(faults(before.ends())).toEqual({ unpushed: 1 });

  const soon = Story.online().sleeps(BOB).sends(1).passes(9_000).wakes(BOB, false).gets(0);
  expect(faults(soon.ends())).toEqual({});
});

test("a message from the store to a device that a push has woken counts as woken", () => {
  const story = Story.online().sleeps(BOB).sends(2);
  story.ledger.pushed(BOB);
  story.wakes(BOB, true).gets(0, { held: true }).gets(1, { held: true });
  story.sends(1).gets(2);
  expect(story.ends()).toMatchObject({ woke: 2, local: 3, unpushed: 0, lost: 0 });
});

test("with two devices each is owed every message, and copies go to the sender's others", () => {
  const ledger = new Ledger(2, 2);
  const [annPhone, annTablet, bobPhone, bobTablet] = [0, 1, 2, 3];
  for (const device of [annPhone, annTablet, bobPhone, bobTablet]) {
    ledger.awake(device, 0, false);
    ledger.online(device, 0);
  }
  const get = (message: number, device: number): void =>
    ledger.handedOver({ message, device, at: 1, server: "s1", held: false, gap: false });
  for (let i = 0; i < 2; i++) ledger.acked(ledger.taken(ANN, BOB), 1, "s1");
  get(0, bobPhone);
  get(1, bobPhone);
  get(0, bobTablet);
  get(0, annTablet);
  get(1, annTablet);
  expect(ledger.outstanding).toBe(1);
  expect(ledger.waiting()).toEqual([bobTablet]);
  ledger.lastCall(2);
  const verdict = ledger.verdict();
  expect(faults(verdict)).toEqual({ lost: 1 });
  expect(verdict).toMatchObject({ delivered: 1, copies: 2, local: 3 });
});

test("only the first problems are described, all are counted", () => {
  const verdict = Story.online().sends(50).ends();
  expect(verdict.lost).toBe(50);
  expect(verdict.problems).toHaveLength(20);
});
