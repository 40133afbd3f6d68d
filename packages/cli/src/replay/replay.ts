/**
 * Replays a trace: real servers, real devices over loopback, messages in the order of the trace.
 *
 * What belongs to people (for how long a device stays awake) and what placement remembers of them read the trace's clock, which stands at
 * the message taken last; what belongs to machines (deadlines, leases, and but for `always-on` waking) reads the real one. A message is under way until its sender has the ACK and its
 * recipient's devices have it, or would have in life: so that the trace's clock does not run days ahead of a wake.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Failure } from "../failure.ts";
import { within } from "../within.ts";
import type { ServerChange } from "./change.ts";
import { startChaos } from "./chaos.ts";
import {
  type Cluster,
  type ClusterOptions,
  type Counted,
  type Protocol,
  startCluster,
} from "./cluster.ts";
import { Course, type TraceClock } from "./course.ts";
import { Crowd } from "./crowd.ts";
import { type HandOver, Ledger, UNPUSHED_MS } from "./ledger.ts";
import { IDLE_MS, type Mode, People } from "./people.ts";
import { type Fault, plant } from "./plant.ts";
import { type Engines, startProcesses } from "./processes.ts";
import type { Progress } from "./report.ts";
import { type Gain, judge, type Policy, type Result } from "./result.ts";
import { Slots } from "./slots.ts";
import { type Row, type Survey, survey, type Trace } from "./trace.ts";
import { until } from "./turns.ts";
import { Random } from "./xoshiro.ts";

export interface ReplayOptions {
  readonly trace: Trace;
  readonly servers: number;
  /** The devices take turns. */
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly gain: Gain;
  /** At so many times the mean a server attracts nobody. */
  readonly cap: number;
  readonly mode: Mode;
  /** Messages under way at most. */
  readonly inFlight: number;
  readonly devicesPerUser: number;
  /** Seconds between two kills; 0: none. */
  readonly chaos: number;
  readonly changes: readonly ServerChange[];
  readonly seed: number;
  /** Servers in processes of their own, on these. Default: in this process. */
  readonly engines?: Engines;
  /** For tests of the replay itself. */
  readonly plant?: Fault;
  /** Nothing more is expected when nothing has happened for so long. */
  readonly quietMs?: number;
  readonly onProgress?: (progress: Progress | string) => void;
}

/** Longer than anything that may still be about to happen; the longest is the second push of a wake, after a minute. */
const QUIET_MS = UNPUSHED_MS + 5_000;
/** A wake takes no longer in life. */
const WAKE_MS = 2_000;
const UP_MS = 3_600_000;
const PROGRESS_MS = 200;
const POLL_MS = 20;
const PROBLEMS = 20;

