import { decodeDeliverBody, encodeOrigin, uuidv7 } from "@beckon/protocol";
import type {
  AckStatus,
  Address,
  DeliverFrame,
  Route,
  SendErrorCode,
  SendFrame,
} from "@beckon/protocol";

import type { ServerBus } from "../../cluster/server-bus.ts";
import { VirtualClock } from "../../cluster/test-support/virtual-clock.ts";
import type { PushOutcome, PushProvider } from "../../push/provider.ts";
import { isOnlyAdded, type SetFact } from "../../sessions/recent-sets.ts";
import type { Session, SessionChange, SessionTable } from "../../sessions/table.ts";
import { createMemoryDatabase } from "../../store/memory.ts";
import type { MemoryDatabase, MemoryHandle } from "../../store/memory.ts";
import type { WakeIntent } from "../../store/store.ts";
import type { Operation } from "../../store/transactions.ts";
import { Counters } from "../counters.ts";
import type { Observer } from "../observer.ts";
import { Delivery } from "../delivery.ts";
import type { Origin, Reply } from "../message.ts";
import type { Recipient } from "../recipient.ts";
import { WakeDispatcher } from "../wake.ts";

/** Several servers' deliveries over one store and one session table that is exact and at once everywhere. */
export class Bed {
  readonly clock: VirtualClock = new VirtualClock();
  readonly database: MemoryDatabase = createMemoryDatabase(this.clock);
  readonly servers: Map<string, TestServer> = new Map<string, TestServer>();
  readonly pushes: WakeIntent[] = [];
  /** How long a push service takes, by its name: ms. Those that are not here there are not. */
  readonly services: Map<string, number> = new Map([["dev", 0]]);
  pushOutcome: PushOutcome = { kind: "sent" };
  /** Users to whose devices nothing can be said. */
  readonly uncomposable: Set<string> = new Set();
  readonly sessions: Session[] = [];
  readonly #listeners: ((change: SessionChange) => void)[] = [];
  busUp = true;
  /** What is sent vanishes, and nobody is told. */
  busLoses = false;
  /** How long the store's calls take, by name; at once where nothing is said. */
  readonly slow: Partial<Record<Operation, number>> = {};
  trusted = true;

  server(name: string): TestServer {
    const server = new TestServer(this, name);
    this.servers.set(name, server);
    return server;
  }

  listen(listener: (change: SessionChange) => void): () => void {
    this.#listeners.push(listener);
    return () => undefined;
  }

  /** The set of the user's durable devices has changed: the table knows it at once. */
  takeSet(user: string, fact: SetFact): void {
    for (const [at, session] of this.sessions.entries()) {
      if (session.user !== user || session.setVersion >= fact.setVersion) continue;
      const { setVersion, setSize } = fact;
      const member = session.member && isOnlyAdded(session, fact);
      const lifted = { ...session, setVersion, setSize, member };
      this.sessions[at] = lifted;
      this.tell({ kind: "changed", session: lifted });
    }
  }

  /** The application's backend removes a device, whose server has not found out yet. */
  async forget(user: string, device: string): Promise<void> {
    const [server] = this.servers.values();
    const forgetting = server!.store.devices.forget(user, device);
    await this.clock.advance(0);
    this.takeSet(user, await forgetting);
  }

