/** Runs a plan: production servers and SDKs on one virtual clock, until all is healthy and quiet; then the laws are checked. */
import { DEFAULT_STORE_LIMITS } from "../../packages/server/src/store/store.ts";
import { Authorizer } from "./authorizer.ts";
import { Backend } from "./backend.ts";
import { type SimBus, SimMemoryBus } from "./bus.ts";
import { check, type Report } from "./checker.ts";
import type { DeviceName, History } from "./history.ts";
import { Ledger } from "./ledger.ts";
import { SimNats } from "./nats.ts";
import { Network, type Wire } from "./network.ts";
import { Phone, type Town } from "./phone.ts";
import type { Plan, Step } from "./plan.ts";
import { type PostgresSabotage, PostgresStore } from "./postgres.ts";
import { PushService } from "./push.ts";
import { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import { failureOf, type FailStep, type Told } from "./sending.ts";
import { type Cluster, SimServer } from "./server.ts";
import { MemoryStore, type SimStore } from "./store.ts";
import { World } from "./world.ts";

/** What tests of the checker break on purpose. */
export interface Sabotage {
  readonly server?: Cluster["alter"];
  readonly device?: Town["alter"];
  readonly postgres?: PostgresSabotage;
}

export interface Outcome {
  readonly plan: Plan;
  readonly history: History;
  readonly report: Report;
  /** Events of the scheduler. */
  readonly events: number;
}

/** Sleepers are left to be woken by push for at most this long: a push that was lost comes again after a minute. */
const PUSHES_MS = 75_000;
/** At most this long until everything is quiet; an SDK may wait a while between two attempts to connect. */
const SETTLING_MS = 120_000;
/** Quiet for this long: longer than a receiver waits for a hole to be filled. */
const QUIET_MS = 7_000;
const LOOK_MS = 250;

export function simulate(plan: Plan, sabotage: Sabotage = {}): Outcome {
  const run = new Run(plan, sabotage);
  const { world } = run;
  run.begin();
  world.scheduler.run(plan.duration);
  run.heal();
  run.until(PUSHES_MS, 0, () => run.isSettled((phone) => phone.isRunning || phone.isPushable));
  run.wake();
  run.until(SETTLING_MS, QUIET_MS, () => run.isSettled(() => true));
  world.record({ kind: "ended" });
  const { history } = world;
  return { plan, history, report: check(history), events: world.scheduler.events };
}

class Run {
  readonly world: World;
  readonly #plan: Plan;
  readonly #network: Network;
  readonly #bus: SimBus;
  readonly #nats: SimNats | undefined;
  readonly #ledger: Ledger;
  readonly #store: SimStore;
  readonly #postgres: PostgresStore | undefined;
  readonly #push: PushService;
  readonly #authorizer: Authorizer;
  readonly #backend: Backend;
  readonly #servers = new Map<string, SimServer>();
  readonly #phones = new Map<DeviceName, Phone>();
  /** Servers that are to crash after their next commit. */
  readonly #doomed = new Map<string, "reset" | "nothing">();
  /** What is to fail when the next device is sent elsewhere. */
  #failures: FailStep[] = [];

  constructor(plan: Plan, sabotage: Sabotage) {
    this.#plan = plan;
    const world = new World(new Random(plan.seed));
    this.world = world;
    this.#network = new Network(world);
    this.#nats = plan.engines.bus === "nats" ? new SimNats(world, plan.nats) : undefined;
    this.#bus = this.#nats ?? new SimMemoryBus(world);
    this.#push = new PushService(world);
    this.#push.retries = plan.push.retries;
    this.#push.losses = plan.push.losses;
    this.#authorizer = new Authorizer(world, plan.authorizer);
    const { retentionMs } = plan;
    this.#ledger = new Ledger(world);
    const limits = { ...DEFAULT_STORE_LIMITS, retentionMs };
    this.#postgres =
      plan.engines.store === "postgres"
        ? new PostgresStore(world, this.#ledger, limits, sabotage.postgres ?? {})
        : undefined;
    this.#store = this.#postgres ?? new MemoryStore(world, this.#ledger, limits);
    this.#push.onGone = (device) => this.#ledger.unpushable(device);
    this.#backend = new Backend(world, () => this.#anyServer());
    this.#ledger.onHold = (server) => {
      const says = this.#doomed.get(server);
      this.#doomed.delete(server);
      if (says !== undefined) this.#servers.get(server)?.crash(says);
    };
    const cluster: Cluster = {
      world,
      network: this.#network,
      bus: this.#bus,
      store: this.#store,
      push: this.#push,
      authorize: (process) => this.#authorizer.for(process),
      alter: sabotage.server ?? ((parts) => parts),
      retentionMs,
      placement: plan.placement,
    };
    for (const server of plan.servers) {
      this.#servers.set(server.name, new SimServer(cluster, server));
    }
    world.onRecord = (happening) => {
      if (happening.kind === "told") this.#told(happening);
    };
    const town: Town = {
      world,
      network: this.#network,
      push: this.#push,
      servers: plan.servers.map(({ name }) => name),
      hasForbidden: (from, to) => this.#authorizer.hasForbidden(from, to),
      alter: sabotage.device ?? ((options) => options),
    };
    for (const phonePlan of plan.phones) {
      const phone = new Phone(town, phonePlan);
      this.#phones.set(phone.name, phone);
    }
  }

  begin(): void {
    for (const server of this.#servers.values()) server.start();
    for (const step of this.#plan.steps) this.world.after(step.at, () => this.#do(step));
  }

  /** Every fault is over. What sleeps goes on sleeping. */
  heal(): void {
    this.#doomed.clear();
    this.#failures = [];
    this.#authorizer.isCalm = true;
    this.#push.retries = 0;
    this.#push.losses = 0;
    this.#push.setAway(false);
    for (const [name, server] of this.#servers) {
      server.resume();
      server.start();
      this.#bus.restore(name);
      this.#store.restore(name);
    }
    this.#bus.heal();
    this.#store.heal();
    this.#network.heal();
    for (const phone of this.#phones.values()) phone.calm();
    this.world.record({ kind: "healed" });
  }

  wake(): void {
    this.world.record({ kind: "woken" });
    for (const phone of this.#phones.values()) phone.start();
  }

  /** Goes on until `isDone` has held for so long. */
  until(limit: number, quietMs: number, isDone: () => boolean): void {
    const { world } = this;
    const end = world.now + limit;
    let quietSince = world.now;
    while (world.now < end) {
      world.scheduler.run(world.now + LOOK_MS);
      const isQuiet = isDone();
      if (!isQuiet) quietSince = world.now;
      if (isQuiet && world.now - quietSince >= quietMs) return;
    }
  }

  /** Those that run are connected and idle, and nothing is in the store for those of which `isExpected` says that they come. */
  isSettled(isExpected: (phone: Phone) => boolean): boolean {
    if (!this.#backend.isIdle) return false;
    const expected = [...this.#phones.values()].filter(isExpected);
    if (expected.some(({ isRunning, isIdle }) => isRunning && !isIdle)) return false;
    const names = expected.map(({ name }) => name);
    // The rows of a user alone are for any device.
    const isThere = (device: DeviceName): boolean =>
      device.endsWith("/") ? names.some((name) => name.startsWith(device)) : names.includes(device);
    return this.#ledger.heldRows(isThere) === 0;
  }

  #do(step: Step): void {
    switch (step.do) {
      case "send":
        this.#phone(step.device, (phone) => {
          phone.send(step);
        });
        break;
      case "send as service":
        this.#backend.send(step.to, step.message, step.wake);
        break;
      case "start":
        this.#phone(step.device, (phone) => phone.start(step.storage));
        break;
      case "exit":
        this.#phone(step.device, (phone) => phone.exit());
        break;
      case "kill":
        this.#phone(step.device, (phone) => phone.crash(step.says));
        break;
      case "suspend":
        this.#phone(step.device, (phone) => phone.suspend(step.says));
        break;
      case "background":
        this.#phone(step.device, (phone) => phone.background(step.value));
        break;
      case "forget":
        this.#phone(step.device, (phone) => phone.forget(() => this.#forget(phone)));
        break;
      case "revoke":
        this.#phone(step.device, (phone) => this.#forget(phone));
        break;
      case "register":
        this.#phone(step.device, (phone) => this.#register(phone));
        break;
      case "jump":
        this.world.record({ kind: "jumped" });
        this.#phone(step.device, (phone) => phone.jump(step.ms));
        break;
      case "jump server":
        this.world.record({ kind: "jumped" });
        this.#servers.get(step.server)?.jump(step.ms);
        break;
      case "renew push token":
        this.#phone(step.device, (phone) => phone.renewPushToken());
        break;
      case "reset":
        this.#wire(step.device, (wire) => wire.reset());
        break;
      case "break":
        this.#wire(step.device, (wire) => wire.break());
        break;
      case "slow":
        this.#wire(step.device, (wire) => wire.slow());
        break;
      case "block":
        this.#network.block(step.device, step.server, step.ms);
        break;
      case "move":
        this.#wire(step.device, (wire) => {
          this.#network.block(step.device, wire.server, step.ms);
          if (step.says === "reset") wire.reset();
          else wire.orphan();
        });
        break;
      case "crash":
        this.#servers.get(step.server)?.crash(step.says);
        break;
      case "crash after commit":
        this.#doomed.set(step.server, step.says);
        break;
      case "fail a sending":
        this.#failures.push(step);
        break;
      case "stop":
        this.#servers.get(step.server)?.stop();
        break;
      case "launch":
        this.#servers.get(step.server)?.start();
        break;
      case "stall":
        this.#servers.get(step.server)?.stall(step.ms);
        break;
      case "cut bus":
        this.#bus.cut(step.server, step.detectMs);
        break;
      case "restore bus":
        this.#bus.restore(step.server);
        break;
      case "cut store":
        this.#store.cut(step.server);
        break;
      case "restore store":
        this.#store.restore(step.server);
        break;
      case "store slowness":
        this.#store.slowDown(step.times);
        break;
      case "restart nats":
        this.#nats?.restart(step.node, step.ms, step.says);
        break;
      case "break route":
        this.#nats?.breakRoute(step.between, step.ms, step.meanwhile);
        break;
      case "nats slowness":
        this.#nats?.slowDown(step.times);
        break;
      case "restart postgres":
        this.#postgres?.restart(step.ms, step.how);
        break;
      case "crash postgres after settling":
        this.#postgres?.crashAfterSettling(step.ms);
        break;
      case "silence store":
        this.#postgres?.silence(step.server, step.ms);
        break;
      case "hang a commit":
        this.#postgres?.hang(step.ms);
        break;
      case "push service":
        this.#push.setAway(step.isAway);
    }
  }

  #told(told: Told): void {
    const step = this.#failures.find(({ by }) => by === told.by);
    if (step === undefined) return;
    this.#failures = this.#failures.filter((other) => other !== step);
    this.world.after(step.afterMs, () => {
      for (const one of failureOf(step, told)) this.world.after(one.at, () => this.#do(one));
    });
  }

  /** The application's backend removes the device, through any server. */
  #forget({ plan: { user, device } }: Phone): void {
    this.#anyServer()?.forget(user, device);
  }

  #register(phone: Phone): void {
    const { user, device } = phone.plan;
    this.#anyServer()?.register(user, device, phone.pushToken());
  }

  #anyServer(): SimServer | undefined {
    const up = [...this.#servers.values()].filter(({ isRunning }) => isRunning);
    return up.length > 0 ? this.world.random.pick(up) : undefined;
  }

  #phone(device: DeviceName, act: (phone: Phone) => void): void {
    const phone = this.#phones.get(device);
    if (phone !== undefined) act(phone);
  }

  /** The device's present connection, if it has one. */
  #wire(device: DeviceName, act: (wire: Wire) => void): void {
    const wire = this.#network.wiresOf({ device }).findLast(({ isOpen }) => isOpen);
    if (wire !== undefined) act(wire);
  }
}
