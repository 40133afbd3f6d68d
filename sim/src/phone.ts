/** A device with an application on it that uses the SDK: it sleeps, is woken by push, crashes, and handles messages. */
import { formatUuid } from "@beckon/protocol";

import { type Beckon, connect, type Message } from "../../packages/client/src/index.ts";
import { BeckonError } from "../../packages/client/src/errors.ts";
import type { ConnectOptions } from "../../packages/client/src/options.ts";
import type { DeviceName, MessageName } from "./history.ts";
import type { Network } from "./network.ts";
import type { Step } from "./plan.ts";
import type { Pushable, PushService } from "./push.ts";
import { EPOCH, Process } from "./scheduler.ts";
import { opener } from "./seal.ts";
import { Disk } from "./storage.ts";
import { nameOf } from "./tap.ts";
import type { World } from "./world.ts";

export interface PhonePlan {
  readonly user: string;
  readonly device: string;
  readonly push: boolean;
  readonly storage: boolean;
  /** How far its wall clock is ahead, ms. */
  readonly skew: number;
  /** Takes messages by `messages()` instead of a handler. */
  readonly iterates: boolean;
  /** Shares of messages at which the handler takes seconds, fails, or takes the process down. */
  readonly slow: number;
  readonly fails: number;
  readonly crashes: number;
  /** Ends, or is suspended, when it has been awake for this long, ms; 0: never. */
  readonly awakeMs: number;
  /** What becomes of it then. */
  readonly restsBy: "exit" | "suspend" | "crash";
  /** How long its token is good for, ms. */
  readonly tokenMs: number;
}

/** What the application is to send. */
export type SendStep = Extract<Step, { readonly do: "send" }>;

export interface Town {
  readonly world: World;
  readonly network: Network;
  readonly push: PushService;
  readonly servers: readonly string[];
  /** Whether the application's authoriser has ever said no to this. */
  hasForbidden(from: string, to: string): boolean;
  /** Breaks the SDK on purpose: tests of the checker change what it is made of. */
  readonly alter: (options: ConnectOptions) => ConnectOptions;
}

/** How long an application takes to start again after it was closed for good by a server. */
const RELAUNCH_MS = 3_000;

export class Phone implements Pushable {
  readonly name: DeviceName;
  readonly plan: PhonePlan;
  readonly #town: Town;
  readonly #disk: Disk;
  #process: Process | undefined;
  #beckon: Beckon | undefined;
  #token: string | undefined;
  #starts = 0;
  /** Nothing is stored on it. */
  #isNew = true;
  /** A server has said that its access was withdrawn: when it is started next, nothing of its time before is left. */
  #isLoggedOut = false;
  #cancelRest: (() => void) | undefined;
  /** From now on it neither sleeps nor crashes. */
  #isCalm = false;
  #handling = 0;
  #unanswered = 0;

  constructor(town: Town, plan: PhonePlan) {
    this.#town = town;
    this.plan = plan;
    this.name = `${plan.user}/${plan.device}`;
    this.#disk = new Disk(town.world, this.name);
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true;
  }

  get isConnected(): boolean {
    return this.isRunning && this.#beckon?.state.name === "connected";
  }

  /** Whether a push reaches it. */
  get isPushable(): boolean {
    return this.#token !== undefined;
  }

  /** Connected, no handler is at work, and the outbox is empty. */
  get isIdle(): boolean {
    return this.isConnected && this.#handling === 0 && this.#unanswered === 0;
  }