export async function replay(options: ReplayOptions): Promise<Result> {
  const found = await survey(options.trace);
  if (found.messages === 0) {
    const hint = "A message is a line: unix seconds <TAB> sender <TAB> recipient";
    throw new Failure(`${options.trace.name}: there is no message in it`, hint);
  }
  // By then its servers have been up for long.
  const clock: TraceClock = { now: Math.round(found.begins * 1_000) - UP_MS };
  const choices = new Random(options.seed).fork("choices");
  const folder = await mkdtemp(join(tmpdir(), "beckon-replay-"));
  try {
    const { engines } = options;
    const cluster = await (engines === undefined
      ? startCluster(clusterOf(options, clock, choices), folder)
      : startProcesses(clusterOf(options, clock, choices), engines));
    try {
      return await new Run(options, found, cluster, clock, choices).run();
    } finally {
      await cluster.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function clusterOf(options: ReplayOptions, clock: TraceClock, choices: Random): ClusterOptions {
  const begins = clock.now + UP_MS;
  const registering = new Random(options.seed).fork("registering");
  return {
    ...options,
    placementNow: () => clock.now,
    // Until the trace begins those of the simulation have not chosen anything.
    choose: () => (clock.now < begins ? registering : choices).next(),
    isPrompt: options.inFlight === 1,
  };
}

class Run {
  readonly #options: ReplayOptions;
  readonly #survey: Survey;
  readonly #cluster: Cluster;
  readonly #ledger: Ledger;
  readonly #crowd: Crowd;
  readonly #slots: Slots;
  readonly #course: Course;
  readonly #isOneByOne: boolean;
  readonly #problems: string[] = [];
  /** Acknowledged, and not yet handed over to every device. */
  readonly #onTheirWay = new Map<number, () => void>();
  #taken = 0;
  #unacknowledged = 0;
  #peak = 0;
  #refused = 0;
  #began = 0;
  #ended = 0;

  constructor(
    options: ReplayOptions,
    survey: Survey,
    cluster: Cluster,
    clock: TraceClock,
    choices: Random,
  ) {
    const { devicesPerUser, mode, seed } = options;
    const devices = survey.users.length * devicesPerUser;
    this.#options = options;
    this.#survey = survey;
    this.#cluster = cluster;
    this.#slots = new Slots(options.inFlight);
    this.#ledger = new Ledger(survey.users.length, devicesPerUser);
    this.#crowd = new Crowd({
      users: survey.users,
      devicesPerUser,
      idleSeconds: mode === "always-on" ? undefined : IDLE_MS[mode] / 1_000,
      seed,
      protocols: options.protocols,
      servers: cluster.urls,
      ledger: this.#ledger,
      token: (user) => cluster.token(user),
      listen: (name, handler) => void cluster.pushes.register(name, handler),
      handedOver: this.#reporter(),
      problem: (what) => this.#problem(what),
      ...(mode === "always-on"
        ? {
            pushed: (device, body) => this.#course.pushed(device, body),
            route: (device, urls) => this.#course.route(device, urls),
            remembers: (device) => this.#course.remembers(device),
          }
        : { remembers: () => options.policy === "place" || options.policy === "move" }),
    });
    this.#isOneByOne = options.inFlight === 1;
    this.#course = new Course({
      clock,
      start: Math.round(survey.begins * 1_000),
      end: Math.round(survey.ends * 1_000),
      policy: options.policy,
      changes: options.changes,
      cluster,
      crowd: this.#crowd,
      ledger: this.#ledger,
      slots: this.#slots,
      isOneByOne: this.#isOneByOne,
      people:
        mode === "always-on"
          ? new People(devices, mode, new Random(seed).fork("people"))
          : undefined,
      devices,
      userOf: (device) => survey.users[Math.floor(device / devicesPerUser)]!,
      choices,
      problem: (what) => this.#problem(what),
    });
  }

  async run(): Promise<Result> {
    const { options, crowd } = { options: this.#options, crowd: this.#crowd };
    const ticking = setInterval(() => options.onProgress?.(this.#progress()), PROGRESS_MS);
    try {
      await crowd.register(() => {});
      await this.#course.begin();
      const before = await this.#cluster.counted();
      this.#began = performance.now();
      const chaos = startChaos(this.#cluster, options.chaos, options.seed);
      await this.#takeAll();
      await chaos.stop();
      await this.#course.finish();
      await this.#settle();
      this.#ended = crowd.lastEvent;
      const { cpuMs, busBytes } = await this.#cluster.counted();
      await this.#reconcile();
      this.#ledger.lastCall(performance.now());
      for (const device of this.#ledger.waiting()) crowd.wake(device);
      await this.#settle();
      const spent = { cpuMs: cpuMs - before.cpuMs, busBytes: busBytes - before.busBytes };
      return this.#result(chaos.kills, spent, await this.#cluster.counted());
    } finally {
      clearInterval(ticking);
      await crowd.close();
    }
  }

  async #takeAll(): Promise<void> {
    for await (const row of this.#options.trace.rows()) {
      await this.#course.advance(Math.round(row.at * 1_000));
      const release = await this.#slots.take();
      this.#crowd.advance(row.at);
      const taken = this.#take(row, release);
      if (this.#isOneByOne) await taken;
    }
  }

  /** Until it is where it was meant to be, or will be without more of this. */
  async #take({ from, to }: Row, release: () => void): Promise<void> {
    const [sender, recipient] = [from, to].map((user) => this.#devicesOf(user));
    // One at a time: what was before is over, goodbyes too.
    if (this.#isOneByOne) await this.#departed(recipient!, to);
    const leaving = this.#cluster.leaving?.();
    this.#course.writes(sender![0]!);
    const message = this.#ledger.taken(this.#crowd.userNumber(from), this.#crowd.userNumber(to));
    this.#taken++;
    this.#peak = Math.max(this.#peak, ++this.#unacknowledged);
    try {
      const { server } = await this.#crowd.send(message, from, to);
      this.#ledger.acked(message, performance.now(), server);
      if (this.#isOneByOne) await this.#cluster.tell?.(server);
    } catch (error) {
      this.#refused++;
      this.#problem(`message ${message} was refused: ${(error as Error).message}`);
    }
    this.#unacknowledged--;
    await this.#arrived(message, recipient!);
    if (this.#isOneByOne) await this.#course.told([sender![0]!, ...recipient!], leaving);
    release();
  }

  /** All devices of the recipient have it, or know that they are to come for it; or a wake in life would be over. */
  async #arrived(message: number, devices: readonly number[]): Promise<void> {
    if (this.#options.mode === "always-on") {
      const hears = (device: number): boolean =>
        this.#ledger.isOwed(device) && !this.#course.willWake(device);
      await until(() => !devices.some(hears), WAKE_MS);
      return;
    }
    if (this.#ledger.isComplete(message)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onTheirWay.set(message, resolve);
    await within(WAKE_MS, promise);
    this.#onTheirWay.delete(message);
  }

  /** Servers have heard that the recipient's devices have gone, if they have. */
  async #departed(devices: readonly number[], user: string): Promise<void> {
    if (this.#cluster.agree === undefined) await this.#crowd.departed(user);
    else for (const device of devices) await this.#course.agreed(device);
  }

  #devicesOf(user: string): number[] {
    const { devicesPerUser } = this.#options;
    const first = this.#crowd.userNumber(user) * devicesPerUser;
    return Array.from({ length: devicesPerUser }, (_, nth) => first + nth);
  }

  #complete(message: number): void {
    this.#onTheirWay.get(message)?.();
  }

  /** What the devices say to: the ledger, and the loop that waits for a slot. */
  #reporter(): (handOver: HandOver) => void {
    const report = (handOver: HandOver): void => {
      this.#ledger.handedOver(handOver);
      if (this.#ledger.isComplete(handOver.message)) this.#complete(handOver.message);
    };
    const fault = this.#options.plant;
    return fault === undefined
      ? report
      : plant(fault, (handOver) => this.#isTarget(handOver), report);
  }

  /** A lane that goes on, so that there is something to swap with. */
  #isTarget({ message, device }: HandOver): boolean {
    const { busiest } = this.#survey;
    if (busiest === undefined) return false;
    const [from, to] = [busiest.from, busiest.to].map((user) => this.#crowd.userNumber(user));
    return device === to! * this.#options.devicesPerUser && this.#ledger.isFrom(message, from!);
  }

  /** Until everything is handed over, or nothing happens any more. */
  async #settle(): Promise<void> {
    const quietMs = this.#options.quietMs ?? QUIET_MS;
    const since = performance.now();
    while (this.#unacknowledged > 0 || this.#ledger.outstanding > 0) {
      if (performance.now() - Math.max(since, this.#crowd.lastEvent) > quietMs) return;
      await Bun.sleep(POLL_MS);
    }
  }

  /** The last acknowledgements are still on their way to the servers. */
  async #reconcile(): Promise<void> {
    for (let tries = 0; tries < 50; tries++) {
      const { local, remote } = await this.#cluster.counted();
      if (local + remote >= this.#ledger.handOvers) return;
      await Bun.sleep(POLL_MS);
    }
  }

  #progress(): Progress | string {
    if (this.#began === 0) return `registering ${this.#survey.users.length} users' devices …`;
    return {
      done: this.#taken,
      of: this.#survey.messages,
      seconds: (performance.now() - this.#began) / 1000,
      locality: this.#ledger.locality,
    };
  }

  #problem(what: string): void {
    if (this.#problems.length < PROBLEMS) this.#problems.push(what);
  }

  #result(
    kills: number,
    { cpuMs, busBytes }: Pick<Counted, "cpuMs" | "busBytes">,
    { local, remote }: Counted,
  ): Result {
    const { options } = { options: this.#options };
    const { problems, ...verdict } = this.#ledger.verdict();
    const { names, isApart } = this.#cluster;
    const { imbalance, history } = this.#course;
    const { p95, max } = imbalance.result();
    const perThousand = (n: number): number => (1_000 * n) / this.#survey.messages;
    const counts = {
      trace: options.trace.name,
      servers: options.servers,
      processes: options.engines !== undefined,
      users: this.#survey.users.length,
      devicesPerUser: options.devicesPerUser,
      policy: options.policy,
      gain: options.gain,
      cap: options.cap,
      mode: options.mode,
      changes: options.changes,
      inFlight: options.inFlight,
      chaos: options.chaos,
      seed: options.seed,
      ...verdict,
      refused: this.#refused,
      pushes: this.#crowd.pushes,
      moves: perThousand(this.#crowd.moves),
      redirects: perThousand(this.#crowd.redirects),
      imbalanceP95: p95,
      imbalanceMax: max,
      cpuMs: cpuMs / this.#survey.messages,
      cpuOf: isApart ? ("servers" as const) : ("servers and devices" as const),
      busBytes: busBytes / this.#survey.messages,
      history: history.points,
      connects: this.#crowd.connects,
      connectsByServer: Object.fromEntries(
        names.map((name) => [name, this.#crowd.connectsByServer.get(name) ?? 0]),
      ),
      connectsByProtocol: this.#crowd.connectsByProtocol,
      peakInFlight: this.#peak,
      wireDuplicates: this.#crowd.wireDuplicates,
      kills: kills + this.#course.kills,
      drains: this.#course.drains,
      crashes: this.#cluster.problems.length,
      seconds: Math.max(0.001, (this.#ended - this.#began) / 1000),
      counted: { local, remote },
    };
    return judge(counts, [...problems, ...this.#cluster.problems, ...this.#problems]);
  }
}
