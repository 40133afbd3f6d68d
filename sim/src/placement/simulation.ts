/**
 * Messages of a trace, servers and devices on a virtual clock: associates and policy are the production's; who is online, and what
 * servers know of each other, is a model.
 *
 * * Devices come and go as `people.ts` of the replay has it. A send by an offline user connects it first; its recipient is the device's intent.
 * * A message to an offline user is kept by the sender's server, and pushed: the device wakes 2 s later with the hint of its latest push.
 * * A device dials what the push names, else the server it was on last, else any.
 */
import type { ServerChange } from "../../../packages/cli/src/replay/change.ts";
import { Imbalance, SAMPLE_MS } from "../../../packages/cli/src/replay/imbalance.ts";
import { type Mode, People } from "../../../packages/cli/src/replay/people.ts";
import { Random } from "../../../packages/cli/src/replay/xoshiro.ts";
import { Associates } from "../../../packages/server/src/placement/associates.ts";
import { planExodus } from "../../../packages/server/src/placement/exodus.ts";
import { type Place, ramp } from "../../../packages/server/src/placement/places.ts";
import {
  placeArrival,
  placeCrossing,
  type Rule,
} from "../../../packages/server/src/placement/policy.ts";
import { Seats } from "../../../packages/server/src/placement/seats.ts";
import { type Journal, noJournal, serverName } from "./journal.ts";
import { Timeline, type Window } from "./timeline.ts";
import type { Messages } from "./trace.ts";
import { NOWHERE, View } from "./view.ts";

export const POLICIES = ["random", "wake", "place", "move"] as const;
export type Policy = (typeof POLICIES)[number];

export interface PlacementOptions {
  readonly messages: Messages;
  readonly servers: number;
  readonly mode: Mode;
  readonly policy: Policy;
  readonly rule: Rule;
  readonly seed: number;
  /** Milliseconds by which what a server knows of others is old. */
  readonly staleness: number;
  /** Associates that are kept of a user. */
  readonly perUser?: number;
  /** At so many times the mean of what servers accept and deliver lately one counts as busy. */
  readonly busyCap?: number;
  readonly changes?: readonly ServerChange[];
  readonly journal?: Journal;
  /** Messages whose deliveries, moves and redirects count: from this one, up to the one before that. */
  readonly counted?: readonly [from: number, to: number];
}

export interface Counts {
  readonly messages: number;
  readonly deliveries: number;
  readonly local: number;
  readonly moves: number;
  readonly redirects: number;
  readonly connects: number;
  readonly refusedHints: number;
  readonly drained: number;
  readonly imbalance: { readonly p95: number; readonly max: number };
  /** Of what servers accept in a day: the busiest one's share of the mean, median of the days with 100 messages and more. */
  readonly busiest: number;
  readonly windows: readonly Window[];
}

const DRAIN_MS = 300_000;
/** Half-life of what a server is said to do. */
const ACTIVITY_MS = 3_600_000;

type MutablePlace = { -readonly [K in keyof Place]: Place[K] };

export function simulatePlacement(options: PlacementOptions): Counts {
  return new Run(options).run();
}

class Run {
  readonly #options: PlacementOptions;
  readonly #journal: Journal;
  readonly #messages: Messages;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #view: View;
  readonly #associates: Associates;
  readonly #people: People;
  readonly #choices: Random;
  readonly #next: () => number;
  readonly #places: MutablePlace[];
  readonly #isUp: boolean[];
  readonly #upSince: Float64Array;
  /** By deciding server. */
  readonly #seats: Seats[];
  readonly #last: Int32Array;
  readonly #hint: Int32Array;
  readonly #movedAt: Float64Array;
  /** Messages that wait, by recipient. */
  readonly #kept: number[][];
  /** By message: the server that accepted it. */
  readonly #acceptedBy: Int16Array;
  readonly #attraction: Float64Array;
  readonly #other: Float64Array;
  readonly #imbalance = new Imbalance();
  readonly #timeline: Timeline;
  readonly #tasks: { readonly time: number; readonly run: () => void }[] = [];
  #now = 0;
  #message = 0;
  #nextSample = 0;
  #deliveries = 0;
  #local = 0;
  #moves = 0;
  #redirects = 0;
  #connects = 0;
  #refusedHints = 0;
  #drained = 0;
  readonly #acceptedToday: Float64Array;
  /** Accepted and delivered lately, as of {@link #activeAt}. */
  readonly #activity: Float64Array;
  #activeAt = 0;
  #dayEnds = 0;
  readonly #busiest: number[] = [];

