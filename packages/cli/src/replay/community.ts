/**
 * A model of how the members of a community write to each other, for those who have no trace of their own.
 *
 * * **Circles.** Everybody has a home circle; sizes are log-normal (median 14). Two in five are in a second circle as well.
 * * **Ties.** A member ranks the others of the circle, and the tie to the one of rank r has weight r^-0.8: few strong ties,
 *   many weak ones. Ties of the second circle weigh 0.4 of that. One conversation in eight is with anybody at all, the
 *   sociable more often.
 * * **Activity.** Members begin conversations in proportion to k^-0.9, where k is their rank by sociability: the first tenth
 *   sends about half of all messages.
 * * **Conversations.** Geometric, 2.4 messages in the mean. The next message is an answer with probability 0.62, else the same
 *   person goes on. An answer comes after a log-normal time (median 8 min, with a tail of days), a burst goes on after a median of 60 s.
 * * **Rhythm.** Beginnings follow the hours of a day: one per cent at four in the morning, seven at nine in the evening.
 *
 * The same seed gives the same rows. What it comes to is held by the tests: shares of the strongest tie, of first messages,
 * of answers.
 */
import type { Random } from "./random.ts";
import { seeded, weighted } from "./random.ts";
import type { Row, Trace } from "./trace.ts";

export interface CommunityOptions {
  readonly seed: number;
  readonly users: number;
  readonly messages: number;
}

/** Bounds of what is kept in memory: all rows, and the ties of each member. */
export const COMMUNITY_LIMITS = { users: 100_000, messages: 1_000_000 } as const;

const DAY = 86_400;
/** Monday, 3 June 2024, 00:00 UTC. */
const START = 1_717_372_800;
/** Messages of a member a day, in the mean. */
const PER_DAY = 1;
const CONVERSATION = 2.4;
const ANSWER = 0.62;
const STRANGER = 1 / 8;
const SECOND_CIRCLE = 0.4;

/** Share of the conversations that begin in each hour of the day, in per cent. */
const HOURS = [3, 2, 1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 5, 4, 4, 5, 5, 6, 7, 8, 8, 7, 6] as const;

interface Member {
  readonly id: string;
  readonly partners: readonly number[];
  /** Index into `partners`. */
  readonly choose: (random: Random) => number;
}

export function community(options: CommunityOptions): Trace {
  let rows: readonly Row[] | undefined;
  return {
    name: `community of ${options.users}, seed ${options.seed}`,
    async *rows() {
      rows ??= generate(options);
      yield* rows;
    },
  };
}

export function generate({ seed, users, messages }: CommunityOptions): Row[] {
  if (users < 2) throw new RangeError("a community has two members or more");
  const random = seeded(seed);
  const members = createMembers(random.fork("ties"), users);
  const writers = random.fork("conversations");
  const sociability = weighted(members.map((_, i) => (i + 1) ** -0.9));
  const hour = weighted(HOURS);
  const days = Math.max(1, messages / (users * PER_DAY));

  const rows: Row[] = [];
  while (rows.length < messages) {
    const begins =
      START + (Math.floor(writers.next() * days) + (hour(writers) + writers.next()) / 24) * DAY;
    const first = sociability(writers);
    const second = partner(writers, members, first, sociability);
    converse(writers, rows, begins, members[first]!.id, members[second]!.id);
  }
  // A long conversation may pass the number: the last of it are dropped before the rows are in order of time.
  rows.length = messages;
  return rows.sort((a, b) => a.at - b.at);
}

/** Members in order of their sociability. */
function createMembers(random: Random, users: number): Member[] {
  const circles = createCircles(random, users);
  const names = shuffled(
    random,
    Array.from({ length: users }, (_, i) => i),
  );
  return names.map((name, self) => {
    const partners: number[] = [];
    const weights: number[] = [];
    for (const [nth, circle] of (circles[self] ?? []).entries()) {
      const others = circle.filter((other) => other !== self && !partners.includes(other));
      for (const [rank, other] of shuffled(random, others).entries()) {
        partners.push(other);
        weights.push((nth === 0 ? 1 : 0.4) * (rank + 1) ** -0.8);
      }
    }
    return { id: `u${name}`, partners, choose: weighted(weights) };
  });
}

/** The circles of each member: the home circle, then others. */
function createCircles(random: Random, users: number): number[][][] {
  const of: number[][][] = Array.from({ length: users }, () => []);
  const circles: number[][] = [];
  const waiting = shuffled(
    random,
    Array.from({ length: users }, (_, i) => i),
  );
  while (waiting.length > 0) {
    const size = Math.min(120, Math.max(3, Math.round(random.logNormal(14, 0.7))));
    const circle = waiting.splice(0, size);
    circles.push(circle);
    for (const member of circle) of[member]!.push(circle);
  }
  for (const own of of) if (random.next() < SECOND_CIRCLE) own.push(random.pick(circles));
  return of;
}

function partner(
  random: Random,
  members: readonly Member[],
  self: number,
  anybody: (random: Random) => number,
): number {
  const { partners, choose } = members[self]!;
  if (partners.length > 0 && random.next() >= STRANGER) return partners[choose(random)]!;
  const other = random.next() < 0.5 ? anybody(random) : random.below(members.length);
  return other === self ? (self + 1) % members.length : other;
}

function converse(
  random: Random,
  rows: Row[],
  begins: number,
  first: string,
  second: string,
): void {
  let at = begins;
  let [from, to] = [first, second];
  for (let left = random.geometric(CONVERSATION); left > 0; left--) {
    rows.push({ at: Math.floor(at), from, to });
    if (random.next() < ANSWER) {
      [from, to] = [to, from];
      at += random.logNormal(480, 2);
    } else {
      at += random.logNormal(60, 1.5);
    }
  }
}

function shuffled<T>(random: Random, from: readonly T[]): T[] {
  const to = [...from];
  for (let i = to.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [to[i], to[j]] = [to[j]!, to[i]!];
  }
  return to;
}