  /** Launches the application, if it does not run. */
  start(storage: "kept" | "lost" = "kept"): void {
    if (this.#process?.isAlive === true) {
      this.resume();
      return;
    }
    const { world } = this.#town;
    if (this.#isLoggedOut) this.#logOut();
    if (storage === "lost") this.#disk.erase();
    const isFresh = this.#isNew || storage === "lost";
    this.#isNew = false;
    this.#starts += 1;
    this.#handling = 0;
    this.#unanswered = 0;
    const process = new Process(world.scheduler, {
      name: `${this.name}.${this.#starts}`,
      skew: this.plan.skew,
    });
    this.#process = process;
    const has = this.plan.storage ? (isFresh ? "lost" : "kept") : "none";
    world.record({ kind: "started", device: this.name, storage: has });
    process.input(0, () => this.#launch(process));
    this.#restLater();
  }

  crash(storage: "reset" | "nothing" = "reset"): void {
    if (this.#process?.isAlive === true) this.#end("crash", storage);
  }

  /** The application says goodbye and ends. */
  exit(): void {
    const process = this.#process;
    const beckon = this.#beckon;
    if (process === undefined || !process.isRunning || beckon === undefined) return;
    const end = (): void => {
      if (process.isAlive) this.#end("exit", "reset");
    };
    process.input(0, () => this.#watch(process, beckon.close().then(end)));
    process.clock.after(2_000, end);
  }

  /** The operating system stops the process; its connections go, with or without a word. */
  suspend(says: "reset" | "nothing"): void {
    const process = this.#process;
    if (process === undefined || !process.isRunning) return;
    const { world, network } = this.#town;
    process.stall();
    world.record({ kind: "asleep", device: this.name });
    for (const wire of network.wiresOf({ device: this.name })) {
      if (says === "nothing") wire.break();
      else wire.reset();
    }
  }

  resume(): void {
    const process = this.#process;
    if (process === undefined || !process.isAlive || !process.isStalled) return;
    this.#town.world.record({ kind: "awake", device: this.name });
    process.resume();
    this.#restLater();
  }

  push(data: unknown): void {
    this.#town.world.record({ kind: "opened", device: this.name });
    this.start();
    const process = this.#process!;
    process.input(5, () => this.#watch(process, this.#beckon?.onWake(data)));
  }

  background(value: boolean): void {
    this.#process?.input(0, () => this.#beckon?.background(value));
  }

  send(step: SendStep): void {
    this.start();
    this.#process!.input(1, () => this.#send(step));
  }

  /** The user logs out; then `removed` tells the application's backend. The device may come back as a new one. */
  forget(removed: () => void): void {
    const process = this.#process;
    if (process === undefined || !process.isRunning) return;
    process.input(0, () => {
      const forgotten = this.#beckon?.forget().then(() => {
        if (process.isAlive) this.#end("exit", "reset");
        this.#logOut();
        removed();
      });
      // One that is closed forgets nothing: the user stays logged in, and may try again when the application has been started anew.
      this.#watch(process, forgotten, "closed");
    });
  }

  /** What the SDK rejects though its documents do not say so is a breach. */
  #watch(
    process: Process,
    promise: Promise<unknown> | undefined,
    documented?: BeckonError["code"],
  ): void {
    promise?.catch((error: unknown) => {
      if (error instanceof BeckonError && error.code === documented) return;
      this.#town.world.scheduler.onThrow(process, error);
    });
  }

  #logOut(): void {
    this.#isLoggedOut = false;
    this.#disk.erase();
    this.#isNew = true;
    this.renewPushToken();
  }

  /** Its wall clock is set forward, or back. */
  jump(ms: number): void {
    if (this.#process !== undefined) this.#process.skew += ms;
  }

  /** What the push service calls it. */
  pushToken(): string {
    this.#token ??= this.#town.push.register(this);
    return this.#token;
  }

  /** The push service gives the device another token, and the application learns of it when it is launched next. */
  renewPushToken(): void {
    if (this.#token !== undefined) this.#town.push.unregister(this.#token);
    this.#token = undefined;
  }

  /** Nothing bad comes from this device any more. */
  calm(): void {
    this.#isCalm = true;
    this.#cancelRest?.();
  }

  #launch(process: Process): void {
    const { servers, network, world } = this.#town;
    const { plan } = this;
    const order = servers.toSorted(() => process.random.next() - 0.5);
    const options: ConnectOptions = {
      servers: order.map((server) => `ws://${server}`),
      token: () => `${plan.user}@${EPOCH + world.now + plan.tokenMs}`,
      device: plan.device,
      transports: { ws: network.dial(this.name, process) },
      crypto: opener,
      random: (bytes) => void process.random.fill(bytes),
      clock: process.clock,
      ...(plan.storage && { storage: this.#disk.open(process) }),
      ...(plan.push && { push: { provider: "dev", token: this.pushToken() } }),
    };
    const beckon = withoutRuntime(() => connect(this.#town.alter(options)));
    this.#beckon = beckon;
    beckon.on("error", () => undefined);
    beckon.on("state", ({ name, error }) => {
      world.record({ kind: "state", device: this.name, name });
      if (name !== "closed" || error === undefined) return;
      world.record({ kind: "expelled", device: this.name, code: error.code });
      this.#isLoggedOut = error.code === "revoked";
      this.#relaunch(process);
    });
    const listed = beckon.outbox().then((unsent) => {
      for (const one of unsent) this.#await(nameOf(one.payload), one.to, one.ack);
    });
    this.#watch(process, listed);
    if (plan.iterates) this.#watch(process, this.#iterate(beckon, process));
    else beckon.on("message", (message) => this.#handle(message, process));
  }

  /** Closed for good, as when it was replaced: a user would start the application again. */
  #relaunch(process: Process): void {
    process.clock.after(RELAUNCH_MS, () => {
      if (!process.isAlive) return;
      this.#end("exit", "reset");
      this.start();
    });
  }

  #send({ to, message, wake, size, ends: call }: SendStep): void {
    const beckon = this.#beckon;
    if (beckon === undefined || beckon.state.name === "closed") return;
    const { world } = this.#town;
    const id = call === undefined ? undefined : world.idOf(call);
    // Nobody can know of a call that was never transmitted.
    const ends = id === undefined ? undefined : call;
    world.record({ kind: "sent", message, device: this.name, to, wake, ends });
    const options = { wake, ...(id !== undefined && { ends: formatUuid(id) }) };
    this.#await(message, to, beckon.send(to, message.padEnd(size), options));
  }

  #await(message: MessageName, to: string, ack: Promise<unknown>): void {
    const { world } = this.#town;
    const device = this.name;
    const process = this.#process;
    this.#unanswered += 1;
    const isOver = (): boolean => {
      if (process?.isAlive !== true || process !== this.#process) return true;
      this.#unanswered -= 1;
      return false;
    };
    ack.then(
      () => {
        if (!isOver()) world.record({ kind: "confirmed", message, device });
      },
      (error: unknown) => {
        if (isOver()) return;
        const code = error instanceof BeckonError ? error.code : String(error);
        // It is unsent, not refused: the next run has it, if there is storage.
        if (code === "closed") return;
        const expected = code === "forbidden" && this.#town.hasForbidden(this.plan.user, to);
        world.record({ kind: "refused", message, device, code, expected });
      },
    );
  }

  async #iterate(beckon: Beckon, process: Process): Promise<void> {
    for await (const message of beckon.messages()) {
      try {
        await this.#handle(message, process);
      } catch {
        // A loop that goes on has taken the message.
      }
    }
  }

  async #handle(message: Message, process: Process): Promise<void> {
    const { world } = this.#town;
    const device = this.name;
    const name = nameOf(message.payload);
    const { gap, late, redelivered } = message;
    world.record({ kind: "handed", device, message: name, gap, late, redelivered });
    const { plan } = this;
    const random = world.random.fork(`${device} handles ${name} ${this.#starts} ${world.now}`);
    this.#handling += 1;
    if (!this.#isCalm && random.chance(plan.slow)) await sleep(process, random.int(300, 12_000));
    else if (random.chance(0.3)) await sleep(process, random.int(1, 30));
    if (!this.#isCalm && random.chance(plan.crashes)) {
      this.crash();
      // Nothing after this runs.
      await new Promise<never>(() => undefined);
    }
    this.#handling -= 1;
    const hasFailed = !this.#isCalm && !plan.iterates && random.chance(plan.fails);
    const outcome = hasFailed ? "failed" : "finished";
    world.record({ kind: "handled", device, message: name, outcome });
    if (hasFailed) throw new Error("the application's handler has failed");
  }

  #restLater(): void {
    this.#cancelRest?.();
    const { awakeMs, restsBy } = this.plan;
    if (awakeMs === 0 || this.#isCalm) return;
    this.#cancelRest = this.#town.world.after(awakeMs, () => {
      if (this.#isCalm) return;
      if (restsBy === "exit") this.exit();
      else if (restsBy === "suspend") this.suspend("nothing");
      else this.crash();
    });
  }

  #end(how: "crash" | "exit", says: "reset" | "nothing"): void {
    const process = this.#process!;
    process.kill();
    this.#cancelRest?.();
    this.#beckon = undefined;
    this.#handling = 0;
    this.#town.network.processDied(process, says);
    this.#town.world.record({ kind: "stopped", device: this.name, how });
  }
}

/** The SDK listens to its runtime for the network's return: a process that is killed would leave its listeners there. */
function withoutRuntime<T>(run: () => T): T {
  const { addEventListener } = globalThis;
  globalThis.addEventListener = () => undefined;
  try {
    return run();
  } finally {
    globalThis.addEventListener = addEventListener;
  }
}

function sleep(process: Process, ms: number): Promise<void> {
  return new Promise((resolve) => {
    process.clock.after(ms, resolve);
  });
}