  tell(change: SessionChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

export class TestServer {
  readonly bed: Bed;
  readonly name: string;
  readonly store: MemoryHandle;
  readonly counters: Counters;
  /** What its observer was told, in order. */
  readonly observed: { readonly kind: keyof Observer; readonly [name: string]: unknown }[] = [];
  readonly delivery: Delivery;
  records: Parameters<ServerBus["onRecords"]>[0] | undefined;
  /** Servers that it has missed something of. */
  readonly missed: Set<string> = new Set();

  constructor(bed: Bed, name: string) {
    this.bed = bed;
    this.name = name;
    this.store = bed.database.open({
      schedule: (operation, stage, run) => {
        const ms = stage === "commit" ? bed.slow[operation] : undefined;
        if (ms === undefined) run();
        else bed.clock.after(ms, run);
      },
    });
    this.counters = new Counters(name, bed.services.keys(), () => bed.clock.monotonic());
    const tell =
      (kind: keyof Observer) =>
      (event: object): void =>
        void this.observed.push({ kind, ...event });
    const observer: Observer = {
      held: tell("held"),
      refused: tell("refused"),
      pushed: tell("pushed"),
      delivered: tell("delivered"),
      connected: tell("connected"),
      disconnected: tell("disconnected"),
    };
    const table = new ExactTable(bed, name);
    const bus: ServerBus = {
      send: (server, records) => {
        if (!bed.busUp) return false;
        const to = bed.servers.get(server);
        if (bed.busLoses) to?.missed.add(name);
        else bed.clock.after(1, () => to?.records?.(name, records, to.missed.delete(name)));
        return true;
      },
      onRecords: (handler) => {
        this.records = handler;
      },
    };
    const wake = new WakeDispatcher({
      clock: bed.clock,
      wakes: this.store.wakes,
      table,
      owner: name,
      providers: new Map([...bed.services].map(([name]) => [name, service(bed, name)])),
      addressesOf: (server) => ({ name: server, addresses: [ADDRESS] }),
      compose: (intent) => {
        if (bed.uncomposable.has(intent.user)) return Promise.reject(new RangeError("no key"));
        bed.pushes.push(intent);
        return Promise.resolve({ token: "", body: "", class: "message", expires: 0 });
      },
      onConnected: (session) => this.delivery.remind(session),
      counters: this.counters,
      observer,
    });
    this.delivery = new Delivery({
      server: name,
      clock: bed.clock,
      store: this.store,
      table,
      bus,
      wake,
      counters: this.counters,
      observer,
      acknowledgeMs: 10_000,
    });
    this.delivery.start();
  }

  /** A device connects, as the gateway would have it. */
  async connect(user: string, device: string, options: DeviceOptions = {}): Promise<TestDevice> {
    const { durable = true, acknowledges = true, background = false } = options;
    const { window = 256, copies = true, provider = "dev" } = options;
    const { bed } = this;
    const epoch = Math.max(bed.clock.now(), ...bed.sessions.map((session) => session.epoch)) + 1;
    const arriving = this.store.devices.arrive({
      user,
      device,
      durable,
      protocols: ["ws"],
      push: {
        provider,
        token: `${user}/${device}`,
        key: { id: 1, key: new Uint8Array(32) },
      },
      lastEpoch: epoch - 1,
      epoch,
    });
    await bed.clock.advance(0);
    const arrival = await arriving;
    const who = { durable, acknowledges, background, window, copies, provider };
    return new TestDevice(this, { user, device, epoch, ...who }, arrival);
  }
}

const ADDRESS: Address = {
  url: "ws://server",
  protocol: "ws",
  secure: false,
  network: "",
  region: "",
  priority: 0,
};

/** Answers every push as the bed says, after its time. */
function service(bed: Bed, name: string): PushProvider {
  return {
    name,
    send: (items) => {
      const ms = bed.services.get(name)!;
      const outcomes = items.map(() => bed.pushOutcome);
      if (ms === 0) return Promise.resolve(outcomes);
      return new Promise((resolve) => bed.clock.after(ms, () => resolve(outcomes)));
    },
    close: () => Promise.resolve(),
  };
}

export interface DeviceOptions {
  /** Its push service. */
  readonly provider?: string;
  readonly durable?: boolean;
  /** False: it takes messages and says nothing. */
  readonly acknowledges?: boolean;
  readonly background?: boolean;
  /** DELIVERs that may be unacknowledged. */
  readonly window?: number;
  /** Whether its user's other devices get what it sends. */
  readonly copies?: boolean;
}

export class TestDevice {
  readonly server: TestServer;
  readonly user: string;
  readonly device: string;
  readonly recipient: Recipient;
  readonly received: DeliverFrame[] = [];
  readonly answers: string[] = [];
  acknowledges: boolean;
  wasReplaced = false;
  wasRevoked = false;
  wasSilent = false;
  readonly pulled: number[] = [];
  readonly #session: Session;
  readonly #origin: Origin;
  readonly #lastSent = new Map<string, number>();
  #delivers = 0;
  #sends = 0;

  constructor(
    server: TestServer,
    who: { user: string; device: string; epoch: number } & Required<DeviceOptions>,
    arrival: { setVersion: number; setSize: number; generation: number },
  ) {
    const { user, device, epoch, durable, background, window } = who;
    const { bed } = server;
    this.server = server;
    this.user = user;
    this.device = device;
    this.acknowledges = who.acknowledges;
    this.#origin = {
      key: `${user}\n${device}`,
      user,
      device,
      outbox: 1,
      encoded: encodeOrigin(user, device, 1, server.name),
      copies: who.copies,
    };
    this.recipient = server.delivery.connect(
      {
        deliver: (body, held, redelivered) => this.#deliver(body, held, redelivered),
        pulled: (pull) => void this.pulled.push(pull),
        congested: false,
        isCalm: true,
        protocols: ["ws"],
        move: () => undefined,
        silent: () => {
          this.wasSilent = true;
          this.disconnect();
        },
        replaced: () => {
          this.wasReplaced = true;
          this.disconnect();
        },
        revoked: () => {
          this.wasRevoked = true;
          this.disconnect();
        },
      },
      {
        user,
        device,
        epoch,
        durable,
        window,
        generation: arrival.generation,
        behind: durable || arrival.setSize === 0,
        mayHaveRows: false,
      },
    );
    this.#session = {
      user,
      device,
      server: server.name,
      epoch,
      durable,
      background,
      setVersion: arrival.setVersion,
      setSize: arrival.setSize,
      member: durable,
    };
    bed.takeSet(user, arrival);
    const before = bed.sessions.find((one) => one.user === user && one.device === device);
    if (before !== undefined) bed.sessions.splice(bed.sessions.indexOf(before), 1);
    bed.sessions.push(this.#session);
    bed.tell({ kind: "appeared", session: this.#session, before });
    this.recipient.start();
  }

  disconnect(): void {
    const { sessions } = this.server.bed;
    const { epoch } = this.#session;
    const at = sessions.findIndex((one) => one.user === this.user && one.epoch === epoch);
    if (at >= 0) {
      const [session] = sessions.splice(at, 1);
      this.server.bed.tell({ kind: "gone", session: session! });
    }
    this.server.delivery.disconnect(this.recipient);
  }

  /** Sends and says nothing of the answer; see `answers`. */
  send(to: string, text: string, overrides: Partial<SendFrame> = {}): SendFrame {
    const prev = this.#lastSent.get(to) ?? 0;
    this.#lastSent.set(to, prev + 1);
    const send: SendFrame = {
      type: "send",
      id: uuidv7(this.server.bed.clock.now(), (bytes) => void crypto.getRandomValues(bytes)),
      to,
      n: prev + 1,
      prev,
      payload: new TextEncoder().encode(text),
      wake: "message",
      preview: "",
      ends: new Uint8Array(),
      ...overrides,
    };
    this.repeat(send);
    return send;
  }

  repeat(send: SendFrame): void {
    const reply: Reply = {
      ack: (_number: number, status: AckStatus, route: Route) =>
        void this.answers.push(`${status} ${route}`),
      refuse: (_number: number, code: SendErrorCode) => void this.answers.push(code),
    };
    this.server.delivery.accept(this.#origin, send, ++this.#sends, reply);
  }

  get texts(): string[] {
    return this.received.map(({ payload }) => new TextDecoder().decode(payload));
  }

  acknowledge(): void {
    this.recipient.received(1, this.#delivers);
  }

  #deliver(body: Uint8Array, held: boolean, redelivered: boolean): void {
    const number = ++this.#delivers;
    this.received.push({ ...decodeDeliverBody(body), held, redelivered });
    if (!this.acknowledges) return;
    this.server.bed.clock.after(1, () => this.recipient.received(number, 1));
  }
}

class ExactTable implements SessionTable {
  readonly server: string;
  readonly #bed: Bed;

  constructor(bed: Bed, server: string) {
    this.#bed = bed;
    this.server = server;
  }

  get trusted(): boolean {
    return this.#bed.trusted;
  }

  get ownSize(): number {
    return this.sizeOf(this.server);
  }

  sizeOf(server: string): number {
    return this.#bed.sessions.filter((session) => session.server === server).length;
  }

  lookup(user: string): readonly Session[] {
    return this.#bed.sessions.filter((session) => session.user === user);
  }

  find(user: string, device: string): Session | undefined {
    return this.lookup(user).find((session) => session.device === device);
  }

  onChange(listener: (change: SessionChange) => void): () => void {
    return this.#bed.listen(listener);
  }

  wasConnectedWithin(): boolean {
    return false;
  }

  nextEpoch(): number {
    return 0;
  }

  *ownUsers(): Iterable<string> {
    for (const { user, server } of this.#bed.sessions) if (server === this.server) yield user;
  }

  open(): void {}
  close(): void {}
  setBackground(): void {}
  announceSet(): void {}
}
