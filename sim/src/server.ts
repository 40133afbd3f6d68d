/** A communication server as a process that can crash, stall, stop and start again. */
import type { SendFrame } from "@beckon/protocol";

import { createTickets } from "../../packages/server/src/gateway/ticket.ts";
import type { Identity } from "../../packages/server/src/gateway/identity.ts";
import type { Socket, SocketHandler } from "../../packages/server/src/gateway/socket.ts";
import {
  createNode,
  type Node,
  type NodeParts,
  type ServiceAnswer,
} from "../../packages/server/src/node.ts";
import { composeWake } from "../../packages/server/src/push/compose.ts";
import type { SimBus } from "./bus.ts";
import type { PlacementPlan, ServerPlan } from "./plan.ts";
import type { Host, Network } from "./network.ts";
import type { PushService } from "./push.ts";
import { Process } from "./scheduler.ts";
import { seal } from "./seal.ts";
import type { Store } from "../../packages/server/src/store/store.ts";
import type { SimStore } from "./store.ts";
import type { World } from "./world.ts";

/** What servers share. */
export interface Cluster {
  readonly world: World;
  readonly network: Network;
  readonly bus: SimBus;
  readonly store: SimStore;
  readonly push: PushService;
  authorize(server: Process): NodeParts["authorize"];
  /** Breaks the server on purpose: tests of the checker change what it is made of. */
  readonly alter: (parts: NodeParts) => NodeParts;
  readonly retentionMs: number;
  readonly placement: PlacementPlan | undefined;
}

const tickets = createTickets(new Uint8Array(32).fill(7));

export class SimServer implements Host {
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #plan: ServerPlan;
  #process: Process | undefined;
  #store: Store | undefined;
  #node: Node | undefined;
  #starts = 0;
  /** It is to start again when it has stopped. */
  #isAwaited = false;

  constructor(cluster: Cluster, plan: ServerPlan) {
    this.#cluster = cluster;
    this.name = plan.name;
    this.#plan = plan;
    cluster.network.add(this);
  }

  get process(): Process | undefined {
    return this.#process;
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true;
  }

  get isUp(): boolean {
    return this.#process?.isAlive === true;
  }

  accept(socket: Socket): SocketHandler {
    return this.#node!.gateway.accept(socket);
  }

  start(): void {
    if (this.isUp) {
      this.#isAwaited = true;
      return;
    }
    this.#isAwaited = false;
    const { world, bus, store, push, retentionMs, placement } = this.#cluster;
    const { skew, room } = this.#plan;
    this.#starts += 1;
    const name = `${this.name}.${this.#starts}`;
    const process = new Process(world.scheduler, { name, skew });
    this.#process = process;
    this.#record("started");
    this.#store = store.connect(this.name, process);
    const url = `ws://${this.name}`;
    const parts: NodeParts = {
      name: this.name,
      clock: process.clock,
      random: (bytes) => void process.random.fill(bytes),
      bus: bus.connect(this.name, process),
      store: this.#store,
      authenticate: (token) => Promise.resolve(identityOf(token)),
      authorize: this.#cluster.authorize(process),
      tickets,
      providers: [push.provider(process)],
      compose: (intent, server) => composeWake(intent, server, seal),
      addresses: [{ url, protocol: "ws", secure: true, network: "", region: "", priority: 0 }],
      retentionMs,
      placement,
      ...(room !== undefined && { maxConnections: room }),
    };
    this.#node = createNode(this.#cluster.alter(parts));
    process.input(0, () => this.#node!.start());
  }

  /** `says`: what the devices' operating systems hear of it. */
  crash(says: "reset" | "nothing"): void {
    if (!this.isUp) return;
    this.#end(says);
  }

  /** The application's backend sends. Neither is called when the server dies before. */
  sendAsService(
    from: string,
    send: SendFrame,
    answered: (answer: ServiceAnswer) => void,
    refused: () => void,
  ): void {
    const [process, node] = [this.#process!, this.#node!];
    process.input(5, () => {
      node.sendAsService({ from, send }).then(answered, refused);
    });
  }

  /** The application's backend removes a device at its log-out. */
  forget(user: string, device: string): void {
    this.#changeSet(
      user,
      ({ devices }) => devices.forget(user, device),
      () => undefined,
    );
  }

  /** The application's backend registers a device for push. The wake key is one that the device does not have. */
  register(user: string, device: string, token: string): void {
    const push = { provider: "dev", token, key: { id: 1, key: new Uint8Array(32) } };
    this.#changeSet(
      user,
      ({ devices }) => devices.register(user, device, ["ws"], push),
      () => {
        const { name: server } = this;
        this.#cluster.world.record({ kind: "admitted", device: `${user}/${device}`, server });
      },
    );
  }

  #changeSet(
    user: string,
    change: (store: Store) => Promise<{ readonly setVersion: number; readonly setSize: number }>,
    answered: () => void,
  ): void {
    const [store, node] = [this.#store!, this.#node!];
    this.#process!.input(0, () => {
      change(store).then(
        ({ setVersion, setSize }) => {
          node.table.announceSet(user, setVersion, setSize);
          answered();
        },
        () => undefined,
      );
    });
  }

  /** Its wall clock is set forward, or back. */
  jump(ms: number): void {
    if (this.#process !== undefined) this.#process.skew += ms;
  }

  /** Drains, finishes, stops. */
  stop(): void {
    const process = this.#process;
    if (process === undefined || !process.isRunning) return;
    this.#isAwaited = false;
    process.input(0, () => {
      void this.#node!.stop({ batch: 2, intervalMs: 200 }).then(() => {
        if (!process.isAlive) return;
        this.#end("reset", "stopped");
        if (this.#isAwaited) this.start();
      });
    });
  }

  stall(ms: number): void {
    const process = this.#process;
    if (process === undefined || !process.isRunning) return;
    process.stall();
    this.#record("stalled");
    this.#cluster.world.after(ms, () => this.#resume(process));
  }

  /** Ends a stall. */
  resume(): void {
    if (this.#process !== undefined) this.#resume(this.#process);
  }

  #resume(process: Process): void {
    if (!process.isAlive || !process.isStalled) return;
    this.#record("resumed");
    process.resume();
  }

  #end(says: "reset" | "nothing", how: "stopped" | "crashed" = "crashed"): void {
    const process = this.#process!;
    process.kill();
    this.#record(how);
    this.#cluster.bus.kill(this.name);
    this.#cluster.store.kill(this.name, says);
    this.#cluster.network.processDied(process, says);
  }

  #record(state: "started" | "stopped" | "crashed" | "stalled" | "resumed"): void {
    this.#cluster.world.record({ kind: "server", server: this.name, state });
  }
}

/** A token is the user's name and when it expires. */
function identityOf(token: string): Identity {
  const [user, expires] = token.split("@");
  return { user: user!, device: undefined, expires: Number(expires), mayWriteTo: undefined };
}
