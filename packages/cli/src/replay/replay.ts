/**
 * Replays a trace: real servers, real devices over loopback, messages in the order of the trace.
 *
 * What belongs to people (for how long a device stays awake) reads the trace's clock, which stands at the message taken last; what
 * belongs to machines (deadlines, leases, waking) reads the real one. A message is under way until its sender has the ACK and its
 * recipient's devices have it, or would have in life: so that the trace's clock does not run days ahead of a wake.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Failure } from "../failure.ts";
import { startChaos } from "./chaos.ts";
import { type Cluster, type Counted, type Protocol, startCluster } from "./cluster.ts";
import { Crowd } from "./crowd.ts";
import { type HandOver, Ledger, UNPUSHED_MS } from "./ledger.ts";
import { type Fault, plant } from "./plant.ts";
import { type Engines, startProcesses } from "./processes.ts";
import type { Progress } from "./report.ts";
import { judge, type Mode, type Policy, type Result } from "./result.ts";
import { Slots } from "./slots.ts";
import { type Survey, survey, type Trace } from "./trace.ts";

export interface ReplayOptions {
  readonly trace: Trace;
  readonly servers: number;
  /** The devices take turns. */
  readonly protocols: readonly Protocol[];
  readonly policy: Policy;
  readonly mode: Mode;
  /** Messages under way at most. */
  readonly inFlight: number;
  readonly devicesPerUser: number;
  /** Seconds between two kills; 0: none. */
  readonly chaos: number;
  readonly seed: number;
  /** Servers in processes of their own, on these. Default: in this process. */
  readonly engines?: Engines;
  /** For tests of the replay itself. */
  readonly plant?: Fault;
  /** Nothing more is expected when nothing has happened for so long. */
  readonly quietMs?: number;
  readonly onProgress?: (progress: Progress | string) => void;
}

/** After which the devices of one who wrote or received nothing are put away. */
const IDLE_SECONDS: Readonly<Record<Mode, number>> = { short: 300, long: 21_600 };
/** Longer than anything that may still be about to happen; the longest is the second push of a wake, after a minute. */
const QUIET_MS = UNPUSHED_MS + 5_000;
/** A wake takes no longer in life. */
const WAKE_MS = 2_000;
const PROGRESS_MS = 200;
const POLL_MS = 20;
const PROBLEMS = 20;

export async function replay(options: ReplayOptions): Promise<Result> {
  const found = await survey(options.trace);
  if (found.messages === 0) {
    const hint = "A message is a line: unix seconds <TAB> sender <TAB> recipient";
    throw new Failure(`${options.trace.name}: there is no message in it`, hint);
  }
  const folder = await mkdtemp(join(tmpdir(), "beckon-replay-"));
  try {
    const { engines } = options;
    const cluster = await (engines === undefined
      ? startCluster(options, folder)
      : startProcesses(options, engines));
    try {
      return await new Run(options, found, cluster).run();
    } finally {
      await cluster.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

class Run {
  readonly #options: ReplayOptions;
  readonly #survey: Survey;
  readonly #cluster: Cluster;
  readonly #ledger: Ledger;
  readonly #crowd: Crowd;
  readonly #slots: Slots;
  readonly #problems: string[] = [];
  /** Acknowledged, and not yet handed over to every device. */
  readonly #onTheirWay = new Map<number, () => void>();
  #taken = 0;
  #unacknowledged = 0;
  #peak = 0;
  #refused = 0;
  #began = 0;
  #ended = 0;

  constructor(options: ReplayOptions, survey: Survey, cluster: Cluster) {
    const { devicesPerUser } = options;
    this.#options = options;
    this.#survey = survey;
    this.#cluster = cluster;
    this.#slots = new Slots(options.inFlight);
    this.#ledger = new Ledger(survey.users.length, devicesPerUser);
    this.#crowd = new Crowd({
      users: survey.users,
      devicesPerUser,
      idleSeconds: IDLE_SECONDS[options.mode],
      seed: options.seed,
      protocols: options.protocols,
      servers: cluster.urls,
      ledger: this.#ledger,
      token: (user) => cluster.token(user),
      listen: (name, handler) => void cluster.pushes.register(name, handler),
      handedOver: this.#reporter(),
      problem: (what) => this.#problem(what),
    });
  }

  async run(): Promise<Result> {
    const { options, crowd } = { options: this.#options, crowd: this.#crowd };
    const ticking = setInterval(() => options.onProgress?.(this.#progress()), PROGRESS_MS);
    try {
      await crowd.register(() => {});
      this.#began = performance.now();
      const chaos = startChaos(this.#cluster, options.chaos, options.seed);
      await this.#takeAll();
      await chaos.stop();
      await this.#settle();
      this.#ended = crowd.lastEvent;
      await this.#reconcile();
      this.#ledger.lastCall(performance.now());
      for (const device of this.#ledger.waiting()) crowd.wake(device);
      await this.#settle();
      return this.#result(chaos.kills, await this.#cluster.counted());
    } finally {
      clearInterval(ticking);
      await crowd.close();
    }
  }

  async #takeAll(): Promise<void> {
    for await (const row of this.#options.trace.rows()) {
      const release = await this.#slots.take();
      this.#crowd.advance(row.at);
      // One at a time: what was before is over, goodbyes too.
      if (this.#options.inFlight === 1) await this.#crowd.departed(row.to);
      void this.#take(row.from, row.to, release);
    }
  }

  async #take(from: string, to: string, release: () => void): Promise<void> {
    const message = this.#ledger.taken(this.#crowd.userNumber(from), this.#crowd.userNumber(to));
    this.#taken++;
    this.#peak = Math.max(this.#peak, ++this.#unacknowledged);
    try {
      const server = await this.#crowd.send(message, from, to);
      this.#ledger.acked(message, performance.now(), server);
    } catch (error) {
      this.#refused++;
      this.#problem(`message ${message} was refused: ${(error as Error).message}`);
    }
    this.#unacknowledged--;
    if (this.#ledger.isComplete(message)) {
      release();
      return;
    }
    const timer = setTimeout(() => this.#complete(message), WAKE_MS);
    this.#onTheirWay.set(message, () => {
      clearTimeout(timer);
      release();
    });
  }

  #complete(message: number): void {
    this.#onTheirWay.get(message)?.();
    this.#onTheirWay.delete(message);
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

  #result(kills: number, counted: Counted): Result {
    const { options } = { options: this.#options };
    const { problems, ...verdict } = this.#ledger.verdict();
    const names = this.#cluster.names;
    const counts = {
      trace: options.trace.name,
      servers: options.servers,
      processes: options.engines !== undefined,
      users: this.#survey.users.length,
      devicesPerUser: options.devicesPerUser,
      policy: options.policy,
      mode: options.mode,
      inFlight: options.inFlight,
      chaos: options.chaos,
      seed: options.seed,
      ...verdict,
      refused: this.#refused,
      pushes: this.#crowd.pushes,
      connects: this.#crowd.connects,
      connectsByServer: Object.fromEntries(
        names.map((name) => [name, this.#crowd.connectsByServer.get(name) ?? 0]),
      ),
      connectsByProtocol: this.#crowd.connectsByProtocol,
      peakInFlight: this.#peak,
      wireDuplicates: this.#crowd.wireDuplicates,
      kills,
      crashes: this.#cluster.problems.length,
      seconds: Math.max(0.001, (this.#ended - this.#began) / 1000),
      counted,
    };
    return judge(counts, [...problems, ...this.#cluster.problems, ...this.#problems]);
  }
}