  constructor(options: PlacementOptions) {
    const { messages, servers, seed, staleness, perUser = 64 } = options;
    const users = messages.users.length;
    this.#options = options;
    this.#journal = options.journal ?? noJournal;
    this.#messages = messages;
    this.#numbers = new Map(messages.users.map((user, i) => [user, i]));
    this.#view = new View(users, servers, staleness);
    this.#associates = new Associates({ now: () => this.#now, perUser, users, changes: 0 });
    this.#people = new People(users, options.mode, new Random(seed).fork("people"));
    this.#choices = new Random(seed).fork("choices");
    this.#next = () => this.#choices.next();
    this.#places = Array.from({ length: servers }, (_, i) => ({
      name: serverName(i),
      state: "up",
      load: 0,
      capacity: 0,
      weight: 1,
      busy: 0,
    }));
    this.#isUp = Array.from({ length: servers }, () => true);
    this.#upSince = new Float64Array(servers).fill(-Infinity);
    this.#seats = Array.from({ length: servers }, () => new Seats(() => this.#now));
    this.#last = new Int32Array(users).fill(NOWHERE);
    this.#hint = new Int32Array(users).fill(NOWHERE);
    this.#movedAt = new Float64Array(users).fill(-Infinity);
    this.#kept = Array.from({ length: users }, () => []);
    this.#acceptedBy = new Int16Array(messages.count);
    this.#attraction = new Float64Array(servers);
    this.#other = new Float64Array(servers);
    this.#timeline = new Timeline(servers);
    this.#acceptedToday = new Float64Array(servers);
    this.#activity = new Float64Array(servers);
  }

  run(): Counts {
    const { at, from, to, count } = this.#messages;
    const start = at[0] ?? 0;
    this.#now = start;
    this.#nextSample = start + SAMPLE_MS;
    this.#dayEnds = start + 86_400_000;
    for (let i = 0; i < this.#places.length; i++) this.#journal.write(start, "up", "-", i);
    for (const change of this.#options.changes ?? [])
      this.#schedule(start + change.after, () => this.#change(change));
    for (let message = 0; message < count; message++) {
      this.#advance(at[message]!);
      this.#message = message;
      this.#send(from[message]!, to[message]!);
    }
    const [first, end] = this.#counted;
    return {
      messages: Math.min(end, count) - first,
      deliveries: this.#deliveries,
      local: this.#local,
      moves: this.#moves,
      redirects: this.#redirects,
      connects: this.#connects,
      refusedHints: this.#refusedHints,
      drained: this.#drained,
      imbalance: this.#imbalance.result(),
      busiest: this.#busiest.toSorted((a, b) => a - b)[this.#busiest.length >> 1] ?? 0,
      windows: this.#timeline.windows,
    };
  }

  get #counted(): readonly [number, number] {
    return this.#options.counted ?? [0, this.#messages.count];
  }

  get #isCounted(): boolean {
    const [from, to] = this.#counted;
    return this.#message >= from && this.#message < to;
  }

  /** All that is due until `time`. */
  #advance(time: number): void {
    for (;;) {
      const task = this.#tasks[0]?.time ?? Infinity;
      const due = Math.min(this.#people.next, this.#nextSample, task);
      if (due > time) break;
      this.#now = due;
      this.#view.advance(due);
      if (this.#nextSample === due) this.#sample();
      else if (task === due) this.#tasks.shift()!.run();
      else this.#turn(this.#people.first);
    }
    this.#now = time;
    this.#view.advance(time);
  }

  #schedule(time: number, run: () => void): void {
    const after = this.#tasks.findIndex((task) => task.time > time);
    this.#tasks.splice(after < 0 ? this.#tasks.length : after, 0, { time, run });
  }

  #sample(): void {
    const loads: number[] = [];
    for (const [i, isUp] of this.#isUp.entries()) if (isUp) loads.push(this.#view.loads[i]!);
    if (this.#isCounted) this.#imbalance.sample(loads);
    this.#nextSample += SAMPLE_MS;
    if (this.#now < this.#dayEnds) return;
    this.#dayEnds += 86_400_000;
    const sum = this.#acceptedToday.reduce((a, b) => a + b, 0);
    if (sum >= 100 && this.#isCounted)
      this.#busiest.push((Math.max(...this.#acceptedToday) * loads.length) / sum);
    this.#acceptedToday.fill(0);
  }

  /** A device's time to go, or to come back. */
  #turn(user: number): void {
    if (this.#view.where[user] === NOWHERE) this.#connect(user, NOWHERE);
    else this.#disconnect(user);
  }

  #send(from: number, to: number): void {
    const { users } = this.#messages;
    if (this.#view.where[from] === NOWHERE) this.#connect(from, to);
    else this.#people.active(from, this.#now);
    const server = this.#view.where[from]!;
    this.#acceptedBy[this.#message] = server;
    this.#acceptedToday[server]!++;
    this.#activity[server]!++;
    this.#journal.write(this.#now, "accept", users[from]!, server, this.#message);
    this.#associates.exchanged(users[from]!, users[to]!);
    const there = this.#view.where[to]!;
    if (there === NOWHERE) {
      this.#kept[to]!.push(this.#message);
      this.#hint[to] = server;
      this.#people.pushed(to, this.#now);
      return;
    }
    this.#people.active(to, this.#now);
    this.#deliver(this.#message, to, there);
    if (there !== server && this.#options.policy === "move") this.#crossed(from, to, server);
  }

  #deliver(message: number, to: number, at: number): void {
    this.#journal.write(this.#now, "delivery", this.#messages.users[to]!, at, message);
    this.#activity[at]!++;
    if (!this.#isCounted) return;
    this.#deliveries++;
    if (this.#acceptedBy[message] === at) this.#local++;
  }

  #connect(user: number, intent: number): void {
    const { server, arrived } = this.#destination(user, intent);
    const name = this.#messages.users[user]!;
    if (arrived !== server) {
      this.#journal.write(this.#now, "redirect", name, arrived);
      if (this.#isCounted) this.#redirects++;
      this.#seats[arrived]!.reserve(name, serverName(server));
    }
    this.#journal.write(this.#now, "connect", name, server);
    if (this.#isCounted) this.#connects++;
    this.#timeline.connected(this.#now, server);
    this.#view.set(user, server, this.#now);
    this.#last[user] = server;
    this.#hint[user] = NOWHERE;
    for (const message of this.#kept[user]!) this.#deliver(message, user, server);
    this.#kept[user]!.length = 0;
    this.#people.connected(user, this.#now);
  }

  #disconnect(user: number): void {
    this.#journal.write(
      this.#now,
      "disconnect",
      this.#messages.users[user]!,
      this.#view.where[user]!,
    );
    this.#view.set(user, NOWHERE, this.#now);
    this.#people.gone(user, this.#now);
  }

  /** Where the device dials, and where it stays. */
  #destination(
    user: number,
    intent: number,
  ): { readonly arrived: number; readonly server: number } {
    const { policy, rule } = this.#options;
    const hint = this.#hint[user]!;
    const isHint = hint !== NOWHERE && this.#isUp[hint]!;
    const last = this.#last[user]!;
    const isSticky = policy === "place" || policy === "move";
    const arrived =
      policy !== "random" && isHint
        ? hint
        : isSticky && last !== NOWHERE && this.#isUp[last]!
          ? last
          : this.#anyServer();
    if (!isSticky) return { arrived, server: arrived };
    const decision = placeArrival(
      {
        attraction: this.#attractionOf(user, arrived, this.#attraction),
        arrived,
        hint: isHint ? hint : NOWHERE,
        intent: intent === NOWHERE ? NOWHERE : this.#view.whereAsSeenBy(arrived, intent),
      },
      this.#placesAsSeenBy(arrived),
      rule,
      this.#next,
    );
    if (hint !== NOWHERE) {
      const isRefused = decision.to !== hint;
      if (isRefused && this.#isCounted) this.#refusedHints++;
      this.#timeline.hinted(this.#now, isRefused);
    }
    return { arrived, server: decision.to === NOWHERE ? arrived : decision.to };
  }

  #anyServer(): number {
    for (;;) {
      const server = this.#choices.int(0, this.#isUp.length - 1);
      if (this.#isUp[server]! && this.#places[server]!.state === "up") return server;
    }
  }

  /** By the server that accepted it. */
  #crossed(from: number, to: number, server: number): void {
    const users = [from, to];
    const seen = users.map((user) => this.#view.whereAsSeenBy(server, user));
    if (seen.some((at) => at === NOWHERE) || seen[0] === seen[1]) return;
    const movers = users.map((user, i) => ({
      attraction: this.#attractionOf(user, server, i === 0 ? this.#attraction : this.#other),
      here: seen[i]!,
      associates: this.#associates.count(this.#messages.users[user]!),
      movable: this.#now - this.#movedAt[user]! >= this.#options.rule.restMs,
    }));
    const move = placeCrossing(movers, this.#placesAsSeenBy(server), this.#options.rule);
    if (move === undefined) return;
    const user = users[move.who]!;
    this.#seats[server]!.reserve(this.#messages.users[user]!, serverName(move.to));
    this.#move(user, move.to, "move");
    if (this.#isCounted) this.#moves++;
  }

  #move(user: number, to: number, entry: "move" | "drain"): void {
    this.#journal.write(this.#now, entry, this.#messages.users[user]!, to);
    this.#view.set(user, to, this.#now);
    this.#last[user] = to;
    this.#movedAt[user] = this.#now;
  }

  #attractionOf(user: number, server: number, into: Float64Array): Float64Array {
    into.fill(0);
    this.#associates.each(this.#messages.users[user]!, (peer, weight) => {
      const at = this.#view.whereAsSeenBy(server, this.#numbers.get(peer)!);
      if (at !== NOWHERE) into[at]! += weight;
    });
    return into;
  }

  #placesAsSeenBy(server: number): readonly Place[] {
    const seats = this.#seats[server]!;
    const isStale = this.#options.staleness > 0;
    for (const [i, place] of this.#places.entries()) {
      place.load = this.#view.loadAsSeenBy(server, i) + (isStale ? seats.at(place.name) : 0);
      place.weight = ramp(this.#now - this.#upSince[i]!);
    }
    if (this.#options.busyCap !== undefined) this.#showActivity(this.#options.busyCap);
    return this.#places;
  }

  #showActivity(busyCap: number): void {
    const decay = 2 ** ((this.#activeAt - this.#now) / ACTIVITY_MS);
    this.#activeAt = this.#now;
    let sum = 0;
    for (const [i, activity] of this.#activity.entries()) {
      this.#activity[i] = activity * decay;
      sum += activity * decay;
    }
    const most = (busyCap * sum) / this.#places.length;
    for (const [i, place] of this.#places.entries()) {
      place.busy = sum === 0 ? 0 : (this.#options.rule.busy * this.#activity[i]!) / most;
    }
  }

  #change({ kind, server }: ServerChange): void {
    const place = this.#places[server]!;
    this.#timeline.begin(this.#now);
    if (kind === "add") {
      this.#isUp[server] = true;
      place.state = "up";
      this.#upSince[server] = this.#now;
      this.#journal.write(this.#now, "up", "-", server);
      return;
    }
    place.state = "draining";
    if (kind === "kill") {
      this.#close(server);
      return;
    }
    this.#journal.write(this.#now, "draining", "-", server);
    this.#drain(server);
  }

  #close(server: number): void {
    for (const [user, at] of this.#view.where.entries()) if (at === server) this.#disconnect(user);
    this.#isUp[server] = false;
    this.#journal.write(this.#now, "down", "-", server);
  }

  /** Each device where its associates are, evenly over the time of the drain. */
  #drain(server: number): void {
    const { users } = this.#messages;
    const devices: string[] = [];
    for (const [user, at] of this.#view.where.entries())
      if (at === server) devices.push(users[user]!);
    const plan = planExodus(devices, {
      here: server,
      places: this.#placesAsSeenBy(server),
      rule: this.#options.rule,
      random: this.#next,
      each: (user, visit) => this.#associates.each(user, visit),
      placeOf: (user) => this.#view.whereAsSeenBy(server, this.#numbers.get(user)!),
    });
    const pace = DRAIN_MS / Math.max(1, plan.length);
    for (const [i, { user, to }] of plan.entries()) {
      this.#schedule(this.#now + Math.ceil(i * pace), () => {
        const number = this.#numbers.get(user)!;
        if (this.#view.where[number] !== server || to === NOWHERE) return;
        this.#move(number, to, "drain");
        this.#drained++;
      });
    }
    this.#schedule(this.#now + DRAIN_MS + 1, () => this.#close(server));
  }
}
